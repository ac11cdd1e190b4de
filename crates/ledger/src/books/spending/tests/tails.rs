//! Which grants are asked for after their tail.

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

/// Those that are due by their expiry, at most two of one hour.
fn due(broker: &Broker, expired_before: Timestamp) -> Option<Tails> {
    broker.books.grants().tails(SOURCE, |expires_at| expires_at <= expired_before, 2, HOUR)
}

/// Looks at due tails, with a restart after each step, until none is due. Returns the indexes in `minted` of each step.
fn looked_at(broker: &mut Broker, minted: &[Grant], expired_before: Timestamp) -> Vec<Vec<usize>> {
    let mut looked_at = vec![];
    while let Some(Tails { grants, last }) = due(broker, expired_before) {
        let of = |id| minted.iter().position(|grant| grant.id == id);
        looked_at.push(grants.keys().filter_map(|id| of(*id)).collect::<Vec<_>>());
        looked_at.last_mut().unwrap().sort_unstable();
        broker.books.note_tails(SOURCE, last, Traffic::ZERO, Duration::ZERO);
        broker.restart();
    }
    looked_at
}

#[test]
fn each_grant_that_relayed_around_its_expiry_is_looked_at_once_also_over_restarts() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let lives = [60, 120, 180, 240, 1_800, 300, 5_000];
    let minted: Vec<_> = lives.map(|life| broker.mint(requester("ann"), life).unwrap()).into();
    let count = |broker: &mut Broker, until, counted: &[usize]| {
        broker.books.advance(at(until));
        let bytes: Vec<_> = counted.iter().map(|number| (minted[*number].id, MB)).collect();
        assert!(broker.count(at(until), true, &bytes, 0));
        while !broker.books.tidy() {}
    };
    // Of the sixth only a page says something, and the fifth relays only long before its expiry.
    broker.books.advance(at(280));
    broker.books.open(Caller::Grant(minted[5]), "c", Some(true)).unwrap();
    broker.books.advance(at(290));
    broker.beat(minted[5], MB);
    count(&mut broker, 600, &[0, 1, 2, 3, 4]);
    count(&mut broker, 5_400, &[6]);
    assert_eq!(looked_at(&mut broker, &minted, at(0)), Vec::<Vec<usize>>::new(), "none has expired");
    assert_eq!(looked_at(&mut broker, &minted, minted[2].expires_at), [vec![0, 1], vec![2]]);
    assert_eq!(looked_at(&mut broker, &minted, at(5_400)), [vec![3], vec![6]], "another hour");
    broker.books.advance(at(6_000));
    assert_eq!(due(&broker, at(6_000)), None);
}

#[test]
fn a_grant_whose_tail_is_not_looked_at_stays_over_a_reset() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ann = broker.mint(requester("ann"), 60).unwrap();
    broker.books.advance(at(600));
    assert!(broker.count(at(600), true, &[(ann.id, MB)], 0));
    broker.books.advance(at(7_260));
    while !broker.books.tidy() {}
    assert!(broker.books.grants().knows(ann.id) && broker.books.grants().iter().count() == 0);
    assert_eq!(looked_at(&mut broker, &[ann], at(600)), [vec![0]]);
    while !broker.books.tidy() {}
    assert!(!broker.books.grants().knows(ann.id));
}
