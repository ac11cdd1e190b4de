//! All figures at one instant. Tests: `src/open_tests.rs`.
//! Responses, metrics and log lines are derived from them, so they cannot disagree.

use strum::VariantArray;

use super::{Books, CLOCK_AHEAD_MAX, NotAdmitted};
use crate::lacking::LackCause;
use crate::prelude::*;

/// The wall clock may differ from the books' time by this much before a hint reports it.
pub const CLOCK_DIFFERENCE_TOLERATED: Duration = Duration::from_secs(10);

/// Bytes under unknown identifiers are reported if they are more than this part of the used bytes, in percent, and at least one
/// part in [`UNKNOWN_LIMIT_PART`] of the limit.
const UNKNOWN_PERCENT: u32 = 5;
/// See [`UNKNOWN_PERCENT`]. In the first minutes of a period a few bytes are a large part of what was used, and mean nothing.
const UNKNOWN_LIMIT_PART: u64 = 1_000;

/// The assumed rates and tails hold while what counts have shown beyond them is at most so many percent of the limit.
const EXCESS_PERCENT: u32 = 1;

/// Minting may wait so long for the clock before that is a fault. A reference clock that works answers sooner.
const CLOCK_WAIT_MAX: Duration = Duration::from_secs(30);

/// Why the bound may not hold. The only list of the reasons: each has a condition here, and a hint in the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::VariantArray)]
pub enum BoundBreak {
    /// Counts have shown more than the assumed rates and tails allow.
    Excess,
    /// Sessions of a coturn are not cut, although its command line is set.
    Uncut,
    /// Counts have shown bytes under identifiers that the ledger does not know. No promise covers them.
    UnknownBytes,
    /// A count is not believed.
    Disbelief,
    /// App servers vouched for more bytes of one day than the day's count, the margin and a hundredth of the limit together.
    VouchedAbove,
    /// Counts become final later than the lag.
    LateCounts,
    /// The provider's clock differs from the books' time.
    ClockDiffers,
    /// The books' time may not be the true one.
    ClockInDoubt,
    /// Grants that were alive at a jump of the time may relay for longer than is promised.
    ClockJumped,
    /// A clock that was ahead ended the period too early, so no period counts what the grants of that period still relay.
    EarlierPeriod,
    /// Grants may relay that the ledger does not have.
    Lacking,
    /// Sessions of a source may outlive every promise, and nobody sees them.
    Unseen,
    /// This replica may have stopped leading, so another one may have answered requests since.
    NotLeading,
}

/// All figures at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The ledger's sums.
    pub figures: Figures,
    /// The providers' own counts.
    pub measured: MeasuredUsage,
    /// The most by which the live credentials can still take usage past the limit. Calls that the broker ends at the limit add nothing
    /// after it.
    pub uncut_overshoot: ByteCount,
    /// [`Self::uncut_overshoot`] if these credentials relay at the highest hourly average that counts have shown in this period; `None`
    /// without a count.
    pub likely_overshoot: Option<ByteCount>,
    /// What happened in this period.
    pub counts: PeriodCounts,
    /// The limit in the configuration, which an override may replace.
    pub configured_limit: ByteCount,
    /// Whether an override stops all minting.
    pub frozen: bool,
    /// Why no caller gets a metered credential from any source.
    pub refusal: Option<NotAdmitted>,
    /// Grants alive now, tail included.
    pub live_grants: u64,
    /// Open connections.
    pub open_connections: usize,
    /// The address that its limit of this day refused last, and how many addresses were refused today.
    pub refused_addresses: Option<(ClientKey, usize)>,
    /// Bytes of this period that sources counted under identifiers that the ledger does not know.
    pub unknown_bytes: ByteCount,
    /// The highest rate that a grant is assumed to relay at.
    pub assumed_rate: BitRate,
    /// Which credentials are admitted.
    pub mode: BudgetMode,
    /// A source whose credentials of this period or the last one may relay beyond every promise, and nobody sees it.
    pub unseen: Option<IceSource>,
    /// Whether other programs that know the secret of a coturn have sessions. Nothing is promised for them.
    pub foreign_sessions: bool,
    /// Changes to a higher rate or a longer tail that are under way: some promises are still shown as they were before.
    pub raising: usize,
    /// Until when grants may relay that the ledger does not have.
    pub lacks_until: Timestamp,
    /// Why the ledger does not have these grants.
    pub lack_cause: LackCause,
    /// How far the wall clock is behind the books' time: it was set back, or was ahead before.
    pub clock_behind: Duration,
    /// How far the wall clock is ahead of the books' time: it has jumped, and the jump is not accepted yet.
    pub clock_ahead: Duration,
    /// For how long the wall clock has been ahead.
    pub clock_ahead_for: Duration,
    /// Why the books' time may not be the true one.
    pub clock_doubt: Option<ClockDoubt>,
    /// How far the provider's clock is from the books' time. Zero while it is not known.
    pub clock_differs_by: Duration,
    /// Grants that were alive at a jump of the time may relay until then, beyond what is promised.
    pub jumped_until: Timestamp,
    /// Whether this process may act as the leader. The books do not know it: the service sets it.
    pub leads: bool,
}

impl Snapshot {
    /// Whether so many bytes are unknown that somebody else may use a TURN key: more than 5 % of what was used and at least a thousandth of
    /// the limit, or more than the bound tolerates ([`Self::unknown_bytes_are_few`]).
    pub fn has_unknown_bytes(&self) -> bool {
        let (unknown, limit) = (self.unknown_bytes.get(), self.figures.limit.get());
        let share = self.figures.used.share_up(UNKNOWN_PERCENT);
        let is_much = u128::from(unknown) > share && unknown >= limit.div_ceil(UNKNOWN_LIMIT_PART);
        is_much || !self.unknown_bytes_are_few()
    }

    /// Whether the unknown bytes of this period are too few for an alarm. They share a tolerance with the bytes beyond the assumed rates
    /// and tails: see `is_small_beside`. No promise covers unknown bytes.
    pub fn unknown_bytes_are_few(&self) -> bool {
        is_small_beside(self.unknown_bytes, self.measured.excess.bytes, self.figures.limit)
    }

    /// Whether no metered credential is minted because the wall clock is too far ahead of the books' time, and has been for so long that
    /// somebody must look at it.
    pub fn is_stopped_by_clock(&self) -> bool {
        self.refusal == Some(NotAdmitted::ClockInDoubt) && self.clock_ahead_for >= CLOCK_WAIT_MAX
    }

    /// Whether strict mode has no room for another credential although the budget is not spent.
    pub fn is_promised_in_full(&self) -> bool {
        matches!(self.refusal, Some(NotAdmitted::Refused(_))) && !self.figures.is_spent()
    }

    /// Whether grants may relay that the ledger does not know.
    pub fn lacks_grants(&self) -> bool {
        self.lacks_until > self.figures.now
    }

    /// Whether the bytes that counts of this period have shown beyond the assumed rates and tails are too few for an alarm. They share a
    /// tolerance with the unknown bytes: see `is_small_beside`. A call of several streams is no emergency.
    pub fn rate_holds(&self) -> bool {
        is_small_beside(self.measured.excess.bytes, self.unknown_bytes, self.figures.limit)
    }

    /// Whether the published bound holds, as far as is known.
    pub fn bound_holds(&self) -> bool {
        self.raising == 0 && self.broken().next().is_none()
    }

    /// The assumptions of the bound that may not hold.
    pub fn broken(&self) -> impl Iterator<Item = BoundBreak> {
        BoundBreak::VARIANTS.iter().copied().filter(|reason| self.has(*reason))
    }

    /// Whether this reason exists now.
    fn has(&self, reason: BoundBreak) -> bool {
        let into_period = self.figures.now.since(self.figures.period.start);
        match reason {
            BoundBreak::Excess => !self.rate_holds() || self.measured.short_tail,
            BoundBreak::Uncut => self.measured.uncut,
            BoundBreak::UnknownBytes => !self.unknown_bytes_are_few(),
            BoundBreak::Disbelief => self.measured.disbelieved.is_some(),
            BoundBreak::VouchedAbove => !is_small(self.measured.vouched_above, self.figures.limit),
            BoundBreak::LateCounts => self.measured.late_counts,
            BoundBreak::ClockDiffers => self.clock_differs_by > REFERENCE_DIFFERENCE_TOLERATED,
            BoundBreak::ClockInDoubt => self.clock_doubt.is_some(),
            BoundBreak::ClockJumped => self.jumped_until > self.figures.now,
            // By the wall clock, this period has not begun. A difference that is tolerated does not count.
            BoundBreak::EarlierPeriod => self.clock_behind > into_period.max(CLOCK_DIFFERENCE_TOLERATED),
            BoundBreak::Lacking => self.lacks_grants(),
            BoundBreak::Unseen => self.unseen.is_some(),
            BoundBreak::NotLeading => !self.leads,
        }
    }
}

impl Books {
    /// All figures at the books' time.
    pub fn snapshot(&self) -> Snapshot {
        let (figures, measured) = (self.budget.figures(), self.budget.measured());
        let rate = measured.highest_hour.unwrap_or_default();
        let uncut_overshoot = self.budget.overshoot(|minutes| minutes.committed().plus(minutes.margin()));
        let at_rate = || self.budget.overshoot(|minutes| minutes.used_at(rate)).min(uncut_overshoot);
        Snapshot {
            figures,
            measured,
            uncut_overshoot,
            likely_overshoot: measured.as_of.map(|_| at_rate()),
            counts: self.budget.counts,
            configured_limit: self.configured_limit,
            frozen: self.overrides.frozen,
            refusal: self.refusal(),
            live_grants: self.budget.live_grants(),
            open_connections: self.connections.row_counts().0,
            refused_addresses: self.grants.today.refused(),
            unknown_bytes: self.grants.unknown_bytes(),
            assumed_rate: self.budget.assumed_rate(),
            mode: self.budget.terms.mode,
            unseen: self.unseen_source(),
            foreign_sessions: self.coturn.values().any(|usage| usage.sessions.has_foreign()),
            raising: self.raising(),
            lacks_until: self.lacking.until,
            lack_cause: self.lacking.cause,
            clock_behind: figures.now.since(self.moment.wall),
            clock_ahead: self.clock_ahead(),
            clock_ahead_for: self.moment.ahead_for,
            clock_doubt: self.moment.doubt(),
            clock_differs_by: self.moment.differs_by,
            jumped_until: self.standing.jumped_until,
            leads: true,
        }
    }

    /// Why no caller gets a metered credential from any source.
    pub fn refusal(&self) -> Option<NotAdmitted> {
        let ahead = self.clock_ahead();
        if ahead > CLOCK_AHEAD_MAX {
            return Some(NotAdmitted::ClockInDoubt);
        }
        let refusal = self.budget.refusal(MINT_SLACK.saturating_add(ahead)).map(NotAdmitted::Refused);
        refusal.or_else(|| self.grants.is_full().then_some(NotAdmitted::TooManyGrants))
    }

    /// A source whose credentials of this period or the last one may relay beyond their promises, because nobody sees its sessions.
    fn unseen_source(&self) -> Option<IceSource> {
        let last_period = self.budget.terms.billing_day.period_until(self.budget.period.start);
        let is_recent = |source: &IceSource| self.grants.latest_expiry_of(*source) >= last_period.start;
        self.unseen.iter().copied().find(is_recent)
    }

    /// How far the wall clock is ahead of the books' time; zero if it is not.
    pub(super) fn clock_ahead(&self) -> Duration {
        self.moment.wall.since(self.now())
    }
}

/// Whether `part` is too small for an alarm. More than [`EXCESS_PERCENT`] of the limit is an alarm. If neither `part` nor `other` is that
/// much, but their sum is, the larger one is an alarm; if they are equal, each of them is.
pub(super) fn is_small_beside(part: ByteCount, other: ByteCount, limit: ByteCount) -> bool {
    is_small(part, limit) && (part < other || is_small(part.plus(other), limit))
}

fn is_small(bytes: ByteCount, limit: ByteCount) -> bool {
    u128::from(bytes.get()) <= limit.share_up(EXCESS_PERCENT)
}
