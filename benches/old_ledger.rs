//! A generator of old ledgers: `old-ledger DIRECTORY DAYS MINTS_A_DAY` writes the ledger that DAYS of use leave behind.
//! It runs the books and the store of the service in simulated time. The last day ends now, so the service can continue with
//! the ledger. Prints the sizes of the file and its numbers of rows as `name value` lines.

#![expect(clippy::print_stdout, reason = "a command line program")]

use std::path::Path;
use std::time::Duration;

use turn_base::clock::{Clock, SystemClock};
use turn_broker::app::setup;
use turn_broker::config::{Config, Environment};
use turn_broker::store::file::FileStorage;
use turn_broker::store::file::ledger_file::FILE_NAME;
use turn_broker::store::storage::Storage;
use turn_ledger::{Books, Caller, Grant, GrantId, IceSource, Report, Requester, SourceRows, Timestamp};

const MINUTES_A_DAY: u64 = 1_440;
/// Simulated minutes that share one write. The service writes more often, but a sync for each write takes too long here.
const FLUSH_MINUTES: u64 = 30;

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [directory, days, mints_a_day] = arguments.as_slice() else {
        return Err("usage: old-ledger DIRECTORY DAYS MINTS_A_DAY".into());
    };
    let (days, mints_a_day): (u64, u64) = (days.parse()?, mints_a_day.parse()?);
    let settings = [
        ("ICE_SOURCES", "coturn"),
        ("COTURN_URLS", "turn:relay.example"),
        ("COTURN_SECRET", "bench-fixture-secret"),
        ("BANDWIDTH_LIMIT_GB", "1000000"),
    ];
    let config = Config::from_env(&Environment::from_pairs(settings))?;
    let minutes = days * MINUTES_A_DAY;
    let end = SystemClock.now();
    let past = i64::try_from(minutes * 60_000)?;
    let begin = Timestamp::from_millis(end.as_millis() - past);
    let directory = Path::new(directory);
    let mut store = FileStorage::open(directory)?;
    let mut books = setup(&config).open(Some(store.load()?.books), begin);
    let mut callers = Callers { minted: 0, open: vec![] };
    for minute in 0..minutes {
        books.advance(begin.plus_millis(minute * 60_000));
        let due = (minute + 1) * mints_a_day / MINUTES_A_DAY;
        callers.minute(&mut books, due)?;
        if minute % FLUSH_MINUTES == FLUSH_MINUTES - 1 || minute + 1 == minutes {
            books.tidy();
            store.write(&books.take_batch().into())?;
        }
        if minute % (30 * MINUTES_A_DAY) == 0 && minute > 0 {
            println!("bytes_after_{}_days {}", minute / MINUTES_A_DAY, size(directory)?);
        }
    }
    println!("bytes_while_open {}", size(directory)?);
    drop(store);
    println!("bytes_closed {}", size(directory)?);
    store = FileStorage::open(directory)?;
    let found = store.load()?.books;
    let rows = |count: fn(&SourceRows) -> usize| found.sources.values().map(count).sum::<usize>();
    println!("bytes_opened_again {}", size(directory)?);
    println!("deltas {}", rows(|source| source.deltas.len()));
    println!("usage {}", rows(|source| source.usage.len()));
    println!("grants {}", found.grants.len());
    println!("connections {}", found.connections.len());
    Ok(())
}

fn size(directory: &Path) -> std::io::Result<u64> {
    Ok(std::fs::metadata(directory.join(FILE_NAME))?.len())
}

/// Simulated callers. Each one mints, opens a connection, reports 2 Mbps every minute and closes it after half an hour.
struct Callers {
    minted: u64,
    open: Vec<(Grant, u64)>,
}

impl Callers {
    fn minute(&mut self, books: &mut Books, due: u64) -> Result<(), AnyError> {
        while self.minted < due {
            self.minted += 1;
            let (source, life) = (IceSource::Coturn, Duration::from_secs(86_400));
            let Ok(hold) = books.reserve(source, life, Duration::from_secs(4), &Requester::default()) else {
                return Ok(());
            };
            let mut id = [0; 16];
            id[..8].copy_from_slice(&self.minted.to_be_bytes());
            let issued_at = books.now();
            let expires_at = issued_at.plus(hold.life());
            let grant = Grant { id: GrantId::new(id), source, issued_at, expires_at };
            let username = format!("{}:{}", expires_at.as_secs(), grant.id);
            let _ = books.commit(hold, &grant, Some(&username), Requester::default())?;
            let _ = books.open(Caller::Grant(grant), "call", Some(true));
            self.open.push((grant, 0));
        }
        self.open.retain_mut(|(grant, minutes)| {
            *minutes += 1;
            let bytes_received = Some(*minutes * 15_000_000);
            let report = Report { bytes_received, relayed: Some(true), ..Report::default() };
            if *minutes < 30 {
                return books.heartbeat(Caller::Grant(*grant), "call", report).is_ok();
            }
            let _ = books.close(Caller::Grant(*grant), "call", report);
            false
        });
        Ok(())
    }
}
