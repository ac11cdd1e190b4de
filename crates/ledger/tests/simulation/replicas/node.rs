//! One replica: its machine, its way to the database, and its role. A process that has lost its lead ends, and starts again as a standby.

use super::leader::Ended;
use super::prelude::*;
use turn_store::election::{Action, Election};

/// `LEASE_SECONDS`.
pub(super) const LEASE: Duration = Duration::from_secs(5);
/// The values of the service.
const OPENING_MAX: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
const LOOK_MAX: Duration = Duration::from_secs(2);
/// A replica that has lost its lead starts again after this time, in milliseconds.
const RESTART: u64 = 300;

/// How slow the way to the lead is, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    pub(super) look: u64,
    pub(super) takeover: u64,
    /// Whether the answer to the next takeover is lost.
    pub(super) loses_stand: bool,
}

/// A replica that looks at the row.
pub(super) struct Standby {
    election: Election,
    /// Its connection, and how often all sessions had ended before. `None`: it is lost.
    connection: u64,
    ends: Option<u64>,
    /// When it looks next, in the world's milliseconds, and what the look shows that is on its way.
    look_at: u64,
    seen: Option<(u64, Duration, Observation)>,
    /// When it stands, for what it saw.
    stands: Option<(u64, Observation)>,
    /// The number up to which writes are lost.
    lost: Option<i64>,
    /// What this process has seen, by a naive account: the highest number, and since when nothing was missed and nothing has changed.
    pub(super) highest: i64,
    quiet: Option<(Duration, i64, i64)>,
    looked: Option<Duration>,
    pub(super) forwards_to: Option<String>,
}

/// A replica that has won and reads the ledger.
pub(super) struct Opening {
    ready_at: u64,
    term: (Term, u64),
    began: Duration,
    stored: Stored,
    followed: Option<(Timestamp, Duration)>,
}

impl Opening {
    /// The number of the election.
    pub(super) fn seq(&self) -> i64 {
        self.term.0.seq
    }
}

pub(super) enum Role {
    Down { until: u64 },
    Standby(Box<Standby>),
    Opening(Box<Opening>),
    Leader(Box<Leader>),
}

/// What a replica did in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did {
    Nothing,
    /// It took the lead. `is_silent`: it saw a leader's session, or one that a restart has ended, so only silence allows it. `was_quiet`:
    /// it has seen nothing change for the whole lease, or for a minute while the other one read the ledger.
    Won {
        is_silent: bool,
        was_quiet: bool,
    },
    /// It has stated that the database has lost writes.
    StatedLoss,
    /// Another one was faster, or the answer was lost.
    NotWon,
    Opened,
    Closed,
    Lost(Lost),
}

pub(super) struct Node {
    pub(super) index: usize,
    pub(super) url: String,
    pub(super) clock: Clock,
    pub(super) is_cut: bool,
    pub(super) paused_until: u64,
    pub(super) pace: Pace,
    pub(super) fates: VecDeque<Fate>,
    pub(super) role: Role,
    starts: u64,
}

impl Node {
    pub(super) fn new(index: usize, begins_at: u64) -> Self {
        Self {
            index,
            url: format!("http://replica-{index}.example"),
            clock: Clock::new(u64::try_from(index).unwrap_or(0)),
            is_cut: false,
            paused_until: 0,
            pace: Pace::default(),
            fates: VecDeque::new(),
            role: Role::Down { until: begins_at },
            starts: 0,
        }
    }

    pub(super) fn leader(&self) -> Option<&Leader> {
        if let Role::Leader(leader) = &self.role { Some(leader) } else { None }
    }

    pub(super) fn leader_mut(&mut self) -> Option<&mut Leader> {
        if let Role::Leader(leader) = &mut self.role { Some(leader) } else { None }
    }

    /// The process is gone.
    pub(super) fn end(&mut self, database: &mut Database, until: u64) {
        let is_told = !self.is_cut;
        match &mut self.role {
            Role::Leader(leader) => leader.disconnect(database, is_told),
            Role::Opening(opening) => database.leave(opening.term.1, is_told),
            Role::Down { .. } | Role::Standby(_) => {}
        }
        self.role = Role::Down { until };
        self.fates.clear();
    }

    /// Does what is due. `present`: the true time.
    pub(super) fn step(
        &mut self,
        database: &mut Database,
        settings: &Settings,
        now: u64,
        present: Timestamp,
    ) -> Did {
        if self.paused_until > now {
            return Did::Nothing;
        }
        match &mut self.role {
            Role::Down { until } if *until <= now => {
                self.starts += 1;
                self.role = Role::Standby(Box::new(Standby::new(now, database.ends)));
                Did::Nothing
            }
            Role::Down { .. } => Did::Nothing,
            Role::Standby(_) => self.stand_by(database, now),
            Role::Opening(opening) if opening.ready_at > now => Did::Nothing,
            Role::Opening(_) => {
                self.open(settings, present);
                Did::Opened
            }
            Role::Leader(leader) => {
                let (clock, is_cut, fates) = (&self.clock, self.is_cut, &mut self.fates);
                let mut at = At { database, clock, node: self.index, is_cut, fates, now, present };
                match leader.step(&mut at) {
                    None => Did::Nothing,
                    Some(ended) => {
                        self.end(database, now + RESTART);
                        match ended {
                            Ended::InOrder => Did::Closed,
                            Ended::Lost(lost) => Did::Lost(lost),
                        }
                    }
                }
            }
        }
    }

    fn stand_by(&mut self, database: &mut Database, now: u64) -> Did {
        let own = self.clock.since_boot();
        let is_reached = !self.is_cut && !database.is_down;
        let Role::Standby(standby) = &mut self.role else { return Did::Nothing };
        if standby.seen.is_none() && standby.stands.is_none() && standby.look_at <= now {
            standby.look_at = now + u64::try_from(LOOK_INTERVAL.as_millis()).unwrap_or(0);
            standby.connect(is_reached.then_some(database.ends));
            let seen = || Observation { connection: standby.connection, ..database.observe() };
            standby.seen = is_reached.then(|| (now + self.pace.look, own, seen()));
            if !is_reached {
                standby.interrupt();
            }
        }
        if let Some((_, since, seen)) = standby.seen.take_if(|(at, ..)| *at <= now) {
            if own.saturating_sub(since) > LOOK_MAX {
                standby.interrupt();
            } else {
                standby.take(&seen, &self.url, own, now + self.pace.takeover / 4);
            }
        }
        // It waits for a write that has the row.
        if let Some(seq) = standby.lost.take_if(|_| is_reached && database.read().is_some()) {
            database.state_loss(seq);
            return Did::StatedLoss;
        }
        match standby.stands.take_if(|(at, _)| *at <= now) {
            Some((_, seen)) if is_reached => self.stand(database, &seen, now),
            Some(_) => {
                standby.interrupt();
                Did::Nothing
            }
            None => Did::Nothing,
        }
    }

    fn stand(&mut self, database: &mut Database, seen: &Observation, now: u64) -> Did {
        let name = format!("{} {} {now}", self.url, self.starts);
        let own = self.clock.since_boot();
        // The other one reads the ledger.
        let is_opening = seen.has_session && database.row().is_new;
        let stood = database.stand((self.index, &self.url, &name), seen);
        let Role::Standby(standby) = &mut self.role else { return Did::Nothing };
        let Ok(Some(term)) = stood else {
            if stood.is_err() {
                standby.interrupt();
            }
            return Did::NotWon;
        };
        if std::mem::take(&mut self.pace.loses_stand) {
            database.leave(term.1, true);
            standby.interrupt();
            return Did::NotWon;
        }
        let stored = database.row().rows.read();
        let (followed, ready_at) = (standby.election.followed(), now + self.pace.takeover);
        let patience = if is_opening { OPENING_MAX } else { LEASE };
        let was_quiet = standby.quiet.is_some_and(|(since, ..)| own.saturating_sub(since) >= patience);
        self.role = Role::Opening(Box::new(Opening { ready_at, term, began: own, stored, followed }));
        // A restart may have ended the session.
        Did::Won { is_silent: seen.is_held && (seen.has_session || !seen.has_written), was_quiet }
    }

    fn open(&mut self, settings: &Settings, present: Timestamp) {
        let role = std::mem::replace(&mut self.role, Role::Down { until: 0 });
        let Role::Opening(opening) = role else { return };
        let Opening { term, began, stored, followed, .. } = *opening;
        let (wall, since_boot) = (self.clock.wall(present), self.clock.since_boot());
        let mut time = stored.time(wall, self.clock.boot(), since_boot, followed);
        let books = settings.open(stored, time.read(wall, since_boot));
        let lease = Lease::new(LEASE, began);
        self.role = Role::Leader(Box::new(Leader::new(term, lease, books, time)));
    }
}

impl Standby {
    fn new(now: u64, ends: u64) -> Self {
        Self {
            election: Election::new(1, LEASE),
            connection: 0,
            ends: Some(ends),
            look_at: now,
            seen: None,
            stands: None,
            lost: None,
            highest: 0,
            quiet: None,
            looked: None,
            forwards_to: None,
        }
    }

    /// A lost connection is followed by another one.
    fn connect(&mut self, ends: Option<u64>) {
        self.connection += u64::from(ends.is_some() && ends != self.ends);
        self.ends = ends;
    }

    fn interrupt(&mut self) {
        self.election.interrupt();
        (self.quiet, self.forwards_to) = (None, None);
    }

    /// Takes what a look has shown.
    fn take(&mut self, seen: &Observation, url: &str, own: Duration, stands_at: u64) {
        let action = self.election.observe(seen, url, own);
        self.highest = self.highest.max(seen.seq);
        let is_gap = self.looked.is_some_and(|at| own.saturating_sub(at) > LEASE / 2);
        let row = (seen.epoch, seen.seq);
        self.quiet = match self.quiet {
            Some((since, epoch, seq)) if !is_gap && (epoch, seq) == row => Some((since, epoch, seq)),
            _ => Some((own, seen.epoch, seen.seq)),
        };
        (self.looked, self.forwards_to) = (Some(own), None);
        match action {
            Action::Stand => self.stands = Some((stands_at, seen.clone())),
            Action::StateLoss(seq) => self.lost = Some(seq),
            Action::Forward(url) => self.forwards_to = Some(url),
            Action::Wait | Action::CannotLead(_) => {}
        }
    }
}
