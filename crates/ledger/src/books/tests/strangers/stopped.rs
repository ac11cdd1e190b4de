//! What clients can still do with revoked grants, and while the budget is frozen.

use super::*;

#[test]
fn a_revoked_grant_reports_nothing_more() {
    let mut world = World::new(BudgetMode::Estimate);
    let mut client = Client::at("203.0.113.9");
    world.mint(&mut client).unwrap();
    let grant = client.grants[0];
    let caller = Caller::Grant(grant);
    for id in ["a", "b"] {
        world.books.open(caller, id, None).unwrap();
    }
    world.pass(10_000);
    let (row, closed) = world.books.revoke(grant.id).unwrap();
    assert_eq!((row.extra().revoked_at, closed.len()), (Some(at(world.now)), 2));
    assert_eq!(world.used(), 2 * 10 * 250_000);
    assert_eq!(world.books.snapshot().open_connections, 0);
    world.pass(60_000);
    assert_eq!(world.books.open(caller, "c", None), Err(OpenError::GrantRevoked));
    assert_eq!(world.books.heartbeat(caller, "a", received(GB)).unwrap_err(), ReportError::GrantRevoked);
    assert_eq!(world.books.close(caller, "a", received(GB)).unwrap_err(), ReportError::GrantRevoked);
    world.restart();
    assert_eq!(world.used(), 2 * 10 * 250_000);
    let revoked: Vec<_> = world.books.grants().revoked().map(|revoked| revoked.grant).collect();
    assert_eq!(revoked, [grant.id]);
}

#[test]
fn a_revoked_grant_reports_nothing_after_its_end() {
    let mut world = World::new(BudgetMode::Estimate);
    let mut client = Client::at("203.0.113.9");
    world.mint(&mut client).unwrap();
    let grant = client.grants[0];
    let caller = Caller::Grant(grant);
    world.books.revoke(grant.id).unwrap();
    world.pass(30 * HOUR);
    for _ in 0..2 {
        assert!(world.books.grants().get(grant.id).is_none(), "its row has ended");
        assert_eq!(world.books.open(caller, "c", None), Err(OpenError::GrantRevoked));
        let report = world.books.heartbeat(caller, "c", Report::default());
        assert_eq!(report.unwrap_err(), ReportError::GrantRevoked);
        let close = world.books.close(caller, "c", Report::default());
        assert_eq!(close.unwrap_err(), ReportError::GrantRevoked);
        world.restart();
    }
}

#[test]
fn while_frozen_a_client_claims_no_more_than_its_promise() {
    let mut world = World::new(BudgetMode::Estimate);
    let mut client = Client::at("203.0.113.9");
    world.mint(&mut client).unwrap();
    let caller = Caller::Grant(client.grants[0]);
    for n in 0..10 {
        world.books.open(caller, &n.to_string(), None).unwrap();
    }
    world.pass(10_000);
    let before = world.used();
    world.books.override_freeze(true);
    let committed = world.books.snapshot().figures.committed;
    for beat in 1..=10 {
        world.pass(HEARTBEAT);
        if beat == 5 {
            world.restart();
        }
        for n in 0..10 {
            let _ = world.books.heartbeat(caller, &n.to_string(), received(u64::MAX));
        }
        let promised = 250_000 * 30 * beat;
        assert!(world.used() <= before + promised, "{} after {beat}", world.used() - before);
    }
    assert!(world.books.snapshot().figures.committed <= committed.plus(ByteCount::new(before)));
    world.books.override_freeze(false);
    let before = world.used();
    world.pass(HEARTBEAT);
    let _ = world.books.heartbeat(caller, "0", received(u64::MAX));
    assert!(world.used() - before > 100_000_000, "everything is as it was");
}

#[test]
fn a_freeze_drops_what_grants_without_an_open_connection_have_saved() {
    let mut world = World::new(BudgetMode::Estimate);
    let mut client = Client::at("203.0.113.9");
    world.mint(&mut client).unwrap();
    let caller = Caller::Grant(client.grants[0]);
    let direct = Report { relayed: Some(false), ..Report::default() };
    world.books.open(caller, "before", Some(false)).unwrap();
    for _ in 0..20 {
        world.pass(HEARTBEAT);
        world.books.heartbeat(caller, "before", direct).unwrap();
    }
    world.books.close(caller, "before", direct).unwrap();
    world.books.override_freeze(true);
    world.books.open(caller, "after", Some(true)).unwrap();
    world.pass(HEARTBEAT);
    let _ = world.books.heartbeat(caller, "after", received(u64::MAX)).unwrap();
    assert_eq!(world.used(), 250_000 * 30, "what is promised for the time since");
}
