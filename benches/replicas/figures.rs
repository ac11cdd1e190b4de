//! Durable mints with the ledger in `PostgreSQL`, through a standby, and with the embedded ledger on the same disk.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::Programs;
use crate::cluster::{Cluster, Node};
use crate::postgres::TestDatabase;

/// The mints of one measurement.
const MINTS: [(u32, u32); 2] = [(64, 20_000), (1, 1_000)];

/// Mints each second, and the quantiles of the times of one, in milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct Speed {
    /// Requests with another status than 200.
    pub(crate) failed: f64,
    rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

/// What the loader does.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) callers: u32,
    pub(crate) count: u32,
    /// Mints a second. 0: a closed loop.
    pub(crate) rate: u32,
}

impl Load {
    /// A caller sends its next request when it has its response.
    pub(crate) fn closed(callers: u32, count: u32) -> Self {
        Self { callers, count, rate: 0 }
    }
}

/// Runs `benches/bare/src/bin/load.rs`.
pub(crate) fn load(program: &Path, address: SocketAddr, Load { callers, count, rate }: Load) -> Speed {
    let mut command = Command::new(program);
    command.arg(address.to_string()).args([callers, count, rate].map(|number| number.to_string()));
    let output = command.args(["GET", "/api/turn-credentials", ""]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.trim().strip_prefix("result ").expect("a result").split(' ');
    let figures: Vec<f64> = words.map(|word| word.parse().unwrap()).collect();
    let [p50, p99, p999] = [3, 4, 5].map(|column| figures[column] / 1e3);
    Speed { failed: figures[1], rate: figures[0] * 1e6 / figures[2], p50, p99, p999 }
}

/// Median, lowest and highest.
fn spread(mut values: Vec<f64>, digits: usize) -> String {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[0], values[values.len() - 1]);
    format!("{:.digits$} ({low:.digits$} to {high:.digits$})", values[values.len() / 2])
}

/// Each round has new ledgers. In each, the three are measured in turns, and another one comes first.
pub(crate) async fn print(programs: &Programs, rounds: usize) {
    let mut all = [vec![], vec![]];
    for round in 0..rounds {
        let database = TestDatabase::new().expect("PostgreSQL");
        let state = tempfile::tempdir().unwrap();
        let mut embedded = Node::alone(&programs.broker, state.path());
        embedded.start();
        let cluster = Cluster::start(&programs.broker, &database, 2, false).await;
        let addresses = [embedded.address(), cluster.address(0), cluster.address(1)];
        for address in addresses {
            load(&programs.load, address, Load::closed(64, 500));
        }
        for (number, (callers, mints)) in MINTS.into_iter().enumerate() {
            let mut speeds = [None; 3];
            for turn in 0..3 {
                let which = (turn + round) % 3;
                speeds[which] = Some(load(&programs.load, addresses[which], Load::closed(callers, mints)));
            }
            let speeds = speeds.map(Option::unwrap);
            assert!(speeds.iter().all(|speed| speed.failed == 0.0), "some requests failed");
            eprintln!(
                "{callers} callers: {:.0?} mints/s, p50 {:.2?} ms",
                speeds.map(|s| s.rate),
                speeds.map(|s| s.p50)
            );
            all[number].push(speeds);
        }
    }
    println!("| durable mints | embedded | leader on PostgreSQL | through a standby |");
    println!("|---|---|---|---|");
    for ((callers, _), rounds) in MINTS.into_iter().zip(&all) {
        let of = |which: usize, digits, figure: fn(&Speed) -> f64| {
            spread(rounds.iter().map(|speeds| figure(&speeds[which])).collect(), digits)
        };
        let cells = [0, 1, 2].map(|which| {
            format!("{}/s, p50 {} ms", of(which, 0, |speed| speed.rate), of(which, 2, |speed| speed.p50))
        });
        println!("| callers: {callers} | {} |", cells.join(" | "));
    }
    let compared =
        |number: usize, how: fn(&[Speed; 3]) -> f64| spread(all[number].iter().map(how).collect(), 2);
    println!("\n| ratio within a round | target | measured |\n|---|---|---|");
    let leader = compared(0, |speeds| speeds[1].rate / speeds[0].rate);
    println!("| 64 callers: leader ÷ embedded | ≥ 0.8 | {leader} |");
    let standby = compared(0, |speeds| speeds[2].rate / speeds[1].rate);
    println!("| 64 callers: through a standby ÷ leader | ≥ 0.6 | {standby} |");
    let hop = compared(1, |speeds| speeds[2].p50 - speeds[1].p50);
    println!("| 1 caller: p50 through a standby − p50 at the leader | ≤ 0.6 ms | {hop} ms |");
}
