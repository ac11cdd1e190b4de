//! Item 7: bytes before the proxy's own entry in `X-Forwarded-For`. The entry that the trusted proxy appends is the client,
//! whatever the client itself sends.

use crate::Attack;
use crate::books::broker;
use crate::client::Client;
use crate::honest::round;
use crate::table::Outcome;

const STRANGER: &str = "198.51.100.7";
/// What the attacker sends; the proxy appends its address.
const PREFIXES: [&[u8]; 6] =
    [b"\x80", b"\xff\xfe", b"\xc3\xa9", b"1.2.3.4, \xa0", b"203.0.113.\xb9", b"\t\xf0\x9f\x98\x80"];

pub(crate) const ATTACKS: &[Attack] = &[Attack {
    item: 7,
    name: "bytes from 0x80 on in X-Forwarded-For",
    allowance: "10 mints by one address",
    run: |_| Box::pin(forge()),
}];

async fn forge() -> Outcome {
    let broker = broker(&[("RATE_LIMIT_REQUESTS", "10")]).await;
    let mut client = Client::behind_proxy(broker.address, STRANGER);
    let mut minted = 0_u64;
    for _ in 0..4 {
        for prefix in PREFIXES {
            client.forward(&[prefix, b", ", STRANGER.as_bytes()].concat());
            minted += u64::from(client.mint("").await.is_some());
        }
    }
    client.forward(STRANGER.as_bytes());
    for _ in 0..10 {
        minted += u64::from(client.mint("").await.is_some());
    }
    let mut honest = round(broker.address, 1).await;
    // A client on the proxy's own machine has the proxy's allowance.
    honest.count(Client::new(broker.address).mint("").await.is_some());
    let effect = format!("{minted} mints by one address");
    Outcome { attempts: client.cost.requests, cost: client.cost, effect, honest, is_within: minted == 10 }
}
