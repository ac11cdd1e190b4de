use super::*;
use crate::takeovers::{LOSS_STATED, Takeovers};

const LEADER: &str = "http://10.0.0.1:3001";
const OWN: &str = "http://10.0.0.2:3001";
/// Any number will do.
const FORMAT: i32 = 3;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn election() -> Election {
    Election::new(FORMAT, millis(5_000))
}

/// A row that a leader holds, whose first write is the last one.
fn held(epoch: i64, seq: i64) -> Observation {
    since(epoch, if epoch > 1 { seq - 1 } else { 0 }, seq)
}

/// A row that the leader of this epoch has held since the write `began`.
fn since(epoch: i64, began: i64, seq: i64) -> Observation {
    let sessions: Vec<_> = (1..=epoch).rev().map(|epoch| epoch.to_string()).collect();
    let listed = sessions
        .iter()
        .enumerate()
        .map(|(nth, session)| (if nth == 0 { began } else { 0 }, session.as_str()));
    let takeovers = takeovers(&listed.collect::<Vec<_>>());
    Observation {
        takeovers,
        epoch,
        seq,
        is_held: true,
        has_session: true,
        has_written: true,
        leader: Some(LEADER.into()),
        format: FORMAT,
        books_now: Some(Timestamp::from_millis(seq)),
        ..Observation::default()
    }
}

fn gone(seq: i64) -> Observation {
    Observation { has_session: false, ..held(1, seq) }
}

fn forward() -> Action {
    Action::Forward(LEADER.into())
}

/// The actions after observations at these milliseconds.
fn actions(election: &mut Election, seen: &[(u64, Observation)]) -> Vec<Action> {
    seen.iter().map(|(at, seen)| election.observe(seen, OWN, millis(*at))).collect()
}

#[test]
fn a_replica_forwards_while_the_leader_writes() {
    let mut election = election();
    for second in 0..60 {
        let seen = held(1, i64::try_from(second).unwrap());
        assert_eq!(election.observe(&seen, OWN, millis(second * 1_000)), forward(), "{second}");
    }
}

#[test]
fn a_ledger_that_is_new_or_released_has_a_new_leader_at_once() {
    let new = Observation { leader: None, is_held: false, ..Observation::default() };
    assert_eq!(election().observe(&new, OWN, millis(0)), Action::Stand);
    let released = Observation { is_held: false, ..held(1, 8) };
    assert_eq!(actions(&mut election(), &[(0, held(1, 7)), (250, released)]), [forward(), Action::Stand]);
}

#[test]
fn a_session_that_is_gone_for_half_a_second_is_a_reason_to_stand() {
    let seen = [(0, held(1, 7)), (250, gone(7)), (749, gone(7)), (750, gone(7))];
    assert_eq!(actions(&mut election(), &seen), [forward(), forward(), forward(), Action::Stand]);
}

#[test]
fn a_session_that_comes_back_or_a_write_without_one_begins_the_half_second_again() {
    let seen = [(0, gone(7)), (250, held(1, 7)), (500, gone(7)), (750, gone(7))];
    assert!(actions(&mut election(), &seen).iter().all(|action| *action == forward()));
    let seen = [(0, gone(7)), (400, gone(8)), (800, gone(9))];
    assert!(actions(&mut election(), &seen).iter().all(|action| *action == forward()));
}

#[test]
fn a_leader_whose_session_the_database_may_have_ended_has_the_whole_lease() {
    let later = |seen| Observation { connection: 1, ..seen };
    let restarted = || Observation { has_written: false, ..gone(7) };
    for (first, missing) in [(held(1, 7), later(gone(7))), (restarted(), restarted())] {
        let mut election = election();
        assert_eq!(election.observe(&first, OWN, millis(0)), forward());
        for at in (250..5_000).step_by(250) {
            assert_eq!(election.observe(&missing, OWN, millis(at)), forward(), "{at}");
        }
        assert_eq!(election.observe(&missing, OWN, millis(5_000)), Action::Stand);
    }
    for shown in [later(held(1, 7)), later(gone(8))] {
        let ended = Observation { has_session: false, ..shown.clone() };
        let mut election = election();
        let seen = [(0, held(1, 7)), (250, later(gone(7))), (1_000, shown), (1_250, ended.clone())];
        assert!(actions(&mut election, &seen).iter().all(|action| *action == forward()));
        assert_eq!(election.observe(&ended, OWN, millis(1_750)), Action::Stand, "the leader was there");
    }
}

#[test]
fn a_row_that_has_not_changed_for_the_lease_is_a_reason_to_stand() {
    let mut election = election();
    for at in (1_000..6_000).step_by(250) {
        assert_eq!(election.observe(&held(1, 7), OWN, millis(at)), forward(), "{at}");
    }
    assert_eq!(election.observe(&held(1, 7), OWN, millis(6_000)), Action::Stand);
}

#[test]
fn a_leader_is_silent_once_it_has_missed_a_write() {
    let mut election = election();
    let mut is_silent = |at: u64, seq: i64| {
        election.observe(&held(1, seq), OWN, millis(at));
        election.is_silent()
    };
    for write in 1..20 {
        assert!(!is_silent(1_250 * write, 7 + i64::try_from(write).unwrap()), "{write}");
        assert!(!is_silent(1_250 * write + 1_000, 7 + i64::try_from(write).unwrap()), "{write}");
    }
    assert_eq!([24_250, 25_250, 25_251].map(|at| is_silent(at, 26)), [false, false, true]);
    assert!(!is_silent(25_300, 27), "it writes again");
    is_silent(27_000, 27);
    election.interrupt();
    assert!(!election.is_silent(), "nobody knows");
    for (at, has_session, expected) in [(30_000, true, false), (30_100, false, true), (30_200, true, false)] {
        election.observe(&Observation { has_session, ..held(1, 27) }, OWN, millis(at));
        assert_eq!(election.is_silent(), expected, "its session at {at}: {has_session}");
    }
}

#[test]
fn a_write_and_a_takeover_begin_the_lease_again() {
    for changed in [held(1, 8), since(2, 7, 9)] {
        let mut election = election();
        for at in (0..4_750).step_by(250) {
            assert_eq!(election.observe(&held(1, 7), OWN, millis(at)), forward(), "{at}");
        }
        for at in (4_750..9_750).step_by(250) {
            assert_eq!(election.observe(&changed, OWN, millis(at)), forward(), "{at}");
        }
        assert_eq!(election.observe(&changed, OWN, millis(9_750)), Action::Stand);
    }
}

#[test]
fn a_leader_that_has_not_written_yet_may_read_for_a_minute_while_its_session_is_there() {
    let reads = || since(2, 7, 8);
    let mut election = election();
    for at in (0..60_000).step_by(250) {
        assert_eq!(election.observe(&reads(), OWN, millis(at)), forward(), "{at}");
    }
    assert_eq!(election.observe(&reads(), OWN, millis(60_000)), Action::Stand);

    let ended = || Observation { has_session: false, ..reads() };
    let mut election = self::election();
    for at in (0..20_000).step_by(250) {
        election.observe(&reads(), OWN, millis(at));
    }
    let seen = [(20_000, ended()), (20_250, ended()), (20_500, ended())];
    assert_eq!(actions(&mut election, &seen)[2], Action::Stand, "its session is gone");

    let restarted = || Observation { connection: 1, ..ended() };
    let mut election = self::election();
    election.observe(&reads(), OWN, millis(0));
    for at in (250..5_000).step_by(250) {
        assert_eq!(election.observe(&restarted(), OWN, millis(at)), forward(), "{at}");
    }
    let missing = election.observe(&restarted(), OWN, millis(5_000));
    assert_eq!(
        missing,
        Action::Stand,
        "a restart of the database ended its session, and it has not come back"
    );
}

/// A pause of this process, and a database that could not be read.
#[test]
fn silence_while_the_replica_itself_saw_nothing_does_not_count() {
    let seen = [(0, held(1, 7)), (2_000, held(1, 7)), (4_501, held(1, 7)), (6_900, held(1, 7))];
    assert!(actions(&mut election(), &seen).iter().all(|action| *action == forward()), "paused");
    let seen = [(0, held(1, 7)), (2_000, held(1, 7)), (4_000, held(1, 7)), (6_000, held(1, 7))];
    assert_eq!(actions(&mut election(), &seen)[3], Action::Stand, "not paused");

    let mut election = election();
    assert_eq!(actions(&mut election, &[(0, gone(7)), (400, gone(7))]), [forward(), forward()]);
    election.interrupt();
    assert_eq!(actions(&mut election, &[(600, gone(7)), (1_099, gone(7))]), [forward(), forward()]);
    assert_eq!(election.observe(&gone(7), OWN, millis(1_100)), Action::Stand);
}

#[test]
fn a_write_that_the_ledger_lacks_is_noticed_also_after_an_interruption_and_later_takeovers() {
    let later = Observation { takeovers: takeovers(&[(30, "3"), (6, "2"), (0, "1")]), ..held(3, 31) };
    let other = Observation { takeovers: takeovers(&[(0, "other")]), ..held(1, 9) };
    for lacking in [held(1, 6), held(1, 1), held(0, 9), since(2, 6, 7), since(2, 6, 20), later, other] {
        for is_interrupted in [false, true] {
            let mut election = election();
            assert_eq!(election.observe(&held(1, 7), OWN, millis(0)), forward());
            if is_interrupted {
                election.interrupt();
            }
            assert_eq!(election.observe(&lacking, OWN, millis(250)), Action::StateLoss(7), "{lacking:?}");
            assert_eq!(
                election.observe(&since(2, 6, 30), OWN, millis(500)),
                Action::StateLoss(7),
                "until it is stated"
            );
            let stated = takeovers(&[(31, "3"), (30, LOSS_STATED), (6, "2"), (0, "1")]);
            let stated = Observation { takeovers: stated, ..held(3, 32) };
            assert_eq!(election.observe(&stated, OWN, millis(750)), forward());
            assert_eq!(
                election.observe(&held(2, 31), OWN, millis(1_000)),
                Action::StateLoss(32),
                "once more"
            );
        }
    }
    let seen = [(0, held(1, 7)), (250, Observation { is_held: false, ..held(1, 6) })];
    assert_eq!(actions(&mut election(), &seen)[1], Action::StateLoss(7), "a release loses nothing");
    let seen = [(0, held(1, 7)), (250, since(2, 7, 8)), (500, since(2, 8, 9)), (750, held(3, 30))];
    assert!(
        actions(&mut election(), &seen).iter().all(|action| *action == forward()),
        "takeovers lose nothing"
    );
}

/// Takeovers, newest first.
fn takeovers(listed: &[(i64, &str)]) -> Takeovers {
    let sessions = listed.iter().map(|(_, session)| (*session).to_owned()).collect();
    Takeovers::new(listed.iter().map(|(began, _)| *began).collect(), sessions)
}

#[test]
fn a_version_that_cannot_read_the_ledger_forwards_and_does_not_stand() {
    let newer = |seen| Observation { format: FORMAT + 1, ..seen };
    let released = newer(Observation { is_held: false, ..held(1, 8) });
    let cannot = Action::CannotLead(FORMAT + 1);
    let seen = [(0, newer(held(1, 7))), (250, released.clone()), (500, newer(held(2, 9)))];
    assert_eq!(actions(&mut election(), &seen), [forward(), cannot.clone(), forward()]);
    assert_eq!(actions(&mut election(), &[(0, held(1, 9)), (1, released)])[1], cannot, "with a lower number");
    let older = Observation { format: FORMAT - 1, is_held: false, ..held(1, 7) };
    assert_eq!(election().observe(&older, OWN, millis(0)), Action::Stand, "it migrates");
}

#[test]
fn a_replica_does_not_forward_to_itself_or_to_nobody() {
    for leader in [Some(OWN.to_owned()), None] {
        let seen = Observation { leader, ..held(1, 7) };
        assert_eq!(election().observe(&seen, OWN, millis(0)), Action::Wait);
    }
}

#[test]
fn the_time_of_the_books_is_followed_from_a_write_that_was_seen() {
    let mut election = election();
    election.observe(&held(1, 7), OWN, millis(1_000));
    assert_eq!(election.followed(), None, "nobody knows how old the first row is");
    election.observe(&held(1, 8), OWN, millis(1_250));
    election.observe(&held(1, 8), OWN, millis(1_500));
    assert_eq!(election.followed(), Some((Timestamp::from_millis(8), millis(1_250))));
    election.observe(&held(1, 9), OWN, millis(9_000));
    assert_eq!(election.followed(), None, "after a pause");
    election.observe(&held(1, 10), OWN, millis(9_250));
    election.interrupt();
    assert_eq!(election.followed(), None, "after an interruption");
}
