//! What crosses a restart: which sessions are open. Their tracks are asked for.

use super::*;

fn session(name: &str, life: Duration) -> NewSession {
    NewSession { id: id(name), room: Some("r".into()), owner: caller(1), life }
}

#[test]
fn a_session_is_remembered_until_it_ends() {
    let mut table = Table::with(&[("a", "r")]);
    let remembered = table.sessions.take_changed(table.now + secs(60));
    assert_eq!(remembered, [(id("a"), Some(session("a", secs(3_540))))]);
    table.add("a", &push(1), &[0]);
    assert_eq!(table.sessions.take_changed(table.now), [], "its tracks are not");
    table.sessions.end_room("r", table.now);
    let ended = table.sessions.take_changed(table.now);
    assert_eq!(ended, [(id("a"), Some(session("a", Duration::ZERO)))], "it must still be closed");
    table.see("a", &Seen::Gone);
    assert_eq!(table.sessions.take_changed(table.now), [(id("a"), None)]);
}

#[test]
fn a_restored_session_is_looked_at_and_what_it_takes_is_found_once() {
    let mut table = Table::default();
    for name in ["a", "b"] {
        table.sessions.restore(session(name, LIFE), table.now);
    }
    assert_eq!(table.sessions.take_changed(table.now), [], "it is remembered already");
    assert_eq!(table.sessions.take_looks(9, table.now).len(), 2);
    assert_eq!(table.sessions.check_wanted(&id("b"), &pull(&["a"])), Ok(()), "it has its room");
    table.see("a", &Seen::Nothing);
    table.add("a", &pull(&["b"]), &[7]);
    table.see("a", &state(&[(0, true), (1, true), (2, false), (7, true)]));
    assert_eq!((table.sessions.pulled(), table.sessions.take_found()), (3, vec![(id("a"), 2)]), "one is new");
    table.see("a", &state(&[(0, true), (1, true), (2, true)]));
    assert_eq!((table.sessions.pulled(), table.sessions.take_found()), (3, vec![]));
    table.add("b", &pull(&["a"]), &[1]);
    assert_eq!(table.sessions.take_found(), [], "an answer finds nothing");
    table.open("c", Some("r"), caller(1)).unwrap();
    table.see("c", &state(&[(0, true)]));
    assert_eq!(table.sessions.take_found(), [], "it is not of the process before");
}

#[test]
fn a_restored_session_whose_life_is_over_is_closed_by_force_once_its_tracks_are_known() {
    let mut table = Table::default();
    table.sessions.restore(session("a", Duration::ZERO), table.now);
    assert_eq!(table.wait(secs(60)), []);
    table.see("a", &state(&[(3, true)]));
    assert_eq!(table.wait(CLOSE_INTERVAL), [(id("a"), vec![mid(3)])]);
    table.see("a", &state(&[]));
    table.wait(CLOSE_INTERVAL);
    assert!(table.sessions.is_empty());
}

#[test]
fn what_a_restored_session_has_is_asked_for_until_it_is_known() {
    let mut table = Table::default();
    table.sessions.restore(session("a", LIFE), table.now);
    table.sessions.take_looks(9, table.now);
    table.see("a", &Seen::Nothing);
    table.add("a", &push(1), &[0]);
    table.sessions.closed(&id("a"), &[mid(0)], &Answered::default(), table.now);
    table.now += LOOK_INTERVAL;
    assert_eq!(table.sessions.take_looks(9, table.now).len(), 1, "it may have more than it had just now");
    table.see("a", &state(&[(1, true)]));
    assert_eq!(table.sessions.pulled(), 1);
}

#[test]
fn a_restored_session_without_media_leaves_its_call() {
    let mut table = Table::default();
    table.sessions.restore(session("a", LIFE), table.now);
    assert_eq!(table.events(), ["a joins r"]);
    table.wait(IDLE);
    assert_eq!(table.events(), ["a leaves r"]);
}
