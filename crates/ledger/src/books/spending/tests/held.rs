//! Tests of the part of a table that one address may hold.

use super::*;

/// Each table but that of users has 32 rows: two for an address, eight for a /48, and ten times as many for an address with users.
fn broker() -> Broker {
    Broker::new(BudgetMode::Estimate, SpenderTerms { others_max: 32, ..SpenderTerms::default() })
}

fn labelled(label: &str, address: &str, user: Option<&str>) -> Requester {
    let user = user.and_then(User::new);
    let spender = Spender { user, label: Label::new(label), ..Spender::default() };
    let client = Some(ClientKey::of(address.parse().unwrap()));
    Requester { client, spender: spender.known(), ..Requester::default() }
}

/// How many labels have a row.
fn labels(broker: &Broker) -> usize {
    broker.books.grants().spenders().counts_of(SpenderKind::Label).0
}

#[test]
fn one_address_holds_a_part_of_a_table_and_the_rest_of_it_is_for_others() {
    let mut broker = broker();
    let mut mint = |label: usize, address: &str| {
        broker.mint(labelled(&label.to_string(), address, None), 60).unwrap();
        labels(&broker)
    };
    assert_eq!((0..4).map(|label| mint(label, "203.0.113.9")).last(), Some(2));
    let of_network = |n: usize| format!("2001:db8:1:{n}::1");
    assert_eq!(
        (10..30).map(|n| mint(n, &of_network(n))).last(),
        Some(2 + 8),
        "its /48 has four times as much"
    );
    assert_eq!(mint(40, "2001:db8:2::1"), 11, "another /48");
    assert_eq!(mint(41, "203.0.113.10"), 12, "another address");
    for _ in 0..2 {
        let rows = broker.books.spenders(SpenderKind::Label, 100, None);
        assert_eq!(rows.iter().map(|row| row.live).sum::<u64>(), 12, "also after a restart");
        broker.restart();
    }
    broker.books.advance(at(120));
    broker.books.tidy();
    for label in 50..54 {
        broker.mint(labelled(&label.to_string(), "203.0.113.9", None), 60).unwrap();
    }
    assert_eq!(labels(&broker), 14, "a row without a live grant is held by nobody");
}

#[test]
fn an_address_holds_ten_times_as_many_rows_for_users() {
    let mut broker = broker();
    for n in 0..30 {
        broker.mint(labelled(&n.to_string(), "203.0.113.9", Some(&format!("user-{n}"))), 60).unwrap();
    }
    assert_eq!(labels(&broker), 20);
    assert_eq!(broker.books.grants().spenders().counts_of(SpenderKind::User).0, 30, "users have signed in");
    broker.mint(labelled("a", "203.0.113.9", None), 60).unwrap();
    assert_eq!(labels(&broker), 21);
}
