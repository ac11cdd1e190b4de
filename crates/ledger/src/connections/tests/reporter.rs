//! What an app server reports: as much as a relay can carry in the time, whatever the clients of the grant claim.

use super::*;

/// More bytes than any relay carries.
const HUGE: u64 = 9_000_000_000_000_000;

#[test]
fn a_reporter_cannot_claim_more_than_a_relay_can_carry_in_the_time() {
    let mut table = empty();
    let huge = received(HUGE);
    let _ = table.open(Caller::Reporter, "c", None, at(0)).unwrap();
    let mut report =
        |seconds, report| counted(&table.heartbeat(Caller::Reporter, "c", report, at(seconds)).unwrap());
    assert_eq!(report(0, huge), (0, true));
    assert_eq!(report(10, huge), (125_000_000, true), "100 Mbps for 10 s");
    assert_eq!(report(10, huge), (0, true), "a repetition adds nothing");
    assert_eq!(report(20, huge), (125_000_000, true));
}

#[test]
fn a_reporters_clamped_bytes_are_charged_once_there_was_time_for_them() {
    let mut table = empty();
    let _ = table.open(Caller::Reporter, "c", None, at(0)).unwrap();
    let mut report = |seconds| {
        let entry = table.heartbeat(Caller::Reporter, "c", received(200_000_000), at(seconds)).unwrap();
        counted(&entry)
    };
    assert_eq!(report(10), (125_000_000, true));
    assert_eq!(report(20), (75_000_000, false));
}

/// A grant whose client has opened so many connections, on which a reporter reports. A silent connection is charged this rate.
fn with_open(connections: u64, mbps: u64) -> Table {
    let mut table = empty();
    table.connections.rules.estimated_rate = BitRate::new(mbps * 1_000_000);
    for n in 0..connections {
        let _ = table.open(client(1), &format!("{n}"), Some(false), at(0)).unwrap();
    }
    table
}

/// What all connections are charged.
fn all_charged(table: &Table, now: Timestamp) -> u64 {
    let rules = table.connections.rules();
    table.connections.iter().map(|connection| connection.charged(now, rules).get()).sum()
}

#[test]
fn silent_connections_of_one_grant_share_what_a_relay_can_carry_for_a_reporter() {
    for mbps in [2, 10] {
        let mut table = with_open(64, mbps);
        let relayed = Report { relayed: Some(true), ..Report::default() };
        for seconds in (0..600).step_by(20) {
            for n in 0..64 {
                let id = format!("{n}");
                let entry = table.heartbeat(Caller::Reporter, &id, relayed, at(seconds)).unwrap();
                assert!(!entry.clamped || n >= 100 / mbps, "{n} at {seconds} s");
            }
            assert!(all_charged(&table, at(seconds)) <= 12_500_000 * seconds, "{mbps} Mbps, {seconds} s");
        }
        assert_eq!(all_charged(&table, at(600)), 12_500_000 * 600, "{mbps} Mbps");
    }
}

#[test]
fn a_count_of_a_reporter_leaves_room_for_the_time_of_the_other_connections() {
    let mut table = with_open(4, 10);
    let relayed = Report { relayed: Some(true), ..Report::default() };
    for n in 0..4 {
        let _ = table.heartbeat(Caller::Reporter, &n.to_string(), relayed, at(0)).unwrap();
    }
    let huge = received(HUGE);
    let first = table.heartbeat(Caller::Reporter, "0", huge, at(20)).unwrap();
    assert_eq!(counted(&first), (20 * (12_500_000 - 3 * 1_250_000), true), "three clocks run");
    assert_eq!(all_charged(&table, at(20)), 20 * 12_500_000);
    assert_eq!(all_charged(&table, at(30)), 20 * 12_500_000 + 10 * 3 * 1_250_000);
    let second = table.heartbeat(Caller::Reporter, "1", received(1_000), at(30)).unwrap();
    assert_eq!(counted(&second), (1_000, false));
    let third = table.heartbeat(Caller::Reporter, "0", huge, at(30)).unwrap();
    assert!(third.clamped);
    assert_eq!(all_charged(&table, at(30)), 30 * 12_500_000, "a count gives back what its time was charged");
}

#[test]
fn what_a_reporter_has_used_up_is_not_left_for_claims() {
    let mut table = with_open(2, 2);
    let huge = Report { relayed: Some(true), ..received(HUGE) };
    let vouched = table.heartbeat(Caller::Reporter, "0", huge, at(10)).unwrap();
    assert_eq!(counted(&vouched), (125_000_000, true));
    let claimed = table.heartbeat(client(1), "1", huge, at(10)).unwrap();
    assert_eq!(counted(&claimed), (0, true));
}

#[test]
fn a_reporter_may_count_seldom() {
    let mut table = opened(&[(1, "c")]);
    for seconds in (0..7_200).step_by(20) {
        let _ = table.heartbeat(Caller::Reporter, "c", Report::default(), at(seconds)).unwrap();
    }
    let bytes = 7_200 * 12_500_000;
    let entry = table.heartbeat(Caller::Reporter, "c", received(bytes), at(7_200)).unwrap();
    assert_eq!(counted(&entry), (bytes, false));
}

#[test]
fn a_freeze_leaves_a_reporter_what_a_relay_can_carry() {
    let mut table = opened(&[(1, "c")]);
    table.grants.set_claim_rate(Some(BitRate::new(2_000_000)), at(10));
    let _ = table.connections.shrink_claims(&mut table.grants, at(10));
    let huge = received(HUGE);
    let claimed = table.heartbeat(client(1), "c", huge, at(20)).unwrap();
    assert_eq!(counted(&claimed), (20 * 250_000, true), "its time since the freeze, and what that gave back");
    let vouched = table.heartbeat(Caller::Reporter, "c", huge, at(20)).unwrap();
    assert_eq!(counted(&vouched), (20 * (12_500_000 - 250_000), true));
}

#[test]
fn the_connections_of_one_grant_share_what_a_relay_can_carry_for_a_reporter() {
    let mut table = empty();
    for id in ["a", "b"] {
        let _ = table.open(client(1), id, None, at(0)).unwrap();
    }
    let huge = received(HUGE);
    let mut report =
        |id, seconds| counted(&table.heartbeat(Caller::Reporter, id, huge, at(seconds)).unwrap());
    assert_eq!(report("a", 10), (122_500_000, true), "b has run for 10 s");
    assert_eq!(report("b", 10), (2_500_000, true));
    assert_eq!(report("b", 20), (125_000_000, true));
    assert_eq!(report("a", 20), (0, true));
}
