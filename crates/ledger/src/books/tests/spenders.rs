//! Tests of who spends, as the rows of grants and connections say.

use super::*;

fn named(user: Option<&str>, label: Option<&str>) -> Spender {
    Spender { user: user.and_then(User::new), label: label.and_then(Label::new), ..Spender::default() }
}

/// Anybody can open a connection under a name that an app server uses.
#[test]
fn a_reporter_names_the_spender_of_its_own_connection_and_of_no_grant() {
    let mut broker = Broker::open(setup(BudgetMode::Estimate), at(0));
    let grant = broker.mint_any(300);
    let books = &mut broker.books;
    books.open(Caller::Grant(grant), "call", None).unwrap();
    books.open(Caller::Reporter, "other", None).unwrap();
    for id in ["call", "other", "unknown"] {
        books.report_spender(Caller::Grant(grant), id, named(Some("eve"), Some("room-3")));
        books.report_spender(Caller::Reporter, id, named(Some("bob"), Some("room-2")));
        books.report_spender(Caller::Reporter, id, Spender::default());
    }
    assert_eq!(books.grants().get(grant.id).unwrap().spender, None);
    let of_connections: Vec<_> =
        books.connections().iter().map(|c| (c.name.id(), c.spender.as_deref())).collect();
    assert_eq!(of_connections, [("call", None), ("other", Some(&named(Some("bob"), Some("room-2"))))]);
    assert!(books.connections().has(Caller::Grant(grant), "call"));
    assert!(!books.connections().has(Caller::Reporter, "call"));
}
