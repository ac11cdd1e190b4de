//! What an app server reports: as much as a relay can carry in the time, whatever the clients of the grant claim.

use super::*;

/// More bytes than any relay carries.
const HUGE: u64 = 9_000_000_000_000_000;

#[test]
fn a_reporter_cannot_claim_more_than_a_relay_can_carry_in_the_time() {
    let mut table = empty();
    let huge = received(HUGE);
    let _ = table.open(Caller::Reporter, "c", None, at(0)).unwrap();
    let mut report = |seconds| table.report(Caller::Reporter, "c", huge, at(seconds));
    assert_eq!(report(0), (0, true));
    assert_eq!(report(10), (125_000_000, true), "100 Mbps for 10 s");
    assert_eq!(report(10), (125_000_000, true), "a repetition adds nothing");
    assert_eq!(report(20), (250_000_000, true));
}

#[test]
fn what_a_reporter_has_used_up_is_not_left_for_claims() {
    let mut table = empty();
    for id in ["0", "1"] {
        let _ = table.open(client(1), id, Some(false), at(0)).unwrap();
    }
    let huge = Report { relayed: Some(true), ..received(HUGE) };
    assert!(table.heartbeat(Caller::Reporter, "0", huge, at(10)).unwrap().clamped);
    assert_eq!(table.used(IceSource::Coturn), 125_000_000);
    assert_eq!(table.report(client(1), "1", huge, at(10)), (125_000_000, true));
}

/// Makes a report in a minute. Returns the minutes for which something was vouched since the last call, and the bytes in each of them.
fn vouched(table: &mut Table, by: Caller<'_>, minute: u64, report: Report) -> Vec<(i64, u64)> {
    table.heartbeat(by, "c", report, at(60 * minute)).unwrap();
    let changes = table.budget.take_changes();
    let minutes = changes.get(&IceSource::Coturn.into()).into_iter().flat_map(|rows| &rows.minutes);
    let vouched = minutes.map(|(minute, row)| (minute.number(), row.vouched));
    vouched.filter(|(_, bytes)| *bytes > 0).collect()
}

#[test]
fn what_a_reporter_says_of_a_grant_is_vouched_whatever_its_page_says() {
    let mut table = opened(&[(1, "c")]);
    let mut report = |by, minute, report| vouched(&mut table, by, minute, report);
    assert_eq!(report(client(1), 2, received(500)), [], "a claim of a page");
    assert_eq!(report(Caller::Reporter, 3, received(900)), [(0, 300), (1, 300), (2, 300)]);
    assert_eq!(report(client(1), 4, received(9_000)), []);
    assert_eq!(report(Caller::Reporter, 5, received(1_200)), [(3, 150), (4, 150)]);
    let relayed = Report { relayed: Some(true), ..received(1_200) };
    assert_eq!(report(Caller::Reporter, 6, relayed), [], "nothing new");
    let page = |relayed| Report { relayed: Some(relayed), ..Report::default() };
    assert_eq!(report(client(1), 7, page(false)), []);
    // The time before may have been relayed.
    let direct = |bytes| Report { relayed: Some(false), ..received(bytes) };
    assert_eq!(report(Caller::Reporter, 8, direct(1_300)), [(6, 50), (7, 50)]);
    assert_eq!(report(client(1), 9, page(true)), []);
    assert_eq!(report(Caller::Reporter, 10, direct(1_400)), [], "not by a relay");
}

#[test]
fn the_connections_of_a_grant_are_vouched_for_up_to_what_one_client_can_relay() {
    let mut table = opened(&[(1, "a"), (1, "b")]);
    let mut report = |id| {
        table.heartbeat(Caller::Reporter, id, received(80_000_000), at(10)).unwrap();
        table.budget.proven().get()
    };
    assert_eq!(report("a"), 80_000_000);
    assert_eq!(report("b"), 125_000_000, "what a client can relay in 10 s");
}

#[test]
fn a_reporter_may_count_seldom() {
    let mut table = opened(&[(1, "c")]);
    for seconds in (0..7_200).step_by(20) {
        let _ = table.heartbeat(Caller::Reporter, "c", Report::default(), at(seconds)).unwrap();
    }
    let bytes = 7_200 * 12_500_000;
    assert!(!table.heartbeat(Caller::Reporter, "c", received(bytes), at(7_200)).unwrap().clamped);
    assert_eq!(table.used(IceSource::Coturn), bytes);
}

#[test]
fn a_freeze_leaves_a_reporter_what_a_relay_can_carry() {
    let frozen = || {
        let mut table = opened(&[(1, "c")]);
        table.grants.set_claim_rate(Some(BitRate::new(2_000_000)), at(10));
        table.budget.advance(at(10));
        table.connections.shrink_claims(&mut table.grants, at(10));
        table.apply_effects();
        table
    };
    let carried = received(20 * 12_500_000);
    assert!(!frozen().heartbeat(Caller::Reporter, "c", carried, at(20)).unwrap().clamped);
    let (mut table, huge) = (frozen(), received(HUGE));
    let claimed = table.report(client(1), "c", huge, at(20));
    assert_eq!(claimed, (20 * 250_000, true), "its time since the freeze, and what that gave back");
    assert!(table.heartbeat(Caller::Reporter, "c", huge, at(20)).unwrap().clamped);
    assert_eq!(table.used(IceSource::Coturn), 20 * 12_500_000);
}
