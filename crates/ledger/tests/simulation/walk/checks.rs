//! The checks after each step. While the status says that the bound does not hold, and while a count lacks bytes that
//! arrive late, the bound is not checked. Both are counted, so that a run which checks too little fails.

use turn_ledger::books::Snapshot;
use turn_ledger::coturn::sessions::HIDDEN_PACKETS_MAX;
use turn_ledger::period::Period;
use turn_ledger::source::IceSource;
use turn_ledger::units::{ByteCount, Timestamp};
use turn_ledger::verdict::Figures;

use super::broker::Broker;
use super::coturn::PACKET_BYTES;
use super::disk::Disk;
use super::world::World;

/// How many steps were checked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    /// Steps in which the bound was not checked.
    pub(crate) unchecked: u64,
    /// Steps in strict mode.
    pub(crate) strict: u64,
    /// Steps in strict mode in which the bound was allowed to exceed zero.
    pub(crate) excused: u64,
    /// Steps in which the limit of each user was checked.
    pub(crate) users: u64,
    /// Times that a user had used most of it.
    pub(crate) near: u64,
}

impl Tally {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            steps: self.steps + other.steps,
            unchecked: self.unchecked + other.unchecked,
            strict: self.strict + other.strict,
            excused: self.excused + other.excused,
            users: self.users + other.users,
            near: self.near + other.near,
        }
    }
}

/// What the checks remember between steps.
pub(crate) struct Checks {
    before: Snapshot,
    /// Whether the latest count lacked bytes before the step, and whether one of that period did.
    lacked: (bool, bool),
    /// Lowering the limit does not release promises, so the highest one counts in strict mode.
    highest_limit: ByteCount,
    /// Whether strict mode's bound may exceed zero, because something else than a credential raised it.
    is_excused: bool,
    /// Whether a user may have used more than the limit of a user in this period, because an assumption did not hold.
    is_user_excused: bool,
    /// Whether an accepted jump was a fault of the clock, and credentials from before it may be alive.
    is_set_wrong: bool,
    /// A clock that was behind has hidden the start of the period that ends then.
    missed_until: Timestamp,
    pub(crate) tally: Tally,
}

impl Checks {
    pub(crate) fn new(broker: &Broker<impl Disk>) -> Self {
        Self {
            before: broker.books.snapshot(),
            lacked: (false, false),
            highest_limit: broker.limit,
            is_excused: false,
            is_user_excused: false,
            is_set_wrong: false,
            missed_until: Timestamp::default(),
            tally: Tally::default(),
        }
    }

    /// The first check that fails after a step, if any.
    pub(crate) fn step(&mut self, world: &World, broker: &mut Broker<impl Disk>) -> Option<String> {
        let snapshot = broker.books.snapshot();
        let figures = snapshot.figures;
        self.highest_limit = self.highest_limit.max(figures.limit);
        let signs = broker.take_signs();
        // A clock that was set wrong has lost time. After a pause the bound is right, although the broker does not know.
        self.is_set_wrong = broker.step > 0 || broker.lags || (self.is_set_wrong && !snapshot.bound_holds());
        let holds = |snapshot: &Snapshot| {
            let mut status = *snapshot;
            if !self.is_set_wrong {
                status.jumped_until = Timestamp::default();
            }
            // Two credentials of one chain relay more than the budget assumes. The limit of a user does not depend on it.
            status.measured.assumption.holds |= broker.settings.relays_with_both && !status.measured.uncut;
            status.bound_holds()
        };
        let is_void = signs.is_void || !holds(&snapshot) || !holds(&self.before);
        let lacks = broker.lacks || self.lacked.0;
        self.tally.steps += 1;
        // coturn's sessions are not cut while the machine is paused. Afterwards, their grants get the long tail.
        let is_paused = signs.is_paused && broker.settings.cli;
        let is_extended = broker.settings.cli && !snapshot.clock_ahead.is_zero();
        // The bytes of a reset that the books have not seen yet belong to another period.
        let present = broker.present(world);
        if broker.lags && present >= figures.period.end {
            self.missed_until = broker.settings.billing_day().period_at(present).end;
        }
        let unchecked = is_void || lacks || is_paused || present < self.missed_until;
        self.tally.unchecked += u64::from(unchecked);
        let is_above = figures.committed.max(figures.committed_next) > self.highest_limit;
        // A count that lacked bytes has released promises for them.
        let is_excused = unchecked || broker.lacked || is_extended || signs.is_excuse;
        self.is_excused = is_excused || (self.is_excused && is_above);
        self.tally.strict += u64::from(broker.settings.strict);
        self.tally.excused += u64::from(broker.settings.strict && self.is_excused);
        let is_bounded = !unchecked && !broker.settings.relays_with_both;
        let bound = is_bounded.then(|| self.bound(world, broker, &figures)).flatten();
        let failed = bound.or_else(|| sums(world, broker, &snapshot));
        let failed = failed.or_else(|| status(world, broker, &snapshot));
        let is_same = self.before.figures.period == figures.period;
        let may_exceed = unchecked || is_extended || (broker.settings.cli && signs.is_excuse);
        self.is_user_excused = may_exceed || (self.is_user_excused && is_same);
        let failed = failed.or_else(|| self.users(world, broker, &figures));
        (self.before, self.lacked) = (snapshot, (broker.lacks, broker.lacked));
        failed
    }

    /// No user has relayed more than the limit of a user, in strict mode.
    fn users(&mut self, world: &World, broker: &mut Broker<impl Disk>, now: &Figures) -> Option<String> {
        let limit = broker.settings.user_limit.filter(|_| broker.settings.strict && !self.is_user_excused)?;
        self.tally.users += 1;
        (0..3).find_map(|user| {
            let truth = broker.truth_of_user(world, user, now.period).saturating_sub(broker.unseen);
            self.tally.near += u64::from(truth > limit / 100 * 80);
            (truth > limit).then(|| format!("user {user} has relayed {truth} of {limit}"))
        })
    }

    /// The true bytes do not exceed what the status said, in this period and in one that ended with this step.
    fn bound(&self, world: &World, broker: &Broker<impl Disk>, now: &Figures) -> Option<String> {
        let before = &self.before.figures;
        let most = |figures: &Figures| figures.limit.plus(figures.overshoot_bound()).get();
        let truth = broker.truth(world, now.period);
        let highest = most(before).max(most(now));
        // What sampling can have missed was limited by a count that lacked bytes.
        let at_least = |truth: u64, lacked: bool| if lacked { truth / 100 * 95 } else { truth };
        let truth = at_least(truth, broker.lacked).saturating_sub(broker.unseen);
        if truth > highest {
            return Some(format!("true bytes {truth} exceed limit and bound {highest}"));
        }
        if before.period != now.period && before.period.end <= now.period.start {
            let ended =
                at_least(broker.truth(world, before.period), self.lacked.1).saturating_sub(broker.unseen);
            let most = most(before);
            if ended > most {
                return Some(format!(
                    "true bytes {ended} of the previous period exceed limit and bound {most}"
                ));
            }
        }
        let highest_limit = self.highest_limit.plus(hidden_max(world, broker));
        if broker.settings.strict
            && !self.is_excused
            && (now.committed > highest_limit || truth > highest_limit.get())
        {
            let bound = now.overshoot_bound();
            return Some(format!("strict mode has a bound of {bound:?}, true bytes {truth}"));
        }
        None
    }
}

/// The most that is charged for packets that coturn does not show yet. The sessions may not have relayed them.
fn hidden_max(world: &World, broker: &Broker<impl Disk>) -> ByteCount {
    let sessions = if broker.settings.cli { world.begun() } else { 0 };
    ByteCount::new(sessions * HIDDEN_PACKETS_MAX * PACKET_BYTES)
}

/// The sums agree with each other and with the world.
fn sums(world: &World, broker: &Broker<impl Disk>, snapshot: &Snapshot) -> Option<String> {
    let figures = snapshot.figures;
    if figures.used > figures.committed {
        return Some("used exceeds committed".into());
    }
    // Each of the two parts of a count is rounded up.
    let measured = snapshot.measured.bytes.get();
    let truth = broker.truth(world, figures.period);
    // What coturn does not show yet is estimated, and so is what a relay carried before it crashed.
    let is_estimated = broker.settings.cli || broker.settings.sources.contains(&IceSource::Relay);
    if measured > truth + 2 && !is_estimated && !broker.may_break {
        return Some(format!("{measured} were measured, but only {truth} were relayed"));
    }
    let last = broker.last_read.zip(broker.books.previous()).filter(|(read, (period, _))| read == period);
    let (period, used) = last.map(|(_, previous)| previous)?;
    let truth = broker.truth(world, period);
    let is_near = used.get() <= truth + 1 && used.get() >= truth / 100 * 94;
    (!is_near).then(|| format!("{used:?} are shown for the previous period, but {truth} were relayed"))
}

/// The rest of the status is right.
fn status(world: &World, broker: &Broker<impl Disk>, snapshot: &Snapshot) -> Option<String> {
    let figures = snapshot.figures;
    if figures.limit != broker.limit {
        return Some(format!("the limit is {:?}, but {:?} was set", figures.limit, broker.limit));
    }
    let present = broker.present(world).plus_millis(broker.step);
    if figures.now.plus(snapshot.clock_ahead) != present && !broker.lags {
        return Some(format!("the books' time is {}, the world's is {present}", figures.now));
    }
    if broker.counts_grow() && snapshot.bound_holds() {
        return Some("counts grow, and the bound is said to hold".into());
    }
    // In strict mode, a report after the tail breaks the assumption, whether it is true or not.
    let is_broken = !snapshot.measured.assumption.holds
        && !broker.settings.strict
        && !broker.may_break
        && !broker.settings.cli;
    is_broken.then(|| "the assumption is broken without a reason".into())
}

/// The end of a period in the world's milliseconds, and its start.
pub(crate) fn span(period: Period, begin: Timestamp) -> (u64, u64) {
    (period.start.millis_since(begin), period.end.millis_since(begin))
}
