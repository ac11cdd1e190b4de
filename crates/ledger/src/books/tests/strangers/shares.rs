//! The share of a strict budget that one address can reserve.

use super::*;

#[test]
fn in_strict_mode_an_address_reserves_its_share_and_no_other_address_is_refused() {
    let mut world = World::new(BudgetMode::Strict);
    let mut attacker = Client::at("203.0.113.9");
    world.attack(&mut attacker, Some(7));
    let figures = world.broker.books.snapshot().figures;
    assert!(figures.committed.get() <= 50 * GB, "{:?}", figures.committed);
    assert!(attacker.grants.len() > 10, "lives shrink before anything is refused: {}", attacker.grants.len());
    let Err(NotAdmitted::Refused(refusal)) = world.mint(&mut attacker) else { panic!("it has its share") };
    let frees_at = refusal.client_frees_at.expect("the budget has room");
    assert!(frees_at > figures.now && !figures.is_spent());
    for n in 0..15 {
        world.mint(&mut Client::at(&format!("198.51.100.{n}"))).unwrap();
    }
    world.pass(frees_at.millis_since(figures.now));
    assert!(world.mint(&mut attacker).is_ok(), "Retry-After tells the truth");
}

#[test]
fn in_strict_mode_the_addresses_of_a_prefix_of_48_bits_reserve_four_shares() {
    let mut world = World::new(BudgetMode::Strict);
    for n in 0..10 {
        let mut client = Client::at(&format!("2001:db8:1:{n}::1"));
        while world.mint(&mut client).is_ok() {}
    }
    let committed = world.broker.committed();
    assert!((150 * GB..=200 * GB).contains(&committed), "{committed}");
}

#[test]
fn a_budget_whose_share_is_smaller_than_one_credential_is_usable() {
    let mut world = World::new(BudgetMode::Strict);
    world.broker.setup.terms.limit = ByteCount::new(10 * GB);
    world.broker.restart();
    let (mut first, mut second) = (Client::at("203.0.113.9"), Client::at("203.0.113.10"));
    assert!(world.mint(&mut first).is_ok());
    assert!(world.mint(&mut first).is_err(), "one credential of five minutes is all");
    assert!(world.mint(&mut second).is_ok());
}
