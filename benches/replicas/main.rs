//! What callers see of a fault at one of several replicas, and what the database costs. Real processes, a real `PostgreSQL`, and clients that
//! mint without end: `benches/replicas.sh` runs it. Prints the tables of docs/PERFORMANCE.md. What a figure of another machine or another hour
//! says is little, so faults are made ROUNDS times, and programs that are compared are measured in turns.

#![expect(clippy::disallowed_methods, reason = "it measures other processes, so it reads the clock")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints its result")]
#![expect(clippy::unwrap_used, reason = "it ends at the first surprise")]

mod clients;
mod cluster;
mod figures;
mod steady;

#[path = "../../tests/it/support/held_port.rs"]
mod held_port;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/support/postgres.rs"]
mod postgres;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/support/process.rs"]
mod process;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/support/proxy.rs"]
mod proxy;

use std::path::PathBuf;
use std::time::Duration;

use clients::{Clients, Report};
use cluster::{Cluster, Fault};
use figures::Load;
use postgres::TestDatabase;

/// How long clients mint before a fault, and after its end.
const CALM: Duration = Duration::from_secs(1);
/// The faults that are made if no argument names some.
const FAULTS: [Fault; 7] =
    [Fault::Kill, Fault::Stop, Fault::Cut, Fault::Hold, Fault::Swallow, Fault::Term, Fault::Rolling];

/// The programs that are run.
struct Programs {
    broker: PathBuf,
    load: PathBuf,
}

#[tokio::main]
async fn main() {
    let usage = "usage: replicas BROKER LOAD ROUNDS faults|alone|full|figures|steady...";
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect(usage);
    let programs = Programs { broker: next().into(), load: next().into() };
    let rounds = next().parse().expect(usage);
    for topic in arguments {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap();
        println!("{topic}, load average before: {}\n", load.split(' ').next().unwrap());
        match topic.as_str() {
            "faults" => {
                Report::head();
                for fault in FAULTS {
                    faults(&programs, fault, rounds).await;
                }
            }
            "alone" => {
                Report::head();
                for fault in [Fault::Kill, Fault::Term] {
                    alone(&programs, fault, rounds).await;
                }
            }
            "full" => {
                Report::head();
                full(&programs, rounds).await;
            }
            "figures" => figures::print(&programs, rounds).await,
            "steady" => steady::print(&programs, steady_seconds()).await,
            _ => panic!("{usage}"),
        }
        println!();
    }
}

/// `STEADY_SECONDS`, an hour when unset.
fn steady_seconds() -> u64 {
    std::env::var("STEADY_SECONDS").map_or(3_600, |text| text.parse().expect("a number of seconds"))
}

/// One fault, with replicas that live as long as they can.
async fn faults(programs: &Programs, fault: Fault, rounds: usize) {
    let database = TestDatabase::new().expect("PostgreSQL");
    let count = if fault == Fault::Rolling { 3 } else { 2 };
    let mut cluster = Cluster::start(&programs.broker, &database, count, true).await;
    let mut report = Report::default();
    for _ in 0..rounds {
        round(&mut cluster, fault, &mut report).await;
    }
    report.print(fault.name());
}

/// The leader is killed while it has many live grants.
async fn full(programs: &Programs, rounds: usize) {
    let database = TestDatabase::new().expect("PostgreSQL");
    let mut cluster = Cluster::start(&programs.broker, &database, 2, false).await;
    let grants = 400_000;
    figures::load(&programs.load, cluster.address(0), Load::closed(64, grants));
    let mut report = Report::default();
    for _ in 0..rounds {
        round(&mut cluster, Fault::Kill, &mut report).await;
    }
    report.print("`kill -9` of the leader, with 400,000 live grants");
}

async fn round(cluster: &mut Cluster, fault: Fault, report: &mut Report) {
    let clients = Clients::start(cluster.urls());
    tokio::time::sleep(CALM).await;
    let faulty = cluster.make(fault).await;
    tokio::time::sleep(CALM).await;
    let calls = clients.end().await;
    let lost = cluster.lacking(&calls).await;
    report.add(&calls, &faulty, lost);
}

/// One broker with its ledger on a disk, which is started again at once.
async fn alone(programs: &Programs, fault: Fault, rounds: usize) {
    let state = tempfile::tempdir().unwrap();
    let mut broker = cluster::Node::alone(&programs.broker, state.path());
    broker.start();
    let (mut report, mut answered) = (Report::default(), 0);
    for _ in 0..rounds {
        let clients = Clients::start(vec![broker.url()]);
        tokio::time::sleep(CALM).await;
        let faulty = vec![broker.restart(fault).await];
        tokio::time::sleep(CALM).await;
        let calls = clients.end().await;
        answered += calls.iter().filter(|call| call.answered.is_some()).count();
        let lost = answered.saturating_sub(broker.issued().await);
        report.add(&calls, &faulty, lost);
    }
    report.print(&format!("one broker with `STATE_DIR`: {}, started again at once", fault.signal()));
}
