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

/// What is vouched for by these changes: bytes, and the seconds between which they flowed.
fn vouched(entry: &Entry<()>) -> Option<(u64, u64, u64)> {
    let seconds = |instant: Timestamp| instant.millis_since(at(0)) / 1_000;
    entry.changes.iter().find_map(|change| match change.kind {
        ChangeKind::Vouch { bytes, from, to } => Some((bytes.get(), seconds(from), seconds(to))),
        _ => None,
    })
}

#[test]
fn what_a_reporter_says_of_a_grant_is_vouched_whatever_its_page_says() {
    let mut table = opened(&[(1, "c")]);
    let report = |table: &mut Table, by, seconds, report| {
        vouched(&table.heartbeat(by, "c", report, at(seconds)).unwrap())
    };
    assert_eq!(report(&mut table, client(1), 20, received(500)), None, "a claim of a page");
    assert_eq!(report(&mut table, Caller::Reporter, 30, received(700)), Some((700, 0, 30)));
    assert_eq!(report(&mut table, client(1), 40, received(9_000)), None);
    assert_eq!(report(&mut table, Caller::Reporter, 50, received(1_000)), Some((300, 30, 50)));
    let relayed = Report { relayed: Some(true), ..received(1_000) };
    assert_eq!(report(&mut table, Caller::Reporter, 60, relayed), None, "nothing new");
    let page = |relayed| Report { relayed: Some(relayed), ..Report::default() };
    assert_eq!(report(&mut table, client(1), 65, page(false)), None);
    // The time before may have been relayed.
    let direct = |bytes| Report { relayed: Some(false), ..received(bytes) };
    assert_eq!(report(&mut table, Caller::Reporter, 70, direct(1_100)), Some((100, 60, 70)));
    assert_eq!(report(&mut table, client(1), 75, page(true)), None);
    assert_eq!(report(&mut table, Caller::Reporter, 80, direct(1_200)), None, "not by a relay");
}

#[test]
fn the_connections_of_a_grant_are_vouched_for_up_to_what_one_client_can_relay() {
    let mut table = opened(&[(1, "a"), (1, "b")]);
    let mut report =
        |id| vouched(&table.heartbeat(Caller::Reporter, id, received(80_000_000), at(10)).unwrap());
    assert_eq!(report("a"), Some((80_000_000, 0, 10)));
    assert_eq!(report("b"), Some((45_000_000, 0, 10)), "125 MB in 10 s");
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
