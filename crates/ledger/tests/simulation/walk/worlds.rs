//! Worlds that random operations rarely make: evidence of a period that is over, copies and clocks close to a reset, and what happens between a
//! question and its answer. Each world begins scenarios of its own, and random
//! operations follow.

use turn_ledger::IceSource::{self, Cloudflare, Relay};

use super::Scenario;
use super::prelude::*;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
/// How many worlds there are.
const WORLDS: u64 = 8;
/// The difference between two seeds of one world. It is no less than the number of worlds, and stays when a world goes.
const SEEDS_APART: u64 = 10;
/// How many sets of clients are looked at.
const CLIENTS_MAX: u64 = 10_000;
/// So many random operations follow.
const RANDOM_STEPS: u64 = 20;
/// A count without loss.
const READ: Op = Op::Read { back: 0, missed: 1 };
/// The same, with bytes under identifiers that are not ours.
const READ_OTHERS: Op = Op::Read { back: 1, missed: 7 };
/// Sources of which a provider counts one again.
const COUNTED_IN_PART: &[IceSource] = &[Cloudflare, Relay];

/// How many times faster than assumed the client of this credential is.
fn times_assumed(settings: &Settings, nth: u64) -> u64 {
    settings.client(SOURCE, nth).rate / settings.assumed(SOURCE).rate
}

fn wait(millis: u64) -> Op {
    Op::Wait { millis, share: 256 }
}

fn mint(life: u64) -> Op {
    Op::Mint { life, delay: 0 }
}

impl Scenario {
    /// The worlds, so many of each, with different seeds.
    pub(crate) fn of_worlds(count: u64, strict: bool) -> impl Iterator<Item = Self> {
        let random = move |seed| Self::random(seed, RANDOM_STEPS, strict, &Fault::all());
        let is_plain =
            |scenario: &Self| !scenario.settings.cli && !scenario.settings.sfu && !scenario.uses_relay();
        let each = move |nth: u64| {
            let scenarios = (0..).map(move |seed| (seed, random(SEEDS_APART * seed + nth)));
            let plain = scenarios.filter(move |(_, scenario)| is_plain(scenario));
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            plain.take(count).map(move |(seed, scenario)| scenario.with_world(nth, seed))
        };
        (0..WORLDS).flat_map(each)
    }

    fn with_world(mut self, nth: u64, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let world = match nth {
            0 => self.copy(&mut dice),
            1 => self.fast_over_reset(&mut dice),
            2 => self.raised_rate(),
            3 => self.late_answer(),
            4 => self.takeover_from_unconfirmed(),
            5 => self.clock_behind_reset(&mut dice),
            6 => self.report_over_reset(&mut dice),
            _ => self.lost_counts(&mut dice),
        };
        self.ops.splice(0..0, world);
        self
    }

    /// A copy is restored, of whose sources nobody counts one again.
    fn copy(&mut self, dice: &mut Dice) -> Vec<Op> {
        self.has_room();
        self.settings.sources = COUNTED_IN_PART;
        // What a lost grant relays with a key that nobody counts is in no figure.
        self.settings.keys = Keys::One;
        (self.before_reset, self.settings.billing_day) = (dice.one_of(&[4 * HOUR, 40 * HOUR, 20 * DAY]), 1);
        let [from, other] = [0, 1].map(|nth| Op::From { nth });
        let mut ops = vec![from, mint(3_600), Op::Copy, mint(172_800), wait(HOUR), other, mint(86_400)];
        ops.extend([wait(HOUR), Op::Restore, READ, wait(12 * HOUR), READ]);
        ops.extend([[wait(19 * HOUR), READ]; 3].into_iter().flatten());
        ops
    }

    /// The provider loses its counts of some hours, not shortly before a reset. What was promised then stays, and later counts release what
    /// they prove.
    fn lost_counts(&mut self, dice: &mut Dice) -> Vec<Op> {
        self.has_room();
        self.settings.sources = ONE;
        (self.settings.probes, self.settings.counts_nothing) = (true, false);
        // By the provider's clock, the loss begins with an hour: one in which it counted bytes and lost others is believed (docs/BUDGET.md).
        self.settings.provider_ahead = 0;
        (self.before_reset, self.settings.billing_day) = (dice.one_of(&[40 * HOUR, 20 * DAY]), 1);
        let lost = Op::LoseCounts { millis: dice.one_of(&[2 * HOUR + 30 * MINUTE, 9 * HOUR]) };
        let mut ops = vec![mint(86_400), wait(HOUR), READ, lost];
        let share = [0, 256].map(|share| Op::Wait { millis: 25 * MINUTE, share });
        let [silent, relayed] = share;
        ops.extend([[silent, READ, relayed, READ]; 4].into_iter().flatten());
        ops.extend([mint(3_600), Op::Flush, wait(10 * HOUR), READ, wait(HOUR), READ]);
        ops
    }

    /// The limit refuses no mint.
    fn has_room(&mut self) {
        (self.settings.limit, self.settings.percent) = (1_000_000_000_000, 100);
    }

    /// Counts show who relays more than is assumed. `is_fast`: whether the clients of these numbers are to do so.
    fn counts_clients(&mut self, is_fast: impl Fn(&Settings) -> bool) {
        self.has_room();
        let settings = &mut self.settings;
        (settings.is_fast, settings.sources, settings.counts_nothing) = (true, ONE, false);
        settings.keys = Keys::One;
        (settings.user_limit, settings.server_limit) = (Some(100_000_000_000), None);
        (settings.grant_limit, settings.at_limit) = (None, false);
        (settings.billing_day, settings.mbps) = (1, 2);
        let with = |clients| Settings { clients, ..*settings };
        let from = settings.clients.max(1);
        let found = (from..from + CLIENTS_MAX).map(with).find(is_fast);
        self.settings = found.unwrap_or_else(|| unreachable!("one in hundreds is so"));
    }

    /// Some relay too fast on both sides of a reset. Some of them leave the table before it.
    fn fast_over_reset(&mut self, dice: &mut Dice) -> Vec<Op> {
        self.settings.tail = Some(0);
        self.counts_clients(|settings| [1, 2].iter().all(|nth| times_assumed(settings, *nth) == 6));
        let has_left = dice.below(2) == 0;
        (self.settings.ended_max, self.before_reset) = (if has_left { 0 } else { 100 }, 4 * HOUR);
        let mut ops = vec![mint(if has_left { 1_800 } else { 86_400 }), wait(HOUR), READ, wait(HOUR)];
        ops.extend([READ_OTHERS, Op::Flush, wait(90 * MINUTE), READ_OTHERS, Op::Flush]);
        ops.push(if dice.below(3) == 0 { Op::Change(Change::BillingDay(30)) } else { wait(35 * MINUTE) });
        ops.extend([mint(600), wait(20 * MINUTE), READ, wait(HOUR), READ, Op::Flush]);
        ops
    }

    /// Somebody relays too fast. Then the rate is raised, and another one is faster than that.
    fn raised_rate(&mut self) -> Vec<Op> {
        self.counts_clients(|settings| times_assumed(settings, 1) == 2 && times_assumed(settings, 2) == 6);
        self.before_reset = 20 * DAY;
        let change = Op::Change(Change::Mbps(8));
        vec![
            mint(86_400),
            wait(12 * HOUR),
            READ,
            change,
            mint(3_600),
            wait(30 * MINUTE),
            READ,
            wait(HOUR),
            READ,
        ]
    }

    /// A client renews between the question about its chain and the answer.
    fn late_answer(&mut self) -> Vec<Op> {
        self.counts_clients(|settings| times_assumed(settings, 1) == 6);
        (self.settings.answers_late, self.before_reset) = (true, 20 * DAY);
        let renew = Op::RenewWhenDue { nth: 0, life: 3_600, delay: 0 };
        vec![mint(3_600), wait(44 * MINUTE), READ, renew, wait(5 * MINUTE), READ, renew, READ]
    }

    /// The clock is behind after a start of the machine, and nobody says so. Another machine takes over, whose clock is right, and then the
    /// provider tells the time.
    fn takeover_from_unconfirmed(&mut self) -> Vec<Op> {
        self.has_room();
        (self.settings.tells_time, self.settings.sources, self.before_reset) = (false, ONE, 20 * DAY);
        let reboot = Op::Reboot { millis: 8 * HOUR, share: 256, behind: 28_800_000 };
        let takeover = Op::TakeOver { lost: 0, millis: 1_000, share: 256, behind: 0 };
        let ten = wait(10 * MINUTE);
        let mut ops =
            vec![mint(86_400), ten, reboot, ten, mint(86_400), ten, takeover, READ, wait(HOUR), READ];
        ops.extend([wait(20 * HOUR), wait(5 * HOUR), READ]);
        ops
    }

    /// Just after a reset, the clock is set back to before it. It comes to the reset again.
    fn clock_behind_reset(&mut self, dice: &mut Dice) -> Vec<Op> {
        (self.before_reset, self.settings.billing_day) = (5 * MINUTE, 1);
        let back = Op::ClockBack { millis: dice.one_of(&[600_000, 3_600_000]) };
        vec![mint(3_600), wait(7 * MINUTE), back, wait(MINUTE), wait(5 * MINUTE), wait(HOUR), READ]
    }

    /// A page reports for the first time after a reset, for a time from before it.
    fn report_over_reset(&mut self, dice: &mut Dice) -> Vec<Op> {
        (self.before_reset, self.settings.billing_day) = (5 * MINUTE, 1);
        let open = Op::Open { nth: 0, relayed: Some(true) };
        let beat = Op::Beat { nth: 0, bytes: Some(50_000_000 + dice.below(1_000_000)), relayed: Some(true) };
        vec![
            mint(86_400),
            wait(MINUTE),
            open,
            wait(3 * MINUTE + dice.below(MINUTE)),
            wait(2 * MINUTE),
            beat,
            READ,
        ]
    }
}
