//! Admission: whether a credential fits into the budget, and with which lifetime.
//!
//! The caller reserves the promise that it gets before it does anything else, so two credentials never get the same room.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::time::Duration;

use super::Ledger;
use crate::{
    BitRate, ClientShare, GrantMinutes, IceSource, Minute, PromisedTime, Refusal, STRICT_LIFE_MIN, Timeline,
    Timestamp, UsageChange, UserShare, Wish, decide,
};

/// A request for a credential.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The source of the credential.
    pub source: IceSource,
    /// The lifetime that was asked for.
    pub life: Duration,
    /// The provider may make the credential up to this much later.
    pub slack: Duration,
    /// What is promised for the grant that this one renews.
    pub renewed: Option<PromisedTime>,
    /// What the caller's address and its group have reserved.
    pub clients: [Option<ClientShare>; 2],
    /// What the user has used and reserved.
    pub user: Option<UserShare>,
    /// What relays at the same time: one for a credential, the tracks of a session of the SFU.
    pub streams: u32,
}

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
    /// Finds room for a credential and for its tail, or refuses. Unmetered sources are always admitted.
    pub fn admit(&self, request: &Request) -> Result<Admission, Refusal> {
        let Request { source, slack, .. } = *request;
        let now = Minute::of(self.now);
        let reserved_from = request.renewed.map_or(now, |time| time.chain_until().max(now));
        // Where sessions are cut here, a renewal prolongs those that the grants before it began.
        let renewed = request.renewed.filter(|_| self.is_cut_here(source));
        let chain_before = renewed.map_or(0, |time| time.chain_before.saturating_add(1));
        let rate = self.assumed_rate_of(source).get().saturating_mul(request.streams.into());
        let wish = Wish {
            covered: reserved_from.since(now).into(),
            chain_before,
            clients: request.clients,
            user: request.user,
            ..Wish::new(request.life, slack, self.tail(source), BitRate::new(rate))
        };
        let life = if source.is_metered() {
            let awaits_reading = self.sources.iter().any(|source| source.terms.is_read);
            decide(self.terms.mode, self.figures(), wish)
                .map_err(|refusal| Refusal { awaits_reading, ..refusal })?
        } else {
            request.life
        };
        let until = Minute::from_end(self.now.plus(life).plus(wish.overhead));
        let per_minute = u64::try_from(wish.per_minute).unwrap_or(u64::MAX);
        let promise =
            PromisedTime { from: now, reserved_from, chain_before, until, per_minute, is_held: true };
        Ok(Admission { life, expires_by: self.now.plus(life).plus(slack), promise })
    }

    /// Whether the broker ends the sessions of a source.
    fn is_cut_here(&self, source: IceSource) -> bool {
        source.refuses_revoked() || self.cut_tail(source).is_some()
    }

    /// Whether strict mode has no room for a credential of any metered source, though the budget is not spent.
    #[must_use]
    pub fn is_promised_in_full(&self, slack: Duration) -> bool {
        let figures = self.figures();
        let fits = |source: &Timeline| {
            let rate = source.minutes.rates().liability;
            let wish = Wish::new(STRICT_LIFE_MIN, slack, source.tail(self.latest()), rate);
            decide(self.terms.mode, figures, wish).is_ok()
        };
        let mut metered = self.metered().filter(|source| source.terms.source.issues_credentials()).peekable();
        !figures.is_spent() && metered.peek().is_some() && !metered.any(fits)
    }

    /// Applies several changes.
    pub(crate) fn apply_all(&mut self, changes: impl IntoIterator<Item = UsageChange>) {
        for change in changes {
            self.apply(change);
        }
    }

    /// The most bytes that grants of a source may relay in these minutes.
    #[must_use]
    pub fn promised(&self, source: IceSource, minutes: GrantMinutes) -> u128 {
        self.of(source).map_or(minutes.bytes, |source| source.minutes.rates().promised(minutes))
    }
}
