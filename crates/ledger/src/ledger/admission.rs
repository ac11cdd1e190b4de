//! Admission: room is reserved for a credential, and the reservation is then made final or returned.
//!
//! The check and the reservation are one step, so two credentials never get the same room.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::ops::Range;
use std::time::Duration;

use super::Ledger;
use crate::client::ClientKey;
use crate::minute::Minute;
use crate::source::IceSource;
use crate::source_ledger::SourceLedger;
use crate::spender::User;
use crate::units::Timestamp;
use crate::verdict::{ClientShare, Refusal, STRICT_LIFE_MIN, UserShare, Wish, decide};

/// Room that is reserved for one credential before the provider is asked. [`Ledger::release`] returns it,
/// [`Ledger::commit`] makes it final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    source: IceSource,
    alive: Range<Minute>,
    /// The minute of the reservation.
    since: Minute,
    life: Duration,
    /// The client that reserves its minutes, in strict mode.
    pub(crate) client: Option<ClientKey>,
    /// The user whose row in the sums is taken for it, with a limit for each user. In strict mode the user reserves its minutes too.
    pub(crate) user: Option<User>,
    /// How far the wall clock was ahead of the books' time. The hold covers the credential by both clocks.
    pub(crate) clock_ahead: Duration,
}

impl Hold {
    /// The lifetime that the credential gets: as requested, or shorter if strict mode has less room.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.life
    }

    /// The first minute in which the grant no longer counts as alive; `None` if it costs nothing.
    #[must_use]
    pub fn alive_until(&self) -> Option<Minute> {
        self.source.is_metered().then_some(self.alive.end)
    }

    /// The source of the credential.
    pub(crate) fn source(&self) -> IceSource {
        self.source
    }

    /// The minutes in which the credential may relay, also those that are reserved for the grant that it renews.
    pub(crate) fn may_relay(&self) -> Range<Minute> {
        self.since..self.alive.end
    }

    /// The first minute that it reserves.
    pub(crate) fn reserved_from(&self) -> Minute {
        self.alive.start
    }

    /// How many minutes it reserves.
    #[must_use]
    pub fn minutes(&self) -> u64 {
        self.alive.end.since(self.alive.start)
    }
}

impl Ledger {
    /// Reserves room for a credential with the lifetime `asked` and for its tail, or refuses. The provider may make it
    /// up to `slack` from now. The check and the reservation are one step. Unmetered sources are always admitted.
    /// The minutes before `promised_until` are promised already, to the grant that this one renews.
    pub fn try_admit(
        &mut self,
        source: IceSource,
        asked: Duration,
        slack: Duration,
        promised_until: Option<Minute>,
    ) -> Result<Hold, Refusal> {
        self.try_admit_client(source, asked, slack, promised_until, [None; 2], None)
    }

    /// The same for a client that has reserved these shares, and its group, and for a user.
    pub fn try_admit_client(
        &mut self,
        source: IceSource,
        asked: Duration,
        slack: Duration,
        promised_until: Option<Minute>,
        clients: [Option<ClientShare>; 2],
        user: Option<UserShare>,
    ) -> Result<Hold, Refusal> {
        let now = self.now;
        let promised_until = promised_until.unwrap_or_default().max(Minute::of(now));
        let (tail, liability) = match self.source_ledger(source) {
            Some(ledger) => (ledger.tail(), ledger.timeline.liability()),
            None => (Duration::ZERO, self.terms.rates.liability),
        };
        let covered = promised_until.since(Minute::of(now));
        let wish = Wish::new(asked, slack, tail, liability)
            .renewing(covered.into())
            .of_client(clients)
            .of_user(user);
        let life = if source.is_metered() {
            let awaits_reading = self.sources.iter().any(|source| source.terms.is_read);
            decide(self.terms.mode, self.figures(), wish)
                .map_err(|refusal| Refusal { awaits_reading, ..refusal })?
        } else {
            asked
        };
        let until = Minute::from_end(now.plus(life).plus(wish.overhead));
        let hold = Hold {
            source,
            alive: promised_until.min(until)..until,
            since: Minute::of(now),
            life,
            client: None,
            user: None,
            clock_ahead: Duration::ZERO,
        };
        if let Some(ledger) = self.source_ledger(source) {
            ledger.timeline.add_grant(hold.alive.clone());
        }
        Ok(hold)
    }

    /// Whether strict mode has no room for a credential of any metered source, though the budget is not spent.
    #[must_use]
    pub fn is_promised_in_full(&self, slack: Duration) -> bool {
        let figures = self.figures();
        let fits = |source: &SourceLedger| {
            let wish = Wish::new(STRICT_LIFE_MIN, slack, source.tail(), source.timeline.liability());
            decide(self.terms.mode, figures, wish).is_ok()
        };
        let may_mint =
            |source: &&SourceLedger| source.terms.source.is_metered() && source.terms.source.has_grants();
        let mut metered = self.sources.iter().filter(may_mint).peekable();
        !figures.is_spent() && metered.peek().is_some() && !metered.any(fits)
    }

    /// Makes a hold final, because the credential exists. From here on only time ends it. The grant is charged at
    /// `unreported_at`, unless its client reports a connection before.
    pub fn commit(&mut self, hold: &Hold, unreported_at: Option<Timestamp>) {
        self.counts.issued = self.counts.issued.saturating_add(1);
        if let Some(ledger) = self.source_ledger(hold.source) {
            ledger.commit(&hold.alive, unreported_at);
        }
    }

    /// Undoes a commit whose credential was not handed out.
    pub fn undo(&mut self, hold: &Hold, unreported_at: Option<Timestamp>) {
        self.counts.issued = self.counts.issued.saturating_sub(1);
        if let Some(ledger) = self.source_ledger(hold.source) {
            ledger.undo(&hold.alive, unreported_at);
        }
    }

    /// Returns a hold, because no client has the credential.
    pub fn release(&mut self, hold: &Hold) {
        if let Some(ledger) = self.source_ledger(hold.source) {
            ledger.timeline.remove_grant(hold.alive.clone());
        }
    }
}
