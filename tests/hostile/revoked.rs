//! Item 3: a grant that was revoked, and claims while the operator has stopped all minting.

use serde_json::json;

use crate::Attack;
use crate::books::{as_gb, broker, used};
use crate::client::Client;
use crate::honest::round;
use crate::support::OPERATOR;
use crate::table::{Form, Outcome, count};

const STRANGER: &str = "198.51.100.7";
const STEP: u64 = 30;
const HUGE: u64 = 1 << 50;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        item: 3,
        name: "reports with a revoked grant",
        allowance: "401 each time, nothing charged, no connection left",
        run: |form| Box::pin(revoked(form)),
    },
    Attack {
        item: 3,
        name: "claims while frozen",
        allowance: "what was promised before",
        run: |form| Box::pin(frozen(form)),
    },
];

async fn revoked(form: Form) -> Outcome {
    let broker = broker(&[]).await;
    let mut client = Client::behind_proxy(broker.address, STRANGER);
    let grant = client.mint("").await.unwrap();
    let ids = ["a", "b", "c", "d"];
    for id in ids {
        client.open(&grant, id).await;
    }
    broker.advance(STEP);
    for id in ids {
        client.beat(&grant, id, 1_000_000).await;
    }
    broker.post(OPERATOR, &format!("/api/credentials/{grant}/revoke"), json!({})).await;
    let before = used(&broker).await;
    let (mut calls, mut refused) = (0_u64, 0_u64);
    let honest = round(broker.address, 1).await;
    for _ in 0..form.choose(600, 3_600) / STEP {
        broker.advance(STEP);
        let mut statuses = vec![];
        for id in ids {
            statuses.push(client.beat(&grant, id, HUGE).await);
        }
        let path = "/api/connections";
        statuses.push(client.post(path, &grant, &json!({"connectionId": "e"})).await.map_or(0, |r| r.status));
        calls += count(statuses.len());
        refused += count(statuses.iter().filter(|status| **status == 401).count());
    }
    let charged = used(&broker).await - before;
    let open = broker.operator("/api/connections").await.json()["total"].as_u64().unwrap();
    let effect =
        format!("{refused} of {calls} calls refused, {} charged, {open} connections open", as_gb(charged));
    let is_within = refused == calls && charged == 0 && open == 0;
    Outcome { attempts: calls, cost: client.cost, effect, honest, is_within }
}

/// One grant with a lifetime of a minute, for which 2 Mbps are promised until its tail ends. Then the operator freezes minting,
/// and the claims begin.
async fn frozen(form: Form) -> Outcome {
    let broker = broker(&[]).await;
    let mut client = Client::behind_proxy(broker.address, STRANGER);
    let grant = client.mint("?ttl=60").await.unwrap();
    client.open(&grant, "c").await;
    broker.advance(STEP);
    let honest = round(broker.address, 1).await;
    let frozen = broker.post(OPERATOR, "/api/budget/freeze", json!({})).await.json();
    assert_eq!(frozen["frozen"], true);
    let committed = frozen["usedBytes"].as_u64().unwrap() + reserved_bytes(&frozen);
    for _ in 0..form.choose(900, 7_200) / STEP {
        broker.advance(STEP);
        client.beat(&grant, "c", HUGE).await;
    }
    let charged = used(&broker).await;
    let effect = format!("{} charged; {} were promised", as_gb(charged), as_gb(committed));
    Outcome {
        attempts: client.cost.requests,
        cost: client.cost,
        effect,
        honest,
        is_within: charged <= committed,
    }
}

/// `reservedGB` has two decimals, rounded up.
fn reserved_bytes(status: &serde_json::Value) -> u64 {
    let digits: String =
        status["reservedGB"].as_str().unwrap().chars().filter(char::is_ascii_digit).collect();
    digits.parse::<u64>().unwrap() * 10_000_000
}
