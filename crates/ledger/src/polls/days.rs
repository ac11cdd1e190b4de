//! Which days Cloudflare is asked for. Tests: below.
//! The count of a day rarely changes after the end of the day has settled. So each poll asks for the open day and for one of the settled
//! days, in turn.

use std::collections::BTreeMap;

use turn_budget::{ByteCount, Day, Period, Timestamp};

/// Growth of a settled day up to this is noise. So is growth within the margin, which strict mode keeps reserved.
const NOISE: ByteCount = ByteCount::new(1_000_000);

/// The latest count of each day, with the instant up to which it counts.
#[derive(Clone, Debug, Default)]
pub struct CountedDays<T> {
    days: BTreeMap<Day, (Timestamp, T)>,
    /// The settled day that was asked for again last.
    again: Day,
}

impl<T> CountedDays<T> {
    /// The days to count now, of this period and the last day before it, the oldest first: each day that is not counted up to the earlier
    /// of its end and `as_of`; one of the counted days before the open day, in turn; and the open day. Forgets the counts of days before
    /// these.
    pub fn due(&mut self, period: Period, as_of: Timestamp) -> Vec<Day> {
        // The first is the day before the period, which ends when the period begins.
        let (first, open) = (Day::until(period.start), Day::until(as_of));
        self.days.retain(|day, _| first <= *day);
        let end = |day: Day| day.end().min(as_of);
        let is_counted = |day: &Day| self.days.get(day).is_some_and(|(until, _)| end(*day) <= *until);
        let settled = || Day::between(first.start(), open.start()).filter(|day| is_counted(day));
        let again = settled().find(|day| self.again < *day).or_else(|| settled().next());
        self.again = again.unwrap_or_default();
        let days = Day::between(first.start(), open.end());
        days.filter(|day| !is_counted(day) || Some(*day) == again || *day == open).collect()
    }

    /// Notes the count of a day up to an instant. Returns the earlier count of this day, with the instant up to which it counts.
    pub fn note(&mut self, day: Day, until: Timestamp, count: T) -> Option<(Timestamp, T)> {
        self.days.insert(day, (until, count))
    }

    /// The counts of the days of a period.
    pub fn of(&self, period: Period) -> impl Iterator<Item = &T> {
        self.days.iter().filter(move |(day, _)| period.contains(day.start())).map(|(_, (_, count))| count)
    }
}

/// Whether the second count of a settled day has more bytes than noise explains: they were counted later than the lag. `sampling`: the
/// margin of error of a count, in percent.
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
        assert_eq!(counted.due(period, as_of), [last, first, second], "after a start");
        note(&mut counted, &[last, first, second], as_of);
        assert_eq!(counted.due(period, as_of), [last, second]);
        assert_eq!(counted.due(period, as_of), [first, second]);
        assert_eq!(counted.due(period, as_of), [last, second]);
        let as_of = at("2025-02-03T00:01:00Z");
        assert_eq!(
            counted.due(period, as_of),
            [first, second, third],
            "the second is not counted to its end"
        );
        note(&mut counted, &[second, third], as_of);
        assert_eq!(counted.due(period, as_of), [second, third], "the next one in turn");
        assert_eq!(counted.of(period).count(), 3, "the day before belongs to another period");
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
