//! The minutes in which the grants of one user or server key may relay, stored as differences. Tests: below.
//! At a minute, a difference says by how much the number of such grants changes. So a sum takes one pass over the minutes at which a grant
//! begins or ends, however many grants there are.

use std::ops::Range;

use turn_budget::{GrantMinutes, IceSource, LiveDelta, Minute, sorted};

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub(crate) struct PromisedMinutes {
    /// Grants that begin less those that end, by source and minute, in order. No value is zero.
    deltas: Vec<((IceSource, Minute), LiveDelta)>,
}

impl PromisedMinutes {
    /// Changes the number of grants that may relay in these minutes, and what they may relay.
    pub(crate) fn change(&mut self, source: IceSource, minutes: &Range<Minute>, by: LiveDelta) {
        if minutes.start < minutes.end {
            self.put((source, minutes.start), by);
            self.put((source, minutes.end), by.negated());
        }
    }

    /// Grant-minutes of a source in `[from, to)`.
    pub(crate) fn between(&self, source: IceSource, from: Minute, to: Minute) -> GrantMinutes {
        let to = to.max(from);
        let of_source = self.deltas.iter().filter(|((of, _), _)| *of == source);
        // A change counts in all minutes from its own minute, or from `from` if the change is earlier, to `to`.
        let (count, bytes) = of_source.fold((0_i128, 0_i128), |(count, bytes), ((_, minute), delta)| {
            let left = i128::from(to.since(*minute.clamp(&from, &to)));
            let add = |sum: i128, level: i64| sum.saturating_add(i128::from(level).saturating_mul(left));
            (add(count, delta.live), add(bytes, delta.per_minute))
        });
        let size = |sum: i128| u128::try_from(sum).unwrap_or(0);
        GrantMinutes { count: size(count), bytes: size(bytes) }
    }

    /// Merges the changes up to `from` into one at `from`. The sums of later minutes stay the same.
    pub(crate) fn forget_before(&mut self, source: IceSource, from: Minute) {
        let mut sum = LiveDelta::default();
        self.deltas.retain(|((of, minute), delta)| {
            let is_past = *of == source && *minute <= from;
            if is_past {
                sum = sum.plus(*delta);
            }
            !is_past
        });
        self.put((source, from), sum);
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.deltas.is_empty()
    }

    fn put(&mut self, key: (IceSource, Minute), by: LiveDelta) {
        sorted::change(&mut self.deltas, key, |delta| *delta = delta.plus(by));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;

    const ONE: LiveDelta = LiveDelta { live: 1, per_minute: 7 };

    fn range((from, len): (i64, i64)) -> Range<Minute> {
        Minute::new(from)..Minute::new(from + len)
    }

    #[test]
    fn the_minutes_are_those_of_each_grant() {
        for (seed, mut dice) in Dice::cases(256) {
            let mut minute = |end| i64::try_from(dice.below(end)).unwrap();
            let grants: Vec<_> = (0..minute(12)).map(|_| (minute(50), minute(20))).collect();
            let gone = usize::try_from(minute(12)).unwrap().min(grants.len());
            let (past, from, len) = (minute(40), minute(60), minute(30));
            let mut promised = PromisedMinutes::default();
            for grant in &grants {
                promised.change(IceSource::Coturn, &range(*grant), ONE);
                promised.change(IceSource::Relay, &range(*grant), ONE);
            }
            promised.forget_before(IceSource::Coturn, Minute::new(past));
            for grant in &grants[..gone] {
                promised.change(IceSource::Coturn, &range(*grant), ONE.negated());
            }
            let (from, to) = (from.max(past), from.max(past) + len);
            let minutes = |(start, life): &(i64, i64)| ((start + life).min(to) - (*start).max(from)).max(0);
            let expected: i64 = grants[gone..].iter().map(minutes).sum();
            let found = promised.between(IceSource::Coturn, Minute::new(from), Minute::new(to));
            let count = u128::try_from(expected).unwrap();
            assert_eq!(found, GrantMinutes { count, bytes: 7 * count }, "seed {seed}");
            for grant in &grants[gone..] {
                promised.change(IceSource::Coturn, &range(*grant), ONE.negated());
            }
            let has_of_relay = grants.iter().any(|(_, life)| *life > 0);
            assert_eq!(promised.is_empty(), !has_of_relay, "seed {seed}");
            for grant in &grants {
                promised.change(IceSource::Relay, &range(*grant), ONE.negated());
            }
            promised.forget_before(IceSource::Coturn, Minute::new(100));
            assert!(promised.is_empty(), "seed {seed}");
        }
    }
}
