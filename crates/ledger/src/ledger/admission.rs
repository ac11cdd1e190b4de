//! Admission: whether a credential fits into the budget, and with which lifetime. Tests: `src/ledger_tests.rs`.
//!
//! The caller reserves the promise that it gets before it does anything else, so two credentials never get the same room.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::time::Duration;

use super::Ledger;
use crate::owner::CountOwner;
use crate::promise::{GrantMinutes, PromisedTime};
use crate::source::IceSource;
use crate::timeline::Timeline;
use crate::units::Timestamp;
use crate::units::slot::Minute;
use crate::verdict::{Refusal, Request, STRICT_LIFE_MIN, decide};

/// A credential that fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The lifetime that it gets: as requested, or shorter if strict mode has less room.
    pub life: Duration,
    /// The latest time at which it expires.
    pub expires_by: Timestamp,
    /// What it may relay. The credential does not exist yet.
    pub promise: PromisedTime,
}

impl Ledger {
    /// A request for a credential of an owner, made within `slack`. `renewed`: what is promised for the grant that it renews.
    pub fn request(
        &self,
        owner: impl Into<CountOwner>,
        life: Duration,
        slack: Duration,
        renewed: Option<PromisedTime>,
    ) -> Request {
        let owner = owner.into();
        let source = owner.source;
        let from = self.counted_from(source);
        // Where sessions are cut here, a renewal prolongs those that the grants before it began.
        let prolonged = renewed.filter(|_| source.refuses_revoked() || self.cut_tail(owner).is_some());
        Request {
            source,
            life,
            slack,
            tail: self.tail(owner),
            per_minute: self.bytes_per_minute(source),
            from,
            reserved_from: renewed.map_or(from, |time| time.chain_until().max(from)),
            chain_before: prolonged.map_or(0, |time| time.chain_before.saturating_add(1)),
            clients: [None; 3],
            limits: [None; 2],
        }
    }

    /// The first minute of this period in which a source may count what is relayed from now on: the clock of its provider may be behind.
    pub(crate) fn counted_from(&self, source: IceSource) -> Minute {
        Minute::of(self.now.minus(source.clocks_differ_by()).max(self.period.start))
    }

    /// Finds room for a credential and for its tail, or refuses. Unmetered sources are always admitted.
    pub fn admit(&self, request: &Request) -> Result<Admission, Refusal> {
        let life = if request.source.is_metered() {
            let awaits_reading = self.sources.iter().any(|source| source.terms.is_read);
            decide(self.terms.mode, self.figures(), request)
                .map_err(|refusal| Refusal { awaits_reading, ..refusal })?
        } else {
            request.life
        };
        let Request { from, reserved_from, chain_before, per_minute, .. } = *request;
        let expires_by = self.now.plus(life).plus(request.slack);
        let until = Minute::from_end(expires_by.plus(request.tail));
        let promise = PromisedTime { from, reserved_from, chain_before, until, per_minute };
        Ok(Admission { life, expires_by, promise })
    }

    /// Whether strict mode has no room for a credential of any metered source, though the budget is not spent.
    pub fn is_promised_in_full(&self, slack: Duration) -> bool {
        let fits = |source: &Timeline| {
            // Strict mode makes it as long as the tail requires.
            self.admit(&self.request(source.terms.owner, STRICT_LIFE_MIN, slack, None)).is_ok()
        };
        let issues = |source: &&Timeline| source.terms.owner.source.issues_credentials();
        let mut metered = self.metered().filter(issues).peekable();
        !self.figures().is_spent() && metered.peek().is_some() && !metered.any(fits)
    }

    /// The most bytes that grants of a source may relay in these minutes.
    pub fn promised(&self, source: IceSource, minutes: GrantMinutes) -> u128 {
        let promised = self.all_of(source).map(|source| source.minutes.rates.promised(minutes));
        promised.fold(minutes.bytes, u128::max)
    }
}
