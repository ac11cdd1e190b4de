//! How long a credential is promised, and when its sessions end.

use super::{DAY, HOUR, MINUTE, STRICT};
use crate::check;
use crate::walk::Scenario;
use crate::walk::ops::Op::{Down, Mint, Wait};
use crate::walk::settings::{COTURN, Settings};

/// No process ran for longer than the tails of coturn's sessions. They went on for the long tail and ended, and what they
/// relayed after the short one was in no figure.
#[test]
fn sessions_that_were_not_cut_for_a_while_are_promised_the_long_tail() {
    let settings = Settings { limit: 1_000_000_000, sources: COTURN, cli: true, ..STRICT };
    let mut ops = vec![Mint { life: 60, delay: 0 }; 5];
    ops.extend([Down { millis: 3 * HOUR, share: 256 }, Wait { millis: 10 * MINUTE, share: 256 }]);
    check(&Scenario { settings, before_reset: 20 * DAY, ops });
}
