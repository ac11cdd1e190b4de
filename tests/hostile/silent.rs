//! Item 5: bytes and estimates by time of one grant. 64 connections that report nothing are charged by time. Together with
//! claims, these charges must not exceed the client's allowance.

use crate::Attack;
use crate::books::{broker, mbps, used};
use crate::client::Client;
use crate::honest::{Tally, round};
use crate::table::{Form, Outcome};

/// `CLAIMS_MBPS_PER_CLIENT`.
const CLAIMS_MBPS: u64 = 50;
const CONNECTIONS: u32 = 64;
const STEP: u64 = 30;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        item: 5,
        name: "64 silent connections of one grant",
        allowance: "50 Mbps",
        run: |form| Box::pin(charge(form, "2", false)),
    },
    Attack {
        item: 5,
        name: "64 silent connections that also claim",
        allowance: "50 Mbps",
        run: |form| Box::pin(charge(form, "2", true)),
    },
    Attack {
        item: 5,
        name: "64 silent connections at ESTIMATED_MBPS_PER_CONNECTION=8",
        allowance: "50 Mbps",
        run: |form| Box::pin(charge(form, "8", false)),
    },
];

async fn charge(form: Form, estimated: &str, claims: bool) -> Outcome {
    let settings = [("ESTIMATED_MBPS_PER_CONNECTION", estimated), ("BANDWIDTH_LIMIT_GB", "10000")];
    let broker = broker(&settings).await;
    let mut client = Client::behind_proxy(broker.address, "198.51.100.7");
    let grant = client.mint("").await.unwrap_or_default();
    for n in 0..CONNECTIONS {
        client.open(&grant, &format!("s{n}")).await;
    }
    let seconds = form.choose(600, 3_600);
    let mut honest = Tally::default();
    let mut honest_bytes = 0;
    for step in 1..=seconds / STEP {
        broker.advance(STEP);
        // One connection claims. The others are kept alive and report nothing.
        for n in 0..CONNECTIONS {
            match n {
                0 if claims => client.beat(&grant, "s0", 1 << 50).await,
                _ => client.beat_silently(&grant, &format!("s{n}")).await,
            };
        }
        if step % 10 == 0 {
            let before = used(&broker).await;
            honest = honest.plus(round(broker.address, u32::try_from(step).unwrap()).await);
            honest_bytes += used(&broker).await - before;
        }
    }
    let rate = mbps(used(&broker).await - honest_bytes, seconds);
    let effect = format!("charged {rate} Mbps");
    Outcome {
        attempts: client.cost.requests,
        cost: client.cost,
        effect,
        honest,
        is_within: rate <= CLAIMS_MBPS,
    }
}
