//! Floods: requests from very many addresses, and sockets that hold unfinished heads and bodies. The program runs in its own
//! process, so that its memory can be read.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::client::Client;
use crate::honest::Tally;
use crate::unfinished::{Counts, Load, keep};
use crate::{Form, Outcome, address, grouped, memory, program, size};

/// How much the memory may grow because of a spray. Bytes.
const SPRAY_MEMORY_MAX: u64 = 64_000_000;
const NEWCOMERS: u32 = 20;
/// `RATE_LIMIT_REQUESTS` by default.
const EACH: u32 = 10;
/// Clients of a spray.
const SPRAYERS: u32 = 4;
/// Sockets of a peer that is not a trusted proxy.
const SOCKETS_MAX: u64 = 256;
/// The most memory that all sockets of such a peer may need. Bytes.
const MEMORY_MAX: u64 = 25_000_000;
/// The most memory that a socket behind a trusted proxy may need with the longest head and body: both, a read buffer and a
/// task. Bytes.
const MEMORY_PER_SOCKET_MAX: u64 = 80 * 1024;
/// Sockets and memory are at their peak once neither has grown for this long. It is short, because a request may take only
/// 10 s.
const SETTLE: Duration = Duration::from_millis(500);
const SETTLE_MAX: u32 = 8;

attacks! { form:
    "spray from four IPv6 /48s", "newcomers elsewhere get their ten; 64 MB" =>
        spray(form, form.choose(8_000, 200_000), ipv6);
    "spray from ten IPv4 /16s", "newcomers elsewhere get their ten; 64 MB" =>
        spray(form, form.choose(8_000, 1_000_000), ipv4);
    "bodies of one-byte chunks from one peer", "256 sockets, 25 MB" =>
        hold(form, Load::Body { chunk: 1 }, false);
    "bodies of one-byte chunks through a trusted proxy", "82 kB a socket" =>
        hold(form, Load::Body { chunk: 1 }, true);
    "bodies of 20-byte chunks through a trusted proxy", "82 kB a socket" =>
        hold(form, Load::Body { chunk: 20 }, true);
    "heads of 31 KiB from one peer", "256 sockets, 25 MB" => hold(form, Load::Head { kib: 31 }, false);
    "heads of 15 KiB through a trusted proxy", "82 kB a socket" => hold(form, Load::Head { kib: 15 }, true);
    "silent sockets of one peer", "256 sockets, its own health check is served" =>
        hold(form, Load::Silence, false);
}

/// The n-th address of ten /16s. They have 655,360 addresses. After the last one, the first ones are used again.
fn ipv4(n: u32) -> String {
    Ipv4Addr::from(((0x6440 + n % 10) << 16) | ((n / 10) % 0x1_0000)).to_string()
}

/// The n-th /64 of four /48s.
fn ipv6(n: u32) -> String {
    let network = 0x2001_0db8_0100_u128 + u128::from(n % 4);
    Ipv6Addr::from(network << 80 | u128::from(n / 4) << 64 | 1).to_string()
}

/// One request from each address. It has an invalid lifetime, so it counts against the rate and mints nothing.
async fn spray(form: Form, addresses: u32, nth: fn(u32) -> String) -> Outcome {
    // The short form has a smaller table instead of more addresses.
    let table = form.choose("2000", "100000");
    let process = program(&[("TRUSTED_PROXIES", "127.0.0.1"), ("RATE_LIMIT_MAX_CLIENTS", table)]);
    let (server, mut honest) = (address(&process), Tally::default());
    honest.round(server, 1).await;
    let before = memory::resident(process.id()).unwrap();
    let mut flood = JoinSet::new();
    for part in 0..SPRAYERS {
        flood.spawn(async move {
            let mut client = Client::new(server);
            for n in (part..addresses).step_by(usize::try_from(SPRAYERS).unwrap()) {
                client.forward(nth(n));
                assert_ne!(client.get("/api/turn-credentials?ttl=1", "").await.0, 0, "the broker responds");
            }
        });
    }
    flood.join_all().await;
    let grown = memory::peak(process.id()).unwrap().saturating_sub(before);
    let newcomers = newcomers(server).await;
    honest.round(server, 2).await;
    let effect = format!(
        "newcomers get {} of {} mints, memory grows by {}",
        grouped(newcomers.served),
        grouped(newcomers.of),
        size(grown)
    );
    honest.add(newcomers);
    Outcome { attempts: addresses.into(), effect, honest, is_within: grown <= SPRAY_MEMORY_MAX }
}

/// Clients of networks that are not sprayed, half of them with IPv6. Each mints as often as it may.
async fn newcomers(server: SocketAddr) -> Tally {
    let mut tally = Tally::default();
    for n in 0..NEWCOMERS {
        let address =
            if n % 2 == 0 { format!("203.{n}.113.7") } else { format!("2001:db8:{:x}::1", 0x900 + n) };
        let mut client = Client::behind_proxy(server, &address);
        for _ in 0..EACH {
            tally.serve(async { client.mint("?ttl=600", "").await.is_some() }).await;
        }
    }
    tally
}

/// Holds sockets. The honest clients have other addresses. If the attacker's sockets are idle, a health check comes from the
/// attacker's address too.
async fn hold(form: Form, load: Load, is_proxied: bool) -> Outcome {
    let settings: &[(&str, &str)] = if is_proxied { &[("TRUSTED_PROXIES", "127.0.0.1")] } else { &[] };
    let process = program(settings);
    let (server, mut honest) = (address(&process), Tally::default());
    let grant = Client::new(server).mint("", "").await.unwrap();
    beside(&mut honest, server, is_proxied, 1).await;
    let before = memory::resident(process.id()).unwrap();
    let others = memory::handles(process.id()).unwrap();
    let sockets = match load {
        Load::Body { .. } => form.choose(400, 3_000),
        Load::Head { .. } | Load::Slow => form.choose(600, 4_000),
        Load::Silence => form.choose(600, 9_000),
    };
    let (counts, bytes): (Arc<Counts>, Arc<[u8]>) = (Arc::default(), load.bytes(&grant).into());
    let mut held = JoinSet::new();
    for _ in 0..sockets {
        held.spawn(keep(server, [127, 0, 0, 1], Arc::clone(&bytes), Arc::clone(&counts)));
    }
    settle(process.id(), &counts).await;
    beside(&mut honest, server, is_proxied, 2).await;
    // Such a socket counts as idle, so it makes room for another one of its peer.
    if !matches!(load, Load::Body { .. }) {
        for _ in 0..5 {
            honest.serve(is_healthy(server)).await;
        }
    }
    // Nothing more is opened, and the broker has time to close what it does not hold.
    counts.is_ending.store(true, Ordering::Relaxed);
    let id = process.id();
    let open = || u64::try_from(memory::handles(id).unwrap().saturating_sub(others)).unwrap();
    for _ in 0..SETTLE_MAX {
        tokio::time::sleep(SETTLE).await;
        if open() <= SOCKETS_MAX {
            break;
        }
    }
    let open = open();
    let grown = memory::peak(process.id()).unwrap().saturating_sub(before);
    let attempts = counts.opened.load(Ordering::Relaxed);
    let effect =
        format!("holds {} of {} sockets, memory grows by {}", grouped(open), grouped(sockets), size(grown));
    let is_within = if is_proxied {
        grown <= sockets * MEMORY_PER_SOCKET_MAX
    } else {
        open <= SOCKETS_MAX && grown <= MEMORY_MAX
    };
    Outcome { attempts, effect, honest, is_within }
}

/// Whether a health check from the attacker's address is served. It is tried three times, as a container engine does.
async fn is_healthy(server: SocketAddr) -> bool {
    for _ in 0..3 {
        if Client::new(server).get("/health", "").await.0 == 200 {
            return true;
        }
    }
    false
}

/// Waits until the broker has read what the sockets sent.
async fn settle(process: u32, counts: &Counts) {
    let mut before = (0, 0);
    for _ in 0..SETTLE_MAX {
        tokio::time::sleep(SETTLE).await;
        let now = (counts.opened.load(Ordering::Relaxed), memory::peak(process).unwrap());
        if now == before {
            return;
        }
        before = now;
    }
}

async fn beside(honest: &mut Tally, server: SocketAddr, is_proxied: bool, n: u32) {
    if is_proxied { honest.round(server, n).await } else { honest.round_directly(server, n).await }
}
