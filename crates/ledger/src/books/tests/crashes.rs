//! Crashes of the process that relays: what it carried since the last write of its count is in no reading.

use super::*;
use crate::books::commit::Written;
use crate::reading::Carried;
use crate::source::{MINT_SLACK, UNWRITTEN_MAX};
use crate::units::clock::Moment;

/// Bytes in a second of one grant at the assumed rate.
const SECOND: u64 = 250_000;
const GRANTS: u64 = 20;

fn setup() -> Setup {
    let mut setup = super::setup(BudgetMode::Strict);
    setup.terms.limit = ByteCount::new(400_000_000_000);
    setup.sources[0] = SourceTerms {
        source: IceSource::Relay,
        tail: Duration::ZERO,
        cut_tail: None,
        sampling: 0,
        is_read: true,
        is_probed: false,
    };
    setup
}

fn mint(books: &mut Books, disk: &mut Stored) {
    for n in 0..GRANTS {
        let hold = books
            .reserve(IceSource::Relay, Duration::from_secs(3_600), MINT_SLACK, &Requester::default())
            .unwrap();
        let id = GrantId::new([u8::try_from(n).unwrap(); 16]);
        let (issued_at, expires_at) = (books.now(), books.now().plus(hold.life()));
        let grant = Grant { id, source: IceSource::Relay, issued_at, expires_at };
        let commit = books.commit(hold, &grant, None, Requester::default()).unwrap();
        disk.apply(books.take_batch());
        books.note_written(&commit, Written::Yes).unwrap();
    }
}

/// The relay says that it has carried so many bytes in all.
fn read(books: &mut Books, granted: u64) {
    let figures = books.snapshot().figures;
    let granted = ByteCount::new(granted).minus(figures.used);
    books
        .ledger_mut()
        .carry(IceSource::Relay, &Carried { as_of: figures.now, granted, ..Carried::default() });
}

#[test]
fn a_relay_that_crashes_in_a_loop_hides_nothing() {
    let (setup, mut disk) = (setup(), Stored::default());
    let mut books = setup.open(Some(disk.clone()), at(0));
    mint(&mut books, &mut disk);
    let committed = books.snapshot().figures.committed;
    let mut relayed = 0;
    for second in (0..600).step_by(3) {
        // Its count is written, it relays for two seconds more, and the next process begins after another second.
        books.advance(at(second * 1_000));
        let counted = books.snapshot().figures.used.get();
        assert!(counted >= relayed, "second {second}: {counted} of {relayed}");
        read(&mut books, counted);
        disk.apply(books.take_batch());
        relayed += 2 * SECOND * GRANTS;
        books = setup.open(Some(disk.clone()), at((second + 3) * 1_000));
    }
    let figures = books.snapshot().figures;
    assert!(figures.used.get() >= relayed && figures.committed <= committed, "{figures:?}");
    assert!(books.snapshot().bound_holds());
}

#[test]
fn only_the_time_in_which_a_relay_can_have_run_is_counted_and_an_orderly_end_costs_nothing() {
    let (setup, mut disk) = (setup(), Stored::default());
    let mut books = setup.open(Some(disk.clone()), at(0));
    mint(&mut books, &mut disk);
    books.advance(at(60_000));
    read(&mut books, 7);
    disk.apply(books.take_batch());
    let again = setup.open(Some(disk.clone()), at(600_000));
    let lost = UNWRITTEN_MAX.as_secs() * SECOND * GRANTS;
    assert_eq!(again.snapshot().figures.used.get(), 7 + lost);
    books.finish();
    disk.apply(books.take_batch());
    let mut again = setup.open(Some(disk.clone()), at(600_000));
    assert_eq!(again.snapshot().figures.used.get(), 7);
    disk.apply(again.take_batch());
    let again = setup.open(Some(disk), at(660_000));
    assert!(again.snapshot().figures.used.get() > 7, "the second process has not ended in order");
}

#[test]
fn while_a_jump_of_the_time_is_in_doubt_the_count_waits_and_an_orderly_end_does_not_lose_it() {
    let (setup, mut disk) = (setup(), Stored::default());
    let mut books = setup.open(Some(disk.clone()), at(0));
    mint(&mut books, &mut disk);
    books.advance(Moment { wall: at(7_200_000), in_doubt: true, ..at(60_000).into() });
    assert!(!books.may_count());
    books.finish();
    disk.apply(books.take_batch());
    let again = setup.open(Some(disk), at(60_000));
    assert_eq!(again.snapshot().figures.used.get(), 60 * SECOND * GRANTS);
    assert!(again.may_count());
}

#[test]
fn a_process_without_a_relay_loses_no_count() {
    let (with_relay, mut disk) = (setup(), Stored::default());
    let mut books = with_relay.open(Some(disk.clone()), at(0));
    mint(&mut books, &mut disk);
    books.finish();
    disk.apply(books.take_batch());
    let mut without = setup();
    (without.sources[0].source, without.default_source) = (IceSource::Cloudflare, IceSource::Cloudflare);
    disk.apply(without.open(Some(disk.clone()), at(60_000)).take_batch());
    let again = with_relay.open(Some(disk), at(120_000));
    assert_eq!(again.snapshot().figures.used, ByteCount::ZERO);
}
