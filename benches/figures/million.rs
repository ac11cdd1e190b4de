//! A million live grants, each of another address and label: a start, lists of who spends beside mints, a backup, a takeover.

use std::io::BufReader;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use rustix::process::Signal;

use crate::postgres::TestDatabase;
use crate::replicas::longest_without;
use crate::response::exchange;
use crate::server::{Server, directory};
use crate::{CALLERS, MINT, mint_with, print};

const GRANTS: u32 = 1_000_000;
const OPERATOR: &str = "bench-operator-token-0123456789ab";
/// The caller names the clients.
const PROXY: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.0/8");

pub(crate) fn million(rounds: usize) {
    let state = directory();
    let settings = [("STATE_DIR", state.path().to_str().unwrap()), ("OPERATOR_TOKEN", OPERATOR), PROXY];
    let mut server = Server::broker(&settings);
    fill(&server);
    let rows = [
        ["1,000,000 live grants: start", "≤ 1000 ms", "ms"],
        ["the same: `/api/spenders` by address", "≤ 300 ms", "ms"],
        ["the same: by label", "≤ 300 ms", "ms"],
        ["the same: longest mint beside", "≤ 20 ms", "ms"],
        ["the same: a backup", "≤ 2000 ms", "ms"],
    ];
    print(rounds, rows, || {
        server.stop(Signal::TERM);
        server = Server::broker(&settings);
        let start = server.start;
        let ([address, label], mint) = beside_mints(&server, || {
            ["address", "label"].map(|by| timed(&server, &format!("/api/spenders?by={by}")))
        });
        let backup = timed(&server, "/api/backup");
        [start, address, label, mint, backup]
    });
}

/// Measures nothing without `PostgreSQL`.
pub(crate) fn takeover(rounds: usize) {
    let Some(database) = TestDatabase::new() else { return };
    let settings = [("DATABASE_URL", &*database.url()), ("DATABASE_SCHEMA", &*database.schema), PROXY];
    let mut leader = Server::broker(&settings);
    fill(&leader);
    let mut standby = Server::broker(&settings);
    let row = ["1,000,000 live grants: the leader is killed", "≤ 3000 ms", "ms"];
    print(rounds, [row], || {
        let without = longest_without(&leader, &standby, Signal::KILL);
        leader = std::mem::replace(&mut standby, Server::broker(&settings));
        [without]
    });
}

/// Issues the grants. `MILLION` is another number of them.
fn fill(server: &Server) {
    let grants = std::env::var("MILLION").map_or(GRANTS, |text| text.parse().expect("MILLION is a number"));
    mint_with(server, CALLERS, grants, |number| {
        let [second, third, fourth] = [number >> 16, number >> 8 & 255, number & 255];
        format!(
            "GET {MINT}?label=room-{number} HTTP/1.1\r\nhost: bench\r\nx-forwarded-for: 10.{second}.{third}.{fourth}\r\n\r\n"
        )
    });
}

/// The time of one call of the operator, in milliseconds.
fn timed(server: &Server, path: &str) -> f64 {
    let mut socket = BufReader::new(TcpStream::connect(server.address).unwrap());
    let begun = Instant::now();
    let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {OPERATOR}\r\n\r\n");
    exchange(&mut socket, &request).unwrap();
    begun.elapsed().as_secs_f64() * 1e3
}

/// What `run` returns, and the longest time of a mint meanwhile, in milliseconds.
fn beside_mints<T>(server: &Server, run: impl FnOnce() -> T) -> (T, f64) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mints = scope.spawn(|| {
            let mut socket = BufReader::new(TcpStream::connect(server.address).unwrap());
            let (mut longest, mut number) = (0.0_f64, 0);
            while !is_over.load(Ordering::Relaxed) {
                number += 1;
                let request = format!(
                    "GET {MINT} HTTP/1.1\r\nhost: bench\r\nx-forwarded-for: 172.16.{}.{}\r\n\r\n",
                    number >> 8 & 255,
                    number & 255
                );
                let begun = Instant::now();
                exchange(&mut socket, &request).unwrap();
                longest = longest.max(begun.elapsed().as_secs_f64() * 1e3);
            }
            longest
        });
        let result = run();
        is_over.store(true, Ordering::Relaxed);
        (result, mints.join().unwrap())
    })
}
