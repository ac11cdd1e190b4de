//! Checks refusals. A request is refused only if the shortest allowed credential has no room, and no client gets more than its share
//! of a strict budget.

use std::time::Duration;

use turn_ledger::{
    ByteCount, ClientKey, GrantId, GrantRow, IceSource, MINT_SLACK, Minute, NotAdmitted, Refusal, Requester,
    Snapshot, UserShare,
};

use super::broker::Broker;
use super::disk::Disk;
use super::expectations::Reserved;
use super::minting::InFlight;
use super::model::allowances::keys_of;
use super::settings::millis;

/// The shortest credential of strict mode: the value of the ledger.
const LIFE_MIN: Duration = Duration::from_secs(300);
/// The parts of the room that one credential takes at most: of the budget, of its client's share, of its user's limit.
const STRICT_SHARE: u128 = 100;
const CLIENT_SHARE: u128 = 10;
const USER_SHARE: u128 = 3;
/// No metered credential is minted while the wall clock is ahead by more.
const AHEAD_MAX: Duration = Duration::from_secs(2 * 86_400);

/// Room in this period and in the next one, in bytes.
#[derive(Clone, Copy)]
struct Room {
    this: u128,
    next: u128,
}

impl Room {
    fn of(limit: ByteCount, committed: ByteCount, committed_next: ByteCount) -> Self {
        let left = |committed: ByteCount| u128::from(limit.get().saturating_sub(committed.get()));
        Self { this: left(committed), next: left(committed_next) }
    }
}

/// A request for a credential, in minutes of the books.
struct Wish {
    /// Time into the minute, and that the credential may relay beyond its life, in milliseconds.
    beyond: u64,
    /// Minutes until the reset.
    left: u128,
    /// Minutes that are promised for the grant that it renews, and the grants before it whose sessions it prolongs.
    covered: u128,
    chain_before: u128,
    per_minute: u128,
}

impl Wish {
    fn minutes(&self, life: Duration) -> u128 {
        u128::from(millis(life) + self.beyond).div_ceil(60_000)
    }

    /// The bytes of so many minutes in both periods. Of the first `covered` ones nothing is needed.
    fn bytes(&self, minutes: u128, covered: u128) -> (u128, u128) {
        let here = minutes.min(self.left).saturating_sub(covered);
        let there = minutes.saturating_sub(self.left.max(covered));
        (here * self.per_minute, there * self.per_minute)
    }

    /// Whether so many minutes fit.
    fn fits(&self, room: Room, minutes: u128, covered: u128) -> bool {
        let (here, there) = self.bytes(minutes, covered);
        here <= room.this && there <= room.next
    }

    /// Whether they fit into the room of a user, who may relay with all grants of a chain at a time.
    fn fits_user(&self, room: Room, minutes: u128) -> bool {
        let ((own, own_next), (one, one_next)) = (self.bytes(minutes, 0), self.bytes(minutes, self.covered));
        let (before, before_next) = (one * self.chain_before, one_next * self.chain_before);
        own + before <= room.this && own_next + before_next <= room.next
    }

    /// The minutes that one part in so many of the room is enough for.
    fn share(&self, room: Room, parts: u128) -> u128 {
        let minutes = |bytes: u128| bytes / (self.per_minute * parts).max(1);
        let here = minutes(room.this);
        if here >= self.left { self.left + minutes(room.next) } else { here }
    }
}

impl<D: Disk> Broker<D> {
    /// Reserves budget for a credential. Notes a refusal without need, a life that is not as it must be, and a share that is too large.
    pub(super) fn reserve(&mut self, life: Duration, requester: &Requester) -> Option<Reserved> {
        let (source, before) = (self.source(), self.books.snapshot());
        let of_user = requester.user().and_then(|user| self.books.user_share(user));
        let wish = self.wish(&before, source, requester);
        let of_client = self.minutes_of_client(&wish, life, requester);
        let must = self.must_refuse(&before, of_user.as_ref(), requester);
        match self.books.reserve(source, life, MINT_SLACK, requester.clone()) {
            Ok(hold) => {
                let wrong =
                    self.is_given_wrongly(&before, &wish, life, hold.life(), of_client, of_user.as_ref());
                let wrong = wrong.or_else(|| must.then(|| "a credential that must be refused".into()));
                self.model.expect(wrong.is_none(), || wrong.unwrap_or_default());
                Some(self.reserved(hold, &before, source, requester))
            }
            Err(why) => {
                if !self.is_needed(why, &before, &wish, life, of_client, of_user.as_ref(), requester) {
                    let what = format!("refused without need: {why:?}, {source}, {:?}", before.figures);
                    self.signs.unfair.get_or_insert(what);
                }
                None
            }
        }
    }

    fn wish(&mut self, before: &Snapshot, source: IceSource, requester: &Requester) -> Wish {
        let now = before.figures.now;
        let into_minute = now.as_millis().rem_euclid(60_000).unsigned_abs();
        let live = |id: &GrantId| self.books.grants().get(*id).is_some();
        let renewed = requester.renews.filter(live);
        let is_cut_here = self.is_cut_here(source);
        let (covered, chain_before) = self.model.covered(renewed, source, now, is_cut_here);
        Wish {
            beyond: into_minute + millis(MINT_SLACK + before.clock_ahead) + self.tail_of(source),
            left: before.figures.period.end.millis_since(now).div_ceil(60_000).into(),
            covered,
            chain_before,
            per_minute: self.books.ledger().bytes_per_minute(source).into(),
        }
    }

    /// Minutes that a client may still reserve; `None` if nothing limits it.
    fn minutes_of_client(&self, wish: &Wish, life: Duration, requester: &Requester) -> Option<u128> {
        let client = requester.client.filter(|_| self.settings.strict)?;
        if !self.pages.is_empty() {
            return None;
        }
        let now = Minute::of(self.books.now()).number();
        let left = keys_of(client).into_iter().map(|key| {
            let is_theirs = |of: Option<ClientKey>| of.is_some_and(|of| keys_of(of).contains(&key));
            let held = self.in_flight.iter().filter(|made| is_theirs(made.requester.client));
            let held = held.filter_map(InFlight::held).map(|(_, time)| time);
            let promised = self.model.reserved_by(is_theirs, now).chain(held);
            let reserved: u128 = promised.map(|time| u128::from(time.reserved_bytes())).sum();
            // A /48 may reserve as much as four addresses.
            let factor = if matches!(key, ClientKey::V6Group(_)) { 4 } else { 1 };
            let percent = u128::from(factor * self.settings.percent).min(100);
            let share = u128::from(self.limit.get()) * percent / 100;
            let left = share.saturating_sub(reserved) / wish.per_minute.max(1);
            if reserved == 0 { left.max(wish.minutes(life.min(LIFE_MIN))) } else { left }
        });
        left.min()
    }

    /// Whether no credential may be made, whatever room there is.
    fn must_refuse(&self, before: &Snapshot, of_user: Option<&UserShare>, requester: &Requester) -> bool {
        let is_blocked = requester.user().is_some_and(|user| self.books.is_blocked(user));
        let is_spent = before.figures.is_spent() || of_user.is_some_and(|share| share.usage.is_spent());
        let is_full = self.books.grants().count() >= self.settings.rows_max;
        is_blocked || is_spent || is_full || before.clock_ahead > AHEAD_MAX
    }

    /// What is wrong with the life that a credential was given.
    fn is_given_wrongly(
        &self,
        before: &Snapshot,
        wish: &Wish,
        wanted: Duration,
        given: Duration,
        of_client: Option<u128>,
        of_user: Option<&UserShare>,
    ) -> Option<String> {
        if !self.settings.strict {
            return (given != wanted).then(|| format!("{given:?} were given instead of {wanted:?}"));
        }
        let figures = before.figures;
        let room = Room::of(figures.limit, figures.committed, figures.committed_next);
        let mut share = wish.share(room, STRICT_SHARE);
        if let Some(of_client) = of_client {
            share = share.min(of_client / CLIENT_SHARE);
        }
        let mut most = share + wish.covered;
        if let Some(user) = of_user {
            let room = Room::of(user.usage.limit, user.committed, user.committed_next);
            let minutes = wish.share(room, USER_SHARE);
            let all = (minutes + wish.chain_before * wish.covered) / (wish.chain_before + 1);
            most = most.min(if minutes <= wish.covered { minutes } else { all });
        }
        let (is_least, second) = (given == wanted.min(LIFE_MIN), Duration::from_secs(1));
        let is_too_long = wish.minutes(given) > most && !is_least;
        let is_too_short = given < wanted && wish.minutes(given + second) <= most;
        let minutes = wish.minutes(given);
        let is_beyond_client = of_client.is_some_and(|most| minutes.saturating_sub(wish.covered) > most);
        let of_user = of_user.map(|user| Room::of(user.usage.limit, user.committed, user.committed_next));
        let is_beyond_user = of_user.is_some_and(|room| !wish.fits_user(room, minutes));
        if is_beyond_client || is_beyond_user || !wish.fits(room, minutes, wish.covered) {
            return Some(format!("{given:?} were given, for which there is no room"));
        }
        // What pages hold of a client's share is not known here.
        let is_wrong = given > wanted || is_too_long || (is_too_short && self.pages.is_empty());
        is_wrong.then(|| format!("{given:?} of {wanted:?} were given, {most} minutes at most"))
    }

    #[expect(clippy::too_many_arguments, reason = "each is a fact of its own")]
    fn is_needed(
        &mut self,
        why: NotAdmitted,
        before: &Snapshot,
        wish: &Wish,
        life: Duration,
        of_client: Option<u128>,
        of_user: Option<&UserShare>,
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
        if figures.is_spent() || of_user.is_some_and(|share| share.usage.is_spent()) {
            return true;
        }
        let minutes = wish.minutes(life.min(LIFE_MIN));
        match refusal {
            _ if !self.settings.strict => false,
            Refusal { user: Some(_), .. } => of_user.is_some_and(|share| {
                !wish.fits_user(Room::of(share.usage.limit, share.committed, share.committed_next), minutes)
            }),
            Refusal { client_frees_at: Some(_), .. } => match of_client {
                Some(of_client) => minutes.saturating_sub(wish.covered) > of_client,
                None => requester.client.is_some_and(|client| self.holds_something(client)),
            },
            _ => {
                let room = Room::of(figures.limit, figures.committed, figures.committed_next);
                !wish.fits(room, minutes, wish.covered)
            }
        }
    }

    /// Whether something is promised for a client or its /48: live grants, sessions of the SFU, or credentials that are being made.
    fn holds_something(&self, client: ClientKey) -> bool {
        let keys = keys_of(client);
        let is_theirs =
            |of: Option<ClientKey>| of.is_some_and(|of| keys_of(of).iter().any(|key| keys.contains(key)));
        let is_made = self.in_flight.iter().any(|made| is_theirs(made.requester.client));
        let now = self.books.now();
        let is_promised = |row: &GrantRow| row.alive_until().is_some_and(|until| until.start() > now);
        let mut theirs = self.books.grants().iter().filter(|(_, row)| is_theirs(row.client));
        is_made || theirs.any(|(_, row)| is_promised(row))
    }
}
