//! Commits: what is written with a grant, what is undone, and what a grant holds.

use super::*;
use crate::books::commit::{Hold, NotAdmitted, NotRecorded, Written};
use crate::spender::{Spender, User};
use crate::spenders::key::SpenderKind;

/// Room for a credential of five minutes.
fn held(books: &mut Books) -> Hold {
    let life = Duration::from_secs(300);
    books.reserve(IceSource::Cloudflare, life, Duration::ZERO, &Requester::default()).unwrap()
}

#[test]
fn a_grant_is_in_the_same_batch_as_the_reading_that_made_room_for_it() {
    let mut setup = setup(BudgetMode::Strict);
    setup.terms.limit = ByteCount::new(100_000_000_000);
    let mut books = setup.open(Some(Stored::default()), at(0));
    let used = ByteCount::new(1_000);
    let reading = Reading { day: Day::of(at(0)), as_of: at(0), granted: used, other: ByteCount::ZERO };
    assert_eq!(books.ledger_mut().take_reading(IceSource::Cloudflare, &reading), ReadingOutcome::Taken);
    let hold = held(&mut books);
    let grant = minted(at(0), 300);
    let _ = books.commit(hold, &grant, Some("user"), Requester::default()).unwrap();
    let mut stored = Stored::default();
    stored.apply(books.take_batch());
    assert!(stored.grants.contains_key(&grant.id));
    let rows = &stored.sources[&IceSource::Cloudflare];
    assert_eq!(rows.days[&reading.day].map(|count| (count.as_of, count.granted)), Some((at(0), used)));
}

#[test]
fn a_renewal_extends_the_promise_for_the_grant_that_it_renews() {
    let mut setup = setup(BudgetMode::Strict);
    setup.terms.limit = ByteCount::new(100_000_000_000_000);
    let mut books = setup.open(Some(Stored::default()), at(0));
    let life = Duration::from_secs(600);
    let minted_at = |books: &mut Books, millis, id: u8, renews: Option<u8>| {
        let books = advanced(books, at(millis));
        let renews = renews.map(|id| GrantId::new([id; 16]));
        let requester = Requester { renews, ..Requester::default() };
        let hold = books.reserve(IceSource::Cloudflare, life, Duration::ZERO, &requester).unwrap();
        let grant = Grant { id: GrantId::new([id; 16]), ..minted(at(millis), 600) };
        books.commit(hold, &grant, Some("user"), requester).unwrap()
    };
    let _ = minted_at(&mut books, 0, 1, None);
    let promised = |books: &Books| {
        let figures = books.snapshot().figures;
        figures.committed.plus(figures.committed_next)
    };
    let one_grant = promised(&books);
    let renewal = minted_at(&mut books, 540_000, 2, Some(1));
    let nine_minutes = ByteCount::new(9 * 60 * 2_000_000 / 8);
    assert_eq!(promised(&books).minus(one_grant), nine_minutes);
    assert_eq!(books.snapshot().live_grants, 1, "one of the two relays");

    assert_eq!(books.note_written(&renewal, Written::No), Err(NotRecorded));
    assert_eq!(promised(&books), one_grant);
    let _ = minted_at(&mut books, 540_000, 3, Some(9));
    assert!(promised(&books).minus(one_grant) > nine_minutes, "no grant is renewed");
}

#[test]
fn a_grant_whose_renewal_is_committed_opens_nothing_and_keeps_what_is_open() {
    let mut books = stored_books(BudgetMode::Estimate);
    let commit = |books: &mut Books, id: u8, renews: Option<GrantId>| {
        let requester = Requester { renews, ..Requester::default() };
        let life = Duration::from_secs(600);
        let hold = books.reserve(IceSource::Cloudflare, life, Duration::ZERO, &requester).unwrap();
        let issued_at = books.now();
        let grant = Grant { id: GrantId::new([id; 16]), issued_at, ..minted(issued_at, 600) };
        (grant, books.commit(hold, &grant, Some("user"), requester).unwrap())
    };
    let (grant, written) = commit(&mut books, 1, None);
    books.note_written(&written, Written::Yes).unwrap();
    let caller = Caller::Grant(grant);
    let open = |books: &mut Books, id| books.open(caller, id, None).map(|opened| opened.value);

    books.advance(at(500_000));
    assert!(books.take_renewal(&grant));
    assert_eq!(open(&mut books, "in flight"), Ok(Opened::New));
    let (_, failed) = commit(&mut books, 2, Some(grant.id));
    assert_eq!(open(&mut books, "unwritten"), Ok(Opened::New));
    assert_eq!(books.note_written(&failed, Written::No), Err(NotRecorded));
    books.give_renewal_back(grant.id);
    assert_eq!(open(&mut books, "given back"), Ok(Opened::New));
    assert!(books.take_renewal(&grant));
    assert_eq!(open(&mut books, "in flight again"), Ok(Opened::New));

    let (renewal, written) = commit(&mut books, 3, Some(grant.id));
    books.note_written(&written, Written::Yes).unwrap();
    assert_eq!(open(&mut books, "new"), Err(OpenError::GrantRenewed));
    assert_eq!(open(&mut books, "in flight"), Ok(Opened::Already));
    assert!(books.heartbeat(caller, "in flight", Report::default()).is_ok());
    assert!(books.close(caller, "in flight", Report::default()).unwrap().value.is_some());
    assert_eq!(open(&mut books, "in flight"), Err(OpenError::GrantRenewed));
    for other in [books.member_with(grant.id).unwrap(), Caller::Grant(renewal), Caller::Reporter] {
        assert_eq!(books.open(other, "other", None).unwrap().value, Opened::New, "{other:?}");
    }
}

#[test]
fn a_batch_that_was_not_written_is_undone_by_the_next_one() {
    let mut books = stored_books(BudgetMode::Estimate);
    let before = books.snapshot();
    let hold = held(&mut books);
    let grant = minted(at(0), 300);
    let commit = books.commit(hold, &grant, Some("user"), Requester::default()).unwrap();
    let mut batch = books.take_batch();
    assert_eq!(books.note_written(&commit, Written::No), Err(NotRecorded));
    assert_eq!(books.snapshot(), before);
    assert!(books.grants().get(grant.id).is_none());
    let mut stored = Stored::default();
    batch.append(books.take_batch());
    stored.apply(batch);
    assert!(stored.grants.is_empty());
}

#[test]
fn of_what_is_held_a_crash_leaves_the_minutes_that_were_over() {
    let mut books = stored_books(BudgetMode::Estimate);
    let mut stored = Stored::default();
    let hold = held(&mut books);
    let committed = |stored: &Stored, seconds: u64| {
        let books = setup(BudgetMode::Estimate).open(Some(stored.clone()), at(seconds * 1_000));
        books.snapshot().figures.committed.get()
    };
    stored.apply(books.take_batch());
    assert_eq!(committed(&stored, 0), 0);
    books.advance(at(90_000));
    stored.apply(books.take_batch());
    assert_eq!(committed(&stored, 90), 15_000_000);
    books.release(&hold);
    stored.apply(books.take_batch());
    assert_eq!(committed(&stored, 90), 0);
}

#[test]
fn a_batch_that_may_still_be_written_keeps_its_grant() {
    let mut books = stored_books(BudgetMode::Estimate);
    let hold = held(&mut books);
    let grant = minted(at(0), 300);
    let commit = books.commit(hold, &grant, Some("user"), Requester::default()).unwrap();
    let with_grant = books.snapshot();
    assert_eq!(books.note_written(&commit, Written::Unknown), Err(NotRecorded));
    assert_eq!(books.snapshot(), with_grant);
}

#[test]
fn the_end_of_a_grant_is_the_end_of_its_hold() {
    let mut setup = setup(BudgetMode::Estimate);
    // Before the first listing, coturn's sessions are not cut, so the long tail counts.
    let (tail, cut_tail) = (Duration::from_secs(7_200), Some(Duration::from_secs(30)));
    let source = IceSource::Coturn;
    setup.sources =
        vec![SourceTerms { source, tail, cut_tail, sampling: 0, is_read: true, is_probed: false }];
    let mut books = setup.open(None, at(0));
    let hold =
        books.reserve(source, Duration::from_secs(300), Duration::ZERO, &Requester::default()).unwrap();
    let alive_until = Some(hold.promised().until);
    let grant = Grant { source, ..minted(at(0), 300) };
    let _ = books.commit(hold, &grant, None, Requester::default()).unwrap();
    assert_eq!(books.grants().get(grant.id).unwrap().alive_until(), alive_until);
    assert_eq!(alive_until, Some(Minute::from_end(at(7_500_000))));
    let caller = Caller::Grant(grant);
    books.open(caller, "c", None).unwrap();
    let before = books.snapshot().figures.committed;
    for seconds in (0..600).step_by(20) {
        let _ = advanced(&mut books, at(seconds * 1_000)).heartbeat(caller, "c", received(0));
    }
    assert_eq!(books.snapshot().figures.committed, before, "no minute counts twice");
}

/// The machine sleeps between the reservation and the answer. The provider may have made the credential after it.
#[test]
fn a_credential_that_may_live_longer_than_reserved_is_not_committed() {
    let slack = Duration::from_secs(4);
    for (millis, is_late) in [(4_000, false), (4_001, true)] {
        let mut books = setup(BudgetMode::Estimate).open(Some(Stored::default()), at(0));
        let hold = books
            .reserve(IceSource::Cloudflare, Duration::from_secs(300), slack, &Requester::default())
            .unwrap();
        let committed =
            advanced(&mut books, at(millis)).commit(hold, &minted(at(0), 300), None, Requester::default());
        let expected = is_late.then_some(NotAdmitted::NotRecorded);
        assert_eq!(committed.err(), expected, "{millis}");
        let figures = books.snapshot().figures;
        assert_eq!(figures.committed.plus(figures.committed_next) == ByteCount::ZERO, is_late, "{millis}");
    }
}

#[test]
fn while_minting_is_stopped_no_credential_is_committed() {
    let mut books = stored_books(BudgetMode::Estimate);
    let before = books.snapshot();
    let hold = held(&mut books);
    books.override_freeze(true);
    let stopped = books.commit(hold, &minted(at(0), 300), None, Requester::default()).unwrap_err();
    assert_eq!(stopped, NotAdmitted::Stopped);
    assert_eq!(books.snapshot().figures, before.figures, "the hold is released");
}

#[test]
fn a_user_who_is_blocked_while_the_credential_is_made_does_not_get_it() {
    let mut books = stored_books(BudgetMode::Estimate);
    let ann = User::new("ann").unwrap();
    for renews in [None, Some(GrantId::new([1; 16]))] {
        let spender = Spender { user: Some(ann.clone()), ..Spender::default() }.known();
        let requester = Requester { renews, spender, ..Requester::default() };
        let life = Duration::from_secs(300);
        let hold = books.reserve(IceSource::Cloudflare, life, Duration::ZERO, &requester).unwrap();
        books.block_user(&ann).unwrap();
        let refused = books.commit(hold, &minted(at(0), 300), None, requester).unwrap_err();
        assert_eq!(refused, NotAdmitted::UserBlocked);
        assert_eq!(books.snapshot().figures.committed, ByteCount::ZERO, "the hold is released");
        assert!(books.unblock_user(&ann));
    }
}

#[test]
fn a_grant_that_has_ended_before_its_write_fails_is_no_live_one_less() {
    let mut books = stored_books(BudgetMode::Estimate);
    let commit = |books: &mut Books, id, life| {
        let life = Duration::from_secs(life);
        let spender = Spender { user: User::new("ann"), ..Spender::default() }.known();
        let requester = Requester { spender, ..Requester::default() };
        let hold = books.reserve(IceSource::Cloudflare, life, Duration::ZERO, &requester).unwrap();
        let grant = Grant { id: GrantId::new([id; 16]), ..minted(at(0), life.as_secs()) };
        books.commit(hold, &grant, Some("user"), requester).unwrap()
    };
    let ended = commit(&mut books, 1, 300);
    let _ = commit(&mut books, 2, 7_200);
    books.advance(at(7_560_000));
    assert!(books.tidy());
    assert_eq!(books.note_written(&ended, Written::No), Err(NotRecorded));
    let rows = crate::testing::spenders(&books, SpenderKind::User);
    assert_eq!(rows.iter().map(|row| row.live).collect::<Vec<_>>(), [1]);
}
