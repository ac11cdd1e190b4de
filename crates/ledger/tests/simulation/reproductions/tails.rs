//! How long a credential is promised, and when its sessions end.

use super::prelude::*;

/// No process ran for longer than the tails of coturn's sessions. They went on for the long tail and ended, and what they
/// relayed after the short one was in no figure.
#[test]
fn sessions_that_were_not_cut_for_a_while_are_promised_the_long_tail() {
    let settings = Settings { limit: 1_000_000_000, sources: COTURN, cli: true, ..STRICT };
    let mut ops = vec![Mint { life: 60, delay: 0 }; 5];
    ops.extend([Down { millis: 3 * HOUR, share: 256 }, Wait { millis: 10 * MINUTE, share: 256 }]);
    check(&Scenario { settings, before_reset: 20 * DAY, ops });
}

/// The ledger was lost. Sessions of coturn go on whose grants it does not have: what they relay says nothing of the one that it knows.
#[test]
fn grants_that_the_ledger_lacks_do_not_raise_the_assumed_rate_of_the_others() {
    let (lag, provider_ahead) = (600_000, -118_000);
    let settings = Settings { sources: COTURN, cli: true, lag, provider_ahead, ..Settings::DEFAULT };
    let settings = Settings { tells_time: true, clients: 1, ..settings };
    let lives = [172_800, 3_600, 86_400, 3_600];
    let mut ops: Vec<_> = lives.into_iter().map(|life| Join { life }).collect();
    ops.extend([LoseLedger, Wait { millis: 182_044, share: 181 }]);
    ops.extend([
        Beat { nth: 9_874_369_264_332_793_847, bytes: None, relayed: None },
        Wait { millis: 31_501, share: 118 },
    ]);
    check(&Scenario { settings, before_reset: 300_000, ops });
}
