use std::time::Duration;

use super::*;
use crate::evidence::{Excesses, Reading, ReadingOutcome};
use crate::minutes::{Basis, ChangeKind};
use crate::testing;
use crate::timeline::{ProofRule, SeenRate};
use crate::units::{BitRate, Day, Minute, Spread};
use crate::verdict::Refusal;

const MINUTE: u64 = 60_000;
const A_MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_736_000_000_000).plus_millis(millis)
}

fn ledger(limit: u64) -> Budget {
    let terms = Terms { limit: ByteCount::new(limit), ..testing::terms() };
    let lane = |source: IceSource, tail| SourceTerms {
        owner: source.into(),
        tail: Duration::from_secs(tail),
        cut_tail: None,
        limit: None,
        sampling: 0,
        is_read: source == IceSource::Cloudflare,
        proof: ProofRule::Missing,
        counted_in: None,
    };
    let lanes = [lane(IceSource::Cloudflare, 7_200), lane(IceSource::Coturn, 0), lane(IceSource::Manual, 0)];
    Budget::open(terms, &lanes, at(0), PeriodCounts::default(), &BTreeMap::new())
}

/// Another process opens it.
fn reopened(ledger: &mut Budget) -> Budget {
    let stored = ledger.take_changes();
    let terms: Vec<_> = ledger.timelines.iter().map(|source| source.terms).collect();
    Budget::open(ledger.terms, &terms, ledger.now, ledger.counts, &stored)
}

fn bytes(source: IceSource, bytes: u64) -> UsageChange {
    let kind = ChangeKind::AddBytes(Spread::new(ByteCount::new(bytes), at(0), at(0)));
    UsageChange { owner: source.into(), basis: Basis::Granted, kind }
}

/// Reserves room for a credential.
fn reserve(ledger: &mut Budget, source: IceSource, life: Duration) -> Result<PromisedTime, Refusal> {
    let held = ledger.admit(ledger.request(source, life, Duration::ZERO, None))?.promise(ledger.now);
    ledger.replace_promise(None, Some((source.into(), held)));
    Ok(held)
}

fn count(minutes: u64, granted: u64, other: u64) -> Reading {
    let (granted, other) = (ByteCount::new(granted), ByteCount::new(other));
    let as_of = Minute::of(at(minutes * MINUTE)).start();
    Reading { day: Day::until(as_of), as_of, at: as_of, granted, other }
}

/// Takes two answers.
fn take(ledger: &mut Budget, source: IceSource, reading: Reading) -> ReadingOutcome {
    let [first, second] = testing::agreeing(reading);
    let _ = ledger.take_reading(source, &first);
    ledger.take_reading(source, &second)
}

#[test]
fn a_strict_budget_without_room_for_a_credential_refuses_although_the_sfu_needs_no_room() {
    let mut terms = ledger(100_000_000).terms;
    terms.mode = BudgetMode::Strict;
    let sources = [IceSource::Cloudflare, IceSource::Sfu].map(SourceTerms::of_unconfigured);
    let ledger = Budget::open(terms, &sources, at(0), PeriodCounts::default(), &BTreeMap::new());
    assert!(ledger.refusal(Duration::ZERO).is_some(), "a credential of Cloudflare has a tail of two hours");
}

#[test]
fn a_probe_is_not_what_passes_a_strict_limit_but_may_release_what_has_passed_it() {
    let mut ledger = ledger(0);
    ledger.terms.mode = BudgetMode::Strict;
    ledger.with(IceSource::Cloudflare.into(), |timeline| timeline.terms.proof = ProofRule::Probe);
    let promise = PromisedTime::new(Minute::of(at(0)), Minute::of(at(10 * MINUTE)), 100);
    ledger.replace_promise(None, Some((IceSource::Cloudflare.into(), promise)));
    ledger.advance(at(5 * MINUTE));
    assert_eq!(take(&mut ledger, IceSource::Cloudflare, count(2, 0, 0)), ReadingOutcome::Unproven);
    let committed = ledger.figures().committed;
    for (limit, is_made) in
        [(committed.get() - 1, true), (committed.get() + 6, false), (committed.get() + 7, true)]
    {
        ledger.terms.limit = ByteCount::new(limit);
        assert_eq!(ledger.needs_probe(IceSource::Cloudflare, ByteCount::new(7)), is_made, "{limit}");
    }
}

#[test]
fn calls_that_are_ended_at_the_limit_take_usage_no_further() {
    const MB: u64 = 1_000_000;
    let terms = Terms { limit: ByteCount::new(100 * MB), ..ledger(0).terms };
    let lanes = [IceSource::Relay, IceSource::Cloudflare].map(SourceTerms::of_unconfigured);
    let lanes = lanes.map(|lane| SourceTerms { tail: Duration::ZERO, ..lane });
    let mut ledger = Budget::open(terms, &lanes, at(0), PeriodCounts::default(), &BTreeMap::new());
    let worst = |ledger: &Budget| {
        (ledger.figures().overshoot_bound().get() / MB, ledger.overshoot(Minutes::committed).get() / MB)
    };
    // Eleven minutes of 15 MB each.
    reserve(&mut ledger, IceSource::Relay, 10 * A_MINUTE).unwrap();
    assert_eq!(worst(&ledger), (65, 0), "the relay ends its calls");
    reserve(&mut ledger, IceSource::Cloudflare, 10 * A_MINUTE).unwrap();
    // Two minutes more at each end.
    assert_eq!(worst(&ledger), (290, 225), "Cloudflare does not");
    ledger.charge(bytes(IceSource::Relay, 120 * MB));
    assert_eq!(worst(&ledger), (395, 345), "a page says that 20 MB have passed it, which ends no call");
}

#[test]
fn a_period_is_used_since_its_first_byte_or_grant() {
    const DAY: u64 = 1_440 * MINUTE;
    let mut ledger = ledger(1_000_000_000);
    ledger.advance(at(5 * DAY));
    assert_eq!(ledger.used_since(), ledger.period.start, "nothing is used");
    ledger.charge(bytes(IceSource::Manual, 500));
    assert_eq!(ledger.used_since(), ledger.period.start, "that costs nothing");
    reserve(&mut ledger, IceSource::Coturn, A_MINUTE).unwrap();
    assert_eq!(ledger.used_since(), Minute::of(at(5 * DAY)).start());
    ledger.advance(at(7 * DAY));
    assert_eq!(reopened(&mut ledger).used_since(), Minute::of(at(5 * DAY)).start());
    let (day, as_of) = (Day::of(at(3 * DAY)), at(3 * DAY));
    let reading = Reading { day, as_of, at: as_of, granted: ByteCount::new(5), other: ByteCount::ZERO };
    assert_eq!(take(&mut ledger, IceSource::Cloudflare, reading), ReadingOutcome::Taken);
    assert_eq!(ledger.used_since(), day.start(), "it was counted on another day");
    let empty = Reading { day: Day::of(at(DAY)), as_of: at(DAY), granted: ByteCount::ZERO, ..reading };
    assert_eq!(take(&mut ledger, IceSource::Cloudflare, empty), ReadingOutcome::Taken);
    assert_eq!(ledger.used_since(), day.start());
}

#[test]
fn the_first_use_is_the_next_one_once_the_first_was_taken_back() {
    let mut ledger = ledger(1_000_000_000);
    let mut promises = vec![];
    for minute in [10, 20, 30] {
        ledger.advance(at(minute * MINUTE));
        promises.push(reserve(&mut ledger, IceSource::Coturn, A_MINUTE).unwrap());
    }
    let mut firsts = vec![];
    for promise in promises {
        firsts.push(ledger.used_since());
        ledger.replace_promise(Some((IceSource::Coturn.into(), promise)), None);
    }
    assert_eq!(firsts, [10, 20, 30].map(|minute| Minute::of(at(minute * MINUTE)).start()));
    assert_eq!(ledger.used_since(), ledger.period.start);
}

#[test]
fn an_unmetered_source_is_neither_charged_nor_refused() {
    let mut ledger = ledger(0);
    ledger.charge(bytes(IceSource::Manual, 500));
    assert!(reserve(&mut ledger, IceSource::Manual, A_MINUTE).is_ok());
    assert_eq!(ledger.figures().used, ByteCount::ZERO);
    assert_eq!(ledger.figures().committed, ByteCount::ZERO);
    assert_eq!(ledger.live_grants(), 1);
}

#[test]
fn each_source_has_its_own_reading_and_the_status_shows_their_sum() {
    let mut ledger = ledger(10_000);
    ledger.charge(bytes(IceSource::Coturn, 7));
    ledger.advance(at(60 * MINUTE));
    assert_eq!(ledger.measured().as_of, None);
    assert_eq!(take(&mut ledger, IceSource::Cloudflare, count(50, 1_000, 0)), ReadingOutcome::Taken);
    assert_eq!(ledger.figures().used, ByteCount::new(1_007));
    assert_eq!(take(&mut ledger, IceSource::Coturn, count(40, 3, 0)), ReadingOutcome::Taken);
    assert_eq!(ledger.figures().used, ByteCount::new(1_003));
    let measured = ledger.measured();
    assert_eq!(measured.bytes, ByteCount::new(1_003));
    // The sum covers the time up to the earlier reading.
    assert_eq!(measured.as_of, Some(count(40, 0, 0).as_of));
}

#[test]
fn a_source_without_a_recent_reading_is_stale_and_a_lower_count_does_not_help() {
    let mut ledger = ledger(10_000);
    ledger.advance(at(15 * MINUTE));
    assert_eq!(ledger.measured().unread_for, 15 * A_MINUTE);
    assert_eq!(take(&mut ledger, IceSource::Cloudflare, count(5, 1_000, 0)), ReadingOutcome::Taken);
    assert_eq!(ledger.measured().unread_for, Duration::ZERO);
    ledger.advance(at(20 * MINUTE));
    assert_eq!(take(&mut ledger, IceSource::Cloudflare, count(10, 999, 0)), ReadingOutcome::Fell);
    assert_eq!(ledger.measured().unread_for, 5 * A_MINUTE);
    assert_eq!(ledger.figures().used, ByteCount::new(1_000));
    assert_eq!(take(&mut ledger, IceSource::Cloudflare, count(10, 1_000, 0)), ReadingOutcome::Taken);
    assert_eq!(ledger.measured().unread_for, Duration::ZERO, "the day is counted in full again");
}

#[test]
fn a_reading_that_ends_days_ago_is_stale() {
    let mut ledger = ledger(10_000);
    ledger.advance(at(60 * MINUTE));
    assert_eq!(take(&mut ledger, IceSource::Cloudflare, count(50, 1_000, 0)), ReadingOutcome::Taken);
    ledger.advance(at(80 * MINUTE));
    // The wall clock was set back by hours or by a month.
    assert_eq!(take(&mut ledger, IceSource::Cloudflare, count(0, 900, 0)), ReadingOutcome::Older);
    ledger.advance(at(200 * MINUTE));
    assert_eq!(take(&mut ledger, IceSource::Cloudflare, count(10, 900, 0)), ReadingOutcome::Older);
    let of_long_ago = Reading { day: Day::new(0), as_of: Day::new(0).end(), ..count(0, 0, 0) };
    let _ = take(&mut ledger, IceSource::Cloudflare, of_long_ago);
    assert!(ledger.measured().is_stale(), "{:?}", ledger.measured().unread_for);
}

#[test]
fn the_observed_rate_is_the_highest_of_the_sources() {
    let mut ledger = ledger(u64::MAX);
    for (source, grants) in [(IceSource::Cloudflare, 9), (IceSource::Coturn, 1)] {
        for _ in 0..grants {
            reserve(&mut ledger, source, HOUR).unwrap();
        }
    }
    ledger.advance(at(20 * MINUTE));
    // Nine grants at 1 Mbps and one at 2.
    for (minute, cloudflare, coturn) in [(0, 0, 0), (10, 9 * 75_000_000, 150_000_000)] {
        let _ = take(&mut ledger, IceSource::Cloudflare, count(minute, cloudflare, 0));
        let _ = take(&mut ledger, IceSource::Coturn, count(minute, coturn, 0));
    }
    assert_eq!(ledger.measured().observed, Some(BitRate::new(2_000_000)));
    // The bound of each source rests on its own rate.
    let (rate, source) = (BitRate::new(20_000_000), IceSource::Coturn);
    let of_chains = Excess { bytes: ByteCount::new(5), rate, ..Excess::default() };
    ledger.note_excess(source, Excesses { of_chains, ..Excesses::default() });
    assert!(!ledger.measured().agrees());
    ledger.raise_rate(source, rate, Excess::default());
    assert_eq!(ledger.measured().raised, Some(SeenRate { rate, source }));
    assert!(ledger.measured().agrees());
    assert_eq!(ledger.bytes_per_minute(IceSource::Cloudflare), 15_000_000);
    assert_eq!(u128::from(ledger.bytes_per_minute(source)), rate.over_millis(60_000));
}
