//! A program that attacks the broker. Each subcommand tries one thing that a stranger must not be able to do. It uses what a
//! stranger has: the public routes, its own grants, its addresses and sockets. (`files` and `tokens` also read files and guess
//! tokens.) Honest clients work at the same time. The program prints a table, and exits with 1 if an attack achieves more than
//! its allowance, or if an honest client is not served.
//!
//! Invariant: results depend on the books' time (a manual clock), on requests and on bytes, not on the speed of this machine.
//! The exceptions are the sockets' idle time and the start of the program, which take real time.

#![expect(clippy::unwrap_used, reason = "an attack that cannot go on fails, and is reported")]
#![expect(clippy::print_stdout, reason = "the table is the program's output")]

#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the integration tests use more of it")]
mod support;

mod bodies;
mod books;
mod claims;
mod client;
mod demo;
mod files;
mod forwarded;
mod honest;
mod host;
mod memory;
mod prefetch;
mod program;
mod relay;
mod revoked;
mod share;
mod silent;
mod spray;
mod table;
mod tables;
mod tokens;

use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;

use clap::Parser;
use table::{Form, Outcome, Row};

/// One attack: a row of the table.
pub(crate) struct Attack {
    /// The item of issue 11 that it tests.
    pub(crate) item: u8,
    pub(crate) name: &'static str,
    pub(crate) allowance: &'static str,
    pub(crate) run: fn(Form) -> Running,
}

/// An attack in progress.
pub(crate) type Running = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A subcommand and its attacks.
type Group = (&'static str, &'static [Attack]);

const GROUPS: [Group; 13] = [
    ("claims", claims::ATTACKS),
    ("share", share::ATTACKS),
    ("spray", spray::ATTACKS),
    ("revoked", revoked::ATTACKS),
    ("prefetch", prefetch::ATTACKS),
    ("silent", silent::ATTACKS),
    ("bodies", bodies::ATTACKS),
    ("forwarded", forwarded::ATTACKS),
    ("host", host::ATTACKS),
    ("files", files::ATTACKS),
    ("tokens", tokens::ATTACKS),
    ("tables", tables::ATTACKS),
    ("relay", relay::ATTACKS),
];

/// Attacks the broker of this build, on loopback.
#[derive(Parser)]
struct Options {
    /// Hours of the books' time and large floods; seconds without it
    #[arg(long)]
    long: bool,
    /// Write the table between the markers of this document
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
    /// Print the lines of tests/hostile/before.tsv for this commit instead of the table
    #[arg(long, value_name = "COMMIT")]
    before: Option<String>,
    /// Only these groups of attacks
    #[arg(value_name = "GROUP", value_parser = GROUPS.map(|(name, _)| name))]
    groups: Vec<String>,
}

impl Options {
    fn form(&self) -> Form {
        if self.long { Form::Long } else { Form::Short }
    }
}

async fn carry_out(attack: &Attack, form: Form) -> Row {
    let outcome = tokio::spawn((attack.run)(form)).await.map_err(|error| error.to_string());
    Row { item: attack.item, attack: attack.name, allowance: attack.allowance, outcome }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let is_chosen =
        |group: &str| options.groups.is_empty() || options.groups.iter().any(|name| name == group);
    let mut rows = Vec::new();
    for attack in GROUPS.iter().filter(|(group, _)| is_chosen(group)).flat_map(|(_, attacks)| *attacks) {
        let row = carry_out(attack, options.form()).await;
        match &options.before {
            Some(commit) => print!("{}", row.as_before(options.form(), commit)),
            None => println!("{}", row.line()),
        }
        rows.push(row);
    }
    if options.before.is_some() {
        return ExitCode::SUCCESS;
    }
    report(&options, &rows)
}

/// Prints and stores the table.
fn report(options: &Options, rows: &[Row]) -> ExitCode {
    let table = table::markdown(rows, &table::before(options.form()));
    println!("\n{table}");
    if let Some(document) = &options.document
        && let Err(problem) = table::write_into(document, &table)
    {
        println!("cannot write {}: {problem}", document.display());
        return ExitCode::FAILURE;
    }
    let failed = rows.iter().filter(|row| !row.passes()).count();
    println!("{} of {} attacks stay within their allowance.", rows.len() - failed, rows.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
