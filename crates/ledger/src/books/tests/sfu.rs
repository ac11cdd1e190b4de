//! The sessions of the SFU over a restart.

use super::*;
use crate::sfu_sessions::SfuSession;

const MINUTE: u64 = 60_000;
/// What one track is charged in a minute.
const TRACK_MINUTE: u64 = 15_000_000;

fn setup_with_sfu() -> Setup {
    let mut setup = setup(BudgetMode::Estimate);
    setup.sources.push(SourceTerms { is_read: true, ..SourceTerms::of_a_removed(IceSource::Sfu) });
    setup
}

fn session() -> SfuSession {
    let client = "192.0.2.1".parse().unwrap();
    SfuSession {
        room: Some("r".into()),
        user: None,
        grant: None,
        client,
        ends_at: at(48 * 60 * MINUTE),
        uncharged_since: None,
    }
}

fn ids(books: &Books) -> Vec<&str> {
    books.sfu_sessions().map(|(id, _)| &**id).collect()
}

#[test]
fn open_sessions_are_known_after_a_restart_and_ended_ones_are_not() {
    let mut stored = Stored::default();
    let mut books = setup_with_sfu().open(Some(Stored::default()), at(0));
    books.set_sfu_session("a".into(), Some(session()));
    books.set_sfu_session("b".into(), Some(session()));
    stored.apply(books.take_batch());
    books.set_sfu_session("a".into(), None);
    stored.apply(books.take_batch());
    let mut again = setup_with_sfu().open(Some(stored.clone()), at(MINUTE));
    let known = SfuSession { uncharged_since: Some(at(0)), ..session() };
    assert_eq!(again.sfu_sessions().collect::<Vec<_>>(), [(&"b".into(), &known)]);
    again.set_sfu_session("b".into(), None);
    stored.apply(again.take_batch());
    assert_eq!(ids(&setup_with_sfu().open(Some(stored), at(MINUTE))), [""; 0]);
}

#[test]
fn books_that_are_not_stored_collect_no_changes() {
    let mut books = setup_with_sfu().open(None, at(0));
    books.set_sfu_session("a".into(), Some(session()));
    assert!(books.take_batch().sfu_sessions.is_empty());
    assert_eq!(ids(&books), ["a"]);
}

#[test]
fn a_track_that_is_found_after_a_restart_is_charged_since_the_last_write() {
    let mut stored = Stored::default();
    let mut books = setup_with_sfu().open(Some(Stored::default()), at(0));
    books.set_sfu_session("a".into(), Some(session()));
    books.set_sfu_tracks(2, []);
    books.advance(at(10 * MINUTE));
    stored.apply(books.take_batch());
    let mut unlucky = setup_with_sfu().open(Some(stored.clone()), at(11 * MINUTE));
    unlucky.advance(at(12 * MINUTE));
    stored.apply(unlucky.take_batch());
    let mut again = setup_with_sfu().open(Some(stored), at(13 * MINUTE));
    assert_eq!(used(&again), 20 * TRACK_MINUTE, "what is not known is not charged");
    again.set_sfu_tracks(1, [("a", 1)]);
    assert_eq!(used(&again), (20 + 3) * TRACK_MINUTE, "also for the process that did not learn it");
    again.advance(at(14 * MINUTE));
    assert_eq!(used(&again), (20 + 4) * TRACK_MINUTE);
    again.set_sfu_tracks(2, [("a", 1)]);
    again.advance(at(15 * MINUTE));
    assert_eq!(used(&again), (20 + 4 + 2) * TRACK_MINUTE, "another track is new");
}
