//! Item 4: requests that no person asked for. A speculation rule on any site, a popup or a link makes the visitor's browser
//! request a credential.

use crate::Attack;
use crate::books::broker;
use crate::client::{Client, Cost};
use crate::honest::round;
use crate::table::Outcome;

/// What browsers send, by the way in which the URL is loaded.
const UNASKED: [(&str, &[&str]); 6] = [
    ("prefetch", &["Sec-Purpose: prefetch", "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"]),
    ("prerender", &["Sec-Purpose: prefetch;prerender", "Sec-Fetch-Mode: navigate"]),
    ("prefetch, older", &["Purpose: prefetch"]),
    (
        "popup or link",
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
    ),
    ("frame", &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"]),
    ("image", &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"]),
];
const TYPED: &[&str] =
    &["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document", "Sec-Fetch-User: ?1"];
/// A speculation rule can list this many URLs.
const EACH: u8 = 10;

pub(crate) const ATTACKS: &[Attack] = &[Attack {
    item: 4,
    name: "prefetch, popup, link, frame and image of another site",
    allowance: "no mint, 403 each time",
    run: |_| Box::pin(unasked()),
}];

async fn unasked() -> Outcome {
    let broker = broker(&[]).await;
    let (mut minted_by, mut refused, mut cost) = (vec![], 0_u64, Cost::default());
    for (n, (name, lines)) in UNASKED.iter().enumerate() {
        let mut minted = 0_u64;
        let mut visitor = Client::behind_proxy(broker.address, &format!("198.51.100.{n}"));
        for url in 0..EACH {
            let reply = visitor.get(&format!("/api/turn-credentials?n={url}"), lines).await.unwrap();
            minted += u64::from(reply.grant().is_some());
            refused += u64::from(reply.status == 403);
        }
        if minted > 0 {
            minted_by.push(format!("{name} {minted}"));
        }
        cost = cost.plus(visitor.cost);
    }
    let mut honest = round(broker.address, 1).await;
    let mut person = Client::behind_proxy(broker.address, "192.0.2.200");
    let typed = person.get("/api/turn-credentials", TYPED).await;
    honest.count(typed.is_some_and(|reply| reply.grant().is_some()));
    let effect = match minted_by.as_slice() {
        [] => format!("none minted, {refused} of {} refused", cost.requests),
        some => format!("minted for {}", some.join(", ")),
    };
    let is_within = minted_by.is_empty() && refused == cost.requests;
    Outcome { attempts: cost.requests, cost, effect, honest, is_within }
}
