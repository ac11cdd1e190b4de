//! May one more credential be minted, and for how long? Pure decisions over the ledger's figures, and the figures
//! themselves. Estimate mode admits while `used < limit` and publishes the bound that comes with it. Strict mode admits
//! only what fits into every period that it touches even if everything out there relays at its most: then the bound is
//! zero, whatever happens next.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::time::Duration;

use crate::minute::Minute;
use crate::period::Period;
use crate::units::{BitRate, ByteCount, Timestamp};

/// How the limit is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetMode {
    /// Until the best figure reaches it.
    Estimate,
    /// In the worst case.
    Strict,
}

/// Strict mode gives no life shorter than this, unless it was asked for: a call that must renew every minute is none.
pub const STRICT_LIFE_MIN: Duration = Duration::from_secs(300);
/// One strict grant takes at most this part of the room that is left, so that the first caller does not take it all.
const STRICT_SHARE: u128 = 100;

/// What the ledger knows at one instant. `used <= committed` always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The instant, never earlier than any before.
    pub now: Timestamp,
    /// The period that holds it.
    pub period: Period,
    /// The best figure of the bytes billed in this period.
    pub used: ByteCount,
    /// The worst case for the whole period, given the liability rate.
    pub committed: ByteCount,
    /// What is promised already in the next period.
    pub committed_next: ByteCount,
    /// What may be used in a period.
    pub limit: ByteCount,
}

impl Figures {
    /// How far past the limit the live credentials can still take us, at worst.
    #[must_use]
    pub fn overshoot_bound(&self) -> ByteCount {
        self.committed.minus(self.limit)
    }

    /// Promised beyond what is used.
    #[must_use]
    pub fn reserved(&self) -> ByteCount {
        self.committed.minus(self.used)
    }

    /// Left of the limit, never below zero.
    #[must_use]
    pub fn remaining(&self) -> ByteCount {
        self.limit.minus(self.used)
    }

    /// Whether the limit is reached. A limit of zero is reached from the start.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.used >= self.limit
    }
}

/// Nothing metered is minted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The figures that it rests on. The budget is spent if they say so; otherwise it is promised in full.
    pub figures: Figures,
    /// Whether a provider's own count is going to be read: what was promised and not relayed then comes back.
    pub awaits_reading: bool,
}

/// A reading is due in about so long.
const NEXT_READING: Duration = Duration::from_secs(60);

impl Refusal {
    /// When the next credential could fit, as far as that is known: after the next reading, or after the reset.
    #[must_use]
    pub fn retry_in(&self) -> Duration {
        let reset = self.figures.period.end.since(self.figures.now);
        let may_ease = self.awaits_reading && !self.figures.is_spent();
        if may_ease { reset.min(NEXT_READING) } else { reset }
    }
}

/// What a credential is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Life.
    pub life: Duration,
    /// What comes on top of it: the time in which it is made, and the tail.
    pub overhead: Duration,
    /// What one live grant is promised in a minute.
    pub per_minute: u128,
}

/// The life that a credential may have, or why it may have none.
pub fn decide(mode: BudgetMode, figures: Figures, wish: Wish) -> Result<Duration, Refusal> {
    let refused = Err(Refusal { figures, awaits_reading: false });
    if figures.is_spent() {
        return refused;
    }
    match mode {
        BudgetMode::Estimate => Ok(wish.life),
        BudgetMode::Strict => {
            let room = Room::of(&figures);
            let into_minute = figures.now.since(Minute::of(figures.now).start());
            let fair = wish.longest_life(room.minutes(wish.per_minute, STRICT_SHARE), into_minute);
            let life = wish.life.min(fair.max(STRICT_LIFE_MIN));
            if room.fits(wish.minutes(life, into_minute), wish.per_minute) { Ok(life) } else { refused }
        }
    }
}

/// What is left in the two periods that one credential can touch, in the worst case.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// Minutes of this period, the current one included.
    minutes_left: u128,
    /// Bytes of this period.
    this: u128,
    /// Bytes of the next one.
    next: u128,
}

impl Room {
    fn of(figures: &Figures) -> Self {
        Self {
            minutes_left: u128::from(figures.period.end.millis_since(figures.now).div_ceil(60_000)),
            this: figures.limit.minus(figures.committed).get().into(),
            next: figures.limit.minus(figures.committed_next).get().into(),
        }
    }

    /// Grant-minutes from now on that one `share`-th of the room pays for.
    fn minutes(self, per_minute: u128, share: u128) -> u128 {
        let minute = per_minute.saturating_mul(share);
        let affordable = |bytes: u128| bytes.checked_div(minute).unwrap_or(u128::MAX);
        match affordable(self.this) {
            all if all >= self.minutes_left => self.minutes_left.saturating_add(affordable(self.next)),
            some => some,
        }
    }

    /// Whether a grant that covers so many minutes from the current one on fits in full.
    fn fits(self, minutes: u128, per_minute: u128) -> bool {
        let here = minutes.min(self.minutes_left);
        let there = minutes.saturating_sub(here);
        here.saturating_mul(per_minute) <= self.this && there.saturating_mul(per_minute) <= self.next
    }
}

impl Wish {
    /// A credential of that life, which may be made up to `slack` from now, on which somebody may relay for `tail` after its
    /// end, at `rate`.
    #[must_use]
    pub fn new(life: Duration, slack: Duration, tail: Duration, rate: BitRate) -> Self {
        let overhead = slack.saturating_add(tail);
        Self { life, overhead, per_minute: rate.over_millis(60_000) }
    }

    /// Minutes that a grant of this life covers, outward at both ends, when it begins so far into one.
    fn minutes(&self, life: Duration, into_minute: Duration) -> u128 {
        into_minute.saturating_add(life).saturating_add(self.overhead).as_millis().div_ceil(60_000)
    }

    /// The longest life that covers no more minutes than these, in whole seconds.
    fn longest_life(&self, minutes: u128, into_minute: Duration) -> Duration {
        let seconds = u64::try_from(minutes.saturating_mul(60)).unwrap_or(u64::MAX);
        let life = Duration::from_secs(seconds).saturating_sub(self.overhead).saturating_sub(into_minute);
        Duration::from_secs(life.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::period::BillingDay;
    use proptest::prelude::*;

    /// 15 MB a minute: 2 Mbps.
    const PER_MINUTE: u128 = 15_000_000;

    fn figures(used: u64, committed: u64, limit: u64) -> Figures {
        // 2025-01-15T12:00:00Z
        let now = Timestamp::from_millis(1_736_942_400_000);
        Figures {
            now,
            period: BillingDay::new(1).unwrap().period_at(now),
            used: ByteCount::new(used),
            committed: ByteCount::new(committed),
            committed_next: ByteCount::ZERO,
            limit: ByteCount::new(limit),
        }
    }

    fn wish(life: u64) -> Wish {
        let overhead = Duration::from_secs(7_204);
        Wish { life: Duration::from_secs(life), overhead, per_minute: PER_MINUTE }
    }

    fn strict(figures: Figures, life: u64) -> Option<u64> {
        decide(BudgetMode::Strict, figures, wish(life)).ok().map(|life| life.as_secs())
    }

    #[test]
    fn in_estimate_mode_the_last_byte_below_the_limit_admits_and_the_limit_itself_refuses() {
        let estimate = |figures| decide(BudgetMode::Estimate, figures, wish(86_400));
        assert_eq!(estimate(figures(99, 99, 100)), Ok(Duration::from_secs(86_400)));
        assert!(estimate(figures(100, 100, 100)).is_err());
        assert!(estimate(figures(0, 0, 0)).is_err(), "a limit of zero admits nothing");
    }

    #[test]
    fn promises_alone_do_not_refuse_in_estimate_mode_but_are_published() {
        let promised = figures(10, 250, 100);
        assert!(decide(BudgetMode::Estimate, promised, wish(60)).is_ok());
        assert_eq!(promised.overshoot_bound(), ByteCount::new(150));
        assert_eq!(promised.reserved(), ByteCount::new(240));
    }

    #[test]
    fn a_refusal_lasts_to_the_reset_unless_a_reading_may_give_promises_back() {
        let refusal = |used, awaits_reading| {
            Refusal { figures: figures(used, 100, 100), awaits_reading }.retry_in().as_secs()
        };
        // From noon of the 15th to the first.
        let reset = 16 * 86_400 + 43_200;
        assert_eq!(refusal(50, false), reset);
        assert_eq!(refusal(50, true), 60);
        assert_eq!(refusal(100, true), reset, "what is used does not come back");
    }

    #[test]
    fn what_remains_never_goes_below_zero() {
        assert_eq!(figures(150, 150, 100).remaining(), ByteCount::ZERO);
    }

    #[test]
    fn a_strict_life_shrinks_with_the_room_and_ends_at_five_minutes() {
        // A day and its tail are 1561 minutes, 23.4 GB: less than a hundredth of 10 TB.
        assert_eq!(strict(figures(0, 0, 10_000_000_000_000), 86_400), Some(86_400));
        // A hundredth of 1000 GB is 666 minutes, less 2 h and 4 s.
        assert_eq!(strict(figures(0, 0, 1_000_000_000_000), 86_400), Some(666 * 60 - 7_204));
        // A hundredth of 100 GB does not pay for the tail alone, but five minutes fit.
        assert_eq!(strict(figures(0, 0, 100_000_000_000), 86_400), Some(300));
        assert_eq!(
            strict(figures(0, 0, 100_000_000_000), 120),
            Some(120),
            "shorter only where it was asked for"
        );
    }

    #[test]
    fn a_strict_grant_is_refused_when_five_minutes_and_the_tail_do_not_fit() {
        // 7504 s cover 126 minutes.
        let needed = 126 * 15_000_000;
        assert_eq!(strict(figures(0, 0, needed), 86_400), Some(300));
        assert_eq!(strict(figures(0, 0, needed - 1), 86_400), None);
        assert_eq!(strict(figures(0, 1, needed), 86_400), None);
    }

    #[test]
    fn a_strict_grant_that_crosses_the_reset_must_fit_into_both_periods() {
        let near_the_end = |committed, committed_next| {
            let figures = figures(0, committed, 100_000_000_000);
            // Ten minutes before the reset.
            let now = Timestamp::from_millis(figures.period.end.as_millis() - 600_000);
            Figures { now, committed_next: ByteCount::new(committed_next), ..figures }
        };
        assert_eq!(strict(near_the_end(0, 0), 86_400), Some(300));
        let full = 100_000_000_000;
        assert_eq!(
            strict(near_the_end(full - 10 * 15_000_000, 0), 86_400),
            Some(300),
            "ten minutes are left of this one"
        );
        assert_eq!(strict(near_the_end(full - 10 * 15_000_000 + 1, 0), 86_400), None);
        assert_eq!(strict(near_the_end(0, full - 116 * 15_000_000), 86_400), Some(300));
        assert_eq!(
            strict(near_the_end(0, full - 116 * 15_000_000 + 1), 86_400),
            None,
            "the next one is full"
        );
    }

    proptest! {
        #[test]
        fn whatever_strict_mode_admits_fits_and_is_no_longer_than_asked(
            used in 0u64..1 << 42, promised in 0u64..1 << 42, next in 0u64..1 << 42, limit in 0u64..1 << 42,
            life in 60u64..200_000, before_end in 0u64..3_000_000_000,
        ) {
            let figures = figures(used, used.saturating_add(promised), limit);
            let now = Timestamp::from_millis(figures.period.end.as_millis() - 1).as_millis();
            let now = Timestamp::from_millis(now - i64::try_from(before_end % 2_000_000_000).unwrap());
            let figures = Figures { now, committed_next: ByteCount::new(next), ..figures };
            if let Ok(admitted) = decide(BudgetMode::Strict, figures, wish(life)) {
                prop_assert!(admitted <= Duration::from_secs(life));
                prop_assert!(admitted >= STRICT_LIFE_MIN.min(Duration::from_secs(life)));
                let into_minute = now.since(Minute::of(now).start());
                prop_assert!(Room::of(&figures).fits(wish(life).minutes(admitted, into_minute), PER_MINUTE));
            }
        }
    }
}
