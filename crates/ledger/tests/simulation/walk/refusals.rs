//! Checks refusals. A request is refused only if the shortest allowed credential has no room, and no client gets more than its share
//! of a strict budget.

use std::time::Duration;

use turn_ledger::books::{Hold, NotAdmitted, Requester, Snapshot};
use turn_ledger::client::ClientKey;
use turn_ledger::source::{IceSource, MINT_SLACK};
use turn_ledger::token::GrantId;
use turn_ledger::units::{ByteCount, Timestamp};
use turn_ledger::verdict::Refusal;

use super::broker::Broker;
use super::disk::Disk;
use super::expectations::Reserved;
use super::minting::id_of;

/// The shortest credential of strict mode: the value of the ledger.
const LIFE_MIN: Duration = Duration::from_secs(300);
/// No metered credential is minted while the wall clock is ahead by more.
const AHEAD_MAX: Duration = Duration::from_secs(2 * 86_400);

/// What the shortest credential needs of this period and of the next one, in bytes.
#[derive(Clone, Copy)]
struct Need {
    this: u128,
    next: u128,
}

impl Need {
    fn fits(self, limit: ByteCount, committed: ByteCount, committed_next: ByteCount) -> bool {
        let limit = u128::from(limit.get());
        u128::from(committed.get()) + self.this <= limit
            && u128::from(committed_next.get()) + self.next <= limit
    }
}

impl<D: Disk> Broker<D> {
    /// Reserves budget for a credential. Notes a refusal without need, and a share that is too large.
    pub(super) fn reserve(&mut self, life: Duration, requester: &Requester) -> Option<Reserved> {
        let (source, before) = (self.source(), self.books.snapshot());
        match self.books.reserve(source, life, MINT_SLACK, requester.clone()) {
            Ok(hold) => {
                self.check_share(&hold, requester);
                Some(self.reserved(hold, &before, source, requester))
            }
            Err(why) => {
                if !self.is_needed(why, &before, source, life, requester) {
                    let what = format!("refused without need: {why:?}, {source}, {:?}", before.figures);
                    self.signs.unfair.get_or_insert(what);
                }
                None
            }
        }
    }

    fn is_needed(
        &mut self,
        why: NotAdmitted,
        before: &Snapshot,
        source: IceSource,
        life: Duration,
        requester: &Requester,
    ) -> bool {
        let refusal = match why {
            NotAdmitted::ClockInDoubt => return before.clock_ahead > AHEAD_MAX,
            NotAdmitted::UserBlocked => {
                return requester.user().is_some_and(|user| self.books.is_blocked(user));
            }
            NotAdmitted::TooManyGrants => return self.books.grants().count() >= self.settings.rows_max,
            NotAdmitted::TooManyUsers => return self.settings.users_max < 3,
            NotAdmitted::Refused(refusal) => refusal,
        };
        let figures = before.figures;
        let of_user = requester.user().and_then(|user| self.books.user_share(user));
        let is_spent = figures.is_spent() || of_user.is_some_and(|share| share.usage.is_spent());
        // A rate that was observed, or promises that were made for another one, need more.
        if is_spent || !before.measured.assumption.holds {
            return true;
        }
        let need = self.need(before, source, life);
        match refusal {
            _ if !self.settings.strict => false,
            Refusal { user: Some(_), .. } => of_user.is_some_and(|share| {
                // For the limit of a user, a renewal also prolongs the grants before it.
                let is_alone = requester.renews.is_none();
                !is_alone || !need.fits(share.usage.limit, share.committed, share.committed_next)
            }),
            Refusal { client_frees_at: Some(_), .. } => {
                requester.client.is_some_and(|client| self.holds_something(client))
            }
            _ => !need.fits(figures.limit, figures.committed, figures.committed_next),
        }
    }

    /// Whether a client has live grants, or a session of the SFU, or credentials that are being made.
    fn holds_something(&self, client: ClientKey) -> bool {
        let has_session = self.books.sfu_sessions().any(|(_, session)| session.client == client);
        let is_made = self.in_flight.iter().any(|made| made.requester.client == Some(client));
        has_session || is_made || self.held_by(client).next().is_some()
    }

    /// What the shortest credential of this source needs.
    fn need(&self, before: &Snapshot, source: IceSource, life: Duration) -> Need {
        let now = before.figures.now;
        let into_minute = Duration::from_millis(now.as_millis().rem_euclid(60_000).unsigned_abs());
        // Where sessions are cut, the tail is shorter while they are.
        let tail = self.settings.tail(source);
        let alive = into_minute + life.min(LIFE_MIN) + MINT_SLACK + before.clock_ahead + tail;
        let minutes = alive.as_millis().div_ceil(60_000);
        let here = minutes.min(before.figures.period.end.millis_since(now).div_ceil(60_000).into());
        let per_minute = self.per_minute();
        Need { this: here * per_minute, next: (minutes - here) * per_minute }
    }

    /// What is assumed of a credential in a minute, in bytes.
    fn per_minute(&self) -> u128 {
        u128::from(self.settings.mbps) * 7_500_000
    }

    /// The grants of a client, and until when they are promised.
    fn held_by(&self, client: ClientKey) -> impl Iterator<Item = (GrantId, Timestamp)> {
        let now = self.books.now();
        let rows =
            (1..=self.minted).filter_map(|nth| Some((id_of(nth), self.books.grants().get(id_of(nth))?)));
        let of_client = rows.filter(move |(_, row)| row.client == Some(client));
        let ends = of_client.filter_map(|(id, row)| Some((id, row.alive_until()?.start())));
        ends.filter(move |(_, end)| *end > now)
    }

    /// A client's live grants reserve no more than its share, if it has more than one. Those of renewals are left out.
    fn check_share(&mut self, hold: &Hold, requester: &Requester) {
        let Some(client) = requester.client.filter(|_| self.settings.strict && requester.renews.is_none())
        else {
            return;
        };
        let now = self.books.now();
        let minutes = |until: Timestamp| u128::from(until.millis_since(now) / 60_000) * self.per_minute();
        let plain = self.held_by(client).filter(|(id, _)| !self.renewals.contains(id));
        let before: u128 = plain.map(|(_, until)| minutes(until)).sum();
        let time = hold.promised();
        let wanted = u128::from(time.per_minute) * u128::from(time.until.start().millis_since(now) / 60_000);
        let share = u128::from(self.limit.get()) / 100 * u128::from(self.settings.percent);
        if before > 0 && before + wanted > share {
            let what = format!("a client holds {} of a share of {share}", before + wanted);
            self.signs.unfair.get_or_insert(what);
        }
    }
}
