//! Tests of a copy whose age is not known when it is opened, and of a new ledger whose keys are not new.

use std::num::NonZeroU128;

use crate::testing::prelude::*;

use super::*;

const HOUR: u64 = 3_600;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// In the middle of a period, at a whole minute.
fn at(seconds: u64) -> Timestamp {
    // 2025-01-15T12:00Z
    Timestamp::from_millis(1_736_942_400_000).plus(secs(seconds))
}

/// How far the clock of the provider may differ from ours.
const CLOCKS: Duration = secs(120);

/// The longest life, with what a mint may take, the tail, and what the clocks may differ by.
fn longest() -> Duration {
    LIFE_MAX + MINT_SLACK + IceSource::Cloudflare.expiry_tail() + CLOCKS
}

fn setup() -> Setup {
    testing::setup(BudgetMode::Estimate)
}

/// What a ledger stored on the first boot, whose time Cloudflare's clock had confirmed.
fn stored(is_copy: bool) -> Stored {
    let mut time = SteadyTime::new(at(0), NonZeroU128::new(1), secs(0));
    time.set_reference(at(0), secs(0));
    let Moment { mark, .. } = time.read(at(0), secs(0));
    let head = Head { now: at(0), standing: Standing { mark, ..Standing::default() }, ..Head::default() };
    Stored { is_copy, head: Some(head), ..Stored::default() }
}

#[test]
fn a_ledger_with_fewer_grants_than_its_head_counts_lacks_grants() {
    let mut stored = stored(false);
    let open = |stored: &Stored| setup().open(Some(stored.clone()), at(60)).snapshot().bound_holds();
    assert!(open(&stored));
    stored.head.as_mut().unwrap().grants = 1;
    assert!(!open(&stored));
    let grant =
        Grant { id: GrantId::new([1; 16]), source: IceSource::Coturn, issued_at: at(0), expires_at: at(0) };
    stored.grants.insert(grant.id, GrantRow::new(&grant, None, None));
    assert!(open(&stored));
}

/// The machine on its second boot, with a wall clock that is right.
struct Machine {
    time: SteadyTime,
    /// How long after the last write it has started.
    off: u64,
}

impl Machine {
    fn started(stored: &Stored, off: u64) -> Self {
        Self { time: stored.time(at(off), NonZeroU128::new(2), secs(0), None), off }
    }

    fn moment(&mut self, seconds: u64) -> Moment {
        self.time.read(at(self.off + seconds), secs(seconds))
    }

    fn hear(&mut self, seconds: u64) {
        self.time.set_reference(at(self.off + seconds), secs(seconds));
    }
}

/// The bound holds from this instant on, and not before.
#[track_caller]
fn holds_from(books: &mut Books, then: Timestamp) {
    let before = Timestamp::from_millis(then.as_millis() - 1);
    books.advance(before);
    assert!(!books.snapshot().bound_holds(), "at {before}");
    books.advance(then);
    assert!(books.snapshot().bound_holds(), "at {then}");
}

#[test]
fn a_crash_before_the_time_is_known_does_not_forget_that_the_copy_was_just_opened() {
    let mut disk = stored(true);
    let mut machine = Machine::started(&disk, 30 * HOUR);
    let mut books = setup().open(Some(disk.clone()), machine.moment(0));
    disk.apply(books.take_batch());
    machine.time = disk.time(at(30 * HOUR + 10), NonZeroU128::new(2), secs(10), None);
    let mut books = setup().open(Some(disk), machine.moment(10));
    machine.hear(20);
    books.advance(machine.moment(20));
    holds_from(&mut books, at(30 * HOUR + 20).plus(longest()));
}

#[test]
fn once_the_time_is_known_a_later_pause_moves_nothing() {
    let mut stored = stored(true);
    let mut machine = Machine::started(&stored, 0);
    let mut books = setup().open(Some(stored.clone()), machine.moment(0));
    machine.hear(1);
    books.advance(machine.moment(1));
    stored.apply(books.take_batch());
    // The machine is off for five hours.
    let mut time = stored.time(at(5 * HOUR), NonZeroU128::new(3), secs(0), None);
    let mut books = setup().open(Some(stored), time.read(at(5 * HOUR), secs(0)));
    time.set_reference(at(5 * HOUR), secs(0));
    books.advance(time.read(at(5 * HOUR), secs(0)));
    holds_from(&mut books, at(1).plus(longest()));
}

/// A plain copy of the file has no mark.
#[test]
fn a_lack_that_a_token_shows_while_the_time_is_in_doubt_is_dated_once_the_time_is_known() {
    let stored = stored(false);
    let mut machine = Machine::started(&stored, 30 * HOUR);
    let mut books = setup().open(Some(stored), machine.moment(0));
    let source = IceSource::Cloudflare;
    let expires_at = at(40 * HOUR);
    let grant = Grant { id: GrantId::new([7; 16]), source, issued_at: at(20 * HOUR), expires_at };
    books.open(Caller::Grant(grant), "c", None).unwrap();
    machine.hear(1);
    books.advance(machine.moment(1));
    holds_from(&mut books, at(30 * HOUR + 1).plus(longest()));
}

fn new_ledger() -> Books {
    setup().open(None, at(0))
}

#[test]
fn a_new_ledger_whose_keys_have_relayed_lacks_grants_until_the_longest_of_them_has_ended() {
    let mut books = new_ledger();
    assert!(books.snapshot().bound_holds(), "nobody knows better");
    let (from, until) = books.time_before().unwrap();
    assert_eq!((until, at(0).since(from) >= longest()), (at(0).minus(CLOCKS), true));
    books.advance(at(600));
    books.take_count_before(ByteCount::new(1), false);
    assert_eq!(books.snapshot().lack_cause, LackCause::New);
    assert_eq!(books.time_before(), None, "nothing more has to be known");
    let mut again = setup().open(Some(testing::stored_by(&mut books)), at(700));
    assert_eq!((again.snapshot().lack_cause, again.time_before()), (LackCause::New, None));
    holds_from(&mut again, at(0).plus(longest()));
}

#[test]
fn a_new_ledger_asks_for_bytes_from_before_it_began_until_none_can_come() {
    let mut books = new_ledger();
    books.take_count_before(ByteCount::ZERO, false);
    assert!(books.time_before().is_some());
    let mut again = setup().open(Some(testing::stored_by(&mut books)), at(60));
    assert_eq!(again.time_before(), books.time_before(), "also after a restart");
    again.take_count_before(ByteCount::ZERO, true);
    assert_eq!(again.time_before(), None);
    again.take_count_before(ByteCount::new(1), false);
    assert!(again.snapshot().bound_holds(), "nobody asked");
    books.advance(at(0).plus(longest()));
    assert_eq!(books.time_before(), None, "every credential of before has ended");
}

#[test]
fn a_ledger_that_goes_on_does_not_ask_for_the_time_before_its_start() {
    assert_eq!(setup().open(Some(stored(false)), at(0)).time_before(), None);
}

#[test]
fn a_restored_copy_takes_no_count_of_the_time_before_a_new_ledger() {
    let mut books = setup().open(Some(stored(true)), at(0));
    let Snapshot { lack_cause, lacks_until, .. } = books.snapshot();
    assert_eq!((lack_cause, lacks_until), (LackCause::Restored, at(0).plus(longest())));
    books.take_count_before(ByteCount::new(1), true);
    assert_eq!(books.snapshot().lacks_until, lacks_until);
}

#[test]
fn a_new_ledger_that_is_restored_has_lost_grants() {
    let mut books = new_ledger();
    books.take_count_before(ByteCount::new(1), true);
    assert_eq!(books.snapshot().lack_cause, LackCause::New);
    let copy = Stored { is_copy: true, ..testing::stored_by(&mut books) };
    let mut restored = setup().open(Some(copy), at(60));
    assert_eq!(restored.snapshot().lack_cause, LackCause::Restored);
    holds_from(&mut restored, at(60).plus(longest()));
}

/// The count of one provider says nothing of what another source relayed.
#[test]
fn one_source_that_nobody_counts_again_extends_the_lack_to_the_reset_after_the_longest_credential() {
    let mut setup = setup();
    setup.sources.push(SourceTerms { is_read: true, ..SourceTerms::of_unconfigured(IceSource::Coturn) });
    let reset = setup.terms.billing_day.period_at(at(0)).end;
    let next_reset = setup.terms.billing_day.period_at(reset).end;
    let last = reset.minus(longest());
    for (opened, until) in
        [(at(0), reset), (last.minus(secs(1)), reset), (last, next_reset), (reset.minus(secs(1)), next_reset)]
    {
        let mut books = setup.open(Some(stored(true)), opened);
        holds_from(&mut books, until);
    }
}

/// It does not know which credentials were live, so a provider that counts nothing must not release what it lacks.
#[test]
fn a_copy_takes_no_count_without_bytes_of_the_time_of_its_lack_until_bytes_or_a_probe_are_shown() {
    let mut setup = setup();
    setup.sources[0].proof = ProofRule::Probe;
    let owner = setup.sources[0].owner;
    let count = |books: &mut Books, until: Timestamp, bytes| {
        books.advance(until.plus(secs(600)));
        crate::testing::take(books, owner, crate::testing::reading(until, bytes))
    };
    for shown_by_bytes in [false, true] {
        let mut books = setup.open(Some(stored(false)), at(0));
        assert_eq!(count(&mut books, at(60), 0), ReadingOutcome::Taken, "no copy");
        let mut disk = Stored { is_copy: true, ..testing::stored_by(&mut books) };
        let mut books = setup.open(Some(disk.clone()), at(700));
        disk.apply(books.take_batch());
        let mut books = setup.open(Some(disk), at(760));
        assert_eq!(count(&mut books, at(60), 0), ReadingOutcome::Taken, "it has this already");
        let ended = at(700).plus(longest());
        for until in [at(120), at(4_000), Day::of(ended).start()] {
            assert_eq!(count(&mut books, until, 0), ReadingOutcome::Unproven);
        }
        assert!(books.budget().needs_probe(owner, ByteCount::ZERO));
        books.advance(ended);
        assert!(!books.snapshot().lacks_grants() && !books.snapshot().bound_holds());
        let today = ended.plus(secs(600));
        if !shown_by_bytes {
            books.note_probe(owner, Minute::of(ended));
            books.show_probe(owner, Minute::of(ended));
        }
        assert_eq!(count(&mut books, today, u64::from(shown_by_bytes)), ReadingOutcome::Taken);
        assert!(books.snapshot().bound_holds());
        let later = Day::of(ended).end().plus(secs(600));
        assert_eq!(count(&mut books, later, 0), ReadingOutcome::Taken, "nothing is lacking any more");
    }
}
