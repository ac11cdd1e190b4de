//! Other wire formats of the mint. Each is off until `DOORS` names it, because each adds a way to spend the budget.

use super::names::DOORS;
use super::settings::{Read, Settings};

/// Another response format of the same mint, with a route of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireFormat {
    /// `GET /turn`, the TURN REST draft.
    Turn,
    /// `GET /_matrix/client/v3/voip/turnServer`.
    Matrix,
    /// `GET /ice`, the format of stunner.
    Ice,
}

const NAMES: &[(&str, WireFormat)] =
    &[("turn", WireFormat::Turn), ("matrix", WireFormat::Matrix), ("ice", WireFormat::Ice)];

/// The wire formats that are served, each once. `DOORS`, comma-separated; none when unset.
pub(super) fn read(settings: &mut Settings<'_>) -> Read<Vec<WireFormat>> {
    Ok(settings.words(DOORS, NAMES)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{assert_refused, load};

    #[test]
    fn a_wire_format_is_off_until_it_is_named() {
        assert_eq!(load([]).wire_formats, []);
        assert_eq!(load([("DOORS", "ice, turn")]).wire_formats, [WireFormat::Ice, WireFormat::Turn]);
        assert_refused([("DOORS", "window")], &["DOORS: expected turn, matrix or ice, found \"window\""]);
    }
}
