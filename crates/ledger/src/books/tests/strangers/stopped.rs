//! What clients can still do with revoked grants, and while the budget is frozen.

use super::*;

/// A client with one grant.
fn with_a_grant() -> (World, Grant) {
    let mut world = World::new(BudgetMode::Estimate);
    let grant = world.mint(&mut Client::at("203.0.113.9")).unwrap();
    (world, grant)
}

/// A revoked grant reports nothing, neither of connections that were open nor of new ones.
fn expect_refused(world: &mut World, grant: Grant) {
    let (caller, books) = (Caller::Grant(grant), &mut world.broker.books);
    assert_eq!(books.open(caller, "new", None), Err(OpenError::GrantRevoked));
    let member = Caller::Member(grant);
    assert_eq!(books.open(member, "new", None), Err(OpenError::GrantRevoked));
    assert_eq!(books.heartbeat(caller, "a", received(GB)).unwrap_err(), ReportError::GrantRevoked);
    assert_eq!(books.close(caller, "a", received(GB)).unwrap_err(), ReportError::GrantRevoked);
}

#[test]
fn a_revoked_grant_reports_nothing_more_also_after_its_end() {
    let (mut world, grant) = with_a_grant();
    for id in ["a", "b"] {
        world.broker.books.open(Caller::Grant(grant), id, None).unwrap();
    }
    world.pass(10_000);
    let now = world.broker.books.now();
    let (row, closed) = world.broker.books.revoke(grant.id).unwrap();
    assert_eq!((row.extra().revoked_at, closed.len()), (Some(now), 2));
    assert_eq!(world.broker.used(), 2 * 10 * 250_000);
    assert_eq!(world.broker.books.snapshot().open_connections, 0);
    world.pass(60_000);
    expect_refused(&mut world, grant);
    world.broker.restart();
    assert_eq!(world.broker.used(), 2 * 10 * 250_000);
    let revoked: Vec<_> = world.broker.books.grants().revoked().map(|revoked| revoked.grant).collect();
    assert_eq!(revoked, [grant.id]);
    world.pass(30 * HOUR);
    for _ in 0..2 {
        assert!(world.broker.books.grants().get(grant.id).is_none(), "its row has ended");
        expect_refused(&mut world, grant);
        world.broker.restart();
    }
}

#[test]
fn while_frozen_a_client_claims_no_more_than_its_promise() {
    let (mut world, grant) = with_a_grant();
    let caller = Caller::Grant(grant);
    for n in 0..10 {
        world.broker.books.open(caller, &n.to_string(), None).unwrap();
    }
    world.pass(10_000);
    let before = world.broker.used();
    world.broker.books.override_freeze(true);
    let committed = world.broker.committed();
    for beat in 1..=10 {
        world.pass(HEARTBEAT);
        if beat == 5 {
            world.broker.restart();
        }
        for n in 0..10 {
            let _ = world.broker.books.heartbeat(caller, &n.to_string(), received(u64::MAX));
        }
        let promised = 250_000 * 30 * beat;
        assert!(world.broker.used() <= before + promised, "{} after {beat}", world.broker.used() - before);
    }
    assert!(world.broker.committed() <= committed + before);
    world.broker.books.override_freeze(false);
    let before = world.broker.used();
    world.pass(HEARTBEAT);
    let _ = world.broker.books.heartbeat(caller, "0", received(u64::MAX));
    assert!(world.broker.used() - before > 100_000_000, "everything is as it was");
}

#[test]
fn a_freeze_drops_what_grants_without_an_open_connection_have_saved() {
    let (mut world, grant) = with_a_grant();
    let caller = Caller::Grant(grant);
    let direct = Report { relayed: Some(false), ..Report::default() };
    world.broker.books.open(caller, "before", Some(false)).unwrap();
    for _ in 0..20 {
        world.pass(HEARTBEAT);
        world.broker.books.heartbeat(caller, "before", direct).unwrap();
    }
    world.broker.books.close(caller, "before", direct).unwrap();
    world.broker.books.override_freeze(true);
    world.broker.books.open(caller, "after", Some(true)).unwrap();
    world.pass(HEARTBEAT);
    let _ = world.broker.books.heartbeat(caller, "after", received(u64::MAX)).unwrap();
    assert_eq!(world.broker.used(), 250_000 * 30, "what is promised for the time since");
}
