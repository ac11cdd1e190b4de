//! The rates that turn time into bytes. Tests: `src/timeline/tests/mod.rs`.

use crate::minutes::{ClaimedUsage, MinuteRow};
use crate::promise::GrantMinutes;
use crate::source::{GrantsAre, IceSource};
use crate::units::BitRate;

/// The rate of one clock of a session of the SFU, whose rates are in kbit/s.
pub const SFU_UNIT: BitRate = BitRate::new(1_000);

/// The rates in force.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// The rate that a connection which reports no bytes is charged.
    pub estimated: BitRate,
    /// The highest rate that one live grant is assumed to relay at.
    pub liability: BitRate,
    /// Whether the claims of a minute are capped to what its grants can relay at the assumed rate. Strict mode needs
    /// this, so no claim can push the worst case past the limit.
    pub promises_cap_claims: bool,
}

impl Rates {
    /// The rates of one source. A session of the SFU has no fixed rate: its promises state their own rate, and the number of its clocks is
    /// its rate in kbit/s.
    #[must_use]
    pub fn of(self, source: IceSource) -> Self {
        let is_sfu = source.facts().grants == GrantsAre::Sessions;
        if is_sfu { Self { estimated: SFU_UNIT, liability: BitRate::default(), ..self } } else { self }
    }

    /// The most bytes that grants may relay in these minutes: at the rate that was assumed for each, or at the present one if that
    /// is more.
    pub fn promised(&self, minutes: GrantMinutes) -> u128 {
        minutes.bytes.max(u128::from(self.liability.per_minute()).saturating_mul(minutes.count))
    }

    /// Bytes of connections that are charged by time.
    pub(crate) fn bytes_of_time(&self, connection_millis: u64) -> u128 {
        self.estimated.over_millis(connection_millis.into())
    }

    /// Bytes of one minute by its reported usage, without what app servers vouched for beyond it.
    pub fn estimate(&self, minute: &MinuteRow) -> u128 {
        let granted = self.bytes_of(minute.granted);
        let cap = if self.promises_cap_claims { self.promised(minute.promised()) } else { u128::MAX };
        granted.min(cap).saturating_add(self.bytes_of(minute.ungranted))
    }

    /// Bytes of one minute that app servers vouched for, under a grant or without one, and the charges by time of connections without a
    /// grant. No promise caps them.
    pub fn vouched(&self, minute: &MinuteRow) -> u128 {
        self.bytes_of(minute.ungranted).saturating_add(minute.vouched.into())
    }

    fn bytes_of(&self, usage: ClaimedUsage) -> u128 {
        self.bytes_of_time(usage.connection_millis).saturating_add(usage.claimed.into())
    }
}
