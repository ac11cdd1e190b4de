//! Tests of the timeline against a naive model that keeps every event and computes each figure from all of them.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Advance { millis: i64 },
    Start { basis: Basis },
    Stop { basis: Basis },
    Bytes { basis: Basis, bytes: u64, back: i64 },
    Time { basis: Basis, back: i64 },
    Grant { ahead: i64, life: i64, rate: u64 },
    Release { nth: usize },
    TakeBack { nth: usize },
    Read { back: i64, granted: u64, other: u64 },
}

fn basis() -> impl Strategy<Value = Basis> {
    prop_oneof![Just(Basis::Granted), Just(Basis::Ungranted)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0i64..30 * MINUTE).prop_map(|millis| Op::Advance { millis }),
        1 => (0i64..26 * 60 * MINUTE).prop_map(|millis| Op::Advance { millis }),
        3 => basis().prop_map(|basis| Op::Start { basis }),
        2 => basis().prop_map(|basis| Op::Stop { basis }),
        3 => (basis(), 0u64..1 << 34, 0i64..4 * 60 * MINUTE)
            .prop_map(|(basis, bytes, back)| Op::Bytes { basis, bytes, back }),
        2 => (basis(), 0i64..4 * 60 * MINUTE).prop_map(|(basis, back)| Op::Time { basis, back }),
        3 => (1i64..30 * 60 * MINUTE, 1u64..4).prop_map(|(life, rate)| Op::Grant { ahead: 0, life, rate }),
        2 => (0i64..3 * MINUTE, 1i64..3 * MINUTE, 1u64..4)
            .prop_map(|(ahead, life, rate)| Op::Grant { ahead, life, rate }),
        1 => (0usize..20).prop_map(|nth| Op::Release { nth }),
        1 => (0usize..20).prop_map(|nth| Op::TakeBack { nth }),
        2 => (0i64..20 * MINUTE, 0u64..1 << 36, 0u64..1 << 36)
            .prop_map(|(back, granted, other)| Op::Read { back, granted, other }),
    ]
}

/// One grant at so many times the liability.
fn at_rate(times: u64) -> LiveDelta {
    LiveDelta { live: 1, per_minute: ONE.per_minute * i64::try_from(times).unwrap() }
}

/// Every time span, grant and report so far.
struct Model {
    rates: Rates,
    now: i64,
    running: Vec<(Basis, i64)>,
    spans: Vec<(Basis, i64, i64)>,
    claims: Vec<(Basis, u64, i64, i64)>,
    /// From, until, and the rate in parts of the liability.
    grants: Vec<(i64, i64, u64)>,
    /// The latest count of each day, and the most bytes that it can stand for.
    counts: BTreeMap<Day, (Reading, u128)>,
}

impl Model {
    fn new(promises_cap_claims: bool) -> Self {
        Self {
            rates: rates(promises_cap_claims),
            now: START,
            running: vec![],
            spans: vec![],
            claims: vec![],
            grants: vec![],
            counts: BTreeMap::new(),
        }
    }

    /// The counts of this period.
    fn counted(&self) -> impl Iterator<Item = &(Reading, u128)> {
        let period = BillingDay::new(1).unwrap().period_at(at(self.now));
        self.counts.iter().filter(move |(day, _)| period.contains(day.start())).map(|(_, count)| count)
    }

    /// The end of the time that is counted of a minute's day.
    fn as_of(&self, minute: i64) -> i64 {
        let day = Day::of(at(minute));
        self.counts.get(&day).map_or(day.start(), |(reading, _)| reading.as_of).as_millis()
    }

    /// What is counted.
    fn measured(&self) -> (u128, u128) {
        let sum = |of: fn(&Reading) -> ByteCount| {
            self.counted().map(|(reading, _)| u128::from(of(reading).get())).sum()
        };
        (sum(|reading| reading.granted), sum(|reading| reading.other))
    }

    fn minutes(&self) -> impl Iterator<Item = i64> {
        let period = BillingDay::new(1).unwrap().period_at(at(self.now));
        (period.start.as_millis()..period.end.as_millis()).step_by(usize::try_from(MINUTE).unwrap())
    }

    fn time_in(&self, basis: Basis, minute: i64) -> u128 {
        let open = self.running.iter().map(|(basis, from)| (*basis, *from, self.now));
        let all = self.spans.iter().copied().chain(open).filter(|(of, _, _)| *of == basis);
        let millis: i64 = all.map(|(_, from, to)| (to.min(minute + MINUTE) - from.max(minute)).max(0)).sum();
        u128::try_from(millis).unwrap()
    }

    fn bytes_in(&self, basis: Basis, minute: i64) -> u128 {
        let end = minute + MINUTE;
        let share = |bytes: u64, from: i64, to: i64, t: i64| {
            let span = u128::try_from(to - from).unwrap();
            let elapsed = u128::try_from((t.min(to) - from).max(0)).unwrap();
            (u128::from(bytes) * elapsed).checked_div(span).unwrap_or(0)
        };
        let of_basis = self.claims.iter().filter(|(of, ..)| *of == basis);
        let in_minute = of_basis.map(|&(_, bytes, from, to)| {
            if from == to {
                u128::from(bytes) * u128::from(minute <= to && to < end)
            } else {
                share(bytes, from, to, end) - share(bytes, from, to, minute)
            }
        });
        in_minute.sum()
    }

    fn estimate(&self, minute: i64) -> u128 {
        let bytes = |basis| {
            self.rates.estimated.over_millis(self.time_in(basis, minute)) + self.bytes_in(basis, minute)
        };
        let cap = if self.rates.promises_cap_claims { self.promised(minute) } else { u128::MAX };
        bytes(Basis::Granted).min(cap) + bytes(Basis::Ungranted)
    }

    /// Grants that are alive in a minute, and what they may relay in it at the rates that were assumed for each.
    fn live(&self, minute: i64) -> GrantMinutes {
        let alive = |&&(from, until, _): &&(i64, i64, u64)| from < minute + MINUTE && until > minute;
        let one = |(.., rate): &(i64, i64, u64)| u128::from(at_rate(*rate).per_minute.unsigned_abs());
        let live = self.grants.iter().filter(alive);
        live.fold(GrantMinutes::default(), |sum, grant| {
            sum.plus(GrantMinutes { count: 1, bytes: one(grant) })
        })
    }

    fn at_liability(&self, minutes: GrantMinutes) -> u128 {
        minutes.bytes.max(self.rates.liability.over_millis(60_000) * minutes.count)
    }

    fn promised(&self, minute: i64) -> u128 {
        self.at_liability(self.live(minute))
    }

    fn used(&self) -> u128 {
        let (granted, other) = self.measured();
        let later = self.minutes().filter(|minute| *minute >= self.as_of(*minute));
        granted + other + later.map(|minute| self.estimate(minute)).sum::<u128>()
    }

    fn committed(&self) -> u128 {
        let (granted, other) = self.measured();
        let worst = |minute| match self.as_of(minute) {
            as_of if minute >= as_of => self.estimate(minute).max(self.promised(minute)),
            as_of => self.promised_between(minute.max(as_of), minute + MINUTE),
        };
        let sampled = |bytes: u128| (bytes * 100).div_ceil(u128::from(100 - SAMPLING));
        let settled = if self.rates.promises_cap_claims {
            self.counted()
                .map(|(reading, at_most)| at_most + sampled(reading.other.get().into()))
                .sum::<u128>()
        } else {
            granted + other
        };
        // The observed rate is that of all grants together, so it counts for all later minutes together.
        let (begun, ahead): (Vec<_>, Vec<_>) = self.minutes().partition(|minute| *minute <= self.now);
        let ahead = ahead
            .into_iter()
            .map(|minute| self.live(minute))
            .fold(GrantMinutes::default(), GrantMinutes::plus);
        let unmeasured = begun.into_iter().filter(|minute| minute + MINUTE > self.as_of(*minute));
        settled + unmeasured.map(worst).sum::<u128>() + self.at_liability(ahead)
    }

    /// Bytes promised in `[from, to)`. Each part of a minute is rounded down.
    fn promised_between(&self, from: i64, to: i64) -> u128 {
        let part = |minute: i64| {
            let millis = u128::try_from((to.min(minute + MINUTE) - from.max(minute)).max(0)).unwrap();
            self.promised(minute) * millis / 60_000
        };
        self.minutes().map(part).sum()
    }

    /// Takes a count as it was accepted. Sampling can have missed at most what was promised since the one before, unless the counted
    /// bytes already exceed that. Bytes that arrive late were missed too.
    fn take(&mut self, reading: Reading) {
        let nothing = Reading {
            as_of: reading.day.start(),
            granted: ByteCount::ZERO,
            other: ByteCount::ZERO,
            ..reading
        };
        let (before, known) = self.counts.get(&reading.day).copied().unwrap_or((nothing, 0));
        let sampled = |bytes: u128| (bytes * 100).div_ceil(u128::from(100 - SAMPLING));
        let known = known + sampled(before.other.minus(reading.other).get().into());
        let promised = known + self.promised_between(before.as_of.as_millis(), reading.as_of.as_millis());
        let granted = u128::from(reading.granted.get());
        let total = |reading: &Reading| reading.granted.plus(reading.other);
        let grown = reading.granted.minus(before.granted).min(total(&reading).minus(total(&before)));
        let at_most = if reading.as_of == before.as_of {
            (known + sampled(grown.get().into())).min(known.max(sampled(granted)))
        } else if granted > promised {
            sampled(granted)
        } else {
            sampled(granted).min(promised)
        };
        self.counts.insert(reading.day, (reading, at_most));
    }

    fn committed_next(&self) -> u128 {
        let end = BillingDay::new(1).unwrap().period_at(at(self.now)).end.as_millis();
        let last = self.grants.iter().map(|(_, until, _)| *until).max().unwrap_or(end);
        let minutes = (end..last.max(end)).step_by(usize::try_from(MINUTE).unwrap());
        self.at_liability(
            minutes.map(|minute| self.live(minute)).fold(GrantMinutes::default(), GrantMinutes::plus),
        )
    }
}

fn run(ops: &[Op], promises_cap_claims: bool) -> (Timeline, Model) {
    let mut model = Model::new(promises_cap_claims);
    let mut timeline = timeline_of(model.rates, START);
    for op in ops {
        apply(op, &mut timeline, &mut model);
    }
    (timeline, model)
}

fn apply(op: &Op, timeline: &mut Timeline, model: &mut Model) {
    let now = model.now;
    match *op {
        Op::Advance { millis } => {
            model.now += millis;
            timeline.advance(at(model.now));
        }
        Op::Start { basis } => {
            model.running.push((basis, now));
            timeline.change_clocks(basis, 0, 1);
        }
        Op::Stop { basis } => {
            if let Some(nth) = model.running.iter().position(|(of, _)| *of == basis) {
                let (_, from) = model.running.remove(nth);
                model.spans.push((basis, from, now));
                timeline.change_clocks(basis, 1, 0);
            }
        }
        Op::Bytes { basis, bytes, back } => {
            let from = (now - back).max(START);
            model.claims.push((basis, bytes, from, now));
            timeline.add_bytes(basis, ByteCount::new(bytes), at(from), at(now));
        }
        Op::Time { basis, back } => {
            let from = (now - back).max(START);
            model.spans.push((basis, from, now));
            timeline.change_time(basis, at(from), at(now), u64::saturating_add);
        }
        Op::Grant { ahead, life, rate } => {
            let (from, until) = (now + ahead, now + ahead + life);
            model.grants.push((from, until, rate));
            timeline.minutes.change_live(minutes(at(from), at(until)), at_rate(rate));
        }
        Op::Release { nth } => {
            if nth < model.grants.len() {
                let (from, until, rate) = model.grants.remove(nth);
                timeline.minutes.change_live(minutes(at(from), at(until)), at_rate(rate).negated());
            }
        }
        Op::TakeBack { nth } => {
            if nth < model.spans.len() {
                let (basis, from, to) = model.spans.remove(nth);
                timeline.change_time(basis, at(from), at(to), u64::saturating_sub);
            }
        }
        Op::Read { back, granted, other } => {
            let reading = reading(now - back, granted, other);
            if timeline.take_reading(&reading, true, ByteCount::ZERO) == ReadingOutcome::Taken {
                let DayCount { as_of, granted, other, .. } = timeline.minutes.days.get(reading.day);
                model.take(Reading { as_of, granted, other, ..reading });
                model.rates.liability = timeline.minutes.rates.liability;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn running_sums_equal_the_naive_model(ops in prop::collection::vec(op(), 1..40), caps in any::<bool>()) {
        let (timeline, model) = run(&ops, caps);
        prop_assert_eq!(u128::from(timeline.minutes.used().get()), model.used());
        prop_assert_eq!(u128::from(timeline.minutes.committed().get()), model.committed());
        prop_assert_eq!(u128::from(timeline.minutes.committed_next().get()), model.committed_next());
    }
}

#[test]
fn bytes_that_move_from_another_key_to_ours_bring_their_margin_along() {
    let read = |back, granted, other| Op::Read { back, granted, other };
    let ops = [read(746_180, 9_156_322_705, 51_597_222_220), read(0, 23_975_717_723, 36_777_827_203)];
    let (timeline, model) = run(&ops, true);
    assert_eq!(u128::from(timeline.minutes.committed().get()), model.committed());
}

proptest! {
    #[test]
    fn used_never_exceeds_committed(ops in prop::collection::vec(op(), 1..60), caps in any::<bool>()) {
        let (timeline, _) = run(&ops, caps);
        prop_assert!(timeline.minutes.used() <= timeline.minutes.committed());
    }

    #[test]
    fn usage_is_monotone_within_a_period(ops in prop::collection::vec(op(), 1..60)) {
        let mut timeline = timeline(START);
        let mut model = Model::new(false);
        for op in ops.iter().filter(|op| !matches!(op, Op::TakeBack { .. } | Op::Read { .. })) {
            let before = (timeline.minutes.period(), timeline.minutes.used());
            apply(op, &mut timeline, &mut model);
            if timeline.minutes.period() == before.0 {
                prop_assert!(timeline.minutes.used() >= before.1, "{op:?} lowered usage");
            }
        }
    }

    #[test]
    fn no_byte_is_lost_or_doubled_at_the_reset(bytes in 0u64..1 << 50, before in 0i64..MINUTE * 90, after in 0i64..MINUTE * 90) {
        const RESET: i64 = 1_738_368_000_000;
        let mut timeline = timeline(RESET - before);
        timeline.advance(at(RESET + after));
        timeline.add_bytes(Basis::Granted, ByteCount::new(bytes), at(RESET - before), at(RESET + after));
        let previous = previous(&timeline).map_or(0, ByteCount::get);
        prop_assert_eq!(previous + timeline.minutes.used().get(), bytes);
    }
}
