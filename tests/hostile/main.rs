//! `cargo run --release --example hostile -- BINARY [ATTACK]`: an attacker, to measure what one stranger can do to a broker.
//!
//! Each attack starts its own broker from `BINARY`, so two versions can be compared. It prints one row for each measurement:
//! what was attempted, what it cost the attacker, the effect, and how many honest requests were served meanwhile. All
//! addresses are loopback: on Linux, each of 127.0.0.0/8 is an address of this machine. No row is a verdict; tests are.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod bodies;
mod broker;
mod hosts;
mod prefetch;
mod sockets;
mod wire;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

/// The attacks, in the order in which they run.
const ATTACKS: [&str; 4] = ["prefetch", "bodies", "sockets", "hosts"];

const HELP: &str = "\
An attacker against a broker on this machine.

Usage: hostile BINARY [ATTACK]

  BINARY   the turn-broker program to attack; it is started with settings of the attack
  ATTACK   prefetch, bodies, sockets or hosts; all of them by default";

/// One measurement.
struct Row {
    attack: String,
    attempts: u64,
    /// What the attacker needs.
    cost: String,
    effect: String,
    /// Honest requests served, and how many there were.
    honest: (u64, u64),
}

type Outcome = Result<Vec<Row>, Box<dyn Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (binary, chosen) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [binary] if !binary.starts_with('-') => (binary, &ATTACKS[..]),
        [binary, attack] if ATTACKS.contains(&attack) => {
            let at = ATTACKS.iter().position(|name| *name == attack).unwrap_or_default();
            (binary, &ATTACKS[at..=at])
        }
        _ => {
            println!("{HELP}");
            return ExitCode::from(64);
        }
    };
    println!("| attack | attempts | cost to the attacker | effect | honest requests served |");
    println!("|---|---|---|---|---|");
    for attack in chosen {
        match attack_with(attack, binary).await {
            Ok(rows) => rows.iter().for_each(print),
            Err(error) => {
                eprintln!("{attack}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

async fn attack_with(attack: &str, binary: &str) -> Outcome {
    // The broker runs in another directory.
    let binary = &Path::new(binary).canonicalize()?;
    match attack {
        "prefetch" => prefetch::run(binary).await,
        "bodies" => bodies::run(binary).await,
        "sockets" => sockets::run(binary).await,
        _ => hosts::run(binary).await,
    }
}

fn print(row: &Row) {
    let Row { attack, attempts, cost, effect, honest: (served, sent) } = row;
    println!("| {attack} | {attempts} | {cost} | {effect} | {served} of {sent} |");
}
