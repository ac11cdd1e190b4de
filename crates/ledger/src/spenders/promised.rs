//! The minutes in which the grants of one user may relay, stored as differences: at a minute, by how much the number of such
//! grants changes. So a sum takes one pass over the minutes at which a grant begins or ends, however many grants there are.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::ops::Range;

use crate::minute::Minute;
use crate::source::IceSource;

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub(crate) struct PromisedMinutes {
    /// Grants that begin less those that end, by source and minute, in order. No value is zero.
    deltas: Vec<((IceSource, Minute), i64)>,
}

impl PromisedMinutes {
    /// Adds a grant that may relay in these minutes.
    pub(crate) fn add(&mut self, source: IceSource, minutes: &Range<Minute>) {
        self.change(source, minutes, 1);
    }

    /// Reverses [`Self::add`].
    pub(crate) fn remove(&mut self, source: IceSource, minutes: &Range<Minute>) {
        self.change(source, minutes, -1);
    }

    /// Grant-minutes of a source in `[from, to)`.
    pub(crate) fn between(&self, source: IceSource, from: Minute, to: Minute) -> u64 {
        let of_source = self.deltas.iter().filter(|((of, _), _)| *of == source);
        let sum = of_source.fold(0_i64, |sum, ((_, minute), delta)| {
            let at = minute.clamp(&from, &to.max(from)).number();
            sum.saturating_sub(delta.saturating_mul(at))
        });
        u64::try_from(sum).unwrap_or(0)
    }

    /// Merges what lies before `from`. The sums from there on stay.
    pub(crate) fn forget_before(&mut self, source: IceSource, from: Minute) {
        let (mut sum, mut count) = (0_i64, 0_usize);
        self.deltas.retain(|((of, minute), delta)| {
            let is_past = *of == source && *minute <= from;
            if is_past {
                (sum, count) = (sum.saturating_add(*delta), count.saturating_add(1));
            }
            !is_past
        });
        self.put((source, from), sum);
    }

    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.deltas.is_empty()
    }

    fn change(&mut self, source: IceSource, minutes: &Range<Minute>, by: i64) {
        if minutes.start < minutes.end {
            self.put((source, minutes.start), by);
            self.put((source, minutes.end), by.saturating_neg());
        }
    }

    fn put(&mut self, key: (IceSource, Minute), by: i64) {
        match self.deltas.binary_search_by_key(&key, |(at, _)| *at) {
            Ok(at) => {
                if let Some((_, delta)) = self.deltas.get_mut(at) {
                    *delta = delta.saturating_add(by);
                    if *delta == 0 {
                        self.deltas.remove(at);
                    }
                }
            }
            Err(at) if by != 0 => self.deltas.insert(at, (key, by)),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range((from, len): (i64, i64)) -> Range<Minute> {
        Minute::new(from)..Minute::new(from + len)
    }

    proptest! {
        #[test]
        fn the_minutes_are_those_of_each_grant(
            grants in prop::collection::vec((0_i64..50, 0_i64..20), 0..12),
            removed in 0_usize..12, past in 0_i64..40, from in 0_i64..60, len in 0_i64..30,
        ) {
            let mut promised = PromisedMinutes::default();
            for grant in &grants {
                promised.add(IceSource::Coturn, &range(*grant));
                promised.add(IceSource::Relay, &range(*grant));
            }
            promised.forget_before(IceSource::Coturn, Minute::new(past));
            let gone = removed.min(grants.len());
            for grant in &grants[..gone] {
                promised.remove(IceSource::Coturn, &range(*grant));
            }
            let (from, to) = (from.max(past), from.max(past) + len);
            let minutes = |(start, life): &(i64, i64)| ((start + life).min(to) - (*start).max(from)).max(0);
            let expected: i64 = grants[gone..].iter().map(minutes).sum();
            let found = promised.between(IceSource::Coturn, Minute::new(from), Minute::new(to));
            prop_assert_eq!(i64::try_from(found).unwrap(), expected);
            for grant in &grants[gone..] {
                promised.remove(IceSource::Coturn, &range(*grant));
            }
            prop_assert_eq!(promised.is_empty(), grants.iter().all(|(_, life)| *life == 0));
            for grant in &grants {
                promised.remove(IceSource::Relay, &range(*grant));
            }
            promised.forget_before(IceSource::Coturn, Minute::new(100));
            prop_assert!(promised.is_empty());
        }
    }
}
