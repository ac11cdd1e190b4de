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
fn what_a_reporter_has_used_up_is_not_left_for_claims() {
    let mut table = empty();
    for id in ["0", "1"] {
        let _ = table.open(client(1), id, Some(false), at(0)).unwrap();
    }
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
