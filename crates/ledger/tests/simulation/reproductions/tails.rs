//! How long a credential is promised, and when its sessions end.

use turn_ledger::{IceSource, Written};

use super::{DAY, ESTIMATE, HOUR, MINUTE, STRICT};
use crate::check;
use crate::walk::Scenario;
use crate::walk::coturn::Cli;
use crate::walk::ops::Op::{
    Change, Coturn, Down, From, Join, Leave, Mint, MintUnwritten, Pause, ReadRelay, Wait,
};
use crate::walk::settings::{self, COTURN, Settings};

/// No process ran for longer than the tails of coturn's sessions. They went on for the long tail and ended, and what they
/// relayed after the short one was in no figure.
#[test]
fn sessions_that_were_not_cut_for_a_while_are_promised_the_long_tail() {
    let settings = Settings { limit: 1_000_000_000, sources: COTURN, cli: true, ..STRICT };
    let mut ops = vec![Mint { life: 60, delay: 0 }; 5];
    ops.extend([Down { millis: 3 * HOUR, share: 256 }, Wait { millis: 10 * MINUTE, share: 256 }]);
    check(&Scenario { settings, before_reset: 20 * DAY, ops });
}

/// coturn stopped answering, and the machine was paused before the broker noticed. Nobody cut its sessions in the pause.
#[test]
fn a_pause_without_coturns_answer_ends_the_short_tails() {
    let ops = vec![
        Mint { life: 3_600, delay: 3_635 },
        Mint { life: 300, delay: 2_145 },
        Coturn(Cli::Silent),
        Mint { life: 172_800, delay: 715 },
        Mint { life: 172_800, delay: 2_043 },
        Pause { millis: 12_150_004, share: 252 },
    ];
    let settings = Settings { sources: COTURN, cli: true, ..ESTIMATE };
    check(&Scenario { settings, before_reset: 4 * HOUR, ops });
}

/// A grant of the relay was revoked and had ended when its tail became longer. The relay had no session of it, and what the tail added
/// was never released.
#[test]
fn a_revoked_grant_that_a_longer_tail_revives_is_released() {
    let settings = Settings {
        sources: &[IceSource::Cloudflare, IceSource::Relay],
        sfu: true,
        clients: 3,
        ended_max: 5,
        ..STRICT
    };
    let ops = vec![
        From { nth: 1 },
        MintUnwritten { life: 2 * 86_400, written: Written::Unknown },
        Join { life: 300 },
        Leave { nth: 3_062_975_811_419_835_504 },
        Wait { millis: 4_222_249, share: 256 },
        Change(settings::Change::Tail(Some(20_000))),
        ReadRelay { is_slow: true },
    ];
    check(&Scenario { settings, before_reset: 5 * MINUTE, ops });
}
