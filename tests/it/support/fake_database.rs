//! A database with one ledger, in memory, which several replicas of a test share. It orders writes and takeovers as the row of `PostgreSQL`
//! does. A replica can be cut off from it, and it can lose its latest writes.

use std::sync::MutexGuard;

use turn_broker::lead::Replica;
use turn_broker::store::{
    BackupError, Changes, CopyLedger, LedgerFile, Observation, OpenError, StoreError, Takeovers, WriteError,
};
use turn_ledger::{TokenKey, TokenKeys};

use super::manual_clock::ManualClock;
use crate::support::prelude::*;

/// The database. All clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct FakeDatabase(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    row: Observation,
    /// The takeovers: the last write before each, and its session.
    takeovers: Vec<(i64, String)>,
    contents: Contents,
    /// What was stored after each write.
    history: Vec<(i64, Contents)>,
    replicas: Vec<Replica>,
    cut_off: BTreeSet<String>,
    /// How often each replica has begun to look at the row.
    looks: BTreeMap<String, u64>,
    /// The clock of a replica, and how far each of its writes advances it.
    slow: Option<(Arc<ManualClock>, Duration)>,
    /// The same of reading the ledger.
    slow_read: Option<(Arc<ManualClock>, Duration)>,
}

/// The database cannot be reached.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("cut off by the test")]
pub(crate) struct CutOff;

impl FakeDatabase {
    pub(crate) fn new() -> Self {
        let mut contents = Contents::default();
        contents.books.keys = Some(TokenKeys::new(TokenKey::new([7; 64])));
        let row = Observation { format: FORMAT, ..Observation::default() };
        let (takeovers, history, replicas, cut_off, looks, slow, slow_read) = Default::default();
        let state = State { row, takeovers, contents, history, replicas, cut_off, looks, slow, slow_read };
        Self(Arc::new(Mutex::new(state)))
    }

    /// What a replica at this URL has of the database.
    pub(crate) fn electorate(&self, url: &str) -> FakeElectorate {
        let (database, url) = (self.clone(), url.to_owned());
        FakeElectorate { database, url, is_cut_off: false, connection: 0, unreached: None }
    }

    /// The row that says who leads.
    pub(crate) fn row(&self) -> Observation {
        self.lock().row.clone()
    }

    pub(crate) fn change_row(&self, change: impl FnOnce(&mut Observation)) {
        change(&mut self.lock().row);
    }

    /// How often a replica has begun to look at the row, also while it was cut off.
    pub(crate) fn looks(&self, url: &str) -> u64 {
        self.lock().looks.get(url).copied().unwrap_or_default()
    }

    /// Cuts a replica off, or connects it again.
    pub(crate) fn set_cut_off(&self, url: &str, is_cut_off: bool) {
        let mut state = self.lock();
        if is_cut_off {
            state.cut_off.insert(url.to_owned())
        } else {
            state.cut_off.remove(url)
        };
    }

    /// Makes each write take so long by this clock.
    pub(crate) fn set_slow(&self, clock: Arc<ManualClock>, write: Duration) {
        self.lock().slow = Some((clock, write));
    }

    /// Makes it take so long by this clock to read the ledger.
    pub(crate) fn set_slow_read(&self, clock: Arc<ManualClock>, read: Duration) {
        self.lock().slow_read = Some((clock, read));
    }

    /// Of how many replicas the others know that they have not reached the leader.
    pub(crate) fn unreached(&self) -> usize {
        self.lock().replicas.iter().filter(|replica| replica.unreached.is_some()).count()
    }

    /// Another replica shows that it is there.
    pub(crate) fn add_replica(&self, replica: Replica) {
        self.lock().replicas.push(replica);
    }

    /// Forgets the latest writes, as a failover to a copy that lags does.
    pub(crate) fn lose_writes(&self, writes: usize) {
        let mut state = self.lock();
        let kept = state.history.len() - writes - 1;
        state.history.truncate(kept + 1);
        let (seq, contents) = state.history[kept].clone();
        (state.row.seq, state.contents) = (seq, contents);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn reach(&self, url: &str) -> Result<MutexGuard<'_, State>, CutOff> {
        let state = self.lock();
        if state.cut_off.contains(url) { Err(CutOff) } else { Ok(state) }
    }
}

impl State {
    fn take_over(&mut self, began: i64, session: &str) {
        self.takeovers.insert(0, (began, session.to_owned()));
        let (began, sessions) = self.takeovers.iter().cloned().unzip();
        self.row.takeovers = Takeovers::new(began, sessions);
    }
}

/// One replica's connection.
#[derive(Debug)]
pub(crate) struct FakeElectorate {
    database: FakeDatabase,
    url: String,
    /// Whether the last look failed.
    is_cut_off: bool,
    connection: u64,
    unreached: Option<i64>,
}

impl Electorate for FakeElectorate {
    type Storage = FakeStorage;
    type Error = CutOff;

    fn is_unusable(_: &CutOff) -> bool {
        false
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    fn has_twin(&self) -> bool {
        false
    }

    async fn observe(&mut self) -> Result<Observation, CutOff> {
        *self.database.lock().looks.entry(self.url.clone()).or_default() += 1;
        let reached = self.database.reach(&self.url);
        self.connection += u64::from(reached.is_err() != self.is_cut_off);
        self.is_cut_off = reached.is_err();
        let mut state = reached?;
        if state.replicas.iter().all(|replica| replica.url != self.url) {
            let (url, version) = (self.url.clone(), "1.2.3".into());
            state.replicas.push(Replica {
                url,
                version,
                settings: None,
                seen_at: Timestamp::from_millis(0),
                clock_ahead_millis: 0,
                is_live: true,
                unreached: None,
                gave_up: false,
                was_reached: false,
            });
        }
        if let Some(own) = state.replicas.iter_mut().find(|replica| replica.url == self.url) {
            own.unreached = self.unreached;
        }
        Ok(Observation { connection: self.connection, ..state.row.clone() })
    }

    async fn stand(&mut self, seen: &Observation) -> Result<Option<FakeStorage>, CutOff> {
        let mut state = self.database.reach(&self.url)?;
        let row = &mut state.row;
        if (row.epoch, row.seq) != (seen.epoch, seen.seq) {
            return Ok(None);
        }
        (row.epoch, row.seq) = (row.epoch + 1, row.seq + 1);
        (row.is_held, row.has_session, row.has_written) = (true, true, true);
        row.leader = Some(self.url.clone());
        state.take_over(seen.seq, &format!("{} {}", self.url, seen.epoch));
        let row = &state.row;
        let (epoch, seq) = (row.epoch, row.seq);
        let contents = state.contents.clone();
        state.history.push((seq, contents));
        let (database, url) = (self.database.clone(), self.url.clone());
        Ok(Some(FakeStorage { database, url, epoch, seq }))
    }

    fn set_unreached(&mut self, epoch: Option<i64>) {
        self.unreached = epoch;
    }

    async fn set_reached(&mut self, url: &str) -> Result<(), CutOff> {
        let mut state = self.database.reach(&self.url)?;
        state.replicas.iter_mut().filter(|replica| replica.url == url).for_each(|one| one.was_reached = true);
        Ok(())
    }

    async fn give_up(&mut self) -> Result<(), CutOff> {
        let mut state = self.database.reach(&self.url)?;
        state
            .replicas
            .iter_mut()
            .filter(|replica| replica.url == self.url)
            .for_each(|own| own.gave_up = true);
        Ok(())
    }

    async fn state_loss(&mut self, seq: i64) -> Result<(), CutOff> {
        let mut state = self.database.reach(&self.url)?;
        let began = state.row.seq.max(seq);
        (state.row.epoch, state.row.seq, state.row.is_held) = (state.row.epoch + 1, began + 1, false);
        state.contents.books.is_copy = true;
        state.take_over(began, "");
        Ok(())
    }

    async fn key(&mut self) -> Result<Option<[u8; 64]>, CutOff> {
        let keys = self.database.reach(&self.url)?.contents.books.keys.clone();
        Ok(keys.map(|keys| *keys.signing.expose()))
    }

    async fn replicas(&mut self) -> Result<Vec<Replica>, CutOff> {
        Ok(self.database.reach(&self.url)?.replicas.clone())
    }
}

/// The leader's session.
#[derive(Debug)]
pub(crate) struct FakeStorage {
    database: FakeDatabase,
    url: String,
    epoch: i64,
    seq: i64,
}

impl Storage for FakeStorage {
    fn read(&mut self) -> Result<Contents, OpenError> {
        let state = self.database.lock();
        if let Some((clock, read)) = &state.slow_read {
            clock.advance(*read);
        }
        Ok(state.contents.clone())
    }

    fn put_keys(&mut self, keys: &TokenKeys, _: &Stored) -> Result<(), OpenError> {
        self.database.lock().contents.books.keys = Some(keys.clone());
        Ok(())
    }

    fn write(&mut self, batch: &Changes, is_last: bool) -> Result<(), WriteError> {
        let cut_off = |error: CutOff| StoreError::Database(error.into());
        let mut state = self.database.reach(&self.url).map_err(cut_off)?;
        if state.row.epoch != self.epoch {
            return Err(Lost::Fenced.into());
        }
        if state.row.seq < self.seq {
            return Err(Lost::Writes(self.seq.abs_diff(state.row.seq)).into());
        }
        let Changes { books, alerts } = batch.clone();
        state.row.books_now = Some(books.head.now);
        state.contents.books.apply(books);
        state.contents.alerts = alerts.unwrap_or(std::mem::take(&mut state.contents.alerts));
        self.seq += 1;
        (state.row.seq, state.row.is_held) = (self.seq, !is_last);
        (state.row.has_session, state.row.has_written) = (true, true);
        let stored = (self.seq, state.contents.clone());
        state.history.push(stored);
        if let Some((clock, write)) = &state.slow {
            clock.advance(*write);
        }
        Ok(())
    }

    fn copier(&self) -> Arc<dyn CopyLedger> {
        Arc::new(self.database.clone())
    }
}

impl CopyLedger for FakeDatabase {
    fn copy(&self) -> Result<LedgerFile, BackupError> {
        Err(StoreError::Database(CutOff.into()).into())
    }
}

/// A process that ends closes its session.
impl Drop for FakeStorage {
    fn drop(&mut self) {
        let row = &mut self.database.lock().row;
        row.has_session &= row.epoch != self.epoch;
    }
}
