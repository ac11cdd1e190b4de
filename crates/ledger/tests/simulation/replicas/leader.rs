//! A replica that leads: its books, and the writer of its batches. The decisions are the service's own: [`Term`], [`Lease`], the books. It
//! takes one batch at a time for all that wait, keeps what it could not send, and lets nobody wait longer than two seconds.

use super::database::Answered;
use super::prelude::*;
use turn_store::outcome::{Answer, Step};

/// The values of the service.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
const COMMIT_TIMEOUT: Duration = Duration::from_secs(2);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// A credential whose client waits until its grant is stored.
#[derive(Debug)]
struct Waiting {
    commit: Commit,
    grant: Grant,
    /// When it expires, in the world's milliseconds.
    expires: u64,
    since: Duration,
}

/// A batch on its way.
struct Writing {
    step: Step,
    began: Duration,
    is_held: bool,
    change: Rc<Change>,
    /// Its number, zero for an empty one.
    batch: u64,
    /// The statement, and when it was sent.
    sent: Option<(u64, Duration)>,
    waits: Vec<Waiting>,
}

/// What a leader meets in a step.
pub(super) struct At<'a> {
    pub(super) database: &'a mut Database,
    pub(super) clock: &'a Clock,
    pub(super) node: usize,
    pub(super) is_cut: bool,
    pub(super) fates: &'a mut VecDeque<Fate>,
    pub(super) now: u64,
    pub(super) present: Timestamp,
}

/// How the process ends.
pub(super) enum Ended {
    InOrder,
    Lost(Lost),
}

pub(super) struct Leader {
    pub(super) term: Term,
    pub(super) lease: Lease,
    pub(super) books: Books,
    time: SteadyTime,
    pid: Option<u64>,
    write: Option<Writing>,
    unwritten: Option<Batch>,
    queue: Vec<Waiting>,
    flush_at: Duration,
    is_failing: bool,
    is_stalled: bool,
    is_last: bool,
    pub(super) tally: Tally,
    /// Credentials that clients have now, and when they expire.
    pub(super) answered: Vec<(Grant, u64)>,
}

impl Leader {
    pub(super) fn new((term, pid): (Term, u64), lease: Lease, books: Books, time: SteadyTime) -> Self {
        Self {
            term,
            lease,
            books,
            time,
            pid: Some(pid),
            write: None,
            unwritten: None,
            queue: vec![],
            flush_at: Duration::ZERO,
            is_failing: false,
            is_stalled: false,
            is_last: false,
            tally: Tally::default(),
            answered: vec![],
        }
    }

    /// Whether a grant can be recorded now.
    pub(super) fn is_writable(&self, clock: &Clock) -> bool {
        !self.is_failing && !self.is_stalled && self.lease.holds(clock.since_boot())
    }

    pub(super) fn advance(&mut self, clock: &Clock, present: Timestamp) {
        let moment = self.time.read(clock.wall(present), clock.since_boot());
        self.books.advance(moment);
    }

    /// A client asks for a credential. Returns whether it waits for one.
    pub(super) fn mint(&mut self, id: GrantId, life: Duration, at: &At<'_>) -> bool {
        if !self.is_writable(at.clock) || self.is_last {
            return false;
        }
        // The provider's answer says what time it is.
        self.time.set_reference(at.present, at.clock.since_boot());
        self.advance(at.clock, at.present);
        let (source, requester) = (IceSource::Cloudflare, Requester::default());
        let Ok(hold) = self.books.reserve(source, life, MINT_SLACK, &requester) else { return false };
        let (issued_at, life) = (self.books.now(), hold.life);
        let grant = Grant { id, source, issued_at, expires_at: issued_at.plus(life) };
        let expires = at.now + u64::try_from(life.as_millis()).unwrap_or(0);
        let Ok(commit) = self.books.commit(hold, &grant, Some("user"), requester) else { return false };
        self.queue.push(Waiting { commit, grant, expires, since: at.clock.since_boot() });
        true
    }

    /// The process ends in order: it writes once more.
    pub(super) fn release(&mut self) {
        self.books.finish();
        self.is_last = true;
    }

    /// Its connection breaks.
    pub(super) fn disconnect(&mut self, database: &mut Database, is_told: bool) {
        if let Some(pid) = self.pid.take() {
            database.leave(pid, is_told);
        }
    }

    /// Does what is due.
    pub(super) fn step(&mut self, at: &mut At<'_>) -> Option<Ended> {
        self.advance(at.clock, at.present);
        loop {
            if self.write.is_none() && !self.begin(at) {
                // The last batch could not be sent.
                return (self.is_last && self.is_failing).then_some(Ended::InOrder);
            }
            let mut write = self.write.take()?;
            match self.go_on(&mut write, at) {
                None => {
                    self.give_up(&mut write.waits, at.clock.since_boot());
                    self.write = Some(write);
                    self.wait_in_queue(at.clock.since_boot());
                    return None;
                }
                Some(Step::End(lost)) => {
                    if let Lost::Writes(_) = lost {
                        at.database.state_loss(self.term.seq);
                    }
                    return Some(Ended::Lost(lost));
                }
                Some(_) => {
                    let is_last = !write.is_held;
                    self.finish(write);
                    if is_last {
                        return Some(Ended::InOrder);
                    }
                }
            }
        }
    }

    /// Takes a batch for all that wait, if there is something to write. Returns whether one is on its way.
    fn begin(&mut self, at: &mut At<'_>) -> bool {
        let own = at.clock.since_boot();
        let is_due = own >= self.flush_at || self.is_last;
        if !is_due && self.queue.is_empty() {
            return false;
        }
        if is_due {
            self.flush_at = own + FLUSH_INTERVAL;
            self.books.tidy();
        }
        // While the last write has failed, only what is left of it is written.
        if !self.is_failing || self.is_last {
            let batch = self.books.take_batch();
            match &mut self.unwritten {
                Some(unwritten) => unwritten.append(batch),
                None => self.unwritten = Some(batch),
            }
        }
        let mut waits = std::mem::take(&mut self.queue);
        let Some(batch) = self.unwritten.clone() else { return false };
        if self.term.begin().is_err() || !self.connect(at) {
            self.tally.note("batches that were not sent");
            self.is_failing = true;
            self.settle(&mut waits, Written::No);
            return false;
        }
        let change = Rc::new(Change::of(batch));
        let batch = at.database.number();
        let is_held = !self.is_last;
        self.write =
            Some(Writing { step: Step::Send, began: own, is_held, change, batch, sent: None, waits });
        true
    }

    fn connect(&mut self, at: &mut At<'_>) -> bool {
        if self.pid.is_none() && !at.is_cut && !at.database.is_down {
            self.pid = Some(at.database.connect(at.node, &self.term.session));
        }
        self.pid.is_some()
    }

    /// The next step of a write. `None`: it waits.
    fn go_on(&mut self, write: &mut Writing, at: &mut At<'_>) -> Option<Step> {
        loop {
            write.step = match write.step {
                Step::Confirm if write.batch > 0 => {
                    self.tally.note("writes that were confirmed");
                    (write.change, write.batch) = (Rc::default(), 0);
                    continue;
                }
                Step::Send | Step::Confirm => {
                    let (changed, has_warned) = self.send(write, at)?;
                    write.sent = None;
                    let answer = Answer::of(changed, has_warned);
                    if answer == Answer::Unknown {
                        self.tally.note("unknown outcomes");
                        self.disconnect(at.database, !at.is_cut);
                    }
                    self.term.after_answer(answer, write.is_held)
                }
                Step::Read => {
                    let is_reached = !at.is_cut && !at.database.is_down;
                    let shard = at.database.read().filter(|_| is_reached && self.connect(at))?;
                    let step = self.term.after_read(Some(&shard));
                    self.tally.note_if("writes that were sent again", step == Step::Send);
                    step
                }
                step @ (Step::Done | Step::End(_)) => return Some(step),
            }
        }
    }

    /// What came back from a statement, which is sent first. `None`: nothing yet.
    fn send(&mut self, write: &mut Writing, at: &mut At<'_>) -> Option<Answered> {
        let own = at.clock.since_boot();
        let Some((id, since)) = write.sent else {
            if !self.connect(at) {
                return Some((None, false));
            }
            let fate = at.fates.pop_front().unwrap_or_default();
            let what = (Rc::clone(&write.change), write.batch);
            let id = at.database.send(self.pid?, &self.term, write.is_held, what, fate, at.now);
            write.sent = Some((id, own));
            return None;
        };
        if self.pid.is_none() {
            return Some((None, false));
        }
        let answer = (!at.is_cut).then(|| at.database.answer(id, at.now)).flatten();
        answer.or((own.saturating_sub(since) > STATEMENT_TIMEOUT).then_some((None, false)))
    }

    fn finish(&mut self, write: Writing) {
        let Writing { began, mut waits, .. } = write;
        self.lease.renew(began);
        self.unwritten = None;
        (self.is_failing, self.is_stalled) = (false, false);
        self.settle(&mut waits, Written::Yes);
    }

    fn settle(&mut self, waits: &mut Vec<Waiting>, written: Written) {
        for Waiting { commit, grant, expires, .. } in waits.drain(..) {
            if self.books.note_written(&commit, written).is_ok() {
                self.answered.push((grant, expires));
            }
        }
    }

    /// Nobody waits longer.
    fn give_up(&mut self, waits: &mut Vec<Waiting>, own: Duration) {
        let is_late = |wait: &mut Waiting| own.saturating_sub(wait.since) > COMMIT_TIMEOUT;
        let mut late: Vec<_> = waits.extract_if(.., is_late).collect();
        self.is_stalled |= !late.is_empty();
        self.tally.note_if("waits that were given up", !late.is_empty());
        self.settle(&mut late, Written::Unknown);
    }

    fn wait_in_queue(&mut self, own: Duration) {
        let mut queue = std::mem::take(&mut self.queue);
        self.give_up(&mut queue, own);
        self.queue = queue;
    }
}
