//! Item 8: the head of a request. A missing or second `Host`, transfer codings that a proxy may interpret differently, and host
//! names that an attacker's DNS resolves to this machine.

use crate::Attack;
use crate::books::broker;
use crate::client::Client;
use crate::demo::Demo;
use crate::honest::{Tally, round};
use crate::table::Outcome;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        item: 8,
        name: "no Host, two Hosts, unusual Transfer-Encoding",
        allowance: "400 each time",
        run: |_| Box::pin(ambiguous()),
    },
    Attack {
        item: 8,
        name: "another host than ALLOWED_HOSTS",
        allowance: "421 each time, no mint",
        run: |_| Box::pin(other_host()),
    },
    Attack {
        item: 8,
        name: "DNS rebinding against the demo",
        allowance: "no mint",
        run: |_| Box::pin(rebinding()),
    },
];

const AMBIGUOUS: [(&str, &str); 8] = [
    ("no Host", "GET /api/turn-credentials HTTP/1.1\r\n\r\n"),
    ("two Hosts", "GET /api/turn-credentials HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("the same Host twice", "GET /api/turn-credentials HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    (
        "gzip, chunked",
        "GET /api/turn-credentials HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    ("identity", "GET /api/turn-credentials HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n"),
    (
        "chunked twice",
        "GET /api/turn-credentials HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two codings",
        "GET /api/turn-credentials HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked, then another",
        "GET /api/turn-credentials HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
];

async fn ambiguous() -> Outcome {
    let broker = broker(&[]).await;
    let mut client = Client::new(broker.address);
    let mut accepted = vec![];
    for (name, request) in AMBIGUOUS {
        // A closed socket is a refusal too.
        if client.send(request.as_bytes()).await.is_some_and(|reply| reply.status != 400) {
            accepted.push(name);
        }
    }
    let mut honest = round(broker.address, 1).await;
    let old = Client::new(broker.address).send(b"GET /health HTTP/1.0\r\n\r\n").await;
    honest.count(old.is_some_and(|reply| reply.status == 200));
    let effect = match accepted.as_slice() {
        [] => "all refused".to_owned(),
        some => format!("accepted: {}", some.join("; ")),
    };
    Outcome {
        attempts: client.cost.requests,
        cost: client.cost,
        effect,
        honest,
        is_within: accepted.is_empty(),
    }
}

/// Requests a credential with this host. Returns the status, and whether a credential was minted.
async fn ask(client: &mut Client, host: &str) -> (u16, bool) {
    let request = format!("GET /api/turn-credentials HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let reply = client.send(request.as_bytes()).await;
    reply.map_or((0, false), |reply| (reply.status, reply.grant().is_some()))
}

const FOREIGN: [&str; 5] = [
    "rebound.example",
    "rebound.example:80",
    "turn.example.rebound.example",
    "169.254.169.254",
    "turn.example@rebound.example",
];

async fn other_host() -> Outcome {
    let broker = broker(&[("ALLOWED_HOSTS", "turn.example,127.0.0.1")]).await;
    let mut client = Client::new(broker.address);
    let (mut refused, mut minted) = (0_u64, 0_u64);
    for host in FOREIGN {
        let (status, has_minted) = ask(&mut client, host).await;
        refused += u64::from(status == 421 || status == 400);
        minted += u64::from(has_minted);
    }
    let mut honest = round(broker.address, 1).await;
    for host in ["turn.example", "TURN.example", "turn.example:443"] {
        honest.count(ask(&mut Client::new(broker.address), host).await.1);
    }
    let effect = format!("{refused} of {} refused, {minted} minted", FOREIGN.len());
    let is_within = minted == 0 && refused == client.cost.requests;
    Outcome { attempts: client.cost.requests, cost: client.cost, effect, honest, is_within }
}

/// For the browser, a page whose name resolves to 127.0.0.1 has the same origin as the demo.
async fn rebinding() -> Outcome {
    let demo = Demo::start().await;
    let (server, port) = (demo.server, demo.server.port());
    let mut client = Client::new(server);
    let mut minted = 0_u64;
    for host in [
        "rebound.example".to_owned(),
        format!("rebound.example:{port}"),
        format!("127.0.0.1.nip.example:{port}"),
    ] {
        minted += u64::from(ask(&mut client, &host).await.1);
    }
    let mut honest = Tally::default();
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
        honest.count(ask(&mut Client::new(server), &host).await.1);
    }
    let (attempts, effect) = (client.cost.requests, format!("{minted} of {} minted", client.cost.requests));
    Outcome { attempts, cost: client.cost, effect, honest, is_within: minted == 0 }
}
