//! Further wire forms of the same mint. Each is closed until it is named, because each is one more way to spend.

use super::names::DOORS;
use super::settings::{Read, Settings};

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

const NAMES: &[(&str, Door)] = &[("turn", Door::Turn), ("matrix", Door::Matrix), ("ice", Door::Ice)];

/// Those that are open, each once. `DOORS`, a comma list; none when unset.
pub(super) fn read(settings: &mut Settings<'_>) -> Read<Vec<Door>> {
    Ok(settings.words(DOORS, NAMES)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{assert_refused, load};

    #[test]
    fn doors_are_closed_until_they_are_named() {
        assert_eq!(load([]).doors, []);
        assert_eq!(load([("DOORS", "ice, turn")]).doors, [Door::Ice, Door::Turn]);
        assert_refused([("DOORS", "window")], &["DOORS: expected turn, matrix or ice, found \"window\""]);
    }
}
