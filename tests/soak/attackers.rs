//! Attackers, each with its own addresses: false reports, a spray of addresses, unfinished bodies and heads, wrong tokens.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::client::Client;
use crate::unfinished::{Counts, Load, keep};

/// More bytes than any relay carries.
const HUGE: u64 = 1 << 50;
/// Sockets that hold an unfinished request, half of them a head.
const SOCKETS: u8 = 200;

/// The attackers. Dropping them ends them.
#[derive(Default)]
pub(crate) struct Attackers {
    tasks: JoinSet<()>,
    reports: Arc<AtomicU64>,
    mints: Arc<AtomicU64>,
    guesses: Arc<AtomicU64>,
    sockets: Arc<Counts>,
}

impl Attackers {
    /// Each attack with the number of attempts.
    pub(crate) fn attempts(&self) -> Vec<(&'static str, u64)> {
        let counters = [
            ("false reports", &self.reports),
            ("mints from a spray of addresses", &self.mints),
            ("wrong operator tokens", &self.guesses),
        ];
        let counts = counters.map(|(name, count)| (name, count.load(Ordering::Relaxed)));
        [&counts[..], &[("unfinished heads and bodies", self.sockets.opened.load(Ordering::Relaxed))]]
            .concat()
    }
}

pub(crate) fn start(broker: SocketAddr) -> Attackers {
    let mut attackers = Attackers::default();
    let tasks = &mut attackers.tasks;
    tasks.spawn(report_falsely(broker, Arc::clone(&attackers.reports)));
    tasks.spawn(spray(broker, Arc::clone(&attackers.mints)));
    tasks.spawn(try_tokens(broker, Arc::clone(&attackers.guesses)));
    for n in 0..SOCKETS {
        let load = if n % 2 == 0 { Load::Body { chunk: 1 } } else { Load::Head { kib: 15 } };
        tasks.spawn(keep(broker, [127, 66, 1, n], load.bytes("").into(), Arc::clone(&attackers.sockets)));
    }
    attackers
}

/// Mints as often as it may, opens as many connections as it can, and claims far more than they can carry.
async fn report_falsely(broker: SocketAddr, attempts: Arc<AtomicU64>) {
    let mut client = Client::at(broker, [127, 66, 0, 1]);
    loop {
        let token = client.mint("", "").await.unwrap_or_else(|| "no-grant".to_owned());
        for n in 0..64 {
            client.open(&token, &n.to_string()).await;
            client.beat(&token, &n.to_string(), Some(HUGE)).await;
            attempts.fetch_add(2, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

/// One mint from each address of 100.64.0.0/16 behind the proxy, 50 a second.
async fn spray(broker: SocketAddr, attempts: Arc<AtomicU64>) {
    let mut client = Client::new(broker);
    for n in (1_u16..=u16::MAX).cycle() {
        let [third, fourth] = n.to_be_bytes();
        client.forward(Ipv4Addr::new(100, 64, third, fourth).to_string());
        client.mint("?ttl=60", "").await;
        attempts.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Wrong operator tokens, 10 a second.
async fn try_tokens(broker: SocketAddr, attempts: Arc<AtomicU64>) {
    let mut client = Client::at(broker, [127, 66, 2, 1]);
    for n in 0_u64.. {
        client.get("/metrics", &format!("guess-number-{n:08}")).await;
        attempts.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
