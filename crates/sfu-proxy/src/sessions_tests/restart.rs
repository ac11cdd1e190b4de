//! What the ledger is told, and what crosses a restart: which sessions are open, and how much they take. Their tracks are asked for.

use super::*;

fn demand(tracks: u32) -> Demand {
    Demand { tracks: usize::try_from(tracks).unwrap(), kbps: tracks * VIDEO }
}

/// Tracks with video, and how many of them are active.
fn videos(tracks: u32, active: u32) -> Taken {
    Taken { kbps: tracks * VIDEO, active_kbps: active * VIDEO }
}

/// What the ledger is told of sessions that take nothing late.
fn changed(table: &mut Table, in_time: Duration) -> Vec<(SessionId, Option<NewSession>)> {
    let changed = table.sessions.take_changed(table.now + in_time).into_iter();
    changed.map(|ChangedSession { id, now, late }| (id, now.filter(|_| late.is_empty()))).collect()
}

#[test]
fn a_session_is_remembered_with_what_it_takes_until_it_ends() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    changed(&mut table, Duration::ZERO);
    table.add("a", &push(1), &[0]);
    assert_eq!(changed(&mut table, Duration::ZERO), [], "it takes nothing");
    table.sessions.ask(&id("a"), demand(3), table.now);
    let remembered = |table: &mut Table| changed(table, secs(60));
    let taking = |tracks, active| Some(session("a", secs(3_540), videos(tracks, active)));
    assert_eq!(remembered(&mut table), [(id("a"), taking(3, 0))], "what the SFU is asked for counts");
    table.sessions.refused(&id("a"), demand(1), table.now);
    assert_eq!(remembered(&mut table), [(id("a"), taking(2, 0))]);
    table.add("a", &pull(&["b", "b"]), &[1, 2]);
    assert_eq!(remembered(&mut table), [(id("a"), taking(2, 2))]);
    table.see("a", &state(&[(1, true), (2, false)]));
    assert_eq!(remembered(&mut table), [(id("a"), taking(2, 1))], "a silent track may speak again");
    table.sessions.end_room("r", table.now);
    let ended = changed(&mut table, Duration::ZERO);
    let taken = videos(2, 1);
    assert_eq!(ended[0], (id("a"), Some(session("a", Duration::ZERO, taken))), "it must still be closed");
    table.sessions.gone(&id("a"));
    assert_eq!(changed(&mut table, Duration::ZERO), [(id("a"), None)]);
}

#[test]
fn what_the_sfu_was_asked_for_counts_until_a_state_that_is_younger_than_the_call() {
    let mut table = Table::with(&[("a", "r")]);
    table.sessions.call_begins(&id("a"), 0, table.now).unwrap();
    table.sessions.ask(&id("a"), demand(2), table.now);
    let early = table.sessions.look_at(&id("a")).unwrap();
    table.sessions.call_ends(&id("a"), 0, false);
    table.sessions.looked(&early, &state(&[]), table.now);
    let taken = |table: &Table| table.sessions.rows[&id("a")].taken().kbps / VIDEO;
    assert_eq!(taken(&table), 2);
    assert_eq!(table.wait(LIFE), [], "nobody knows what there is to close");
    assert_eq!(taken(&table), 2);
    table.see("a", &state(&[]));
    assert_eq!(taken(&table), 0);
}

#[test]
fn a_restored_session_takes_what_it_took_until_the_sfu_has_said_what_it_takes() {
    let mut table = Table::default();
    for name in ["a", "b"] {
        table.sessions.restore(session(name, LIFE, videos(5, 4)), table.now);
    }
    assert_eq!(changed(&mut table, Duration::ZERO), [], "it is remembered already");
    assert_eq!(table.sessions.take_looks(9, table.now).len(), 2);
    assert!(table.sessions.check_request(&id("b"), pull(&["a"])).is_ok(), "it has its room");
    table.sessions.answered(&id("a"), &pull(&["b"]), &tracks(&[7]), table.now);
    assert_eq!(table.sessions.pulled(), 4 + 4, "a new one is silent until the SFU is asked");
    table.see("a", &state(&[(0, true), (1, true), (2, false), (7, true)]));
    assert_eq!(table.sessions.pulled(), 3 + 4);
    table.wait(IDLE);
    let others = table.sessions.with_tracks(["b"].map(id).into_iter());
    assert_eq!(others, [], "its tracks are not known");
    assert!(!table.sessions.may_give_way(&id("b")));
}

#[test]
fn a_restored_session_whose_life_is_over_is_closed_by_force_once_its_tracks_are_known() {
    let mut table = Table::default();
    table.sessions.restore(session("a", Duration::ZERO, Taken::default()), table.now);
    assert_eq!(table.wait(secs(60)), []);
    table.see("a", &state(&[(3, true)]));
    assert_eq!(table.wait(CLOSE_INTERVAL), [(id("a"), vec![taken(3)])]);
    table.see("a", &state(&[]));
    table.wait(CLOSE_INTERVAL);
    assert!(table.sessions.is_empty());
}

#[test]
fn what_a_restored_session_has_is_asked_for_until_it_is_known() {
    let mut table = Table::default();
    table.sessions.restore(session("a", LIFE, Taken::default()), table.now);
    table.sessions.take_looks(9, table.now);
    table.add("a", &push(1), &[0]);
    table.closed("a", &[0]);
    table.now += LOOK_AFTER_MAX;
    assert_eq!(table.sessions.take_looks(9, table.now).len(), 1, "it may have more than it had just now");
    table.see("a", &state(&[(1, true)]));
    assert_eq!(table.sessions.pulled(), 1);
}

#[test]
fn a_restored_session_without_media_leaves_its_call() {
    let mut table = Table::default();
    table.sessions.restore(session("a", LIFE, Taken::default()), table.now);
    assert_eq!(table.events(), ["a joins r"]);
    table.wait(IDLE);
    assert_eq!(table.events(), ["a leaves r"]);
}
