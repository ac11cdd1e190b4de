//! A broker under mixed load with faults: honest callers and attackers from many addresses of 127.0.0.0/8, a provider that
//! hangs, a disk that becomes full and a wall clock that steps. `tests/soak/run.sh` runs it in namespaces of its own.
//!
//! It runs the shipped program as a child process and uses only what is visible from outside: HTTP, the process's figures in
//! `/proc`, and `turn-broker ledger verify` at the end.

#![expect(clippy::disallowed_methods, reason = "it measures another process, so it reads the clock")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints its result")]
#![expect(clippy::unwrap_used, reason = "it ends at the first surprise")]

mod attackers;
mod broker;
mod faults;
mod honest;
mod report;

#[expect(dead_code, reason = "the attacks use more of it")]
#[path = "../hostile/client.rs"]
mod client;
#[path = "../hostile/document.rs"]
mod document;
#[expect(dead_code, reason = "the attacks use more of it")]
#[path = "../hostile/memory.rs"]
mod memory;
#[expect(dead_code, reason = "the attacks use more of it")]
#[path = "../hostile/unfinished.rs"]
mod unfinished;

#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the integration tests use more of it")]
mod support;

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use document::write_between;
use faults::Faults;
use honest::Tally;
use report::{Report, Sample};
use support::{AnalyticsFault, FakeCloudflare, finished};

/// The pause between two samples.
const SAMPLE: Duration = Duration::from_secs(5);
/// The lines of docs/PERFORMANCE.md around the table.
const MARKS: [&str; 2] = ["<!-- soak: begin -->\n", "<!-- soak: end -->\n"];

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<bool, Box<dyn Error>> {
    let usage = "usage: soak DISK MINUTES [DOCUMENT]";
    let mut arguments = std::env::args().skip(1);
    let disk = PathBuf::from(arguments.next().ok_or(usage)?);
    let minutes: u64 = arguments.next().ok_or(usage)?.parse()?;
    let document = arguments.next().map(PathBuf::from);
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "TLS is already set up")?;

    let cloudflare = Arc::new(FakeCloudflare::start().await);
    cloudflare.analytics().set_fault(AnalyticsFault::Late(1));
    let broker = broker::start(&disk, &cloudflare.base_url())?;
    let address = (Ipv4Addr::LOCALHOST, u16::try_from(broker.port)?).into();
    let (faults, tally) = (Arc::new(Faults::default()), Arc::new(Tally::default()));
    let honest = honest::start(address, &tally, &faults);
    let attackers = attackers::start(address);
    let script = tokio::spawn(faults::play(Arc::clone(&faults), Arc::clone(&cloudflare), disk.clone()));

    let begin = Instant::now();
    let mut samples = vec![];
    while begin.elapsed() < Duration::from_secs(minutes * 60) {
        tokio::time::sleep(SAMPLE).await;
        samples.push(finished("a sample", Sample::take(&broker)).await?);
    }
    script.abort();
    faults.end(&cloudflare, &disk)?;
    let (refusals, attacks) = (honest.stop(), attackers.attempts());
    drop(attackers);
    let used_gb = broker.status().await["bandwidthUsedGB"].as_str().ok_or("no figure")?.to_owned();
    let verified = broker::stop_and_verify(broker, &disk);
    let report = Report { minutes, samples, used_gb, tally: tally.counts(), refusals, attacks, verified };
    println!("{}\n{}", report.table(), report.counts());
    if let Some(document) = document {
        write_between(&document, MARKS, &report.table());
    }
    Ok(report.is_good())
}
