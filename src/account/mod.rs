//! The account: the books behind one lock, with the clock and the store. The lock is held for microseconds and never
//! across an await. All values that one call reads under the lock belong to the same instant.

mod alerts;
mod connections;
mod reservation;
mod spenders;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use turn_base::clock::Clock;
use turn_ledger::{
    AllRevoked, Books, Closed, Grant, GrantId, GrantRow, IceSource, LimitKind, MINT_SLACK, NamesPerson,
    NotAdmitted, NotRecorded, Requester, Setup, Snapshot, SpenderKey, SteadyTime, Timestamp, User, Written,
};

use crate::alert::SpentGrant;
use crate::alert::rules::AlertRules;
use crate::lead::Lead;
use crate::store::changes::{Changes, Contents};
use crate::store::storage::{CopyLedger, Lost};
use crate::store::writer::{ChangeSource, FLUSH_INTERVAL, Store};
use crate::telemetry::metrics::Metrics;
use spenders::KeptLists;

pub use reservation::{RenewalRight, Reservation};
pub use spenders::{SpenderList, SpentIn};

/// The books, their lock and their clock.
#[derive(Debug)]
pub struct Account {
    // No asynchronous mutex, because nothing awaits while it is held.
    guarded: Arc<Mutex<Guarded>>,
    /// `None`: the books are in memory only.
    store: Option<Store>,
    /// `None`: no other replica can have the books.
    lead: Option<Arc<Lead>>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    lists: KeptLists,
}

/// What the lock guards. A panic leaves it consistent: each step changes one cell or row together with its sums.
#[derive(Debug)]
struct Guarded {
    books: Books,
    time: SteadyTime,
    alerts: AlertRules,
    /// The alerts as they were last given to the writer.
    stored_alerts: AlertRules,
    /// Chains that were revoked because they relayed too much, for the next alerts.
    over_limit: Vec<SpentGrant>,
}

/// Most chains that wait to be named in an alert. Further ones are revoked, but not named.
const OVER_LIMIT_MAX: usize = 16;

impl Account {
    /// Opens the books with what is stored, and puts them behind the lock. Without a store, they are in memory only.
    pub fn new(
        setup: &Setup,
        stored: Contents,
        store: Option<Store>,
        lead: Option<Arc<Lead>>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        for full_table in ["grant", "address", "table"] {
            metrics.connections_refused.add([full_table], 0);
        }
        let (wall, boot, since_boot) = (clock.now(), clock.boot(), clock.since_boot());
        let Contents { books, alerts } = stored;
        let mut time = books.time(wall, boot, since_boot, lead.as_ref().and_then(|lead| lead.followed));
        let guarded = Guarded {
            books: setup.open(Some(books), time.read(wall, since_boot)),
            time,
            stored_alerts: alerts.clone(),
            alerts,
            over_limit: vec![],
        };
        let lists = Mutex::default();
        Self { guarded: Arc::new(Mutex::new(guarded)), store, lead, clock, metrics, lists }
    }

    /// Advances the books to now and reads them under the lock.
    pub fn read<T>(&self, call: impl FnOnce(&Books) -> T) -> T {
        self.change(|books| call(books))
    }

    /// Advances the books to now and changes them under the lock. The change takes effect at once, and is written within
    /// [`FLUSH_INTERVAL`]. [`Self::recorded`] waits until it is on disk.
    pub fn change<T>(&self, call: impl FnOnce(&mut Books) -> T) -> T {
        self.with_all(|guarded| call(&mut guarded.books))
    }

    /// Reserves budget for a credential with lifetime `life` that the provider creates within [`MINT_SLACK`]. Counts a refusal in the metrics.
    /// `choose` is called first, under the same lock: it may refuse, name the issuer of the credential, or find none (`None`).
    pub fn reserve<T>(
        self: &Arc<Self>,
        source: IceSource,
        life: Duration,
        mut requester: Requester,
        choose: impl FnOnce(&Books, &mut Requester) -> Result<Option<T>, NotAdmitted>,
    ) -> Result<Option<(Reservation, T)>, NotAdmitted> {
        let reserved = self.change(|books| {
            let Some(chosen) = choose(books, &mut requester)? else { return Ok(None) };
            Ok(Some((books.reserve(source, life, MINT_SLACK, &requester)?, books.moment(), chosen)))
        });
        let reserved = reserved.inspect_err(|why| self.count_refusal(why))?;
        Ok(reserved.map(|(hold, moment, chosen)| (Reservation::new(self, hold, moment, requester), chosen)))
    }

    /// Why no caller gets a metered credential from any source; `None` if some caller may get one. Counts the refusal in the metrics.
    pub fn refusal(&self) -> Option<NotAdmitted> {
        self.read(Books::refusal).inspect(|why| self.count_refusal(why))
    }

    fn count_refusal(&self, why: &NotAdmitted) {
        if let NotAdmitted::Refused(refusal) = why {
            self.metrics.budget_refusals.inc();
            match refusal.limited.map(|limit| limit.kind) {
                Some(LimitKind::User) => drop(self.metrics.user_refusals.inc()),
                Some(LimitKind::Server) => drop(self.metrics.key_refusals.inc()),
                None => {}
            }
            if refusal.client_frees_at.is_some() {
                self.metrics.address_refusals.inc();
            }
        }
    }

    /// Takes the time of a provider's clock, from a response that has just arrived.
    pub fn observe_date(&self, date: Timestamp) {
        let since_boot = self.clock.since_boot();
        self.guarded.lock().time.set_reference(date, since_boot);
    }

    /// The time now by the provider's clock, as its last `Date` showed it, and at most the books' time. Without a `Date` of the last hour,
    /// it is the books' time. The wall clock plays no part, because the books may have refused to follow it.
    pub fn time_of_provider(&self) -> Timestamp {
        let since_boot = self.clock.since_boot();
        self.with_all(|Guarded { books, time, .. }| {
            time.date(since_boot).map_or(books.now(), |shown| shown.min(books.now()))
        })
    }

    /// Whether the books are stored, in a file or a database.
    pub fn has_store(&self) -> bool {
        self.store.is_some()
    }

    /// Asks the writer to write all changes up to now, and does not wait. While the ledger cannot be written, only asks for another attempt
    /// with the batch that the writer has kept.
    pub fn flush(&self) {
        let Some(store) = &self.store else { return };
        self.with_all(|_| match store.room() {
            Some(room) => room.send(self.changes()),
            None => store.try_again(),
        });
    }

    /// Writes the last batch. Waits until it is on disk and the writer has released the ledger. Logs a failure.
    pub async fn finish(&self) {
        if self.record(true).await.is_err() {
            tracing::error!("the last changes of the ledger could not be written");
        }
    }

    /// Takes a grant's right to renew. `None` if the grant may not renew now. `is_allowed`: whether its row lets it renew; the row is
    /// `None` if the books have none of this grant.
    pub fn take_renewal(
        self: &Arc<Self>,
        grant: &Grant,
        is_allowed: impl FnOnce(Option<&GrantRow>) -> bool,
    ) -> Option<RenewalRight> {
        let spender = self.change(|books| {
            let row = books.grants().get(grant.id);
            let spender = row.and_then(|row| row.spender.clone());
            if is_allowed(row) && books.take_renewal(grant) { Some(spender) } else { None }
        })?;
        Some(RenewalRight::new(self, grant, spender))
    }

    /// Revokes a credential and closes its connections. Takes effect at once; [`Self::recorded`] waits until it is on disk. `None` if no
    /// metered grant of this id is in use.
    pub fn revoke(&self, id: GrantId) -> Option<GrantRow> {
        self.revoke_each(&[id]).pop().map(|(_, row)| row)
    }

    /// Revokes all live grants of a spender, and closes their connections. Takes effect at once; [`Self::recorded`] waits until it
    /// is on disk.
    pub fn revoke_all_of(&self, spender: &SpenderKey) -> Vec<(GrantId, GrantRow)> {
        let AllRevoked { grants, closed } = self.change(|books| books.revoke_all_of(spender));
        self.forget_lists();
        self.report_ends(closed);
        grants
    }

    /// Removes a person from everything that is stored. Takes effect at once; [`Self::recorded`] waits until it is on disk. Returns the
    /// credentials that this has revoked, and how many rows of grants had the name.
    pub fn forget_user(&self, user: &User) -> (Vec<(GrantId, GrantRow)>, usize) {
        let (revoked, who) =
            self.with_all(|Guarded { books, alerts, over_limit, time: _, stored_alerts: _ }| {
                let (revoked, mut who) = books.forget_user(user);
                for spent in over_limit {
                    spent.who.retain(|key| !who.names.contains(key));
                }
                alerts.forget(&mut who);
                (revoked, who)
            });
        self.forget_lists();
        self.report_ends(revoked.closed);
        (revoked.grants, who.rows)
    }

    /// Revokes the credentials of each chain that has relayed more than `GRANT_LIMIT_GB`, by a count or by vouched reports, and closes
    /// their connections. At most [`OVER_LIMIT_MAX`] chains wait to be named in the next alerts.
    pub fn revoke_over_limit(&self) {
        let over = self.with_all(|Guarded { books, over_limit, .. }| {
            let over = books.revoke_over_limit();
            let room = OVER_LIMIT_MAX.saturating_sub(over_limit.len());
            over_limit.extend(over.iter().map(SpentGrant::of).take(room));
            over
        });
        if !over.is_empty() {
            self.forget_lists();
        }
        self.report_ends(over.into_iter().flat_map(|over| over.closed));
    }

    /// Of these credentials, revokes those that are metered and in use, and closes their connections. Takes effect at once;
    /// [`Self::recorded`] waits until it is on disk. Returns the rows of these credentials, also of those that were revoked before.
    pub fn revoke_each(&self, ids: &[GrantId]) -> Vec<(GrantId, GrantRow)> {
        let revoked = self.revoke_found(|_| ids.to_vec(), Books::revoke);
        if !revoked.is_empty() {
            self.forget_lists();
        }
        revoked
    }

    /// Revokes, by `revoke`, the credentials that `find` names, and closes their connections. Returns the rows that `revoke` returned.
    fn revoke_found(
        &self,
        find: impl FnOnce(&Books) -> Vec<GrantId>,
        revoke: impl Fn(&mut Books, GrantId) -> Option<(GrantRow, Vec<Closed>)>,
    ) -> Vec<(GrantId, GrantRow)> {
        let (mut rows, mut ended) = (vec![], vec![]);
        self.change(|books| {
            for id in find(books) {
                if let Some((row, closed)) = revoke(books, id) {
                    rows.push((id, row));
                    ended.extend(closed);
                }
            }
        });
        self.report_ends(ended);
        rows
    }

    /// Promises `more_kbps` kbit/s more for the session of the SFU with this name. Callers ask the SFU to send the media to the session
    /// only after [`Self::recorded`] has waited until the promise is on disk. Counts a refusal in the metrics.
    pub fn pull(&self, name: &str, more_kbps: u32) -> Result<(), NotAdmitted> {
        self.change(|books| books.pull(name, more_kbps)).inspect_err(|why| self.count_refusal(why))
    }

    /// Changes the books, and waits until that is on disk. Takes effect at once.
    pub async fn record_change<T>(&self, call: impl FnOnce(&mut Books) -> T) -> Result<T, NotRecorded> {
        let result = self.change(call);
        self.recorded().await.map(|()| result)
    }

    /// Waits until everything up to now is on disk.
    pub async fn recorded(&self) -> Result<(), NotRecorded> {
        self.record(false).await
    }

    /// Waits until all changes are on disk. `is_last`: no write follows, so the writer releases the ledger after this one.
    async fn record(&self, is_last: bool) -> Result<(), NotRecorded> {
        let Some(store) = &self.store else { return Ok(()) };
        let room = store.room().ok_or(NotRecorded)?;
        // Also advances the books, so the batch has everything that is due now.
        self.change(|books| {
            if is_last {
                books.finish();
            }
        });
        let written = room.commit(self.changes(), is_last).wait().await;
        if written == Written::Yes { Ok(()) } else { Err(NotRecorded) }
    }

    /// What copies the ledger, once everything up to now is on disk. `None` if the ledger cannot be written now, or is in memory only.
    pub async fn copier(&self) -> Option<Arc<dyn CopyLedger>> {
        self.recorded().await.ok()?;
        self.store.as_ref().map(|store| Arc::clone(&store.copier))
    }

    /// All figures at this instant.
    pub fn snapshot(&self) -> Snapshot {
        self.read(|books| self.snapshot_of(books))
    }

    /// All figures of the books, and whether this process may act as the leader.
    pub fn snapshot_of(&self, books: &Books) -> Snapshot {
        Snapshot { leads: self.holds_lease(), ..books.snapshot() }
    }

    /// Changes the books in parts, until `call` returns a result. Others get the lock between two parts. A part that has changed grants is
    /// on disk before the next part begins. Otherwise one batch could have tens of thousands of rows, and a mint would wait for all of
    /// them. While the ledger cannot be written, there is a pause of [`FLUSH_INTERVAL`] after each part that has changed grants, because
    /// the first write that succeeds has the changes of all these parts.
    pub async fn change_in_parts<T>(&self, mut call: impl FnMut(&mut Books) -> Option<T>) -> T {
        loop {
            let (result, has_changed) = self.change(|books| (call(books), books.has_changed_grants()));
            if let Some(result) = result {
                return result;
            }
            match if has_changed { self.recorded().await } else { Ok(()) } {
                Ok(()) => tokio::task::yield_now().await,
                Err(NotRecorded) => tokio::time::sleep(FLUSH_INTERVAL).await,
            }
        }
    }

    /// Reads the books in parts, until `call` returns a result. Others get the lock between two parts.
    pub async fn read_in_parts<T>(&self, mut call: impl FnMut(&Books) -> Option<T>) -> T {
        loop {
            match self.read(&mut call) {
                Some(result) => return result,
                None => tokio::task::yield_now().await,
            }
        }
    }

    /// Ends grants that can have no further effect, removes old ones and, after a reset, updates the figures of the others: a few at a
    /// time.
    pub async fn tidy(&self) {
        self.change_in_parts(|books| books.tidy().then_some(())).await;
    }

    /// Advances the books to now. Then `call` may change, under the lock, the books and what is beside them.
    fn with_all<T>(&self, call: impl FnOnce(&mut Guarded) -> T) -> T {
        let (wall, since_boot) = (self.clock.now(), self.clock.since_boot());
        let mut guarded = self.guarded.lock();
        let Guarded { books, time, .. } = &mut *guarded;
        books.advance(time.read(wall, since_boot));
        call(&mut guarded)
    }

    /// Where the writer takes its batches.
    fn changes(&self) -> Arc<dyn ChangeSource> {
        Arc::<Mutex<_>>::clone(&self.guarded)
    }

    /// Which leader was lost, in a sentence. `None` if none was, and once the takeover was [`LOSS_SHOWN_FOR`] ago.
    pub fn lost_leader(&self) -> Option<String> {
        let lead = self.lead.as_ref()?;
        let (lost, since) = lead.replaced.as_ref()?;
        let is_shown = self.clock.since_boot().saturating_sub(*since) < LOSS_SHOWN_FOR;
        is_shown.then(|| format!("{lost} was the leader, {} is it now.", lead.url))
    }

    /// Whether a grant can be recorded now.
    pub fn is_writable(&self) -> bool {
        !self.ledger_fails() && self.holds_lease()
    }

    /// Whether the ledger cannot be written now.
    pub fn ledger_fails(&self) -> bool {
        self.store.as_ref().is_some_and(Store::is_failing)
    }

    /// Why the ledger cannot be written, in a sentence; empty if that is not known.
    pub fn ledger_failure(&self) -> String {
        if !self.holds_lease() {
            return "This replica is not sure that it still leads: it has not written to the database for most of LEASE_SECONDS.".into();
        }
        let failure = self.store.as_ref().and_then(Store::failure);
        failure.map(|failure| format!("The last write failed: {failure}.")).unwrap_or_default()
    }

    /// Whether this process may still act as the leader. Without `DATABASE_URL` it always may.
    pub fn holds_lease(&self) -> bool {
        self.lead.as_ref().is_none_or(|lead| lead.lease.holds(self.clock.since_boot()))
    }

    /// Resolves once the books are void, because another replica leads or the database has lost writes.
    pub async fn lost(&self) -> Lost {
        match &self.store {
            Some(store) => store.lost().await,
            None => std::future::pending().await,
        }
    }
}

impl ChangeSource for Mutex<Guarded> {
    fn note_written(&self, changes: &Changes) {
        self.lock().books.note_batch(&changes.books);
    }

    fn take(&self) -> Changes {
        let Guarded { books, alerts, stored_alerts, .. } = &mut *self.lock();
        let has_changed = alerts != stored_alerts;
        if has_changed {
            stored_alerts.clone_from(alerts);
        }
        Changes { books: books.take_batch(), alerts: has_changed.then(|| alerts.clone()) }
    }
}

#[cfg(test)]
pub(crate) mod testing;

// Whether this process may still write the books, and how it learns that its books are void.

/// For how long after a takeover the fault `LeaderLost` is shown.
const LOSS_SHOWN_FOR: Duration = Duration::from_secs(600);

#[cfg(test)]
mod stop_tests;
#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
