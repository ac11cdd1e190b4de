//! An old ledger: what a month of 1,000 mints and calls a day leaves behind. The books and the store of the service write it in simulated
//! time that ends now, so a broker can continue with it.

use std::path::Path;
use std::time::Duration;

use turn_base::clock::{Clock, SystemClock};
use turn_broker::app::setup;
use turn_broker::config::{Config, Environment};
use turn_broker::store::file::FileStorage;
use turn_broker::store::storage::Storage;
use turn_ledger::{Books, Caller, Grant, GrantId, IceSource, Report, Requester, Timestamp};

use crate::server::COTURN;

const CALLS: u64 = 31 * 1_000;
/// A thousandth of a day.
const CALL_MILLIS: u64 = 86_400;
/// Calls that share one write. The service writes more often, but a sync for each write takes too long here.
const CALLS_A_WRITE: u64 = 20;

/// Writes the ledger.
pub(crate) fn write(directory: &Path) {
    let config = Config::from_env(&Environment::from_pairs(COTURN)).unwrap();
    let past = i64::try_from(CALLS * CALL_MILLIS).unwrap();
    let begin = Timestamp::from_millis(SystemClock.now().as_millis() - past);
    let mut store = FileStorage::open(directory).unwrap();
    let mut books = setup(&config).open(Some(store.load(begin).unwrap().books), begin);
    for number in 1..=CALLS {
        let caller = Caller::Grant(mint(&mut books, number));
        let _ = books.open(caller, "call", Some(true));
        books.advance(begin.plus_millis(number * CALL_MILLIS));
        // 2 Mbps.
        let bytes_received = Some(CALL_MILLIS * 250);
        let _ = books.close(caller, "call", Report { bytes_received, ..Report::default() });
        if number % CALLS_A_WRITE == 0 {
            books.tidy();
            store.write(&books.take_batch().into(), false).unwrap();
        }
    }
}

fn mint(books: &mut Books, number: u64) -> Grant {
    let (source, life) = (IceSource::Coturn, Duration::from_secs(86_400));
    let hold = books.reserve(source, life, Duration::from_secs(4), &Requester::default()).unwrap();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let (issued_at, expires_at) = (books.now(), books.now().plus(hold.life));
    let grant = Grant { id: GrantId::new(id), source, issued_at, expires_at };
    let username = format!("{}:{}", expires_at.as_secs(), grant.id);
    let _ = books.commit(hold, &grant, Some(&username), Requester::default()).unwrap();
    grant
}
