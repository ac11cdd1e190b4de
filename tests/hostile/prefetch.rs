//! Item 4: browsers that are made to open or prefetch the mint by another site, and mint for it.

use std::net::Ipv4Addr;
use std::path::Path;

use super::broker::Broker;
use super::wire::{address, get};
use super::{Outcome, Row};

/// Visitors of the other site, each with an address and ten requests.
const VISITORS: u32 = 50;
const EACH: u64 = 10;
/// A relay of our own, so that each mint is a credential.
const SETTINGS: [(&str, &str); 3] = [
    ("ICE_SOURCES", "manual"),
    ("MANUAL_ICE_SERVERS", r#"[{"urls":"turn:192.0.2.1","username":"u","credential":"c"}]"#),
    ("CLIENT_URL", "https://app.example"),
];

const OPENED: &str = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
const PREFETCHED: &str = "Sec-Purpose: prefetch;prerender\r\nSec-Fetch-Site: cross-site\r\n\
    Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
const TYPED: &str = "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
const FETCHED: &str = "Origin: https://app.example\r\nSec-Fetch-Site: cross-site\r\n";

pub(crate) async fn run(binary: &Path) -> Outcome {
    let mut rows = Vec::new();
    for (attack, lines) in
        [("a speculation rule on another site", PREFETCHED), ("links and popups of another site", OPENED)]
    {
        let broker = Broker::start(binary, &SETTINGS)?;
        let mut minted = 0;
        for visitor in 0..VISITORS {
            for _ in 0..EACH {
                minted += mint(address(visitor), broker.port, lines).await;
            }
        }
        // Other addresses, so that the rate limit does not matter.
        let honest = mint(address(VISITORS), broker.port, FETCHED).await
            + mint(address(VISITORS + 1), broker.port, TYPED).await;
        rows.push(Row {
            attack: attack.to_owned(),
            attempts: u64::from(VISITORS) * EACH,
            cost: format!("a page with {VISITORS} visitors"),
            effect: format!("{minted} credentials minted"),
            honest: (honest, 2),
        });
    }
    Ok(rows)
}

async fn mint(from: Ipv4Addr, port: u16, lines: &str) -> u64 {
    let answer = get(from, port, "/api/turn-credentials", "localhost", lines).await;
    u64::from(answer.contains(r#""grant":"#))
}
