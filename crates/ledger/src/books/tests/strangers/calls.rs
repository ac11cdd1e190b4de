//! The time of members of calls is a claim of their grants.

use super::*;

#[test]
fn a_member_of_a_call_is_a_connection_of_its_grant() {
    let mut world = World::new(BudgetMode::Estimate);
    let mut client = Client::at("203.0.113.9");
    world.mint(&mut client).unwrap();
    let grant = client.grants[0];
    let member = world.broker.books.member_with(grant.id).unwrap();
    assert_eq!(member, Caller::Member(grant));
    world.broker.books.open(member, "m", Some(true)).unwrap();
    assert!(world.broker.books.heartbeat(Caller::Grant(grant), "m", received(5 * GB)).unwrap().clamped);
    assert!(world.broker.books.heartbeat(member, "m", received(10 * GB)).unwrap().clamped, "it is a claim");
    let (_, closed) = world.broker.books.revoke(grant.id).unwrap();
    assert_eq!(closed.len(), 1);
    assert_eq!(world.broker.books.open(member, "again", None), Err(OpenError::GrantRevoked));
    assert_eq!(world.broker.books.member_with(GrantId::new([9; 16])), None);
}

#[test]
fn the_members_of_calls_of_one_address_are_charged_at_most_its_rate() {
    for address in ["203.0.113.9", "2001:db8:1:2::1"] {
        let mut world = World::new(BudgetMode::Estimate);
        let mut client = Client::at(address);
        for _ in 0..64 {
            world.mint(&mut client).unwrap();
        }
        let members: Vec<_> =
            client.grants.iter().map(|grant| world.broker.books.member_with(grant.id).unwrap()).collect();
        for member in &members {
            world.broker.books.open(*member, "m", None).unwrap();
        }
        for _ in 0..HOUR / HEARTBEAT {
            world.pass(HEARTBEAT);
            for member in &members {
                world.broker.books.heartbeat(*member, "m", Report::default()).unwrap();
            }
        }
        assert_eq!(world.broker.used(), 22_500_000_000, "50 Mbps for an hour, not 64 times 2 Mbps");
        assert!(world.broker.books.snapshot().counts.clamped > 0);

        world.mint(&mut client).unwrap();
        let page = Caller::Grant(client.grants[64]);
        world.broker.books.open(page, "c", None).unwrap();
        // Reports share the rate.
        assert!(world.broker.books.heartbeat(page, "c", received(GB)).unwrap().clamped);
    }
}
