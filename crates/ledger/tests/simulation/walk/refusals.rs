//! The verdict on each request for a credential: the life that it gets, or why it is refused and when to ask again. All of it is computed
//! from the figures a second time and compared exactly.

use std::time::Duration;

use turn_ledger::{
    ByteCount, Figures, GrantId, Hold, IceSource, MINT_SLACK, Minute, NotAdmitted, PromisedTime, Requester,
    Snapshot, Timestamp, User, UserShare, UserUsage,
};

use super::broker::Broker;
use super::disk::Disk;
use super::expectations::Reserved;
use super::minting::{InFlight, user_named};
use super::model::allowances::Holder;
use super::settings::millis;

/// The shortest credential of strict mode: the value of the ledger.
const LIFE_MIN: Duration = Duration::from_secs(300);
/// The parts of the room that one credential takes at most: of the budget, of its client's share, of its user's limit.
const STRICT_SHARE: u128 = 100;
const CLIENT_SHARE: u128 = 10;
const USER_SHARE: u128 = 3;
/// No metered credential is minted while the wall clock is ahead by more.
const AHEAD_MAX: Duration = Duration::from_secs(2 * 86_400);
/// The next count is expected within this time. It may bring room unless the limit is used up.
const NEXT_COUNT: Duration = Duration::from_secs(60);

/// What the books say to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// A credential with this life.
    Life(Duration),
    /// The budget has no room, or the user, or the address.
    Full {
        user: Option<UserUsage>,
        frees_at: Option<Timestamp>,
        retry_in: Duration,
    },
    Blocked,
    ClockInDoubt,
    TableFull,
    UsersFull,
}

impl Verdict {
    fn of(reserved: &Result<Hold, NotAdmitted>, figures: &Figures) -> Option<Self> {
        Some(match reserved {
            Ok(hold) => Self::Life(hold.life()),
            Err(NotAdmitted::UserBlocked) => Self::Blocked,
            Err(NotAdmitted::ClockInDoubt) => Self::ClockInDoubt,
            Err(NotAdmitted::TooManyGrants) => Self::TableFull,
            Err(NotAdmitted::TooManyUsers) => Self::UsersFull,
            Err(NotAdmitted::Refused(refusal)) => {
                // Cloudflare's count is read in all scenarios.
                let is_right = refusal.figures == *figures && refusal.awaits_reading;
                let (user, frees_at) = (refusal.user, refusal.client_frees_at);
                return is_right.then(|| Self::Full { user, frees_at, retry_in: refusal.retry_in() });
            }
        })
    }
}

/// Room in this period and in the next one, in bytes.
#[derive(Clone, Copy)]
struct FreeBytes {
    this: u128,
    next: u128,
}

impl FreeBytes {
    fn of(limit: ByteCount, committed: ByteCount, committed_next: ByteCount) -> Self {
        let left = |committed: ByteCount| u128::from(limit.get().saturating_sub(committed.get()));
        Self { this: left(committed), next: left(committed_next) }
    }
}

/// A request for a credential, in minutes of the books.
struct WantedGrant {
    /// Time into the minute, and that the credential may relay beyond its life, in milliseconds.
    beyond: u64,
    /// Minutes until the reset.
    left: u128,
    /// Minutes that are promised for the grant that it renews, and the grants before it whose sessions it prolongs.
    covered: u128,
    chain_before: u128,
    per_minute: u128,
}

impl WantedGrant {
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
    fn fits(&self, room: FreeBytes, minutes: u128, covered: u128) -> bool {
        let (here, there) = self.bytes(minutes, covered);
        here <= room.this && there <= room.next
    }

    /// Whether they fit into the room of a user, who may relay with all grants of a chain at a time.
    fn fits_user(&self, room: FreeBytes, minutes: u128) -> bool {
        let ((own, own_next), (one, one_next)) = (self.bytes(minutes, 0), self.bytes(minutes, self.covered));
        let (before, before_next) = (one * self.chain_before, one_next * self.chain_before);
        own + before <= room.this && own_next + before_next <= room.next
    }

    /// The longest life that takes so many minutes, in whole seconds.
    fn life(&self, minutes: u128) -> Duration {
        let millis = (minutes * 60_000).saturating_sub(self.beyond.into());
        Duration::from_secs(u64::try_from(millis / 1_000).unwrap_or(u64::MAX))
    }

    /// The minutes that one part in so many of the room is enough for.
    fn share(&self, room: FreeBytes, parts: u128) -> u128 {
        let minutes = |bytes: u128| bytes / (self.per_minute * parts).max(1);
        let here = minutes(room.this);
        if here >= self.left { self.left + minutes(room.next) } else { here }
    }
}

impl<D: Disk> Broker<D> {
    /// Reserves budget for a credential, and compares the verdict.
    pub(super) fn reserve(&mut self, life: Duration, requester: &Requester) -> Option<Reserved> {
        let (source, before) = (self.source(), self.books.snapshot());
        let of_user = requester.user().and_then(|user| self.books.user_share(user));
        let expected = self.verdict(&before, source, life, of_user.as_ref(), requester);
        let reserved = self.books.reserve(source, life, MINT_SLACK, requester);
        let found = Verdict::of(&reserved, &before.figures);
        // Which users have a row of a full table is not known here.
        let is_full = of_user.is_some() && self.settings.users_max < 3 && found == Some(Verdict::UsersFull);
        self.model.expect(found == Some(expected) || is_full, || {
            format!(
                "the verdict is {reserved:?} instead of {expected:?}: {life:?}, {source}, {:?}",
                before.figures
            )
        });
        Some(self.reserved(reserved.ok()?, &before, source, requester))
    }

    /// What the books must say to a request.
    fn verdict(
        &mut self,
        before: &Snapshot,
        source: IceSource,
        wanted: Duration,
        of_user: Option<&UserShare>,
        requester: &Requester,
    ) -> Verdict {
        let (figures, grant) = (before.figures, self.grant(before, source, requester));
        let reset = Duration::from_millis(figures.period.end.millis_since(figures.now));
        let refused = |user: Option<UserUsage>| {
            let is_spent = user.map_or(figures.used >= figures.limit, |user| user.used >= user.limit);
            let retry_in = if is_spent { reset } else { reset.min(NEXT_COUNT) };
            Verdict::Full { user, frees_at: None, retry_in }
        };
        if requester
            .user()
            .is_some_and(|user| self.model.now.blocked.iter().any(|of| user_named(*of) == *user))
        {
            return Verdict::Blocked;
        }
        if before.clock_ahead > AHEAD_MAX {
            return Verdict::ClockInDoubt;
        }
        if figures.used >= figures.limit {
            return refused(None);
        }
        if of_user.is_some_and(|user| user.usage.used >= user.usage.limit) {
            return refused(of_user.map(|user| user.usage));
        }
        let is_full = self.books.grants().count() >= self.settings.rows_max;
        if !self.settings.strict {
            return if is_full { Verdict::TableFull } else { Verdict::Life(wanted) };
        }
        let room = FreeBytes::of(figures.limit, figures.committed, figures.committed_next);
        let of_client = self.minutes_of_client(&grant, wanted, requester);
        let share = of_client.map_or(u128::MAX, |(minutes, _)| minutes / CLIENT_SHARE);
        let mut most = share.min(grant.share(room, STRICT_SHARE)) + grant.covered;
        let room_of_user =
            of_user.map(|user| FreeBytes::of(user.usage.limit, user.committed, user.committed_next));
        if let Some(room) = room_of_user {
            let minutes = grant.share(room, USER_SHARE);
            let all = (minutes + grant.chain_before * grant.covered) / (grant.chain_before + 1);
            most = most.min(if minutes <= grant.covered { minutes } else { all });
        }
        let given = wanted.min(grant.life(most).max(LIFE_MIN));
        let minutes = grant.minutes(given);
        match of_client {
            _ if !grant.fits(room, minutes, grant.covered) => refused(None),
            Some((left, frees_at)) if minutes.saturating_sub(grant.covered) > left => {
                let frees_at = frees_at.unwrap_or(figures.now);
                let wait = Duration::from_millis(frees_at.millis_since(figures.now));
                let retry_in = wait.max(Duration::from_secs(1));
                Verdict::Full { user: None, frees_at: Some(frees_at), retry_in }
            }
            _ if room_of_user.is_some_and(|room| !grant.fits_user(room, minutes)) => {
                refused(of_user.map(|user| user.usage))
            }
            _ if is_full => Verdict::TableFull,
            _ => Verdict::Life(given),
        }
    }

    fn grant(&mut self, before: &Snapshot, source: IceSource, requester: &Requester) -> WantedGrant {
        let now = before.figures.now;
        let into_minute = now.as_millis().rem_euclid(60_000).unsigned_abs();
        let live = |id: &GrantId| self.books.grants().get(*id).is_some();
        let renewed = requester.renews.filter(live);
        let is_cut_here = self.is_cut_here(source);
        let (covered, chain_before) = self.model.covered(renewed, source, now, is_cut_here);
        WantedGrant {
            beyond: into_minute + millis(MINT_SLACK + before.clock_ahead) + self.tail_of(source),
            left: before.figures.period.end.millis_since(now).div_ceil(60_000).into(),
            covered,
            chain_before,
            per_minute: self.books.ledger().bytes_per_minute(source).into(),
        }
    }

    /// Minutes that a client and a user may still reserve, and when the first of their promises ends; `None` if nothing limits it.
    fn minutes_of_client(
        &self,
        grant: &WantedGrant,
        life: Duration,
        requester: &Requester,
    ) -> Option<(u128, Option<Timestamp>)> {
        let number = |user: &User| user.as_str().parse().ok();
        let holders = |client, user: Option<&User>| Holder::of(client, user.and_then(number));
        let now = Minute::of(self.books.now()).number();
        let of_holder = |holder: Holder| {
            let is_theirs = |client, user| holders(client, user).contains(&holder);
            let held = self.in_flight.iter().map(|made| (made, &made.requester));
            let held = held.filter(|(_, by)| is_theirs(by.client, by.user())).map(|(made, _)| made);
            let held = held.filter_map(InFlight::held).map(|(_, time)| time);
            let pages = self.books.grants().iter().filter(|(_, row)| row.source == IceSource::Sfu);
            let pages = pages
                .filter(|(_, row)| is_theirs(row.client, row.user()))
                .filter_map(|(_, row)| row.promised);
            let promised = self.model.reserved_by(holder, now).chain(held).chain(pages);
            // What a renewal adds to the minutes of those before it.
            let added = |time: &PromisedTime| {
                let minutes = time.until.number() - time.reserved_from.number();
                u128::try_from(minutes).unwrap_or(0) * u128::from(time.per_minute)
            };
            let promised = promised.filter(|time| time.until.number() > now && added(time) > 0);
            let promised: Vec<_> = promised.collect();
            let reserved = promised.iter().map(added).sum::<u128>();
            let percent = u128::from(holder.factor() * u64::from(self.settings.percent)).min(100);
            let share = u128::from(self.limit.get()) * percent / 100;
            let left = share.saturating_sub(reserved) / grant.per_minute.max(1);
            let left = if reserved == 0 { left.max(grant.minutes(life.min(LIFE_MIN))) } else { left };
            (left, promised.iter().map(|time| time.until.start()).min())
        };
        let theirs = holders(requester.client, requester.user()).into_iter().filter(|_| self.settings.strict);
        let theirs: Vec<_> = theirs.map(of_holder).collect();
        let left = theirs.iter().map(|(left, _)| *left).min()?;
        Some((left, theirs.iter().filter_map(|(_, frees_at)| *frees_at).min()))
    }

    /// Whether strict mode has no room for the shortest credential of any source, though the limit is not used up.
    pub(super) fn is_promised_in_full(&self, now: &Snapshot) -> bool {
        let figures = now.figures;
        let room = FreeBytes::of(figures.limit, figures.committed, figures.committed_next);
        let fits = |source: IceSource| {
            let is_configured = self.settings.sources.contains(&source);
            let tail = if is_configured { self.tail_of(source) } else { self.long_tail(source) };
            let grant = WantedGrant {
                beyond: figures.now.as_millis().rem_euclid(60_000).unsigned_abs()
                    + millis(MINT_SLACK + now.clock_ahead)
                    + tail,
                left: figures.period.end.millis_since(figures.now).div_ceil(60_000).into(),
                covered: 0,
                chain_before: 0,
                per_minute: self.books.ledger().bytes_per_minute(source).into(),
            };
            grant.fits(room, grant.minutes(LIFE_MIN), 0)
        };
        let mut sources = self.books.ledger().sources().filter(|source| *source != IceSource::Sfu);
        self.settings.strict && figures.used < figures.limit && !sources.any(fits)
    }
}
