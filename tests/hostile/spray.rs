//! Item 2: one request each from very many addresses, so that the limiter has no row left for anybody else. The requests have
//! an invalid lifetime, so they count against the rate and mint nothing.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::Attack;
use crate::client::{Client, Cost};
use crate::honest::{Tally, round};
use crate::memory;
use crate::program;
use crate::table::{Form, Outcome, grouped, size};

/// How much the memory may grow. Bytes.
const MEMORY_MAX: u64 = 64_000_000;
const NEWCOMERS: u32 = 20;
/// `RATE_LIMIT_REQUESTS` by default.
const EACH: u32 = 10;
/// Requests in one write.
const BATCH: u32 = 250;
/// Sockets of the attacker.
const SOCKETS: u32 = 4;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        item: 2,
        name: "spray from four IPv6 /48s",
        allowance: "newcomers elsewhere get their ten; 64 MB",
        run: |form| Box::pin(spray(form, Family::V6)),
    },
    Attack {
        item: 2,
        name: "spray from ten IPv4 /16s",
        allowance: "newcomers elsewhere get their ten; 64 MB",
        run: |form| Box::pin(spray(form, Family::V4)),
    },
];

#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn addresses(self, form: Form) -> u32 {
        match self {
            Self::V4 => form.choose(20_000, 1_000_000),
            Self::V6 => form.choose(20_000, 200_000),
        }
    }

    /// The n-th address of the spray.
    fn address(self, n: u32) -> String {
        match self {
            // Ten /16s have 655,360 addresses. After the last one, the first ones are used again.
            Self::V4 => Ipv4Addr::from(((0x6440 + n % 10) << 16) | ((n / 10) % 0x1_0000)).to_string(),
            Self::V6 => {
                let network = 0x2001_0db8_0100_u128 + u128::from(n % 4);
                Ipv6Addr::from(network << 80 | u128::from(n / 4) << 64 | 1).to_string()
            }
        }
    }
}

async fn spray(form: Form, family: Family) -> Outcome {
    // The short form has a smaller table instead of more addresses.
    let table = form.choose("2000", "100000");
    let process = program::start(&[("TRUSTED_PROXIES", "127.0.0.1"), ("RATE_LIMIT_MAX_CLIENTS", table)]);
    let server = program::address(&process);
    let mut honest = round(server, 1).await;
    let before = memory::resident(process.id());
    let addresses = family.addresses(form);
    let floods = (0..SOCKETS).map(|part| tokio::spawn(flood(server, family, part, addresses)));
    let mut cost = Cost::default();
    for flood in floods.collect::<Vec<_>>() {
        cost = cost.plus(flood.await.unwrap());
    }
    let grown = memory::peak(process.id()).saturating_sub(before);
    let newcomers = newcomers(server).await;
    honest = honest.plus(round(server, 2).await).plus(newcomers);
    let effect = format!(
        "newcomers get {} of {} mints, memory grows by {}",
        grouped(newcomers.served),
        grouped(newcomers.of),
        size(grown)
    );
    Outcome { attempts: u64::from(addresses), cost, effect, honest, is_within: grown <= MEMORY_MAX }
}

/// One part of the addresses, each once.
async fn flood(server: SocketAddr, family: Family, part: u32, addresses: u32) -> Cost {
    let mut client = Client::new(server);
    let mine: Vec<u32> = (0..addresses).filter(|n| n % SOCKETS == part).collect();
    for batch in mine.chunks(usize::try_from(BATCH).unwrap()) {
        let requests: Vec<_> = batch
            .iter()
            .map(|n| {
                client.forward(family.address(*n).as_bytes());
                client.head("GET", "/api/turn-credentials?ttl=1", &[], "")
            })
            .collect();
        assert_eq!(client.pipeline(&requests).await.len(), requests.len(), "the broker responds");
    }
    client.cost
}

/// Clients of networks that are not sprayed, half of them with IPv6. Each mints as often as it may.
async fn newcomers(server: SocketAddr) -> Tally {
    let mut tally = Tally::default();
    for n in 0..NEWCOMERS {
        let address =
            if n % 2 == 0 { format!("203.{n}.113.7") } else { format!("2001:db8:{:x}::1", 0x900 + n) };
        let mut client = Client::behind_proxy(server, &address);
        for _ in 0..EACH {
            tally.count(client.mint("?ttl=600").await.is_some());
        }
    }
    tally
}
