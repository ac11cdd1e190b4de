use crate::testing::prelude::*;
use crate::testing::stored_by;

use super::*;

/// 2025-01-15T12:00Z
const NOON: i64 = 1_736_942_400_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(NOON).plus_millis(millis)
}

fn setup(sources: &[IceSource]) -> Setup {
    let terms = |source: &IceSource| SourceTerms { is_read: true, ..SourceTerms::of_unconfigured(*source) };
    Setup { sources: sources.iter().map(terms).collect(), ..testing::setup(BudgetMode::Estimate) }
}

/// A source has counted these bytes of ours in the day of noon, or a day later.
fn count(books: &mut Books, source: IceSource, as_of: Timestamp, granted: u64) -> ReadingOutcome {
    let reading = Reading { day: Day::of(as_of), ..testing::reading(as_of, granted) };
    testing::take(books, source, reading)
}

#[test]
fn the_usage_of_a_removed_source_still_counts() {
    let both = setup(&[IceSource::Cloudflare, IceSource::Coturn]);
    let mut books = both.open(Some(Stored::default()), at(0));
    assert_eq!(count(&mut books, IceSource::Coturn, at(0), 5_000), ReadingOutcome::Taken);
    let stored = stored_by(&mut books);
    let again = setup(&[IceSource::Cloudflare]).open(Some(stored), at(1_000));
    assert_eq!(again.snapshot().figures.used.get(), 5_000);
}

#[test]
fn the_counts_of_another_period_are_not_restored() {
    let setup = setup(&[IceSource::Cloudflare]);
    let last_month = setup.terms.billing_day.period_at(Timestamp::from_millis(NOON - 31 * 86_400_000));
    let counts = PeriodCounts { issued: 7, reported: 5, connections: 9, ..PeriodCounts::default() };
    let stored_in = |period| {
        let head = Head { counts: (period, counts), now: at(0), ..Head::default() };
        Stored { head: Some(head), ..Stored::default() }
    };
    assert_eq!(setup.open(Some(stored_in(last_month)), at(0)).snapshot().counts, PeriodCounts::default());
    let this_month = setup.terms.billing_day.period_at(at(0));
    assert_eq!(setup.open(Some(stored_in(this_month)), at(0)).snapshot().counts, counts);
}

#[test]
fn a_grant_without_a_row_counts_until_its_slack_and_its_tail_have_passed() {
    let source = IceSource::Cloudflare;
    let mut books = setup(&[source]).open(Some(Stored::default()), at(0));
    let grant = Grant { id: GrantId::new([7; 16]), source, issued_at: at(0), expires_at: at(600_000) };
    books.open(Caller::Grant(grant), "c", None).unwrap();
    // Expiry and tail end with a minute, by any clock of the provider, so the slack reaches into the next one.
    let tail = source.expiry_tail() + source.clocks_differ_by();
    let without_slack = Minute::from_end(grant.expires_at.plus(tail));
    assert_eq!(books.grants().get(grant.id).unwrap().alive_until(), Some(without_slack.next()));
}

#[test]
fn a_token_of_a_grant_that_is_missing_shows_that_others_are_missing_too() {
    let source = IceSource::Cloudflare;
    let setup = setup(&[source]);
    let mut books = setup.open(Some(Stored::default()), at(0));
    let before = books.snapshot();
    assert!(before.bound_holds());
    let grant = Grant { id: GrantId::new([7; 16]), source, issued_at: at(0), expires_at: at(600_000) };
    assert!(!books.take_renewal(&grant));
    let snapshot = books.snapshot();
    assert!(!snapshot.bound_holds() && snapshot.lacks_grants());
    assert!(snapshot.figures.committed > before.figures.committed, "what it may relay is promised now");
    let stored = stored_by(&mut books);
    let mut again = setup.open(Some(stored), at(600_000));
    assert!(!again.snapshot().bound_holds());
    let longest = Duration::from_secs(2 * 86_400 + 7_200 + 120) + MINT_SLACK;
    again.advance(at(0).plus(longest).plus(Duration::from_secs(1)));
    assert!(again.snapshot().bound_holds());
}

/// A provider counts the whole period again. Nobody does that for what was counted here.
#[test]
fn what_nobody_counts_again_is_missing_in_a_restored_copy_until_the_period_ends() {
    for (source, is_read, is_missing) in [
        (IceSource::Cloudflare, true, false),
        (IceSource::Cloudflare, false, true),
        (IceSource::Coturn, true, true),
    ] {
        let mut setup = setup(&[source]);
        setup.sources[0].is_read = is_read;
        let stored = Stored { is_copy: true, head: Some(Head::default()), ..Stored::default() };
        let mut books = setup.open(Some(stored), at(0));
        let end = books.snapshot().figures.period.end;
        assert_eq!(books.snapshot().lacks_until == end, is_missing, "{source:?}, read: {is_read}");
        books.advance(end);
        assert!(!books.snapshot().lacks_grants());
    }
}

#[test]
fn a_jump_of_the_time_that_may_be_wrong_moves_the_end_of_unknown_grants() {
    let setup = setup(&[IceSource::Cloudflare]);
    let head = Some(Head { now: at(0), ..Head::default() });
    let stored = Stored { is_copy: true, head, ..Stored::default() };
    let mut books = setup.open(Some(stored), at(0));
    let until = books.snapshot().lacks_until;
    let jumped = Duration::from_secs(3_600);
    let now = at(0).plus(jumped);
    books.advance(Moment { may_be_wrong: true, jumped, ..now.into() });
    books.advance(until.plus(jumped.saturating_sub(Duration::from_secs(1))));
    assert!(!books.snapshot().bound_holds());
    books.advance(until.plus(jumped));
    assert!(books.snapshot().bound_holds());
}

#[test]
fn a_count_keeps_the_margin_that_it_was_taken_with() {
    let sampled = |sampling, sources: &[IceSource]| {
        let mut setup = setup(sources);
        setup.terms.mode = BudgetMode::Strict;
        setup.terms.rates.promises_cap_claims = true;
        setup.sources.iter_mut().for_each(|terms| terms.sampling = sampling);
        setup
    };
    let both = [IceSource::Cloudflare, IceSource::Coturn];
    let mut books = sampled(5, &both).open(Some(Stored::default()), at(600_000));
    let period = books.snapshot().figures.period;
    let (day, other) = (Day::of(at(0)), ByteCount::new(950));
    let reading = Reading { day, other, ..crate::testing::reading(at(0), 0) };
    assert_eq!(crate::testing::take(&mut books, IceSource::Cloudflare, reading), ReadingOutcome::Taken);
    let committed = books.snapshot().figures.committed;
    assert_eq!(committed, ByteCount::new(1_000));
    let stored = stored_by(&mut books);
    let removed = sampled(5, &both[1..]).open(Some(stored.clone()), at(601_000));
    assert_eq!(removed.snapshot().figures.committed, committed);
    let mut lowered = sampled(0, &both).open(Some(stored), at(601_000));
    assert_eq!(lowered.snapshot().figures.committed, committed);
    lowered.advance(period.end.plus(Duration::from_secs(3_600)));
    let period = lowered.snapshot().figures.period;
    let as_of = period.start.plus(Duration::from_secs(60));
    let reading = Reading { day: Day::of(as_of), as_of, ..reading };
    assert_eq!(crate::testing::take(&mut lowered, IceSource::Cloudflare, reading), ReadingOutcome::Taken);
    assert_eq!(lowered.snapshot().figures.committed, ByteCount::new(950), "of a new period");
}

#[test]
fn a_follower_continues_from_the_time_that_it_saw_except_on_the_same_boot() {
    let boot = |id| std::num::NonZeroU128::new(id);
    let secs = Duration::from_secs;
    let moment = SteadyTime::new(at(0), boot(1), secs(100)).read(at(0), secs(100));
    let mut books = setup(&[IceSource::Cloudflare]).open(Some(Stored::default()), moment);
    let stored = stored_by(&mut books);
    let followed = Some((at(0), secs(7)));
    for (own, since_boot, followed, now, may_lag) in [
        (2, 12, followed, at(5_000), false),
        (2, 12, None, at(0), true),
        (1, 103, followed, at(3_000), false),
    ] {
        let mut time = stored.time(at(0), boot(own), secs(since_boot), followed);
        let moment = time.read(at(0), secs(since_boot));
        assert_eq!((moment.now, moment.may_lag()), (now, may_lag), "boot {own}");
    }
}
