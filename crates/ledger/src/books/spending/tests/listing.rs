//! Lists of grants and of spenders: their order, their pages, and what is kept of a spender.

use super::*;

fn page(broker: &Broker, filter: &GrantFilter, limit: usize, after: Option<GrantPlace>) -> Vec<ListedGrant> {
    let mut page = GrantPage::new(filter.clone(), limit, after, None);
    while !page.look(broker.books.grants(), broker.books.now()) {}
    page.rows(broker.books.grants(), broker.books.now())
}

#[test]
fn grants_are_listed_with_the_most_bytes_first_in_pages() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let grants = ["ann", "bob", "ann", "eve"].map(|name| broker.mint(requester(name), 600).unwrap());
    let bytes: Vec<_> = grants.iter().zip([3, 9, 5, 5]).map(|(grant, bytes)| (grant.id, bytes)).collect();
    assert!(broker.count(at(0), true, &bytes, 0));
    let list = |broker: &Broker, filter: &GrantFilter, limit, after| {
        let found = page(broker, filter, limit, after);
        let found = found.iter().map(|grant| (grant.spent.bytes().get(), grant.live));
        found.collect::<Vec<_>>()
    };
    let all = GrantFilter::default();
    assert_eq!(list(&broker, &all, 10, None), [(9, true), (5, true), (5, true), (3, true)]);
    let first = page(&broker, &all, 2, None);
    assert_eq!(list(&broker, &all, 2, first.last().map(ListedGrant::place)), [(5, true), (3, true)]);
    let of_ann = GrantFilter { keys: vec![SpenderKey::User(user("ann"))], ..all.clone() };
    assert_eq!(list(&broker, &of_ann, 10, None), [(5, true), (3, true)]);
    let elsewhere = GrantFilter {
        keys: vec![SpenderKey::parse(SpenderKind::Address, "192.0.2.1").unwrap()],
        ..all.clone()
    };
    assert_eq!(list(&broker, &elsewhere, 10, None), []);
    broker.books.advance(at(800));
    broker.books.tidy();
    let live = GrantFilter { live: Some(true), ..all.clone() };
    assert_eq!((list(&broker, &live, 10, None), list(&broker, &all, 1, None)), (vec![], vec![(9, false)]));
}

#[test]
fn many_counts_and_a_long_list_are_taken_in_parts_and_a_crash_lets_no_part_count_twice() {
    const MANY: u64 = 2_100;
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ids: Vec<_> = (0..MANY).map(|_| broker.mint(requester("ann"), 600).unwrap().id).collect();
    let unknown = (GrantId::new([9; 16]), Traffic::new(0, 50));
    let by_grant = ids.iter().map(|id| (*id, Traffic::new(0, 3))).chain([unknown]).collect();
    let other = Traffic::new(0, 7);
    let counts = GrantCounts {
        from: before(),
        until: at(60),
        by_grant,
        other,
        is_complete: true,
        is_final: true,
        at: at(60),
    };
    assert!(!broker.take_once(&first_answer(&counts)));
    for _ in 0..2 {
        assert_eq!(broker.books.take_grant_counts(SOURCE, &counts), CountsTaken::InPart);
        assert_eq!(broker.books.grants().counted_until(SOURCE), before());
        broker.restart();
    }
    assert_eq!(broker.of("ann"), Some((1_500, 0, 1_500)));
    assert!(broker.take(&counts));
    assert_eq!(broker.books.grants().counted_until(SOURCE), at(60));
    assert_eq!(broker.books.grants().unknown_bytes().get(), 57);
    assert!(broker.count(at(90), false, &[(ids[0], 2)], 0));
    let sum = 3 * MANY + 2;
    assert_eq!(broker.of("ann"), Some((sum, 0, sum)), "every grant counts once");
    let mut list = GrantPage::new(GrantFilter::default(), 1, None, None);
    assert!(!list.look(broker.books.grants(), at(0)), "not all are looked at");
    let rows = page(&broker, &GrantFilter::default(), 2, None);
    assert_eq!(rows.iter().map(|row| row.spent.bytes().get()).collect::<Vec<_>>(), [5, 3]);
    assert_eq!(rows[0].id, ids[0]);
}

#[test]
fn the_grants_of_a_call_have_one_sum_and_a_renewal_stays_in_it() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let of = |spender: Spender| Requester { spender: spender.known(), ..Requester::default() };
    let in_call = Spender { call: Some(Call::of("ayame", "room-1")), ..Spender::default() };
    let first = broker.mint(of(in_call.clone()), 600).unwrap();
    let renewed = broker.mint(of(Spender::default().renewing(Some(&in_call))), 600).unwrap();
    let other = broker.mint(requester("ann"), 600).unwrap();
    assert!(broker.count(at(0), true, &[(first.id, 5), (renewed.id, 2), (other.id, 9)], 0));
    for _ in 0..2 {
        assert_eq!(broker.sums(SpenderKind::Call, "ayame/room-1"), Some((7, 0, 7)));
        let filter = GrantFilter { keys: vec![SpenderKey::Call(Call::of("ayame", "room-1"))], live: None };
        let found = page(&broker, &filter, 10, None);
        assert_eq!(found.iter().map(|grant| grant.id).collect::<Vec<_>>(), [first.id, renewed.id]);
        broker.restart();
    }
}

#[test]
fn what_is_kept_of_an_address_is_a_setting() {
    let address = "2001:db8:1:2::7".parse().unwrap();
    for (addresses, expected) in [
        (KeptAddresses::Full, Some("2001:db8:1:2::7")),
        (KeptAddresses::Prefix, Some("2001:db8:1:2::/64")),
        (KeptAddresses::None, None),
    ] {
        let mut broker =
            Broker::new(BudgetMode::Estimate, SpenderTerms { addresses, ..SpenderTerms::default() });
        let client = Some(ClientKey::of(std::net::IpAddr::V6(address)));
        broker.mint(Requester { client, address: Some(address), ..requester("ann") }, 600).unwrap();
        let rows = testing::spenders(&broker.books, SpenderKind::Address);
        let keys: Vec<_> = rows.iter().filter_map(|row| row.key.as_ref()).map(ToString::to_string).collect();
        assert_eq!(keys.first().map(String::as_str), expected);
        let kept = broker.disk.grants.iter().any(|(_, row)| row.extra().address.is_some());
        assert_eq!(kept, addresses == KeptAddresses::Full);
    }
}
