//! Whether two answers of a provider agree. Tests: below.
//! One wrong answer must take nothing from a caller who keeps the rules. So what releases promises, raises a rate or ends calls rests on two
//! answers that were given at least 60 s apart. A later answer has all bytes of an earlier one, and what credentials can have relayed since.
//! What ends something is the lower of the two, unless the later one is lower by more than the margin. What releases or raises something is
//! the first one, unless the later one is higher than promises explain.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::{ByteCount, Timestamp};

/// The least time between two answers that can agree.
pub const APART: Duration = Duration::from_secs(60);

/// An answer of a provider about one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// When it was given.
    pub at: Timestamp,
    /// Everything before this instant is counted in it.
    pub as_of: Timestamp,
    /// All bytes of the day.
    pub total: ByteCount,
    /// The part of them under credentials that were issued here.
    pub granted: ByteCount,
    /// The most that `granted` can really be.
    pub at_most: ByteCount,
}

/// What two answers about one day agree on so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Everything before this instant is counted in both.
    pub until: Timestamp,
    /// The bytes that both have.
    pub bytes: ByteCount,
    /// The bytes of the first one under credentials that were issued here.
    pub(crate) granted: ByteCount,
    /// The most that they can really be.
    pub(crate) at_most: ByteCount,
    /// The first answer that waits for another one.
    waiting: Option<Answer>,
}

impl Agreement {
    /// Nothing is counted before `until`.
    pub(crate) const fn none(until: Timestamp) -> Self {
        Self {
            until,
            bytes: ByteCount::ZERO,
            granted: ByteCount::ZERO,
            at_most: ByteCount::ZERO,
            waiting: None,
        }
    }

    /// What the broker itself has watched needs no second answer.
    pub(crate) const fn watched(Answer { as_of, total, granted, at_most, .. }: Answer) -> Self {
        Self { until: as_of, bytes: total, granted, at_most, waiting: None }
    }

    /// The same after another answer. `sampling`: the margin of error of an answer, in percent. `promised`: the most that credentials can
    /// have relayed between an earlier instant and the end of this answer.
    #[must_use]
    pub(crate) fn with(self, answer: Answer, sampling: u32, promised: impl Fn(Timestamp) -> u128) -> Self {
        let Some(first) = self.waiting else { return Self { waiting: Some(answer), ..self } };
        let least = first.total.minus(ByteCount::saturating(first.total.share_up(sampling)));
        if answer.total < least {
            return Self { waiting: Some(answer), ..self };
        }
        if answer.at.since(first.at) < APART {
            return self;
        }
        // Both have the lower one's bytes, even if promises do not explain the second one's growth. Only an explained count releases promises.
        let heard =
            Self { bytes: self.bytes.max(first.total.min(answer.total)), waiting: Some(answer), ..self };
        let (granted, margin) = (u128::from(first.granted.get()), first.granted.share_up(sampling));
        let most = granted.saturating_add(margin).saturating_add(promised(first.as_of));
        if u128::from(answer.granted.get()) > most {
            return heard;
        }
        Self { until: self.until.max(first.as_of), granted: first.granted, at_most: first.at_most, ..heard }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(seconds: i64, bytes: u64) -> Answer {
        let at = Timestamp::from_millis(seconds * 1_000);
        let total = ByteCount::new(bytes);
        Answer { at, as_of: at.minus(Duration::from_secs(600)), total, granted: total, at_most: total }
    }

    /// What these answers agree on: the end, in seconds before the first answer's end, and the bytes.
    fn agreed(answers: &[(i64, u64)]) -> (i64, u64) {
        let begin = Agreement::none(Timestamp::default());
        // 10 bytes a minute are promised.
        let heard = |of: Agreement, (at, bytes): &(i64, u64)| {
            let answer = answer(10_000 + at, *bytes);
            of.with(answer, 5, |since| u128::from(answer.as_of.since(since).as_secs() / 6))
        };
        let agreed = answers.iter().fold(begin, heard);
        (agreed.until.as_millis() / 1_000 - 9_400, agreed.bytes.get())
    }

    #[test]
    fn one_answer_decides_nothing_and_two_decide_what_both_have() {
        assert_eq!(agreed(&[(0, 80)]), (-9_400, 0));
        assert_eq!(agreed(&[(0, 80), (60, 90)]), (0, 80));
        assert_eq!(agreed(&[(0, 80), (60, 77)]), (0, 77), "within the margin");
    }

    #[test]
    fn two_answers_within_a_minute_are_one() {
        assert_eq!(agreed(&[(0, 80), (59, 90)]), (-9_400, 0));
        assert_eq!(agreed(&[(0, 80), (30, 88), (59, 88), (61, 88)]), (0, 80), "the first one waits");
    }

    #[test]
    fn an_answer_that_no_promise_explains_releases_nothing_and_shows_the_bytes_of_the_one_before_it() {
        assert_eq!(agreed(&[(0, 80), (60, 94)]), (0, 80), "10 bytes and the margin");
        assert_eq!(agreed(&[(0, 80), (60, 95)]), (-9_400, 80));
        // A leak grows by far more than was promised, and the broker may ask twice a minute.
        assert_eq!(agreed(&[(0, 100), (30, 1_000), (60, 2_000), (90, 3_000), (120, 4_000)]), (-9_400, 2_000));
        let each_second_one_is_low = [(0, 40), (60, 81), (120, 41), (180, 82), (240, 42)];
        assert_eq!(agreed(&each_second_one_is_low), (-9_400, 41));
    }

    #[test]
    fn a_wrong_answer_between_right_ones_decides_nothing() {
        for wrong in [40, 112, 160, 1_000_000] {
            let answers = [(0, 79), (60, 80), (120, wrong), (180, 81), (240, 82)];
            let until: Vec<_> = (1..=answers.len()).map(|count| agreed(&answers[..count])).collect();
            assert!(until.iter().all(|(_, bytes)| *bytes <= 82), "{wrong}: {until:?}");
            assert_eq!(until.last(), Some(&(180, 81)), "{wrong}");
        }
    }
}
