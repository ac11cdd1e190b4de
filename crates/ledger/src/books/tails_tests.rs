//! The promises of many grants are raised and lowered in steps.

use super::cutting::promised;
use super::*;
use crate::books::commit::Written;

impl Broker {
    /// Mints grants for an hour until there are so many.
    fn mint_until(&mut self, count: u16) {
        for number in u16::try_from(self.books.grants().count()).unwrap()..count {
            let mut id = [0; 16];
            id[..2].copy_from_slice(&number.to_be_bytes());
            let (requester, issued_at) = (Requester::default(), self.books.now());
            let hold = self.books.reserve(COTURN, Duration::from_secs(HOUR), MINT_SLACK, &requester).unwrap();
            let expires_at = issued_at.plus(hold.life());
            let grant = Grant { id: GrantId::new(id), source: COTURN, issued_at, expires_at };
            let commit = self.books.commit(hold, &grant, None, requester).unwrap();
            self.books.note_written(&commit, Written::Yes).unwrap();
        }
    }

    /// How many grants have the long tail.
    fn long_tails(&self) -> usize {
        let is_long = |row: &GrantRow| {
            row.alive_until() > Some(Minute::from_end(row.expires_at.plus(Duration::from_secs(HOUR))))
        };
        self.books.grants().iter().filter(|(_, row)| is_long(row)).count()
    }
}

/// A step changes 250 grants.
#[test]
fn the_tails_of_many_grants_change_in_steps() {
    let mut broker = Broker::open(&setup(BudgetMode::Estimate));
    broker.list(0, &[]);
    broker.mint_until(600);
    broker.books.advance(at(16));
    assert_eq!(broker.long_tails(), 250);
    broker.mint_until(601);
    assert_eq!((broker.long_tails(), broker.books.tidy()), (251, false));
    assert!((500..=501).contains(&broker.long_tails()), "the new one has a long tail from the start");
    broker.list(17, &[]);
    assert!(!broker.books.tidy());
    assert!(broker.long_tails() <= 101, "two of three steps");
    broker.books.advance(at(33));
    while !broker.books.tidy() {}
    assert_eq!(broker.long_tails(), 601, "those that were lowered, too");
    broker.list(34, &[]);
    while !broker.books.tidy() {}
    let ends = broker.books.grants().iter().map(|(_, row)| row.alive_until());
    assert_eq!(ends.max().unwrap(), Some(promised(16 + HOUR, 30)));
}

/// What strict mode admits next relies on all promises.
#[test]
fn strict_mode_raises_all_tails_at_once() {
    let mut strict = setup(BudgetMode::Strict);
    strict.terms.limit = ByteCount::new(u64::MAX / 2);
    let mut broker = Broker::open(&strict);
    broker.list(0, &[]);
    broker.mint_until(600);
    broker.books.advance(at(16));
    assert_eq!(broker.long_tails(), 600);
}
