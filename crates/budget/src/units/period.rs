//! Billing periods: `[start, end)` in UTC, from 00:00 of a billing day to the next. Tests: below.
//! Every instant lies in exactly one period, and a period's end is the next one's start. There is no reset timer: the period is computed
//! from the instant.

use chrono::{Datelike, Days, Months, NaiveDate, NaiveTime};

use super::Timestamp;

/// The day of the month on which a billing period begins, 1 to 31. In a shorter month it begins on the last day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BillingDay(u32);

/// One billing period, `[start, end)`, both at 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Period {
    /// First instant of the period.
    pub start: Timestamp,
    /// First instant of the next period: the reset.
    pub end: Timestamp,
}

impl BillingDay {
    /// A billing day; `None` outside 1 to 31.
    pub fn new(day: u32) -> Option<Self> {
        (1..=31).contains(&day).then_some(Self(day))
    }

    /// The day, 1 to 31.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The period that contains `at` or ends at it. If two do, the one that ends.
    pub fn period_until(self, at: Timestamp) -> Period {
        self.period_at(Timestamp::from_millis(at.as_millis().saturating_sub(1)))
    }

    /// The period that contains `at`.
    pub fn period_at(self, at: Timestamp) -> Period {
        let date = at.to_utc().date_naive();
        let this_month = self.reset_in_month_of(date);
        let (start, end) = if date < this_month {
            (self.reset_in_month_of(first_of_previous_month(date)), this_month)
        } else {
            (this_month, self.reset_in_month_of(first_of_next_month(date)))
        };
        Period { start: midnight(start), end: midnight(end) }
    }

    fn reset_in_month_of(self, date: NaiveDate) -> NaiveDate {
        let first = first_of_month(date);
        let last = first_of_next_month(first).pred_opt().unwrap_or(first).day();
        first.checked_add_days(Days::new(u64::from(self.0.min(last).saturating_sub(1)))).unwrap_or(first)
    }
}

impl Period {
    /// Whether `at` lies in this period.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }
}

fn first_of_month(date: NaiveDate) -> NaiveDate {
    date.with_day(1).unwrap_or(date)
}

fn first_of_previous_month(date: NaiveDate) -> NaiveDate {
    first_of_month(date).checked_sub_months(Months::new(1)).unwrap_or(NaiveDate::MIN)
}

fn first_of_next_month(date: NaiveDate) -> NaiveDate {
    first_of_month(date).checked_add_months(Months::new(1)).unwrap_or(NaiveDate::MAX)
}

fn midnight(date: NaiveDate) -> Timestamp {
    date.and_time(NaiveTime::MIN).and_utc().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Dice;

    fn at(text: &str) -> Timestamp {
        chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc().into()
    }

    fn period(day: u32, text: &str) -> (String, String) {
        let period = BillingDay::new(day).unwrap().period_at(at(text));
        (period.start.to_string()[..10].to_owned(), period.end.to_string()[..10].to_owned())
    }

    #[test]
    fn billing_day_one_makes_calendar_months() {
        assert_eq!(period(1, "2025-01-31T23:59:59.999Z"), ("2025-01-01".into(), "2025-02-01".into()));
        assert_eq!(period(1, "2025-02-01T00:00:00Z"), ("2025-02-01".into(), "2025-03-01".into()));
    }

    #[test]
    fn a_shorter_month_resets_on_its_last_day() {
        assert_eq!(period(31, "2025-02-27T12:00:00Z"), ("2025-01-31".into(), "2025-02-28".into()));
        assert_eq!(period(31, "2025-02-28T00:00:00Z"), ("2025-02-28".into(), "2025-03-31".into()));
        assert_eq!(period(30, "2024-02-29T00:00:00Z"), ("2024-02-29".into(), "2024-03-30".into()));
        assert_eq!(period(31, "2025-04-30T00:00:00Z"), ("2025-04-30".into(), "2025-05-31".into()));
    }

    #[test]
    fn days_outside_1_to_31_are_refused() {
        assert_eq!(BillingDay::new(0), None);
        assert_eq!(BillingDay::new(32), None);
    }

    #[test]
    fn periods_follow_each_other_without_gap_or_overlap() {
        for (_, mut dice) in Dice::cases(512) {
            let day = BillingDay::new(1 + u32::try_from(dice.below(31)).unwrap()).unwrap();
            let instant =
                Timestamp::from_millis(-2_000_000_000_000).plus_millis(dice.below(10_000_000_000_000));
            let period = day.period_at(instant);
            assert!(period.contains(instant));
            assert_eq!(period.start.as_millis() % 86_400_000, 0, "resets at 00:00 UTC");
            let millis = period.end.millis_since(period.start);
            assert!((28..=31).contains(&(millis / 86_400_000)));
            assert_eq!(day.period_at(period.start.plus_millis(dice.below(millis))), period, "{instant}");
            assert_eq!(day.period_at(period.end).start, period.end);
            let before = day.period_at(Timestamp::from_millis(period.start.as_millis() - 1));
            assert_eq!(before.end, period.start);
        }
    }
}
