//! Who spends, for an operator. Tests: `tests/it/spenders.rs`.
//! The sums are made when somebody asks, in steps, and kept for ten seconds. So a dashboard that refreshes costs little.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Account;
use crate::rate::Lately;
use turn_ledger::{ByteCount, Place, SpenderKey, SpenderKind, SpenderSums, SpenderWalk, Timestamp};

/// How long a list is kept before it is made again.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// How many rows of a list [`SpenderList::page`] compares at a time.
const LOOKED_AT_ONCE: usize = 1_000;

/// The spenders of one kind, with their sums.
#[derive(Debug)]
pub struct SpenderList {
    /// When the list was made. The sums go up to this instant, but those of an earlier period up to its end.
    pub as_of: Timestamp,
    /// Bytes that providers counted, in the time of the list, under identifiers that the ledger does not know. Zero for an earlier period.
    pub unknown_bytes: ByteCount,
    /// Billed bytes of this whole period; of the earlier period if the list is about one.
    pub used: ByteCount,
    /// The minutes of the list; `None` for a whole period.
    pub lately: Option<Lately>,
    /// All rows, in no order. There may be a million rows, and [`Self::page`] sorts only those of one page.
    pub rows: Vec<SpenderSums>,
}

/// The time in which the bytes of the sums were relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpentIn {
    /// This period.
    ThisPeriod,
    /// The last minutes: at most 15.
    Last(Duration),
    /// The earlier period that began at this instant. Only for a kind whose sums are kept.
    Earlier(Timestamp),
}

/// The lists of the last seconds, by kind and by time.
pub(super) type KeptLists = Mutex<BTreeMap<(SpenderKind, SpentIn), Arc<SpenderList>>>;

impl SpenderList {
    /// The first `limit` rows after a place, most bytes first. `after`: `None` for the first page. Computed away from the threads that
    /// serve.
    pub async fn page(self: Arc<Self>, limit: usize, after: Option<Place>) -> Vec<SpenderSums> {
        let found = tokio::task::spawn_blocking(move || self.first(limit, after.as_ref())).await;
        found.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// The same as [`Self::page`], but on this thread.
    fn first(&self, limit: usize, after: Option<&Place>) -> Vec<SpenderSums> {
        let is_after = |row: &&SpenderSums| after.is_none_or(|after| row.is_after(after));
        let mut rows: Vec<&SpenderSums> = vec![];
        // Each comparison reads the texts of two keys. So rows are compared in parts that fit into the cache of the processor.
        for part in self.rows.chunks(LOOKED_AT_ONCE) {
            rows.extend(part.iter().filter(is_after));
            if rows.len() > limit {
                rows.select_nth_unstable_by(limit, |a, b| a.order().cmp(&b.order()));
                rows.truncate(limit);
            }
        }
        rows.sort_unstable_by(|a, b| a.order().cmp(&b.order()));
        rows.into_iter().cloned().collect()
    }
}

impl Account {
    /// The spenders of a kind, from a list of the last ten seconds if there is one.
    pub async fn spenders(&self, kind: SpenderKind, time: SpentIn) -> Arc<SpenderList> {
        let (now, reset) = self.read(|books| (books.now(), books.budget().period.start));
        let (kept, old) = {
            let mut lists = self.lists.lock();
            let all = std::mem::take(&mut *lists).into_iter();
            let (young, old): (BTreeMap<_, _>, BTreeMap<_, _>) =
                all.partition(|(_, list)| list.as_of >= reset && now.since(list.as_of) < KEPT_FOR);
            *lists = young;
            (lists.get(&(kind, time)).cloned(), old)
        };
        if !old.is_empty() {
            // A million rows take a tenth of a second to free.
            drop(tokio::task::spawn_blocking(move || drop(old)));
        }
        if let Some(kept) = kept {
            return kept;
        }
        let list = Arc::new(self.list_spenders(kind, time).await);
        self.lists.lock().insert((kind, time), Arc::clone(&list));
        list
    }

    /// How many live grants of a spender are not revoked. An address stands for its client. `None`: none is known in this period.
    pub async fn usable_grants_of(&self, spender: &SpenderKey) -> Option<u64> {
        let list = self.list_spenders(spender.kind(), SpentIn::ThisPeriod).await;
        let is_of = |row: &&SpenderSums| row.key.as_ref().is_some_and(|key| key.of_client() == *spender);
        list.rows.iter().filter(is_of).map(|row| row.usable).reduce(u64::saturating_add)
    }

    /// Drops the kept lists: something was revoked.
    pub(super) fn forget_lists(&self) {
        self.lists.lock().clear();
    }

    /// Makes the list of a kind, in steps, and does not keep it.
    pub(super) async fn list_spenders(&self, kind: SpenderKind, time: SpentIn) -> SpenderList {
        let lately = match time {
            SpentIn::Last(window) => Some(self.read(|books| Lately::of(books, window))),
            _ => None,
        };
        let mut walk = match time {
            SpentIn::Earlier(start) => SpenderWalk::of_past(kind, start),
            _ => SpenderWalk::new(kind, lately.map(|lately| lately.time)),
        };
        // The sums once the walk has seen all rows; `None` before.
        let walked = self.read_in_parts(|books| {
            let (now, grants) = (books.now(), books.grants());
            if !walk.look(grants) {
                return None;
            }
            let (period, unknown) = match (time, lately) {
                (SpentIn::Earlier(start), _) => (books.budget().past_bytes(start), ByteCount::ZERO),
                (_, None) => (books.period_bytes(), grants.unknown_bytes()),
                (_, Some(lately)) => (books.period_bytes(), grants.recent_unknown_bytes(lately.time)),
            };
            Some((period, now, unknown))
        });
        let (period, as_of, unknown_bytes) = walked.await;
        let rows = tokio::task::spawn_blocking(move || walk.rows(&period)).await;
        let rows = rows.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        SpenderList { as_of, unknown_bytes, used: period.used, lately, rows }
    }
}
