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
/// Their row in the table, and whether they can mint again. The last one has a login at a program with a server key.
const LEAKS: [(&str, bool); 3] = [
    ("the address of your page", true),
    ("a credential", false),
    ("a login at a program with a server key", true),
];

/// Bytes of all machines in a second.
fn bytes_a_second() -> u64 {
    MACHINES * RELAY_RATE_MAX.get() / 8
}

/// How many minutes pass until the broker has revoked all that was minted.
async fn minutes(is_guest: bool, mints_again: bool, settings: &[(&str, &str)]) -> u64 {
    let keys = [KEYS, ("SERVER_KEY_LIMITS", "app=100")];
    let (cloudflare, broker) = with_analytics(&[settings, &keys].concat()).await;
    let (mut state, mut answers_over) = (MeterState::default(), 0);
    for minute in 0.. {
        if mints_again || minute == 0 {
            let _ = if is_guest {
                broker.get_as(KEY, "/api/turn-credentials?user=guest").await
            } else {
                broker.mint_from(&format!("203.0.113.{minute}")).await
            };
        }
        let (history, now) = (cloudflare.history(), timestamp(START).plus(Duration::from_secs(60 * minute)));
        if history.minted() == history.revoked() {
            return minute;
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
    for (at, (leak, mints_again)) in LEAKS.into_iter().enumerate() {
        for settings in SETTINGS {
            let until_revoked = minutes(at == 2, mints_again, settings).await;
            let [assumed, measured] =
                TAILS.map(|tail| (60 * until_revoked + tail) * bytes_a_second() / 1_000_000_000);
            let cost = |gb: u64| format!("{} GB, ${}", grouped(gb), grouped(gb / 20));
            let row = format!("| {leak} | the limit, after {until_revoked} min | {} |", cost(assumed));
            let footnote = format!("600 s: {}.", cost(measured));
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
