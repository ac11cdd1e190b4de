//! Item 11: the table of connections. One client that tries to take all of it, many clients that fill it, and the start of a
//! broker whose ledger has a full table.

use serde_json::json;
use turn_broker::clock::{Clock, SystemClock};

use crate::Attack;
use crate::books::broker;
use crate::client::{Client, Cost};
use crate::honest::{Tally, report_only, round};
use crate::program;
use crate::support::{REPORTER, StateDir, TestBroker};
use crate::table::{Form, Outcome, grouped, size};

const PER_GRANT: u32 = 64;
/// Open connections of one address.
const CONNECTIONS_MAX: u64 = 256;
/// From the start of the process to its listener, in milliseconds: of a release build, and of a slow build on a busy machine.
const START_MAX: u128 = 500;
const SLOW_START_MAX: u128 = 10_000;
/// Requests in one write.
const BATCH: usize = 250;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        item: 11,
        name: "all rows of the connection table for one address",
        allowance: "256 connections, the reporter is served",
        run: |form| Box::pin(one_client(form)),
    },
    Attack {
        item: 11,
        name: "the connection table filled from many addresses",
        allowance: "the reporter is served",
        run: |form| Box::pin(many_clients(form)),
    },
    Attack {
        item: 11,
        name: "start with an almost full connection table in the ledger",
        allowance: "500 ms in the long form",
        run: |form| Box::pin(start(form)),
    },
];

/// Mints `grants` and opens all connections of each.
async fn fill(client: &mut Client, grants: u32) {
    for _ in 0..grants {
        let Some(grant) = client.mint("").await else { continue };
        let bearer = format!("Authorization: Bearer {grant}");
        let opens: Vec<_> =
            (0..PER_GRANT).map(|_| client.head("POST", "/api/connections", &[&bearer], "{}")).collect();
        client.pipeline(&opens).await;
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
    let honest = round(broker.address, 1).await;
    let effect = format!("holds {} of 200,000 rows", grouped(open));
    let is_within = open <= CONNECTIONS_MAX;
    Outcome { attempts: client.cost.requests, cost: client.cost, effect, honest, is_within }
}

async fn many_clients(form: Form) -> Outcome {
    let broker = broker(&[]).await;
    let (mut cost, mut honest) = (Cost::default(), Tally::default());
    for n in 0..form.choose(20, 800_u32) {
        let mut client = Client::behind_proxy(broker.address, &format!("198.{}.{}.7", 20 + n / 250, n % 250));
        fill(&mut client, 4).await;
        cost = cost.plus(client.cost);
        if n % 20 == 0 {
            honest = honest.plus(report_only(broker.address, n).await);
        }
    }
    for n in 1_000..1_010 {
        honest = honest.plus(report_only(broker.address, n).await);
    }
    let effect = format!("{} rows are taken", grouped(open_connections(&broker).await));
    Outcome { attempts: cost.requests, cost, effect, honest, is_within: true }
}

/// An app server opens the connections, because that needs no grants. Their rows are as large as those of others.
async fn start(form: Form) -> Outcome {
    let state = StateDir::new();
    // The table has 200,000 rows. Some are left for the honest clients.
    let connections = form.choose(20_000, 199_000_u32);
    let broker = broker(&[("STATE_DIR", state.path())]).await;
    broker.advance_to(&SystemClock.now().to_string());
    let mut reporter = Client::behind_proxy(broker.address, "198.51.100.7");
    let bearer = format!("Authorization: Bearer {REPORTER}");
    let opens: Vec<_> = (0..connections)
        .map(|n| {
            let body = json!({"connectionId": format!("call-{n}")}).to_string();
            reporter.head("POST", "/api/connections", &[&bearer], &body)
        })
        .collect();
    for batch in opens.chunks(BATCH) {
        reporter.pipeline(batch).await;
    }
    let stored = open_connections(&broker).await;
    broker.finish().await;
    let bytes = std::fs::metadata(state.file()).unwrap().len();
    let began = SystemClock.instant();
    let process = program::start(&[("STATE_DIR", state.path()), ("TRUSTED_PROXIES", "127.0.0.1")]);
    let millis = SystemClock.instant().saturating_duration_since(began).as_millis();
    let honest = round(program::address(&process), 1).await;
    let effect = format!("{millis} ms with {} connections, {} on disk", grouped(stored), size(bytes));
    let most = if form == Form::Long { START_MAX } else { SLOW_START_MAX };
    let is_within = millis <= most && stored == u64::from(connections);
    Outcome { attempts: 1, cost: reporter.cost, effect, honest, is_within }
}
