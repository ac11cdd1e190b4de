//! Tests of who spends, as the rows of grants and connections say.

use super::*;
use crate::{Label, Spender, User};

fn named(user: Option<&str>, label: Option<&str>) -> Spender {
    Spender { user: user.and_then(User::new), label: label.and_then(Label::new), ..Spender::default() }
}

#[test]
fn a_reporter_names_the_spender_of_a_grants_connection_and_of_its_own() {
    let mut books = books();
    let hold = books
        .reserve(IceSource::Cloudflare, Duration::from_secs(300), Duration::ZERO, &Requester::default())
        .unwrap();
    let grant = minted(at(0), 300);
    let spender = named(Some("ann"), Some("room-1")).known();
    let requester = Requester { spender, ..Requester::default() };
    let (commit, _) = books.commit(hold, &grant, None, requester).unwrap();
    books.note_written(&commit, Written::Yes).unwrap();
    books.open(Caller::Grant(grant), "call", None).unwrap();
    books.open(Caller::Reporter, "other", None).unwrap();
    for id in ["call", "other", "unknown"] {
        books.report_spender(Caller::Grant(grant), id, named(Some("eve"), Some("room-3")));
        books.report_spender(Caller::Reporter, id, named(Some("bob"), Some("room-2")));
        books.report_spender(Caller::Reporter, id, Spender::default());
    }
    let of_grant = books.grants().get(grant.id).unwrap().spender.as_deref();
    assert_eq!(of_grant, Some(&named(Some("ann"), Some("room-2"))), "the user of the grant's token stays");
    let of_connections: Vec<_> = books.connections().iter().map(|c| (&*c.id, c.spender.as_deref())).collect();
    assert_eq!(of_connections, [("call", None), ("other", Some(&named(Some("bob"), Some("room-2"))))]);
}
