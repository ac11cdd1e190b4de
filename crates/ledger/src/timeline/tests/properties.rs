//! What holds of the timeline after any operations.

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

/// What later operations refer to.
struct World {
    now: i64,
    running: Vec<(Basis, i64)>,
    spans: Vec<(Basis, i64, i64)>,
    /// From, until, and the rate in parts of the liability.
    grants: Vec<(i64, i64, u64)>,
}

impl World {
    fn new() -> Self {
        Self { now: START, running: vec![], spans: vec![], grants: vec![] }
    }
}

fn apply(op: &Op, timeline: &mut Timeline, world: &mut World) {
    let now = world.now;
    match *op {
        Op::Advance { millis } => {
            world.now += millis;
            timeline.advance(at(world.now));
        }
        Op::Start { basis } => {
            world.running.push((basis, now));
            timeline.change_clocks(basis, 0, 1);
        }
        Op::Stop { basis } => {
            if let Some(nth) = world.running.iter().position(|(of, _)| *of == basis) {
                let (_, from) = world.running.remove(nth);
                world.spans.push((basis, from, now));
                timeline.change_clocks(basis, 1, 0);
            }
        }
        Op::Bytes { basis, bytes, back } => {
            let from = (now - back).max(START);
            timeline.add_bytes(basis, ByteCount::new(bytes), at(from), at(now));
        }
        Op::Time { basis, back } => {
            let from = (now - back).max(START);
            world.spans.push((basis, from, now));
            timeline.change_time(basis, at(from), at(now), u64::saturating_add);
        }
        Op::Grant { ahead, life, rate } => {
            let (from, until) = (now + ahead, now + ahead + life);
            world.grants.push((from, until, rate));
            timeline.minutes.change_live(minutes(at(from), at(until)), at_rate(rate));
        }
        Op::Release { nth } => {
            if nth < world.grants.len() {
                let (from, until, rate) = world.grants.remove(nth);
                timeline.minutes.change_live(minutes(at(from), at(until)), at_rate(rate).negated());
            }
        }
        Op::TakeBack { nth } => {
            if nth < world.spans.len() {
                let (basis, from, to) = world.spans.remove(nth);
                timeline.change_time(basis, at(from), at(to), u64::saturating_sub);
            }
        }
        Op::Read { back, granted, other } => {
            let _ = count(timeline, now - back, granted, other);
        }
    }
}

proptest! {
    #[test]
    fn used_never_exceeds_committed(ops in prop::collection::vec(op(), 1..60), caps in any::<bool>()) {
        let (mut timeline, mut world) = (timeline_of(rates(caps), START), World::new());
        for op in &ops {
            apply(op, &mut timeline, &mut world);
        }
        prop_assert!(timeline.minutes.used() <= timeline.minutes.committed());
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace(
        ops in prop::collection::vec(op(), 1..40), more in prop::collection::vec(op(), 1..20), caps in any::<bool>(),
    ) {
        let (mut timeline, mut world) = (timeline_of(rates(caps), START), World::new());
        for op in &ops {
            apply(op, &mut timeline, &mut world);
        }
        let figures = |timeline: &Timeline| {
            (timeline.minutes.used(), timeline.minutes.committed(), timeline.minutes.committed_next())
        };
        let (before, grants, spans) = (figures(&timeline), world.grants.len(), world.spans.len());
        for op in more.iter().filter(|op| matches!(op, Op::Time { .. } | Op::Grant { .. })) {
            apply(op, &mut timeline, &mut world);
        }
        while world.grants.len() > grants {
            apply(&Op::Release { nth: grants }, &mut timeline, &mut world);
        }
        while world.spans.len() > spans {
            apply(&Op::TakeBack { nth: spans }, &mut timeline, &mut world);
        }
        prop_assert_eq!(figures(&timeline), before);
    }

    #[test]
    fn usage_is_monotone_within_a_period(ops in prop::collection::vec(op(), 1..60)) {
        let (mut timeline, mut world) = (timeline(START), World::new());
        for op in ops.iter().filter(|op| !matches!(op, Op::TakeBack { .. } | Op::Read { .. })) {
            let before = (timeline.minutes.period(), timeline.minutes.used());
            apply(op, &mut timeline, &mut world);
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
