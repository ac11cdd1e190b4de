//! Which days Cloudflare is asked for. Tests: below.
//! The count of a day rarely changes after the end of the day has settled, but it acts only when two answers agree. So each poll asks for the
//! open day, for days that were never asked for, for some that were not counted or confirmed to their end, and for one of the others, in turn.
//! The newest come first. A day that is refused, such as one that is older than Cloudflare keeps, takes no other day's place.

use crate::prelude::*;

/// So many days that were asked for in vain, or are not confirmed, are asked for with each poll, in turn.
const UNFINISHED: usize = 2;
/// Growth of a settled day up to this is noise. So is growth within the margin, which strict mode keeps reserved.
const NOISE: ByteCount = ByteCount::new(1_000_000);

/// The latest count of each day, with the instant up to which it counts.
#[derive(Clone, Debug, Default)]
pub struct CountedDays<T> {
    days: BTreeMap<Day, (Timestamp, T)>,
    /// The days that were asked for since the start.
    asked: BTreeSet<Day>,
    /// The days that were asked for again last: an unfinished one, and a settled one.
    again: [Day; 2],
}

impl<T> CountedDays<T> {
    /// The days to count now, of this period and the last day before it, the newest first. `is_agreed`: whether two answers agree on a day
    /// up to its end. Forgets the counts of days before these.
    pub fn due(&mut self, period: Period, as_of: Timestamp, is_agreed: impl Fn(Day) -> bool) -> Vec<Day> {
        // The first is the day before the period, which ends when the period begins.
        let (first, open) = (Day::until(period.start), Day::until(as_of));
        self.days.retain(|day, _| first <= *day);
        self.asked.retain(|day| first <= *day);
        let (known, mut due): (Vec<_>, Vec<_>) =
            Day::between(first.start(), open.start()).partition(|day| self.asked.contains(day));
        let (settled, unfinished): (Vec<_>, Vec<_>) = known.into_iter().partition(|day| {
            self.days.get(day).is_some_and(|(until, _)| day.end() <= *until) && is_agreed(*day)
        });
        for (again, days, most) in [(0, unfinished, UNFINISHED), (1, settled, 1)] {
            let earlier = days.iter().rev().filter(|day| **day < self.again[again]);
            let in_turn: Vec<_> =
                earlier.chain(days.iter().rev()).take(most.min(days.len())).copied().collect();
            self.again[again] = in_turn.last().copied().unwrap_or_default();
            due.extend(in_turn);
        }
        due.push(open);
        due.sort_unstable_by(|one, other| other.cmp(one));
        self.asked.extend(&due);
        due
    }

    /// The latest count of a day, and the instant up to which it counts.
    pub fn latest(&self, day: Day) -> Option<&(Timestamp, T)> {
        self.days.get(&day)
    }

    /// Notes the count of a day up to an instant.
    pub fn note(&mut self, day: Day, until: Timestamp, count: T) {
        self.days.insert(day, (until, count));
    }

    /// The counts of the days of a period.
    pub fn of(&self, period: Period) -> impl Iterator<Item = &T> {
        self.days.iter().filter(move |(day, _)| period.contains(day.start())).map(|(_, (_, count))| count)
    }
}

/// Whether a later count has more bytes of the same time, beyond noise: they were counted later than the lag.
/// `sampling`: the margin of error of a count, in percent.
pub fn has_grown(first: ByteCount, second: ByteCount, sampling: u32) -> bool {
    let noise = first.share_up(sampling).max(NOISE.get().into());
    u128::from(second.minus(first).get()) > noise
}

#[cfg(test)]
mod tests {
    use turn_budget::BillingDay;

    use super::*;

    fn at(text: &str) -> Timestamp {
        chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc().into()
    }

    fn note(counted: &mut CountedDays<()>, days: &[Day], as_of: Timestamp) {
        for day in days {
            counted.note(*day, day.end().min(as_of), ());
        }
    }

    #[test]
    fn the_open_day_is_asked_for_with_each_poll_and_the_others_in_turn() {
        let mut counted = CountedDays::default();
        let day = |text: &str| Day::of(at(text));
        let [last, first, second, third] =
            ["2025-01-31T00:00:00Z", "2025-02-01T00:00:00Z", "2025-02-02T00:00:00Z", "2025-02-03T00:00:00Z"]
                .map(day);
        let as_of = at("2025-02-02T23:59:00Z");
        let period = BillingDay::new(1).unwrap().period_at(as_of);
        let mut due = |as_of, agreed: &[Day]| {
            let due = counted.due(period, as_of, |day| agreed.contains(&day));
            note(&mut counted, &due, as_of);
            due
        };
        assert_eq!(due(as_of, &[]), [second, first, last], "after a start");
        assert_eq!(due(as_of, &[]), [second, first, last], "a second answer");
        assert_eq!(due(as_of, &[first, last]), [second, first]);
        assert_eq!(due(as_of, &[first, last]), [second, last]);
        let as_of = at("2025-02-03T00:01:00Z");
        // The second is not counted to its end.
        assert_eq!(due(as_of, &[first, last]), [third, second, first]);
        assert_eq!(due(as_of, &[first, last]), [third, second, last], "and has no second answer");
        assert_eq!(due(as_of, &[first, last, second]), [third, second], "the next one in turn");
        assert_eq!(counted.of(period).count(), 3, "the day before belongs to another period");
    }

    /// On the last day of a month, the first day is too old, and one owner's counts are never believed.
    #[test]
    fn days_that_are_never_counted_keep_no_other_day_from_being_asked_for() {
        let mut counted = CountedDays::<()>::default();
        let as_of = at("2025-03-31T12:00:00Z");
        let period = BillingDay::new(1).unwrap().period_at(as_of);
        assert_eq!(counted.due(period, as_of, |_| false).len(), 32, "after a start");
        let mut asked = BTreeMap::<_, usize>::new();
        for _ in 0..31 {
            let due = counted.due(period, as_of, |_| false);
            assert_eq!(due.len(), 1 + UNFINISHED);
            for day in due {
                *asked.entry(day).or_default() += 1;
            }
        }
        assert_eq!(asked.remove(&Day::of(as_of)), Some(31));
        assert!(asked.len() == 31 && asked.into_values().all(|count| count == 2));
    }

    #[test]
    fn a_growth_within_the_margin_or_a_megabyte_is_noise() {
        const MB: u64 = 1_000_000;
        for (sampling, first, second, is_late) in [
            (5, 100 * MB, 105 * MB, false),
            (5, 100 * MB, 105 * MB + 1, true),
            (5, 0, MB, false),
            (5, 0, MB + 1, true),
            (0, 100 * MB, 101 * MB, false),
            (0, 100 * MB, 101 * MB + 1, true),
            (5, 100 * MB, 0, false),
        ] {
            let [first, second] = [first, second].map(ByteCount::new);
            assert_eq!(has_grown(first, second, sampling), is_late, "{sampling} %, {first:?}, {second:?}");
        }
    }
}
