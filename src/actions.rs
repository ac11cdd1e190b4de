//! What operators did with the operator's token: the latest changes, and when. Who is not known, because all share one token.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use turn_ledger::Timestamp;

/// Most actions that are kept. The oldest is dropped first.
const KEPT_MAX: usize = 100;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ActionBody)]
pub struct OperatorAction {
    /// When it was made.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T12:00:00Z")]
    pub at: Timestamp,
    /// What was done.
    #[schema(example = "mallory was blocked.")]
    pub what: String,
}

/// The latest changes, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperatorActions(VecDeque<OperatorAction>);

impl OperatorActions {
    /// Adds a change.
    pub fn add(&mut self, at: Timestamp, what: String) {
        if self.0.len() >= KEPT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(OperatorAction { at, what });
    }

    /// The changes, newest first.
    pub fn latest(&self) -> impl Iterator<Item = &OperatorAction> {
        self.0.iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_action_is_dropped_first() {
        let mut actions = OperatorActions::default();
        for n in 0..=KEPT_MAX {
            actions.add(Timestamp::default(), n.to_string());
        }
        let kept: Vec<_> = actions.latest().map(|action| action.what.as_str()).collect();
        assert_eq!((kept.len(), kept[0], kept[KEPT_MAX - 1]), (KEPT_MAX, "100", "1"));
    }
}
