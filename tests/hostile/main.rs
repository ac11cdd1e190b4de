//! A program that floods the broker with what a stranger has, addresses and sockets, and fills places that many share. What the broker holds in memory and in the system
//! is measured, which only a process of its own shows. What a client gets of each allowance is tested in the ledger, the limits and
//! tests/it. Honest clients work at the same time. The program prints a table, and exits with 1 if an attack achieves more than its
//! allowance, or if an honest client is not served.
//!
//! Invariant: results depend on requests and on bytes, not on the speed of this machine. The exception is the sockets' idle time.

#![expect(clippy::unwrap_used, reason = "an attack that cannot go on fails, and is reported")]
#![expect(clippy::print_stdout, reason = "the table is the program's output")]

#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the integration tests use more of it")]
mod support;

/// A table of attacks: the name, the allowance, and how to run it in the form that is chosen.
macro_rules! attacks {
    ($form:ident: $($name:literal, $allowance:literal => $run:expr;)*) => {
        pub(crate) const ATTACKS: &[crate::Attack] =
            &[$(crate::Attack { name: $name, allowance: $allowance, run: |$form| Box::pin($run) }),*];
    };
}

mod client;
mod document;
mod floods;
mod honest;
mod memory;
mod shares;
mod unfinished;

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;

use clap::Parser;
use document::write_between;
use honest::Tally;
use support::process::Process;
use support::{COTURN, OPERATOR, REPORTER};

/// The lines around the table of a document.
const MARKS: [&str; 2] = ["<!-- tests/hostile/run.sh writes from here -->\n", "<!-- to here -->\n"];

/// One attack: a row of the table.
#[derive(Clone, Copy)]
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) allowance: &'static str,
    pub(crate) run: fn(Form) -> Pin<Box<dyn Future<Output = Outcome> + Send>>,
}

/// How much of an attack is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Seconds, for the test command.
    Short,
    /// Large floods.
    Long,
}

impl Form {
    pub(crate) fn choose<T>(self, short: T, long: T) -> T {
        if self == Self::Short { short } else { long }
    }
}

/// The result of an attack.
pub(crate) struct Outcome {
    /// Requests, or sockets opened.
    pub(crate) attempts: u64,
    pub(crate) effect: String,
    pub(crate) honest: Tally,
    /// Whether the effect is within the allowance.
    pub(crate) is_within: bool,
}

/// Attacks the broker of this build, on loopback.
#[derive(Parser)]
struct Options {
    /// Large floods; seconds without it
    #[arg(long)]
    long: bool,
    /// Write the table between the markers of this document, if no attack achieves too much
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// Only attacks whose names contain one of these words
    words: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let form = if options.long { Form::Long } else { Form::Short };
    let is_chosen = |attack: &Attack| {
        options.words.is_empty() || options.words.iter().any(|word| attack.name.contains(word))
    };
    let mut table = "| attack | attempts | achieved | honest p99 |\n|---|---|---|---|\n".to_owned();
    let (mut passed, mut of) = (0, 0);
    for attack in floods::ATTACKS.iter().chain(shares::ATTACKS).copied().filter(is_chosen) {
        let outcome = tokio::spawn((attack.run)(form)).await;
        let [attempts, effect, served, p99, result] = match outcome {
            Ok(Outcome { attempts, effect, honest, is_within }) => {
                let is_kept = is_within && honest.served == honest.of;
                let served = format!("{} of {}", grouped(honest.served), grouped(honest.of));
                let p99 = format!("{} ms", honest.p99().as_millis());
                let result = if is_kept { "PASS" } else { "FAIL" };
                [grouped(attempts), effect, served, p99, result.to_owned()]
            }
            Err(problem) => [
                "-".to_owned(),
                format!("not carried out: {problem}").replace('\n', " "),
                "-".to_owned(),
                "-".to_owned(),
                "FAIL".to_owned(),
            ],
        };
        let Attack { name, allowance, .. } = attack;
        println!("{result}  {name} | {attempts} | {allowance} | {effect} | {served} | {p99}");
        let _ = writeln!(table, "| {name} | {attempts} | {effect} | {p99} |");
        (passed, of) = (passed + u32::from(result == "PASS"), of + 1);
    }
    println!("\n{table}");
    if let Some(document) = &options.document
        && passed == of
    {
        write_between(document, MARKS, &table);
    }
    println!("{passed} of {of} attacks stay within their allowance.");
    if passed == of { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Starts the program of this build as a child process, and waits until it listens. It logs errors and the lines at start only,
/// so that unread output does not block it.
pub(crate) fn program(settings: &[(&str, &str)]) -> Process {
    let quiet = ("RUST_LOG", "error,turn_broker::telemetry::startup=info");
    let base = [quiet, ("OPERATOR_TOKEN", OPERATOR), ("REPORTER_TOKEN", REPORTER)];
    Process::start(&[&base, &COTURN[..], settings].concat())
}

/// Where it listens.
pub(crate) fn address(process: &Process) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, u16::try_from(process.port).unwrap()).into()
}

/// Bytes with a unit.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        10_000_000..10_000_000_000 => format!("{} MB", bytes / 1_000_000),
        _ => format!("{} GB", bytes / 1_000_000_000),
    }
}

/// A number with commas between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
