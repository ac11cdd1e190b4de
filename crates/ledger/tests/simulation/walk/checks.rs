//! The checks after each step. A check that would fail for a reason which the bound names as an assumption is left out, with that
//! reason. All are counted, so that a run which checks too little fails.

use super::prelude::*;

use super::broker::Signs;
use super::coturn::PACKET_BYTES;
use super::limits::SERVERS;
use super::promised::Relayed;
use super::sums;
use super::tally::Tally;

/// Why a check is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
pub(crate) enum Excuse {
    /// A count lacked bytes that arrived after the lag, and released what was promised for them.
    Late,
    /// The wall clock was wrong, and the books followed it or began with it.
    Clock,
    /// Somebody has relayed faster or longer than is assumed, and no count has these bytes yet.
    Exceeded,
    /// A client relays with two credentials of one chain. The limit of a user holds, the budget assumes otherwise.
    Both,
    /// Only in strict mode: the app server reports what no credential was admitted for.
    Reporter,
    /// Only in strict mode: coturn's sessions could not be ended, or nobody ran to end them.
    Uncut,
    /// Only in strict mode: programs that know coturn's secret have sessions, or had some in the step before. What no listing shows of them
    /// is assumed.
    Foreign,
    /// A backup was restored.
    Restored,
    /// Only in strict mode: bytes of another key or of the SFU were counted. They bring their whole margin for sampling along.
    Margin,
    /// Only in strict mode: a restart changed a setting, so what was admitted before counts for more, or the limit is lower.
    Setting,
}

impl Excuse {
    /// Whether a user may relay more than the limit of a user because of it. What was counted, or reported without a grant, beside all
    /// grants does not change what was counted for them.
    pub(super) fn is_of_users(self) -> bool {
        !matches!(self, Self::Both | Self::Reporter | Self::Margin | Self::Foreign)
    }
}

/// No credential of a scenario relays longer, in milliseconds: two days, and the longest tail.
const LONGEST: u64 = (2 * 86_400 + 20_000) * 1_000;

/// What the checks remember between steps.
pub(crate) struct Checks {
    before: Snapshot,
    /// Whether somebody has relayed more than is assumed, and no count had these bytes before the step.
    had_exceeded: bool,
    has_foreign: bool,
    /// Whether the latest count lacked bytes before the step, and whether one of that period did.
    lacked: (bool, bool),
    /// Lowering the limit does not release promises, so the highest one counts in strict mode.
    highest_limit: ByteCount,
    /// The most that may be committed in strict mode. An excuse raises it to what is committed then.
    ceiling: ByteCount,
    /// After how many writes less was committed than the limit. A crash loses what is not written.
    low_since: Option<u64>,
    /// Until when a user may have used more than the limit of a user in the period, because an assumption did not hold or it was not
    /// checked: until the end of the last period in which a credential of that time can relay.
    users_excused_until: Timestamp,
    /// Whether an accepted jump was a fault of the clock, and credentials from before it may be alive.
    is_set_wrong: bool,
    /// Until when that was so, in the world's milliseconds.
    wrong_until: u64,
    /// A clock that was behind has hidden the start of the period that ends then.
    missed_until: Timestamp,
    /// Why the step before was not checked: for example, something was minted by a wrong clock, and no count has it yet.
    unchecked: Option<Excuse>,
    /// What relayed in each minute.
    relayed: Relayed,
    pub(crate) tally: Tally,
}

impl Checks {
    pub(crate) fn new(broker: &Broker<impl Disk>) -> Self {
        Self {
            before: broker.books.snapshot(),
            had_exceeded: false,
            has_foreign: false,
            lacked: (false, false),
            highest_limit: broker.limit,
            ceiling: broker.limit,
            low_since: None,
            users_excused_until: Timestamp::default(),
            is_set_wrong: false,
            wrong_until: 0,
            missed_until: Timestamp::default(),
            unchecked: None,
            relayed: Relayed::default(),
            tally: Tally::default(),
        }
    }

    /// The first check that fails after a step, if any.
    pub(crate) fn step(&mut self, world: &World, broker: &mut Broker<impl Disk>) -> Option<String> {
        let snapshot = broker.books.snapshot();
        let figures = snapshot.figures;
        self.highest_limit = self.highest_limit.max(figures.limit);
        let signs = broker.take_signs();
        if signs.forgot_rate {
            self.relayed.clear();
        }
        let unchecked = self.unchecked(world, broker, &snapshot);
        let committed = figures.committed.max(figures.committed_next);
        // A count that lacked bytes has released promises for them.
        let lacked = broker.lacked.then_some(Excuse::Late);
        // What is promised counts at the observed rate while counts contradict the assumed one.
        let is_fast = broker.settings.is_fast && !snapshot.measured.agrees();
        let observed = is_fast.then_some(Excuse::Exceeded);
        let had_foreign = std::mem::replace(&mut self.has_foreign, signs.saw_foreign);
        let foreign = (had_foreign || self.has_foreign).then_some(Excuse::Foreign);
        let excuse = unchecked.or(lacked).or(observed).or(signs.excuse).or(foreign);
        let raises = committed > self.ceiling.max(self.highest_limit).plus(hidden_max(world, broker));
        if !broker.settings.strict || (raises && excuse.is_some()) {
            // What sampling may miss of a count is committed as soon as it is counted, and again when a later count finds it.
            let margin = committed.get() / 100 * u64::from(2 * broker.settings.sampling);
            self.ceiling = self.ceiling.max(committed.plus(ByteCount::new(margin)));
        }
        self.low_since = (committed <= self.highest_limit).then(|| self.low_since.unwrap_or(broker.writes));
        if self.low_since.is_some_and(|since| broker.writes > since) {
            self.ceiling = self.highest_limit;
        }
        self.tally.note("steps");
        self.tally.note_if("undisturbed", broker.is_undisturbed());
        self.tally.note_if("settled", broker.is_settled(world) && !broker.is_undisturbed());
        if let Some(unchecked) = unchecked {
            self.tally.note("unchecked");
            self.tally.note(unchecked.into());
        }
        if let Some(excuse) = excuse
            && broker.settings.strict
            && raises
        {
            // Something else than a credential has raised the bound above zero.
            self.tally.note("excused");
            self.tally.note(excuse.into());
            broker.accepts(Inaccuracy::ForeignSessions, excuse != Excuse::Foreign, true);
        }
        let bound = if unchecked.is_none() { self.bound(world, broker, &figures, &signs) } else { None };
        let failed = bound.or_else(|| sums::sums(world, broker, &snapshot));
        let failed =
            failed.or_else(|| Some(format!("{} differ from the rows", broker.books.grants().difference()?)));
        let failed = failed.or_else(|| broker.unpromised(world));
        let failed = failed.or_else(|| self.unpromised(world, broker));
        let failed = failed.or_else(|| sums::status(world, broker, &snapshot));
        let failed = failed.or_else(|| sums::rows(world, broker));
        let failed = failed.or_else(|| sums::spenders(world, broker, &snapshot));
        let mut excuses = [unchecked, lacked, signs.excuse].into_iter().flatten();
        if excuses.any(Excuse::is_of_users) || !broker.settings.strict {
            let relayed_until = broker.present(world).plus_millis(LONGEST);
            self.users_excused_until = broker.settings.billing_day().period_at(relayed_until).end;
        }
        // With another billing day, the sums of users begin anew.
        let (was, is) = (self.before.figures.period, figures.period);
        if was.start != is.start && was.end != is.start {
            self.users_excused_until = is.end;
        }
        let failed = failed.or_else(|| self.limited(world, broker, &figures));
        let failed = broker.wrong.take().or(failed);
        (self.before, self.lacked) = (snapshot, (broker.lacks, broker.lacked));
        self.unchecked = unchecked;
        failed
    }

    /// Why the bound need not hold in the world after this step.
    fn unchecked(&mut self, world: &World, broker: &Broker<impl Disk>, now: &Snapshot) -> Option<Excuse> {
        // A clock that was set wrong has lost time. After a pause the bound is right, although the broker does not know.
        self.is_set_wrong = broker.step > 0
            || broker.lags
            || (self.is_set_wrong && !(now.bound_holds() && self.before.bound_holds()));
        if self.is_set_wrong {
            self.wrong_until = world.now;
        }
        // The bytes of a reset that the books have not seen yet belong to another period.
        let present = broker.present(world);
        if broker.lags && present >= now.figures.period.end {
            self.missed_until = broker.settings.billing_day().period_at(present).end;
        }
        let is_late = broker.lacks || self.lacked.0;
        let has_exceeded = exceeded(world, broker, &self.before) || exceeded(world, broker, now);
        // The count that has these bytes raises what is committed.
        let was_uncounted = std::mem::replace(&mut self.had_exceeded, has_exceeded);
        // What pages took while nobody watched is charged once the books know how long that was.
        let is_unwatched = !broker.pages.is_empty() && now.clock_ahead > Duration::ZERO && !now.bound_holds();
        let reasons = [
            (Excuse::Late, is_late),
            (Excuse::Clock, is_unwatched || present < broker.lost_until),
            (Excuse::Clock, is_uncounted(broker, now, self.wrong_until) || present < self.missed_until),
            (Excuse::Exceeded, was_uncounted || has_exceeded),
            (Excuse::Both, broker.settings.relays_with_both),
        ];
        reasons.into_iter().find(|(_, is_so)| *is_so).map(|(excuse, _)| excuse)
    }

    /// What relays is promised for its minute, unless the books do not have the world's time, lost grants, or a client relays with two
    /// credentials of one chain.
    fn unpromised(&mut self, world: &World, broker: &Broker<impl Disk>) -> Option<String> {
        if self.is_set_wrong || broker.was_restored || broker.settings.relays_with_both {
            self.relayed.clear();
            return None;
        }
        self.relayed.note(world, broker);
        // The minutes before change at a start, and with the period.
        let is_due = self.tally.of("steps").is_multiple_of(8)
            || self.before.figures.period != broker.books.budget().period;
        is_due.then(|| self.relayed.unpromised(broker)).flatten()
    }

    /// In strict mode, no user has relayed more than the limit of a user, nor any server key more than its own. Of a chain of renewals of a
    /// key, one credential relays at a time.
    fn limited(&mut self, world: &World, broker: &mut Broker<impl Disk>, now: &Figures) -> Option<String> {
        // While the wall clock is in doubt, the books' period may be over.
        if !broker.settings.strict || now.period.start < self.users_excused_until {
            return None;
        }
        let Settings { user_limit, server_limit, relays_with_both, .. } = broker.settings;
        let mut spent = vec![];
        if let Some(limit) = user_limit {
            self.tally.note("users");
            let truth = |user| broker.truth_of_user(world, user, now.period);
            spent.extend((0..3).map(|user| (Limited::User(user_named(user)), limit, truth(user))));
        }
        if let Some(limit) = server_limit.filter(|_| !relays_with_both) {
            self.tally.note("servers");
            let truth = |server| broker.truth_of_server(world, server, now.period);
            spent.extend((0..SERVERS).map(|nth| (Limited::Server(server_named(nth)), limit, truth(nth))));
        }
        spent.into_iter().find_map(|(of, limit, truth)| {
            let near = if matches!(of, Limited::User(_)) { "users near" } else { "servers near" };
            self.tally.note_if(near, truth > limit / 100 * 80);
            let committed = broker.books.limit_share(&of).map_or(limit, |share| share.committed.get());
            (truth > committed.min(limit))
                .then(|| format!("{of:?} has relayed {truth} of {limit}, {committed} are committed"))
        })
    }

    /// The true bytes do not exceed what was committed, with its margin, in this period and in one that ended with this step.
    /// What was relayed for longer than was promised before the step, because nobody watched, is in no figure of a period that ended
    /// meanwhile.
    fn bound(
        &self,
        world: &World,
        broker: &Broker<impl Disk>,
        now: &Figures,
        signs: &Signs,
    ) -> Option<String> {
        let before = &self.before.figures;
        let most = |figures: &Figures| figures.committed.plus(figures.margin).get();
        let truth = broker.truth(world, now.period);
        let highest = most(before).max(most(now));
        // The true bytes that must be in a figure.
        let shown = |truth: u64, is_limited: bool, most: u64| {
            let least = if is_limited { Inaccuracy::Sampled.least(truth) } else { truth };
            if broker.accepts(Inaccuracy::Sampled, truth <= most, least <= most) { least } else { truth }
        };
        let has_exceeded = |period: Period| {
            let start = Some(period.start.millis_since(broker.begin));
            METERED.iter().any(|source| world.exceeded(*source) > start)
        };
        let truth = shown(truth, broker.lacked || has_exceeded(now.period), highest);
        if truth > highest {
            return Some(format!("true bytes {truth} exceed the most {highest}"));
        }
        if before.period != now.period
            && before.period.end <= now.period.start
            && !signs.went_on
            && !has_exceeded(before.period)
            && broker.lost_until != before.period.end
            && self.unchecked != Some(Excuse::Clock)
        {
            // What pages take is promised anew at each look.
            let of_pages = before.limit.plus(before.overshoot_bound()).get();
            // More was promised meanwhile if coturn did not answer.
            let last = signs.ended.filter(|last| last.period == before.period);
            let known = most(before).max(last.as_ref().map_or(0, most));
            let most = if broker.pages.is_empty() { known } else { of_pages };
            let ended = shown(broker.truth(world, before.period), self.lacked.1, most);
            if ended > most {
                return Some(format!("true bytes {ended} of the previous period exceed the most {most}"));
            }
        }
        let ceiling = self.ceiling.max(self.highest_limit).plus(hidden_max(world, broker));
        // What one answer says is shown as used, even if nothing can have relayed it.
        let is_over = now.committed > ceiling && !broker.is_answered_wrong(now.period);
        if broker.settings.strict && (is_over || truth > ceiling.get()) {
            let bound = now.overshoot_bound();
            return Some(format!("strict mode has a bound of {bound:?}, true bytes {truth}"));
        }
        None
    }
}

/// Whether somebody has relayed more in this period than is assumed, and the count of the source does not have it yet.
fn exceeded(world: &World, broker: &Broker<impl Disk>, snapshot: &Snapshot) -> bool {
    METERED
        .into_iter()
        .any(|source| world.exceeded(source).is_some_and(|until| lacks(broker, snapshot, source, until)))
}

/// Whether a source that mints has not counted until this instant of this period, in the world's milliseconds.
fn is_uncounted(broker: &Broker<impl Disk>, snapshot: &Snapshot, until: u64) -> bool {
    broker.settings.sources.iter().any(|source| lacks(broker, snapshot, *source, until))
}

/// Whether a day of this period is not counted until this instant. With another billing day, a day can come back behind a later one.
fn lacks(broker: &Broker<impl Disk>, snapshot: &Snapshot, source: IceSource, until: u64) -> bool {
    let start = snapshot.figures.period.start;
    let is_lacking = |day: Day| {
        let counted = broker.books.budget().day(source, day).map_or(day.start(), |count| count.as_of);
        broker.shown(source, counted) < broker.shown(source, day.end()).min(until)
    };
    let until_day = Day::until(broker.begin.plus_millis(until));
    until > start.millis_since(broker.begin) && Day::between(start, until_day.end()).any(is_lacking)
}

/// The most that is claimed for packets that coturn does not show yet. The sessions may not have relayed them.
pub(super) fn hidden_max(world: &World, broker: &Broker<impl Disk>) -> ByteCount {
    let sessions = if broker.settings.cli { world.begun() } else { 0 };
    ByteCount::new(sessions * HIDDEN_PACKETS_MAX * PACKET_BYTES)
}
