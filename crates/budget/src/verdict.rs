//! The budget's decision: may one more credential be minted, and with which lifetime? Pure functions over the ledger's figures.
//! Tests: `src/verdict_tests.rs`.
//! Estimate mode admits while `used < limit` and publishes the overshoot bound. Strict mode admits a grant only if it fits into every
//! period that it touches, even if all live grants relay at the assumed rate. Its bound stays zero.

use std::time::Duration;

use crate::promise::PromisedTime;
use crate::source::IceSource;
use crate::units::{ByteCount, Minute, Period, Timestamp};

/// How the limit is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetMode {
    /// Minting stops when `used` reaches the limit.
    Estimate,
    /// Minting stops before `committed` would exceed the limit.
    Strict,
}

/// Strict mode shortens no lifetime below this. With less, a call would renew all the time.
pub const STRICT_LIFE_MIN: Duration = Duration::from_secs(300);
/// In strict mode a lifetime is at least one part in this many of the tail, whatever was asked for. Each credential of a chain of renewals
/// works until its tail ends. With lives of 300 s and a tail of 7,200 s, 1 + 7,200 / 300 = 25 of them would work at once; with lives of
/// 1,800 s, five do.
const TAIL_PARTS: u64 = 4;

/// The shortest lifetime that strict mode gives beside this tail.
pub const fn strict_life_min(tail: Duration) -> Duration {
    Duration::from_secs(tail.as_secs() / TAIL_PARTS)
}

/// A strict grant takes at most one part in this many of the room that is left, so the first caller does not take it
/// all.
const STRICT_SHARE: u128 = 100;
/// A strict grant takes at most one part in this many of what its client may still reserve, so that the people behind one
/// address all get some.
const CLIENT_SHARE: u128 = 10;
/// A strict grant takes at most one part in this many of the room that its user has left, so that a user may have several devices.
/// The share is not smaller, because each renewal reserves a tail, and shorter lives mean more renewals (ADR 11).
const USER_SHARE: u128 = 3;

/// The ledger's sums over the metered sources at one instant. `used <= committed` always holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The instant, in the books' time. It never decreases.
    pub now: Timestamp,
    /// The period that contains `now`.
    pub period: Period,
    /// Best figure of the bytes billed in this period: readings, then estimates.
    pub used: ByteCount,
    /// Worst case for this whole period at the assumed rate.
    pub committed: ByteCount,
    /// Bytes that sampling may have missed and that `committed` does not include. Zero in strict mode, where `committed` has them.
    pub margin: ByteCount,
    /// Worst case for the next period, from the grants that are alive in it.
    pub committed_next: ByteCount,
    /// Bytes that may be used in a period.
    pub limit: ByteCount,
}

impl Figures {
    /// The most by which the live credentials can still take usage past the limit.
    pub fn overshoot_bound(&self) -> ByteCount {
        self.committed.plus(self.margin).minus(self.limit)
    }

    /// `limit` minus `used`, at least zero.
    pub fn remaining(&self) -> ByteCount {
        self.limit.minus(self.used)
    }

    /// Whether `used` has reached the limit. A limit of zero is always reached.
    pub fn is_spent(&self) -> bool {
        self.used >= self.limit
    }
}

/// The reason why no metered credential is minted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The figures that the decision used. Unless one of the last two fields is set, the budget is spent, or has too little room.
    pub figures: Figures,
    /// Whether some source has readings. A reading releases what was reserved and not relayed.
    pub awaits_reading: bool,
    /// Set if the budget has room and only the caller's address, group or user has reserved its share: when the first of their promises
    /// ends.
    pub client_frees_at: Option<Timestamp>,
    /// Set if the budget has room and only the limit of the user, or of the server key, has none.
    pub limited: Option<LimitUsage>,
}

/// The time after which a new reading is expected.
const NEXT_READING: Duration = Duration::from_secs(60);

impl Refusal {
    /// When a credential may fit again, if that is known: when a promise under the caller's full share ends, otherwise at the reset. `None`
    /// if a reading may release something before.
    pub fn until(&self) -> Option<Timestamp> {
        let is_spent = self.limited.map_or(self.figures.is_spent(), |of| of.is_spent());
        let may_ease = self.awaits_reading && !is_spent;
        let reset = if may_ease { None } else { Some(self.figures.period.end) };
        self.client_frees_at.or(reset)
    }

    /// The time to wait: until [`Self::until`], or else until the next reading.
    pub fn retry_in(&self) -> Duration {
        let Figures { now, period, .. } = self.figures;
        // Even if a client's share is free now, the client waits for a second, so that it does not ask without a pause.
        let least = if self.client_frees_at.is_some() { Duration::from_secs(1) } else { Duration::ZERO };
        let until = self.until().map(|until| until.since(now).max(least));
        until.unwrap_or(period.end.since(now).min(NEXT_READING))
    }
}

/// A request for a credential, or for the tracks of a session of the SFU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The source of the credential.
    pub source: IceSource,
    /// The requested lifetime.
    pub life: Duration,
    /// The provider may make the credential up to this much later.
    pub slack: Duration,
    /// How long it counts as alive after its expiry.
    pub tail: Duration,
    /// Bytes that may be relayed with it in a minute.
    pub per_minute: u64,
    /// The first minute of the period in which its bytes may be counted: now, or before if the clock of its provider may be behind.
    pub from: Minute,
    /// The first minute that is not promised already for the grant that this one renews; `from` without one.
    pub reserved_from: Minute,
    /// How many grants before it have sessions that it prolongs. For the limit of a user, each of them could relay too.
    pub chain_before: u16,
    /// What the caller's address, its group and its user have reserved, in strict mode. `None` without an address or user.
    pub clients: [Option<ClientShare>; 3],
    /// What the user and the server key have used and reserved, as far as they have a limit.
    pub limits: [Option<LimitShare>; 2],
}

/// Who has a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// A user, who could relay with all grants of a chain of renewals at once.
    User,
    /// A server key. Of a chain of renewals, one grant relays at a time.
    Server,
}

/// What somebody has used and reserved of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitShare {
    /// The limit, and what was used.
    pub usage: LimitUsage,
    /// Worst case for this whole period at the assumed rate. In estimate mode, what was used.
    pub committed: ByteCount,
    /// Worst case for the next period.
    pub committed_next: ByteCount,
}

/// What somebody has used of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitUsage {
    /// Whose limit it is.
    pub kind: LimitKind,
    /// Bytes that may be used in a period.
    pub limit: ByteCount,
    /// Bytes that the grants of this user or key have used in this period, by the best figures.
    pub used: ByteCount,
}

impl LimitUsage {
    /// Whether the limit is used up.
    pub fn is_spent(&self) -> bool {
        self.used >= self.limit
    }
}

/// The share of a strict budget that one client, a group of clients, or a user may reserve with live grants. With nothing reserved,
/// one credential of the shortest lifetime always fits, so that a small budget can be used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientShare {
    /// The share, in percent of the limit.
    pub percent: u32,
    /// Bytes that its live grants reserve.
    pub reserved: u64,
    /// When the first of these grants ends.
    pub frees_at: Option<Timestamp>,
}

impl ClientShare {
    /// Minutes that are left. `shortest`: the minutes of the shortest credential.
    fn left(&self, limit: ByteCount, per_minute: u128, shortest: u128) -> u128 {
        let share = u128::from(limit.get()).saturating_mul(self.percent.into()).checked_div(100).unwrap_or(0);
        let left = share.saturating_sub(self.reserved.into()).checked_div(per_minute).unwrap_or(u128::MAX);
        if self.reserved == 0 { left.max(shortest) } else { left }
    }
}

/// Returns the lifetime that the credential gets, or the refusal. Strict mode shortens a lifetime that does not fit, and
/// lengthens one that is too short for the tail.
pub fn decide(mode: BudgetMode, figures: Figures, request: &Request) -> Result<Duration, Refusal> {
    let refusal = Refusal { figures, awaits_reading: false, client_frees_at: None, limited: None };
    let refused = Err(refusal);
    let refused_to = |share: &LimitShare| Err(Refusal { limited: Some(share.usage), ..refusal });
    if figures.is_spent() {
        return refused;
    }
    if let Some(spent) = request.limits.iter().flatten().find(|share| share.usage.is_spent()) {
        return refused_to(spent);
    }
    match mode {
        BudgetMode::Estimate => Ok(request.life),
        BudgetMode::Strict => {
            let (room, per_minute) = (FreeBytes::of(&figures, request.from), u128::from(request.per_minute));
            // How many of the first minutes of a renewal the promise of the renewed grant covers.
            let covered = u128::from(request.reserved_from.since(request.from));
            // How long ago the first minute began.
            let begun = figures.now.since(request.from.start());
            let of_client = request.client_room(figures.limit, begun);
            let of_budget = room.minutes(per_minute, STRICT_SHARE);
            let added = of_budget.min(of_client.checked_div(CLIENT_SHARE).unwrap_or(of_client));
            let limits = || {
                let shares = request.limits.iter().flatten();
                shares.map(|share| (share, FreeBytes::of_limit(room, share)))
            };
            let of_limits = limits().map(|(share, left)| request.minutes_of(share.usage.kind, left, covered));
            let most = added.saturating_add(covered).min(of_limits.min().unwrap_or(u128::MAX));
            let longest = request.longest_life(most, begun);
            let life = if request.source.decides_life() {
                request.life
            } else {
                request.strict_life().min(longest.max(request.shortest_life()))
            };
            let minutes = request.minutes(life, begun);
            let fits = room.after(covered, minutes, per_minute).is_some();
            if !fits {
                return refused;
            }
            if minutes.saturating_sub(covered) > of_client {
                let frees_at = request.clients.iter().flatten().filter_map(|share| share.frees_at).min();
                let client_frees_at = Some(frees_at.unwrap_or(figures.now));
                return Err(Refusal { client_frees_at, ..refusal });
            }
            // Bytes per minute of the earlier grants whose sessions it prolongs.
            let prolonged = per_minute.saturating_mul(request.chain_before.into());
            let fits_limit = |(share, left): &(&LimitShare, FreeBytes)| match share.usage.kind {
                // A user may relay with a grant and its renewal at once, so no minute of a renewal is promised to the user already. A
                // session of the SFU takes one rate at a time.
                LimitKind::User => {
                    let covered_of_it = if request.source.issues_credentials() { 0 } else { covered };
                    let with_it = left.after(covered_of_it, minutes, per_minute);
                    with_it.and_then(|left| left.after(covered, minutes, prolonged)).is_some()
                }
                LimitKind::Server => left.after(covered, minutes, per_minute).is_some(),
            };
            match limits().find(|limit| !fits_limit(limit)) {
                Some((share, _)) => refused_to(share),
                None => Ok(life),
            }
        }
    }
}

/// The worst-case room in the two periods that one credential can touch.
#[derive(Clone, Copy, Debug)]
struct FreeBytes {
    /// Minutes from the credential's first one to the end of this period.
    minutes_left: u128,
    /// Bytes left in this period.
    this: u128,
    /// Bytes left in the next period.
    next: u128,
}

impl FreeBytes {
    fn of(figures: &Figures, from: Minute) -> Self {
        Self {
            minutes_left: Minute::of(figures.period.end).since(from).into(),
            this: figures.limit.minus(figures.committed).get().into(),
            next: figures.limit.minus(figures.committed_next).get().into(),
        }
    }

    /// The room that a limit leaves.
    fn of_limit(room: Self, share: &LimitShare) -> Self {
        Self {
            this: share.usage.limit.minus(share.committed).get().into(),
            next: share.usage.limit.minus(share.committed_next).get().into(),
            ..room
        }
    }

    /// Grant-minutes that fit into one part in `share` of the room. Rounded down.
    fn minutes(self, per_minute: u128, share: u128) -> u128 {
        // (room / share) / per_minute is room / (per_minute × share).
        let fitting = |room: u128| room.checked_div(per_minute.saturating_mul(share)).unwrap_or(u128::MAX);
        let until_reset = fitting(self.this);
        if until_reset < self.minutes_left {
            return until_reset;
        }
        self.minutes_left.saturating_add(fitting(self.next))
    }

    /// The room after a grant of so many `minutes`, of which the first `covered` are promised already. `None` if it does not fit into both
    /// periods.
    fn after(self, covered: u128, minutes: u128, per_minute: u128) -> Option<Self> {
        // The new minutes of this period, and those of the next one.
        let here = minutes.min(self.minutes_left).saturating_sub(covered);
        let there = minutes.saturating_sub(self.minutes_left.max(covered));
        let this = self.this.checked_sub(here.saturating_mul(per_minute))?;
        let next = self.next.checked_sub(there.saturating_mul(per_minute))?;
        Some(Self { this, next, ..self })
    }
}

impl Request {
    /// The latest time at which a credential expires that is reserved `now`.
    pub fn expires_by(&self, now: Timestamp) -> Timestamp {
        now.plus(self.life).plus(self.slack)
    }

    /// What a credential may relay that is reserved `now`.
    pub fn promise(&self, now: Timestamp) -> PromisedTime {
        let Self { from, reserved_from, chain_before, per_minute, .. } = *self;
        let until = Minute::from_end(self.expires_by(now).plus(self.tail));
        PromisedTime { from, reserved_from, chain_before, until, per_minute }
    }

    /// Time that the grant counts as alive beyond its lifetime.
    fn overhead(&self) -> Duration {
        self.slack.saturating_add(self.tail)
    }

    /// The lifetime that strict mode gives if there is room.
    fn strict_life(&self) -> Duration {
        self.life.max(self.least_life())
    }

    /// The shortest lifetime that strict mode gives, unless the caller asks for a shorter one that is not too short for the tail.
    fn shortest_life(&self) -> Duration {
        STRICT_LIFE_MIN.max(self.least_life())
    }

    /// The least lifetime beside its tail. A session of the SFU is no credential, and has none.
    fn least_life(&self) -> Duration {
        let tail = self.tail.saturating_sub(self.source.clocks_differ_by());
        if self.source.issues_credentials() { strict_life_min(tail) } else { Duration::ZERO }
    }

    /// How many minutes the client may still reserve: the least of its own, its group's and its user's.
    fn client_room(&self, limit: ByteCount, begun: Duration) -> u128 {
        let shortest =
            if self.source.decides_life() { self.life } else { self.strict_life().min(self.shortest_life()) };
        let minutes = self.minutes(shortest, begun);
        let left =
            self.clients.iter().flatten().map(|share| share.left(limit, self.per_minute.into(), minutes));
        left.min().unwrap_or(u128::MAX)
    }

    /// The most minutes of the credential that fit into its share of a limit. In the limit of a user, the minutes by which it prolongs the
    /// grants before it take room, too.
    fn minutes_of(&self, kind: LimitKind, room: FreeBytes, covered: u128) -> u128 {
        if kind == LimitKind::Server {
            return room.minutes(self.per_minute.into(), STRICT_SHARE).saturating_add(covered);
        }
        let most = room.minutes(self.per_minute.into(), USER_SHARE);
        let before = u128::from(self.chain_before);
        if most <= covered {
            return most;
        }
        // M minutes of its own also prolong `before` grants by M - covered minutes each. M + before × (M - covered) <= most gives
        // M <= (most + before × covered) / (1 + before).
        let all = most.saturating_add(before.saturating_mul(covered));
        all.checked_div(before.saturating_add(1)).unwrap_or(most)
    }

    /// Minutes that a grant with this lifetime touches. `begun`: how long ago its first minute began.
    fn minutes(&self, life: Duration, begun: Duration) -> u128 {
        begun.saturating_add(life).saturating_add(self.overhead()).as_millis().div_ceil(60_000)
    }

    /// The longest lifetime that covers at most `minutes`, in whole seconds.
    fn longest_life(&self, minutes: u128, begun: Duration) -> Duration {
        let seconds = u64::try_from(minutes.saturating_mul(60)).unwrap_or(u64::MAX);
        let life = Duration::from_secs(seconds).saturating_sub(self.overhead()).saturating_sub(begun);
        Duration::from_secs(life.as_secs())
    }
}

/// What the period's rows of any kind add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeriodBytes {
    /// Used bytes of the period.
    pub used: ByteCount,
    /// The part of them that sources counted.
    pub measured: ByteCount,
    /// The start of the period and now; for an earlier period, its start and its end.
    pub seen: [Timestamp; 2],
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
