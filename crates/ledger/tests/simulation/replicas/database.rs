//! The database: rows, the row of `shard`, sessions, and writes on their way. A write arrives late or never, holds the row before it
//! commits, loses its answer, or commits without its synchronous standby. It changes nothing unless epoch, number and session are those
//! of the row when it has the lock. A failover loses what the standby does not have. A rollback loses more.

use turn_store::outcome::Shard;
use turn_store::takeovers::LOSS_STATED;

use super::prelude::*;

/// So many states can be gone back to.
const KEPT: usize = 64;
/// Nobody waits longer for an answer, in milliseconds.
const ANSWER_MAX: u64 = 60_000;

/// How a write fares.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fate {
    /// Milliseconds until it arrives, for which it holds the row, and until its answer arrives.
    pub(super) there: u64,
    pub(super) holds: u64,
    pub(super) back: u64,
    /// It never arrives.
    pub(super) is_lost: bool,
    /// Its answer never arrives.
    pub(super) loses_answer: bool,
    /// Its commit is not on the synchronous standby, and says so.
    pub(super) is_unsafe: bool,
}

/// A write on its way.
#[derive(Debug)]
struct Write {
    id: u64,
    pid: u64,
    term: Term,
    is_held: bool,
    change: Rc<Change>,
    /// The number of what is written, zero for nothing.
    batch: u64,
    fate: Fate,
    arrives_at: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    OnItsWay,
    /// It has the lock.
    Holds {
        until: u64,
    },
    Ended {
        answer: Answered,
        at: u64,
    },
}

/// The number of changed rows of `shard`, `None` after an error; and whether the server has warned.
pub(super) type Answered = (Option<i64>, bool);

/// A session of the server.
#[derive(Clone, Debug)]
struct Session {
    name: String,
    node: usize,
    /// Its client has gone, and what it has sent goes on.
    is_left: bool,
}

#[derive(Debug, Default)]
pub(super) struct Database {
    states: Vec<State>,
    /// The synchronous standby has this one of them.
    replicated: usize,
    sessions: BTreeMap<u64, Session>,
    restarts: u64,
    /// How often all sessions have ended.
    pub(super) ends: u64,
    writes: Vec<Write>,
    /// Which batches were committed, with the number of the write.
    batches: BTreeMap<u64, i64>,
    ids: u64,
    pub(super) is_down: bool,
    pub(super) tally: Tally,
    /// The first thing that must not happen.
    pub(super) wrong: Option<String>,
}

impl Database {
    pub(super) fn new() -> Self {
        let state = State { rows: Rc::new(Rows::new()), ..State::default() };
        Self { states: vec![state], ..Self::default() }
    }

    pub(super) fn row(&self) -> &State {
        self.states.last().unwrap_or_else(|| unreachable!("one is kept"))
    }

    /// What the synchronous standby has.
    pub(super) fn replica(&self) -> &State {
        &self.states[self.replicated]
    }

    /// Whether this is the term of the row.
    pub(super) fn is_term(&self, term: &Term) -> bool {
        let row = self.row();
        row.epoch == term.epoch && row.session() == Some(&term.session)
    }

    /// A number that nothing else has.
    pub(super) fn number(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Opens a session.
    pub(super) fn connect(&mut self, node: usize, name: &str) -> u64 {
        let pid = self.number();
        self.sessions.insert(pid, Session { name: name.to_owned(), node, is_left: false });
        pid
    }

    /// Its client gives it up. `is_told`: whether the server notices.
    pub(super) fn leave(&mut self, pid: u64, is_told: bool) {
        let is_busy = self.writes.iter().any(|write| write.pid == pid);
        if is_told && !is_busy {
            self.sessions.remove(&pid);
        } else if let Some(session) = self.sessions.get_mut(&pid) {
            session.is_left = is_told;
        }
    }

    pub(super) fn observe(&self) -> Observation {
        let row = self.row();
        let (has_session, has_written) = (self.has_session(row), row.restarts == self.restarts);
        let (takeovers, books_now) = (row.takeovers(), row.rows.books_now());
        let State { epoch, seq, is_held, leader, .. } = row.clone();
        Observation {
            epoch,
            seq,
            is_held,
            has_session,
            has_written,
            leader,
            books_now,
            takeovers,
            format: 1,
            ..Observation::default()
        }
    }

    /// The row, read with its lock. `None` while a write has it.
    pub(super) fn read(&self) -> Option<Shard> {
        let row = self.row();
        (!self.is_locked()).then(|| Shard { seq: row.seq, takeovers: row.takeovers() })
    }

    /// Whether the session of the leader is there.
    fn has_session(&self, row: &State) -> bool {
        self.sessions.get(&row.pid).is_some_and(|open| row.session() == Some(&open.name))
    }

    fn is_locked(&self) -> bool {
        self.writes.iter().any(|write| matches!(write.phase, Phase::Holds { .. }))
    }

    /// Sends a write, and returns its id.
    pub(super) fn send(
        &mut self,
        pid: u64,
        term: &Term,
        is_held: bool,
        (change, batch): (Rc<Change>, u64),
        fate: Fate,
        now: u64,
    ) -> u64 {
        let id = self.number();
        let (term, arrives_at) = (term.clone(), now + fate.there);
        self.writes.push(Write {
            id,
            pid,
            term,
            is_held,
            change,
            batch,
            fate,
            arrives_at,
            phase: Phase::OnItsWay,
        });
        id
    }

    /// The answer to a write, once it is there.
    pub(super) fn answer(&mut self, id: u64, now: u64) -> Option<Answered> {
        let nth = self.writes.iter().position(|write| write.id == id)?;
        let Phase::Ended { answer, at } = self.writes[nth].phase else { return None };
        if at > now || self.writes[nth].fate.loses_answer {
            return None;
        }
        self.writes.remove(nth);
        Some(answer)
    }

    /// Lets writes arrive and commit. `is_cut`: which nodes are cut off.
    pub(super) fn step(&mut self, now: u64, is_cut: &[bool]) {
        for nth in 0..self.writes.len() {
            let Write { pid, arrives_at, phase, fate, .. } = &self.writes[nth];
            let node = self.sessions.get(pid).map(|session| session.node);
            let arrives = node.is_some_and(|node| !is_cut[node]) && *arrives_at <= now && !fate.is_lost;
            match *phase {
                Phase::OnItsWay if node.is_none() => self.end(nth, (None, false), now),
                Phase::OnItsWay if arrives && !self.is_down && !self.is_locked() => self.lock(nth, now),
                Phase::Holds { until } if until <= now => self.commit(nth, now),
                _ => {}
            }
        }
        let sessions = &self.sessions;
        self.writes.retain(|write| {
            let is_left = sessions.get(&write.pid).is_none_or(|session| session.is_left);
            let is_read = matches!(write.phase, Phase::Ended { at, .. } if at + ANSWER_MAX <= now || is_left && at < now);
            !(is_read || is_left && write.fate.is_lost)
        });
        let writes = &self.writes;
        self.sessions.retain(|pid, session| !session.is_left || writes.iter().any(|write| write.pid == *pid));
    }

    fn end(&mut self, nth: usize, answer: Answered, at: u64) {
        self.writes[nth].phase = Phase::Ended { answer, at };
    }

    fn is_left(&self, nth: usize) -> bool {
        self.sessions.get(&self.writes[nth].pid).is_none_or(|session| session.is_left)
    }

    /// A write has the lock: it changes nothing unless the row is as its sender left it.
    fn lock(&mut self, nth: usize, now: u64) {
        let Write { term, fate, .. } = &self.writes[nth];
        let (fits, fate) = (self.is_term(term) && self.row().seq == term.seq, *fate);
        if fits {
            self.writes[nth].phase = Phase::Holds { until: now + fate.holds };
        } else {
            let is_left = self.is_left(nth);
            self.tally.note_if("late writes that were refused", is_left);
            self.end(nth, (Some(0), false), now + fate.back);
        }
    }

    fn commit(&mut self, nth: usize, now: u64) {
        let is_left = self.is_left(nth);
        self.tally.note_if("late commits", is_left);
        let Write { pid, is_held, change, batch, fate, .. } = &self.writes[nth];
        let (pid, is_held, batch, fate) = (*pid, *is_held, *batch, *fate);
        let mut state = self.row().clone();
        let mut rows = Rows::clone(&state.rows);
        rows.apply(change);
        // A release may be confirmed.
        if is_held && !state.is_held {
            self.wrong.get_or_insert("a released ledger was written".into());
        }
        (state.seq, state.is_held, state.pid, state.rows) = (state.seq + 1, is_held, pid, Rc::new(rows));
        (state.restarts, state.is_new) = (self.restarts, false);
        if batch > 0 && self.batches.insert(batch, state.seq).is_some() {
            self.wrong.get_or_insert("a batch was written twice".into());
        }
        self.push(state, !fate.is_unsafe);
        self.tally.note_if("commits without the synchronous standby", fate.is_unsafe);
        self.end(nth, (Some(1), fate.is_unsafe), now + fate.back);
    }

    fn push(&mut self, state: State, is_replicated: bool) {
        self.states.push(state);
        if self.states.len() > KEPT {
            self.states.remove(0);
            self.replicated = self.replicated.saturating_sub(1);
        }
        if is_replicated {
            self.replicated = self.states.len() - 1;
        }
    }

    /// Stands for election. `Err`: a write has the row for too long. `Ok(None)`: the row has changed since.
    pub(super) fn stand(
        &mut self,
        (node, url, name): (usize, &str, &str),
        seen: &Observation,
    ) -> Result<Option<(Term, u64)>, ()> {
        let mut state = self.row().clone();
        let is_same = (state.epoch, state.seq) == (seen.epoch, seen.seq);
        if is_same && self.has_session(&state) {
            self.terminate(state.pid);
        }
        if self.is_locked() {
            return Err(());
        }
        if !is_same {
            return Ok(None);
        }
        let pid = self.connect(node, name);
        state.take_over(state.seq, name);
        (state.is_held, state.leader, state.pid) = (true, Some(url.to_owned()), pid);
        state.restarts = self.restarts;
        let term = Term::new(state.epoch, state.seq, name.to_owned());
        self.push(state, true);
        Ok(Some((term, pid)))
    }

    /// Ends a session. A write of it that has the row is undone.
    pub(super) fn terminate(&mut self, pid: u64) {
        self.sessions.remove(&pid);
        for write in self.writes.iter_mut().filter(|write| write.pid == pid) {
            if !matches!(write.phase, Phase::Ended { .. }) {
                write.phase = Phase::Ended { answer: (None, false), at: 0 };
            }
        }
    }

    /// Somebody states that writes up to `seq` are lost, unless that has happened since.
    pub(super) fn state_loss(&mut self, seq: i64) {
        let mut state = self.row().clone();
        let mut takeovers = state.began.iter().zip(&state.sessions);
        if takeovers.any(|(began, session)| *began >= seq && session == LOSS_STATED) {
            return;
        }
        let mut rows = Rows::clone(&state.rows);
        rows.mark_copy();
        state.take_over(state.seq.max(seq), LOSS_STATED);
        (state.is_held, state.rows) = (false, Rc::new(rows));
        self.push(state, true);
    }

    /// The synchronous standby takes over, without its last `writes`. Returns the number of its last write.
    pub(super) fn fail_over(&mut self, writes: usize) -> i64 {
        self.replicated = self.replicated.saturating_sub(writes);
        self.states.truncate(self.replicated + 1);
        let kept = self.row().seq;
        self.batches.retain(|_, seq| *seq <= kept);
        self.end_sessions();
        kept
    }

    /// It starts again with all that is committed.
    pub(super) fn restart(&mut self) {
        self.restarts += 1;
        self.end_sessions();
    }

    fn end_sessions(&mut self) {
        self.ends += 1;
        for pid in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.terminate(pid);
        }
    }
}
