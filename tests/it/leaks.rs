//! What a leak can still cost: the README has what attackers relay, who mint at the service and relay at a provider that counts with the
//! usual delay. They have a thousand machines, and each machine can use each credential.

use std::time::Duration;

use turn_broker::meter::cloudflare::MeterState;
use turn_broker::meter::cloudflare::analytics::by_grant::PageBounds;
use turn_ledger::RELAY_RATE_MAX;

use super::measured::{meter, with_analytics};
use super::server_keys::{KEY, KEYS};
use crate::support::{START, eventually, timestamp};

const MACHINES: u64 = 1_000;
/// How long a credential relays after its end, in seconds: what the broker assumes, and what may be measured.
const TAILS: [u64; 2] = [7_200, 600];
/// The defaults, what docs/OPERATE.md recommends, and the same in strict mode.
const SETTINGS: [&[(&str, &str)]; 3] = [
    &[],
    &[("TURN_TTL_SECONDS", "14400"), ("GRANT_LIMIT_GB", "50")],
    &[("TURN_TTL_SECONDS", "14400"), ("GRANT_LIMIT_GB", "50"), ("BUDGET_MODE", "strict")],
];
const LEAKS: [Leak; 4] = [
    Leak { row: "the address of your page", mints: 10 * MACHINES, is_of_key: false },
    Leak { row: "a credential", mints: 1, is_of_key: false },
    Leak { row: "a login at a program with a server key", mints: 1_000_u64.div_ceil(16), is_of_key: true },
    Leak { row: "a server key", mints: 1_000, is_of_key: true },
];
/// The default of `RATE_LIMIT_WINDOW_SECONDS`.
const WINDOW: u64 = 300;
/// How many credentials the broker revokes in a second.
const REVOKED_A_SECOND: u64 = 60;

/// What the attacker has.
struct Leak {
    row: &'static str,
    /// How many credentials it mints at once, and then again in each [`WINDOW`]. 1: no more.
    mints: u64,
    is_of_key: bool,
}

/// Bytes of all machines in a second.
fn bytes_a_second() -> u64 {
    MACHINES * RELAY_RATE_MAX.get() / 8
}

/// How many seconds pass until the broker has revoked all that was minted. One is minted a minute; the time for the others is added.
async fn seconds(leak: &Leak, settings: &[(&str, &str)]) -> u64 {
    let keys = [KEYS, ("SERVER_KEY_LIMITS", "app=100")];
    let (cloudflare, broker) = with_analytics(&[settings, &keys].concat()).await;
    let (mut state, mut answers_over) = (MeterState::default(), 0);
    for minute in 0.. {
        if leak.mints > 1 || minute == 0 {
            let _ = if leak.is_of_key {
                broker.get_as(KEY, "/api/turn-credentials?user=guest").await
            } else {
                broker.mint_from(&format!("203.0.113.{minute}")).await
            };
        }
        let (history, now) = (cloudflare.history(), timestamp(START).plus(Duration::from_secs(60 * minute)));
        if history.minted() == history.revoked() {
            let minted = if leak.mints > 1 { leak.mints + leak.mints * 60 * minute / WINDOW } else { 1 };
            return 60 * minute + minted / REVOKED_A_SECOND;
        }
        let id = history.requests().iter().find_map(|request| request.custom_identifier.clone()).unwrap();
        cloudflare.analytics().relay_as("key-id", &id, &now.to_string(), 60 * bytes_a_second(), 0);
        broker.advance(60);
        meter(&broker).read(&mut state).await.unwrap();
        meter(&broker).read_by_grant(PageBounds::default()).await.unwrap();
        answers_over += u32::from(broker.status().await["status"] == "LIMIT_EXCEEDED");
        if answers_over >= 2 {
            let is_done = async || history.revoked() == history.minted();
            eventually("two answers show it, so all are revoked", is_done).await;
        }
    }
    unreachable!("the loop has no end")
}

#[tokio::test]
async fn the_readme_says_what_a_leak_can_cost() {
    let readme = include_str!("../../README.md");
    for leak in &LEAKS {
        for settings in SETTINGS {
            let until_revoked = seconds(leak, settings).await;
            let cost = |tail: u64| {
                let gb = (until_revoked + tail) * bytes_a_second() / 1_000_000_000;
                format!("{} GB, ${}", grouped(gb), grouped(gb / 20))
            };
            let [assumed, measured] = TAILS.map(cost);
            let minutes = until_revoked.div_ceil(60);
            let row = format!("| {} | the limit, after {minutes} min | {assumed} |", leak.row);
            let footnote =
                if leak.mints == LEAKS[0].mints { format!("600 s: {measured}.") } else { String::new() };
            for text in [row, footnote] {
                assert!(readme.contains(&text), "{settings:?}: {text}");
            }
        }
    }
}

/// The number with a comma before each three digits.
fn grouped(number: u64) -> String {
    if number < 1_000 {
        number.to_string()
    } else {
        format!("{},{:03}", grouped(number / 1_000), number % 1_000)
    }
}
