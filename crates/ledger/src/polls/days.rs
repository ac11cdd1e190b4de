//! Which days Cloudflare is asked for. Tests: below.
//! The count of a day rarely changes after the end of the day has settled. So each poll asks for the open day and for one of the settled
//! days, in turn.

use std::collections::BTreeMap;

use turn_budget::{Day, Period, Timestamp};

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
}
