//! The shares of one address: promises of a strict budget, and rows of the table of connections. And the start of a broker whose
//! ledger has a full table.

use turn_base::clock::{Clock, SystemClock};

use crate::client::Client;
use crate::honest::Tally;
use crate::support::{REPORTER, StateDir, TestBroker};
use crate::{Attack, Form, Outcome, address, broker, grouped, program, size};

/// `RESERVED_PERCENT_PER_CLIENT`.
const RESERVED_PERCENT_MAX: f64 = 5.0;
/// Open connections of one address.
const CONNECTIONS_MAX: u64 = 256;
/// Open connections of one grant.
const PER_GRANT: u32 = 64;
/// From the start of the process to its listener, in milliseconds: of a release build, and of a slow build on a busy machine.
const START_MAX: u128 = 500;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "promises of a strict budget by one address",
        allowance: "5 % of the limit",
        run: |form| Box::pin(reserve(form, false)),
    },
    Attack {
        name: "promises of a strict budget by one IPv6 /48",
        allowance: "4 times 5 % of the limit",
        run: |form| Box::pin(reserve(form, true)),
    },
    Attack {
        name: "all rows of the connection table for one address",
        allowance: "256 connections, the reporter is served",
        run: |form| Box::pin(one_client(form)),
    },
    Attack {
        name: "the connection table filled from many addresses",
        allowance: "the reporter is served",
        run: |form| Box::pin(many_clients(form)),
    },
    Attack {
        name: "start with an almost full connection table in the ledger",
        allowance: "500 ms in the long form",
        run: |form| Box::pin(start(form)),
    },
];

/// Mints at the default rate: ten at once, then one each 30 s.
async fn reserve(form: Form, is_prefix: bool) -> Outcome {
    let broker = broker(&[("BUDGET_MODE", "strict")]).await;
    let at = |address: &str| Client::behind_proxy(broker.address, address);
    let mut clients: Vec<_> = if is_prefix {
        (0..16).map(|n| at(&format!("2001:db8:7:{n:x}::1"))).collect()
    } else {
        vec![at("198.51.100.7")]
    };
    let mut minted = 0_u64;
    for step in 0..=form.choose(40, 120) {
        for client in &mut clients {
            for _ in 0..if step == 0 { 10 } else { 1 } {
                minted += u64::from(client.mint("", "").await.is_some());
            }
        }
        broker.advance(30);
    }
    let reserved: f64 = broker.status().await["reservedGB"].as_str().unwrap().parse().unwrap();
    let mut honest = Tally::default();
    for n in 1..=5 {
        honest.round(broker.address, n).await;
    }
    let percent = reserved / 1_000.0 * 100.0;
    let most = RESERVED_PERCENT_MAX * if is_prefix { 4.0 } else { 1.0 };
    let effect = format!("{percent:.1} % held by {} mints", grouped(minted));
    let attempts = clients.iter().map(|client| client.requests).sum();
    // The figure is rounded up to two decimals of a GB.
    Outcome { attempts, effect, honest, is_within: percent <= most + 0.01 }
}

/// Mints `grants` and opens all connections of each.
async fn fill(client: &mut Client, grants: u32) {
    for _ in 0..grants {
        let Some(grant) = client.mint("", "").await else { continue };
        for n in 0..PER_GRANT {
            client.open(&grant, &format!("c{n}")).await;
        }
    }
}

async fn open_connections(broker: &TestBroker) -> u64 {
    broker.operator("/api/connections").await.json()["total"].as_u64().unwrap()
}

/// The rate limit of mints is raised, so that nothing has to wait. A day at the default rate gives 2,890 grants, and renewals
/// give more.
async fn one_client(form: Form) -> Outcome {
    let broker = broker(&[("RATE_LIMIT_REQUESTS", "5000")]).await;
    let mut client = Client::behind_proxy(broker.address, "198.51.100.7");
    fill(&mut client, form.choose(40, 3_200)).await;
    let open = open_connections(&broker).await;
    let mut honest = Tally::default();
    honest.round(broker.address, 1).await;
    let effect = format!("holds {} of 200,000 rows", grouped(open));
    Outcome { attempts: client.requests, effect, honest, is_within: open <= CONNECTIONS_MAX }
}

async fn many_clients(form: Form) -> Outcome {
    let broker = broker(&[]).await;
    let (mut attempts, mut honest) = (0, Tally::default());
    for n in 0..form.choose(20, 800_u32) {
        let mut client = Client::behind_proxy(broker.address, &format!("198.{}.{}.7", 20 + n / 250, n % 250));
        fill(&mut client, 4).await;
        attempts += client.requests;
        if n % 20 == 0 {
            honest.report_only(broker.address, n).await;
        }
    }
    for n in 1_000..1_010 {
        honest.report_only(broker.address, n).await;
    }
    let effect = format!("{} rows are taken", grouped(open_connections(&broker).await));
    Outcome { attempts, effect, honest, is_within: true }
}

/// An app server opens the connections, because that needs no grants. Their rows are as large as those of others.
async fn start(form: Form) -> Outcome {
    let state = StateDir::new();
    // The table has 200,000 rows. Some are left for the honest clients.
    let connections = form.choose(5_000, 199_000_u64);
    // Time is charged for each connection, so an ordinary limit would be used up within seconds.
    let limit = ("BANDWIDTH_LIMIT_GB", "1000000");
    let broker = broker(&[("STATE_DIR", state.path()), limit]).await;
    broker.advance_to(&SystemClock.now().to_string());
    let mut reporter = Client::behind_proxy(broker.address, "198.51.100.7");
    for n in 0..connections {
        reporter.open(REPORTER, &format!("call-{n}")).await;
    }
    let stored = open_connections(&broker).await;
    broker.finish().await;
    let bytes = std::fs::metadata(state.file()).unwrap().len();
    let began = SystemClock.instant();
    let process = program(&[("STATE_DIR", state.path()), ("TRUSTED_PROXIES", "127.0.0.1"), limit]);
    let millis = SystemClock.instant().saturating_duration_since(began).as_millis();
    let mut honest = Tally::default();
    honest.round(address(&process), 1).await;
    let effect = format!("{millis} ms with {} connections, {} on disk", grouped(stored), size(bytes));
    // The short form runs on busy machines, with programs that are not optimized.
    let is_fast = form == Form::Short || millis <= START_MAX;
    Outcome { attempts: 1, effect, honest, is_within: is_fast && stored == connections }
}
