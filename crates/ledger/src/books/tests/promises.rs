//! A promise keeps what was assumed when it was given: later settings make it larger, never smaller, and whatever ends it gives back
//! exactly what it holds.

use super::*;
use crate::books::commit::{Hold, Written};
use crate::source::MINT_SLACK;

const CLOUDFLARE: IceSource = IceSource::Cloudflare;

/// A broker in strict mode with a limit of 100 GB, and its disk.
struct World {
    setup: Setup,
    books: Books,
    disk: Stored,
}

impl World {
    fn new(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = setup(BudgetMode::Strict);
        setup.terms.limit = ByteCount::new(100_000_000_000);
        change(&mut setup);
        let disk = Stored::default();
        Self { books: setup.open(Some(disk.clone()), at(0)), setup, disk }
    }

    fn reserve(&mut self, life: u64, renews: Option<GrantId>) -> Hold {
        let source = self.setup.default_source;
        let (life, requester) = (Duration::from_secs(life), Requester { renews, ..Requester::default() });
        self.books.reserve(source, life, MINT_SLACK, &requester).unwrap()
    }

    fn commit(&mut self, hold: Hold, id: u8, renews: Option<GrantId>, written: Written) -> GrantId {
        let (source, issued_at) = (self.setup.default_source, self.books.now());
        let expires_at = issued_at.plus(hold.life());
        let grant = Grant { id: GrantId::new([id; 16]), source, issued_at, expires_at };
        let commit =
            self.books.commit(hold, &grant, None, Requester { renews, ..Requester::default() }).unwrap();
        self.disk.apply(self.books.take_batch());
        let _ = self.books.note_written(&commit, written);
        grant.id
    }

    fn mint(&mut self, id: u8, life: u64, renews: Option<GrantId>) -> GrantId {
        let hold = self.reserve(life, renews);
        self.commit(hold, id, renews, Written::Yes)
    }

    /// The process ends, and another one opens the books with these settings.
    fn restart(&mut self, millis: u64, change: impl FnOnce(&mut Setup)) {
        self.disk.apply(self.books.take_batch());
        change(&mut self.setup);
        self.books = self.setup.open(Some(self.disk.clone()), at(millis));
    }

    fn promised(&self) -> u64 {
        let figures = self.books.snapshot().figures;
        figures.committed.plus(figures.committed_next).get()
    }
}

fn assume(mbps: u64) -> impl FnOnce(&mut Setup) {
    move |setup| setup.terms.rates.liability = BitRate::new(mbps * 1_000_000)
}

fn tail(seconds: u64) -> impl FnOnce(&mut Setup) {
    move |setup| setup.sources[0].tail = Duration::from_secs(seconds)
}

#[test]
fn a_lower_assumed_rate_gives_no_room_back() {
    let mut world = World::new(assume(8));
    world.mint(1, 3_600, None);
    let before = world.promised();
    world.restart(1_000, assume(2));
    assert_eq!(world.promised(), before);
    world.mint(2, 3_600, None);
    assert!(world.promised() < before + before / 3, "new grants are promised the lower rate");
    world.restart(2_000, assume(8));
    assert_eq!(world.promised(), 2 * before, "a higher one counts for all");
}

#[test]
fn a_longer_tail_counts_for_grants_whose_shorter_one_is_over() {
    let mut world = World::new(tail(600));
    for id in 1..=3 {
        world.mint(id, 300, None);
    }
    let hour = 3_600_000;
    world.books.advance(at(hour));
    assert!(world.books.tidy());
    let before = world.promised();
    assert_eq!(world.books.grants().count(), 0);
    world.restart(hour, tail(7_200));
    // Each relays for 110 minutes more than the 15 or 16 that were promised.
    let added = (world.promised() - before) / 15_000_000;
    assert_eq!(added, 3 * 110);
    assert!(world.books.snapshot().bound_holds());
    world.restart(hour, |_| {});
    assert_eq!((world.promised() - before) / 15_000_000, added, "once");
}

#[test]
fn no_bound_holds_while_grants_that_have_left_the_table_may_have_a_longer_tail() {
    let mut world = World::new(|setup| {
        tail(600)(setup);
        setup.bounds.spenders.ended_max = 0;
    });
    world.mint(1, 300, None);
    let hour = 3_600_000;
    world.books.advance(at(hour));
    assert!(world.books.tidy());
    world.restart(hour, |_| {});
    assert!(world.books.snapshot().bound_holds(), "the tail is as long as before");
    world.restart(hour, tail(7_200));
    assert!(!world.books.snapshot().bound_holds());
    world.restart(hour, tail(600));
    let end = world.books.snapshot().lacks_until;
    assert_eq!(end, Minute::from_end(at(300_000 + 7_200_000).plus(MINT_SLACK)).start());
    world.books.advance(end);
    assert!(world.books.snapshot().bound_holds());
}

#[test]
fn an_undo_gives_back_what_the_promise_has_become() {
    let mut world = World::new(tail(0));
    let nothing = world.promised();
    let hold = world.reserve(300, None);
    let (source, issued_at) = (CLOUDFLARE, at(0));
    let grant = Grant { id: GrantId::new([1; 16]), source, issued_at, expires_at: at(300_000) };
    let commit = world.books.commit(hold, &grant, None, Requester::default()).unwrap();
    world.books.raise_tails(CLOUDFLARE, Duration::from_secs(7_200), at(0));
    assert!(world.promised() > 120 * 15_000_000);
    let _ = world.books.note_written(&commit, Written::No);
    assert_eq!(world.promised(), nothing);
}

#[test]
fn short_renewals_in_a_chain_use_the_minutes_of_the_first_grant() {
    let mut world = World::new(tail(0));
    let first = world.mint(1, 7_200, None);
    let before = world.promised();
    let second = world.mint(2, 300, Some(first));
    world.books.advance(at(240_000));
    world.mint(3, 300, Some(second));
    assert!(world.promised() <= before, "the first promise covers all of them");
}

#[test]
fn a_renewal_at_another_source_reserves_all_its_minutes() {
    let mut world = World::new(|setup| {
        tail(0)(setup);
        setup.sources.push(SourceTerms { source: IceSource::Relay, ..setup.sources[0] });
    });
    let first = world.mint(1, 7_200, None);
    let before = world.promised();
    world.setup.default_source = IceSource::Relay;
    world.mint(2, 300, Some(first));
    assert_eq!(world.promised() - before, 6 * 15_000_000, "the two are counted apart");
}

#[test]
fn the_minutes_of_a_renewal_follow_those_of_the_grant_that_it_renews() {
    let mut world = World::new(tail(0));
    let first = world.mint(1, 600, None);
    let until = world.books.grants().get(first).unwrap().alive_until().unwrap();
    world.books.advance(at(540_000));
    let hold = world.reserve(600, Some(first));
    assert_eq!(hold.promised().reserved_from, until);
    world.books.advance(until.next().start());
    assert_eq!(world.reserve(600, Some(first)).promised().reserved_from, until.next(), "it is over");
}

/// What is promised because of a longer tail also counts for the time that is counted, on which the next count builds.
#[test]
fn a_longer_tail_does_not_hide_bytes_that_flow_after_a_restart() {
    let mut world = World::new(tail(600));
    for id in 1..=3 {
        world.mint(id, 300, None);
    }
    let count = |world: &mut World, millis, granted| {
        world.books.advance(at(millis));
        let (day, as_of) = (Day::of(at(millis)), at(millis));
        let reading = Reading { day, as_of, granted: ByteCount::new(granted), other: ByteCount::ZERO };
        let outcome = world.books.ledger_mut().take_reading(CLOUDFLARE, &reading);
        assert_eq!(outcome, ReadingOutcome::Taken);
        world.books.snapshot().measured.agrees()
    };
    let hour = 3_600_000;
    assert!(count(&mut world, hour, 0));
    world.restart(hour, tail(7_200));
    // Three grants relay 225 MB in five minutes.
    assert!(!count(&mut world, hour + 300_000, 1_500_000_000));
}
