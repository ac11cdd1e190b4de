//! An old ledger: what a month of 1,000 mints and calls a day leaves behind. The books and the store of the service write it in simulated
//! time that ends now, so a broker can continue with it.

use std::path::Path;
use std::time::Duration;

use turn_base::clock::{Clock, SystemClock};
use turn_broker::app::setup;
use turn_broker::config::{Config, Environment};
use turn_broker::store::file::FileStorage;
use turn_broker::store::file::ledger_file::FILE_NAME;
use turn_broker::store::storage::Storage;
use turn_ledger::{Books, Caller, Grant, GrantId, IceSource, Report, Requester, Timestamp};

use crate::server::COTURN;

const MINTS_A_DAY: u64 = 1_000;
const MINUTES_A_DAY: u64 = 1_440;
const MINUTES: u64 = 31 * MINUTES_A_DAY;
/// Simulated minutes that share one write. The service writes more often, but a sync for each write takes too long here.
const FLUSH_MINUTES: u64 = 30;

/// A call that is connected, and for how many minutes.
struct Call(Grant, u64);

/// Writes the ledger and returns the size of its file in MB.
pub(crate) fn write(directory: &Path) -> f64 {
    let config = Config::from_env(&Environment::from_pairs(COTURN)).unwrap();
    let past = i64::try_from(MINUTES * 60_000).unwrap();
    let begin = Timestamp::from_millis(SystemClock.now().as_millis() - past);
    let mut store = FileStorage::open(directory).unwrap();
    let mut books = setup(&config).open(Some(store.load().unwrap().books), begin);
    let (mut minted, mut calls) = (0, vec![]);
    for minute in 0..MINUTES {
        books.advance(begin.plus_millis(minute * 60_000));
        calls.retain_mut(|call| is_continued(&mut books, call));
        while minted < minute * MINTS_A_DAY / MINUTES_A_DAY {
            minted += 1;
            calls.push(begin_call(&mut books, minted));
        }
        if minute % FLUSH_MINUTES == 0 || minute + 1 == MINUTES {
            books.tidy();
            store.write(&books.take_batch().into(), false).unwrap();
        }
    }
    drop(store);
    let bytes = std::fs::metadata(directory.join(FILE_NAME)).unwrap().len();
    f64::from(u32::try_from(bytes).unwrap()) / 1e6
}

/// Mints and opens a connection.
fn begin_call(books: &mut Books, number: u64) -> Call {
    let (source, life) = (IceSource::Coturn, Duration::from_secs(86_400));
    let hold = books.reserve(source, life, Duration::from_secs(4), &Requester::default()).unwrap();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let (issued_at, expires_at) = (books.now(), books.now().plus(hold.life()));
    let grant = Grant { id: GrantId::new(id), source, issued_at, expires_at };
    let username = format!("{}:{}", expires_at.as_secs(), grant.id);
    let _ = books.commit(hold, &grant, Some(&username), Requester::default()).unwrap();
    let _ = books.open(Caller::Grant(grant), "call", Some(true));
    Call(grant, 0)
}

/// Reports 2 Mbps, and closes the connection after half an hour.
fn is_continued(books: &mut Books, Call(grant, minutes): &mut Call) -> bool {
    *minutes += 1;
    let report =
        Report { bytes_received: Some(*minutes * 15_000_000), relayed: Some(true), ..Report::default() };
    if *minutes < 30 {
        return books.heartbeat(Caller::Grant(*grant), "call", report).is_ok();
    }
    let _ = books.close(Caller::Grant(*grant), "call", report);
    false
}
