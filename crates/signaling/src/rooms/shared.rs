//! What all rooms share.

use std::time::Duration;

use turn_limits::{Held, Holder};

use crate::protocol::Action;

/// The settings of rooms.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The most users of one room.
    pub members_max: usize,
    /// How often silent users are removed, and how long a user may be silent.
    pub sweep: Duration,
}

/// What all rooms share: the actions of a step, and how many places their users take.
#[derive(Debug, Default)]
pub(super) struct Out {
    /// The actions for the current event. Empty between two events.
    pub(super) actions: Vec<Action>,
    /// How many users of all rooms each holder has.
    pub(super) users: Held<usize>,
    /// How many ids of users in all rooms each holder has taken.
    pub(super) ids: Held<usize>,
    pub(super) ids_of_all: usize,
}

impl Out {
    pub(super) fn take_id(&mut self, holder: &Holder) {
        self.ids.add(holder);
        self.ids_of_all += 1;
    }

    pub(super) fn free_id(&mut self, holder: &Holder) {
        self.ids.remove(holder);
        self.ids_of_all = self.ids_of_all.saturating_sub(1);
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn extend(&mut self, actions: impl IntoIterator<Item = Action>) {
        self.actions.extend(actions);
    }
}
