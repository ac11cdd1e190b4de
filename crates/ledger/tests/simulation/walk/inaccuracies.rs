//! The inaccuracies of the books that the checks accept, in one table. A comparison that accepts one asks [`Broker::accepts`], which notes
//! when it was needed. Each has a reproduction that needs it (`reproductions::inaccuracies`): where the books have become better than their
//! entry, that test fails, and the entry must go.
//!
//! What the world does to break an assumption is no inaccuracy, but an [`Excuse`](super::checks::Excuse).

use super::prelude::*;

/// What the books get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantArray)]
pub(crate) enum Inaccuracy {
    /// What sampling can have missed was limited by a count that lacked bytes, or by what was promised to somebody who relayed more. If
    /// that is less than the margin, no count shows it.
    Sampled,
    /// Hours that the provider loses before the broker reads again are in no count of an ended period.
    LostHours,
    /// What a report took back of a day before the reset is still in its minutes, which count again with another billing day.
    TakenBack,
    /// A rate is assumed that an app server has vouched for, though nobody relays so fast.
    VouchedRate,
    /// The bound is said not to hold, because an app server has vouched for more than its day's count.
    VouchedDay,
    /// Strict mode commits more than the limit, because what no listing shows of the sessions of other programs is assumed.
    ForeignSessions,
}

/// How much an inaccuracy is.
#[derive(Clone, Copy, Debug)]
enum Most {
    /// So many percent of the true bytes.
    Percent(u64),
    /// What the world makes of it: the text of docs/BUDGET.md says it.
    Stated,
}

impl Inaccuracy {
    /// How much it is, and the text of docs/BUDGET.md that states it.
    fn facts(self) -> (Most, &'static str) {
        match self {
            Self::Sampled => (Most::Percent(5), "| sampling margin | `ANALYTICS_MARGIN_PERCENT`, 5 % |"),
            Self::LostHours => (Most::Percent(100), "| Cloudflare loses hours for good,"),
            Self::TakenBack => (Most::Stated, "| `BILLING_DAY` changes:"),
            Self::VouchedRate => (Most::Stated, "in full, up to 100 Mbps × open time, above the promise too"),
            Self::VouchedDay => (Most::Stated, "**A day's vouched bytes exceed its count**"),
            Self::ForeignSessions => (Most::Stated, "of other programs at coturn"),
        }
    }

    /// The text of docs/BUDGET.md that states it.
    pub(crate) fn stated(self) -> &'static str {
        self.facts().1
    }

    /// The least of these true bytes that figures must show.
    pub(crate) fn least(self, truth: u64) -> u64 {
        match self.facts().0 {
            Most::Percent(missed) => truth / 100 * (100 - missed),
            Most::Stated => truth,
        }
    }
}

impl<D> Broker<D> {
    /// Whether a comparison passes: exactly, or with this inaccuracy, which is noted then.
    pub(crate) fn accepts(&self, inaccuracy: Inaccuracy, is_exact: bool, is_within: bool) -> bool {
        if !is_exact && is_within {
            self.accepted.borrow_mut().insert(inaccuracy);
        }
        is_exact || is_within
    }
}
