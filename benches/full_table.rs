//! A generator of ledgers with a full table of connections: `full-table DIRECTORY CONNECTIONS PER_GRANT` writes one with that
//! many open connections. They belong to grants or, with 0 per grant, to a reporter. Every connection has reported three times,
//! so its row has been rewritten, as in a running service. Prints the size of the file, and how long it takes to read the file
//! and to restore the books.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a command line program that measures time"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use turn_broker::app::setup;
use turn_broker::clock::{Clock, SystemClock};
use turn_broker::config::{Config, Environment};
use turn_broker::journal::Storage;
use turn_broker::journal::store::{FILE_NAME, Store};
use turn_ledger::{Batch, Books, Caller, Grant, GrantId, IceSource, Report};

/// Changes in one write, as many as a service has in a second.
const BATCH: usize = 7_000;
const ROUNDS: u64 = 3;

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [directory, connections, per_grant] = arguments.as_slice() else {
        return Err("usage: full-table DIRECTORY CONNECTIONS PER_GRANT".into());
    };
    let (connections, per_grant): (usize, usize) = (connections.parse()?, per_grant.parse()?);
    let settings = [
        ("ICE_SOURCES", "coturn"),
        ("COTURN_URLS", "turn:relay.example"),
        ("COTURN_SECRET", "bench-fixture-secret"),
        ("BANDWIDTH_LIMIT_GB", "1000000"),
    ];
    let config = Config::from_env(&Environment::from_pairs(settings))?;
    let directory = Path::new(directory);
    let now = SystemClock.now();
    let store = Store::open(directory)?;
    let mut books = setup(&config).open(Some(store.load()?.books), now);
    let mut callers = vec![];
    let mut unwritten = vec![];
    for n in 0..connections {
        if per_grant > 0 && n % per_grant == 0 {
            callers.push(mint(&mut books, &mut unwritten, u64::try_from(n)?)?);
        }
        let caller = callers.last().copied().unwrap_or(Caller::Reporter);
        books.open(caller, &name(n), Some(true))?;
        if n % BATCH == 0 {
            write(&store, &mut unwritten, &mut books)?;
        }
    }
    write(&store, &mut unwritten, &mut books)?;
    for round in 1..=ROUNDS {
        books.advance(now.plus_millis(round * 10_000));
        for n in 0..connections {
            let caller = n.checked_div(per_grant).map_or(Caller::Reporter, |grant| callers[grant]);
            let bytes_received = Some(round * 2_500_000);
            let report = Report { bytes_received, bytes_sent: Some(round * 1_000_000), relayed: Some(true) };
            books.heartbeat(caller, &name(n), report)?;
            if n % BATCH == 0 {
                store.write(&books.take_batch().into())?;
            }
        }
    }
    store.write(&books.take_batch().into())?;
    println!("bytes_while_open {}", size(directory)?);
    drop(store);
    drop(books);
    println!("bytes_closed {}", size(directory)?);
    for _ in 0..3 {
        let begin = Instant::now();
        let store = Store::open(directory)?;
        let opened = begin.elapsed();
        let stored = store.load()?.books;
        let loaded = begin.elapsed();
        let books = setup(&config).open(Some(stored), now.plus_millis(ROUNDS * 10_000));
        let ready = begin.elapsed();
        assert_eq!(books.snapshot().open_connections, connections);
        println!(
            "opened_ms {} loaded_ms {} ready_ms {}",
            opened.as_millis(),
            loaded.as_millis(),
            ready.as_millis()
        );
    }
    println!("bytes_opened_again {}", size(directory)?);
    Ok(())
}

fn mint(books: &mut Books, unwritten: &mut Vec<Batch>, n: u64) -> Result<Caller, AnyError> {
    let (source, life) = (IceSource::Coturn, Duration::from_secs(86_400));
    let Ok(hold) = books.reserve(source, life, Duration::from_secs(4), None) else {
        return Err("the budget has no room".into());
    };
    let issued_at = books.now();
    let expires_at = issued_at.plus(hold.life());
    let grant = Grant { id: GrantId::new(scattered(n)), source, issued_at, expires_at };
    let username = format!("{}:{}", expires_at.as_secs(), grant.id);
    let (_, batch) = books.commit(hold, &grant, Some(&username), None)?;
    unwritten.extend(batch);
    Ok(Caller::Grant(grant))
}

/// Writes the batches of all mints since the last call, and everything else, with one sync.
fn write(store: &Store, unwritten: &mut Vec<Batch>, books: &mut Books) -> Result<(), AnyError> {
    let mut all = unwritten.drain(..).reduce(|mut all, batch| {
        all.append(batch);
        all
    });
    let rest = books.take_batch();
    match &mut all {
        Some(all) => all.append(rest),
        None => all = Some(rest),
    }
    all.map_or(Ok(()), |all| Ok(store.write(&all.into())?))
}

/// An id that looks random, like those of a service, so that rows are written all over the file.
fn scattered(n: u64) -> [u8; 16] {
    let mixed = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(mixed ^ (mixed >> 29)).to_be_bytes());
    id[8..].copy_from_slice(&n.to_be_bytes());
    id
}

fn name(n: usize) -> String {
    GrantId::new(scattered(u64::try_from(n).unwrap_or(u64::MAX))).to_string()
}

fn size(directory: &Path) -> std::io::Result<u64> {
    Ok(std::fs::metadata(directory.join(FILE_NAME))?.len())
}
