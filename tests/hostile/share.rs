//! Item 1: the shares of one address. Promises of a strict budget, open connections, and whether the operator gets a hint when
//! the proxy in front is not trusted, so that all clients are one address.

use crate::Attack;
use crate::books::{broker, gigabytes};
use crate::client::{Client, Cost};
use crate::honest::{Tally, round};
use crate::table::{Form, Outcome, grouped};

/// `RESERVED_PERCENT_PER_CLIENT`.
const RESERVED_PERCENT_MAX: f64 = 5.0;
/// Open connections of one address.
const CONNECTIONS_MAX: u64 = 256;
/// Open connections of one grant.
const PER_GRANT: u32 = 64;
const STRANGER: &str = "198.51.100.7";

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        item: 1,
        name: "promises of a strict budget by one address",
        allowance: "5 % of the limit",
        run: |form| Box::pin(reserve(form, false)),
    },
    Attack {
        item: 1,
        name: "promises of a strict budget by one IPv6 /48",
        allowance: "4 times 5 % of the limit",
        run: |form| Box::pin(reserve(form, true)),
    },
    Attack {
        item: 1,
        name: "open connections of one address",
        allowance: "256 connections",
        run: |_| Box::pin(connect()),
    },
    Attack {
        item: 1,
        name: "everybody behind a proxy that is not trusted",
        allowance: "the hint PROXY_NOT_TRUSTED",
        run: |_| Box::pin(untrusted_proxy()),
    },
];

/// Mints at the default rate: ten at once, then one each 30 s.
async fn reserve(form: Form, is_prefix: bool) -> Outcome {
    let broker = broker(&[("BUDGET_MODE", "strict")]).await;
    let addresses: Vec<String> = if is_prefix {
        (0..16).map(|n| format!("2001:db8:7:{n:x}::1")).collect()
    } else {
        vec![STRANGER.into()]
    };
    let mut clients: Vec<_> =
        addresses.iter().map(|address| Client::behind_proxy(broker.address, address)).collect();
    let mut minted = 0_u64;
    for step in 0..=form.choose(40, 120) {
        for client in &mut clients {
            for _ in 0..if step == 0 { 10 } else { 1 } {
                minted += u64::from(client.mint("").await.is_some());
            }
        }
        broker.advance(30);
    }
    let reserved = gigabytes(&broker.status().await, "reservedGB");
    let honest = (1..=5).map(|n| round(broker.address, n));
    let mut tally = Tally::default();
    for round in honest {
        tally = tally.plus(round.await);
    }
    let percent = reserved / 1_000.0 * 100.0;
    let most = RESERVED_PERCENT_MAX * if is_prefix { 4.0 } else { 1.0 };
    let cost = clients.iter().fold(Cost::default(), |sum, client| sum.plus(client.cost));
    let effect = format!("{percent:.1} % held by {} mints", grouped(minted));
    // The figure is rounded up to two decimals of a GB.
    Outcome { attempts: cost.requests, cost, effect, honest: tally, is_within: percent <= most + 0.01 }
}

async fn connect() -> Outcome {
    let broker = broker(&[]).await;
    let mut client = Client::behind_proxy(broker.address, STRANGER);
    for grant in 0..10 {
        let token = client.mint("").await.unwrap_or_default();
        for n in 0..PER_GRANT {
            client.open(&token, &format!("c-{grant}-{n}")).await;
        }
    }
    let open = broker.operator("/api/connections").await.json()["total"].as_u64().unwrap();
    let honest = round(broker.address, 1).await;
    let (cost, effect) = (client.cost, format!("{} connections are open", grouped(open)));
    Outcome { attempts: cost.requests, cost, effect, honest, is_within: open <= CONNECTIONS_MAX }
}

/// Not an attack, but a configuration in which all clients share one allowance. The operator must get a hint.
async fn untrusted_proxy() -> Outcome {
    let broker = broker(&[("TRUSTED_PROXIES", ""), ("RATE_LIMIT_REQUESTS", "10")]).await;
    let mut minted = 0_u64;
    let mut cost = Cost::default();
    for n in 0..20 {
        let mut client = Client::behind_proxy(broker.address, &format!("198.51.100.{n}"));
        minted += u64::from(client.mint("").await.is_some());
        cost = cost.plus(client.cost);
    }
    let hints = broker.status().await["hints"].to_string();
    let is_told = hints.contains("PROXY_NOT_TRUSTED");
    let told = if is_told { "the status shows the hint" } else { "the status shows no hint" };
    let effect = format!("{minted} of 20 clients are served; {told}");
    Outcome { attempts: cost.requests, cost, effect, honest: Tally::default(), is_within: is_told }
}
