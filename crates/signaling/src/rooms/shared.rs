//! What all rooms share.

use std::time::Duration;

use turn_limits::{Bounds, Counts, Holder, SHARES};

use crate::actions::Actions;

/// The most ids that one client address, or one signed-in user, has taken in all rooms. A member of a room outlives its socket, and the
/// owner of an id is remembered when its member has left, so the bound on sockets bounds neither. An IPv6 /48 has four times as many.
const IDS_PER_CLIENT_MAX: usize = 1_024;
pub(super) const IDS: Bounds =
    Bounds { client_max: IDS_PER_CLIENT_MAX, all_max: SHARES * IDS_PER_CLIENT_MAX };

/// The settings of rooms.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The most users of one room. `ROOM_MEMBERS_MAX`, 2 to 256; 64 when unset.
    pub members_max: usize,
    /// How often users without a heartbeat are removed, and how long a user may go without one. `ROOM_SWEEP_SECONDS`, 1 to 300; 15 when
    /// unset.
    pub sweep: Duration,
}

/// What all rooms share: the actions of a step, and how many ids are taken.
#[derive(Default)]
pub(super) struct Out {
    pub(super) actions: Actions,
    /// The ids that users in all rooms have taken.
    pub(super) ids: Counts,
    /// Those of `ids` whose users have left.
    pub(super) absent: Counts,
}

impl Out {
    /// Forgets the owner of an id whose user has left.
    pub(super) fn forget(&mut self, owner: &Holder) {
        self.ids.remove(owner, 1);
        self.absent.remove(owner, 1);
    }
}
