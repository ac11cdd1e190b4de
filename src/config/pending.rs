//! Settings whose feature comes later. They are parsed and validated all the same, so that a mistake is found now and
//! not on the day of an upgrade; each one that is set says that it has no effect yet.

use super::names::DOORS;
use super::settings::{Read, Settings};

/// What is known of features that are not built yet.
#[derive(Clone, Debug)]
pub struct PendingConfig {
    /// Further wire forms of the same mint, each once. `DOORS`, a comma list; none when unset.
    pub doors: Vec<Door>,
}

/// A further wire form of the same mint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `GET /turn`, the TURN REST draft.
    Turn,
    /// `GET /_matrix/client/v3/voip/turnServer`.
    Matrix,
    /// `GET /ice`, stunner's form.
    Ice,
}

const DOOR_NAMES: &[(&str, Door)] = &[("turn", Door::Turn), ("matrix", Door::Matrix), ("ice", Door::Ice)];

impl PendingConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let doors = settings.words(DOORS, DOOR_NAMES);
        if settings.is_set(DOORS) {
            settings.warn(format!("{} has no effect yet: only /api/turn-credentials mints", DOORS.name()));
        }
        Ok(Self { doors: doors?.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{assert_refused, load};

    #[test]
    fn doors_are_parsed_and_say_that_they_have_no_effect_yet() {
        let config = load([("DOORS", "ice, turn")]);
        assert_eq!(config.pending.doors, [Door::Ice, Door::Turn]);
        assert_eq!(config.warnings, ["DOORS has no effect yet: only /api/turn-credentials mints"]);
        assert_refused([("DOORS", "window")], &["DOORS: expected turn, matrix or ice, found \"window\""]);
    }
}
