//! Tests of the table of connections. [`reporter`] tests what an app server may say.

mod reporter;

use crate::testing::prelude::*;

use super::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(0).plus_millis(seconds * 1_000)
}

type Opening = Result<Outcome<Opened>, OpenError>;
type Reported<T> = Result<T, ReportError>;

/// A table of connections with its grants and ledger.
struct Table {
    connections: Connections,
    grants: Grants,
    budget: Budget,
}

impl Table {
    fn open(&mut self, by: Caller<'_>, id: &str, relayed: Option<bool>, now: Timestamp) -> Opening {
        self.budget.advance(now);
        let opened = self.connections.open(&mut self.grants, by, id, relayed, now);
        self.apply_effects();
        opened
    }

    /// As the books do it.
    fn apply_effects(&mut self) {
        std::iter::from_fn(|| self.grants.effects.take()).for_each(|effect| self.budget.apply(effect));
    }

    fn heartbeat(
        &mut self,
        by: Caller<'_>,
        id: &str,
        report: Report,
        now: Timestamp,
    ) -> Reported<Outcome<()>> {
        self.budget.advance(now);
        let reported = self.connections.heartbeat(&mut self.grants, by, id, report, now);
        self.apply_effects();
        reported
    }

    /// All bytes that the source of a report was charged after it, and whether the report was clamped.
    fn report(&mut self, by: Caller<'_>, id: &str, report: Report, now: Timestamp) -> (u64, bool) {
        let outcome = self.heartbeat(by, id, report, now).unwrap();
        let source = by.grant().map_or(IceSource::Cloudflare, |grant| grant.source);
        (self.used(source), outcome.clamped)
    }

    fn close(&mut self, by: Caller<'_>, id: &str, now: Timestamp) -> Reported<Option<Outcome<Closed>>> {
        self.budget.advance(now);
        let closed = self.connections.close(&mut self.grants, by, id, now);
        self.apply_effects();
        closed
    }

    fn elapse(&mut self) -> Option<Closed> {
        let due = self.connections.next_due(at(1_000)).unwrap();
        self.budget.advance(due);
        let closed = self.connections.elapse(&mut self.grants);
        self.apply_effects();
        closed
    }

    /// Bytes that a source was charged.
    fn used(&self, source: IceSource) -> u64 {
        self.budget.used_of(source).get()
    }
}

fn empty() -> Table {
    bounded(Bounds::default())
}

fn bounded(bounds: Bounds) -> Table {
    let connections = Connections::new(testing::rules(2_000_000), bounds.connections, IceSource::Cloudflare);
    let terms = GrantTerms { bounds, ..GrantTerms::default() };
    Table { connections, grants: Grants::new(terms, Period::default()), budget: testing::budget() }
}

/// A table with connections of clients, by number and name, which opened at 0 s.
fn opened(connections: &[(u8, &str)]) -> Table {
    let mut table = empty();
    for (number, id) in connections {
        let _ = table.open(client(*number), id, None, at(0)).unwrap();
    }
    table
}

fn client(id: u8) -> Caller<'static> {
    Caller::Grant(Grant {
        id: GrantId::new([id; 16]),
        source: IceSource::Coturn,
        issued_at: at(0),
        expires_at: at(600),
    })
}

fn received(bytes: u64) -> Report {
    Report { bytes_received: Some(bytes), ..Report::default() }
}

#[test]
fn a_grant_is_marked_reported_once_and_its_source_is_charged() {
    let mut table = empty();
    for id in ["a", "b"] {
        table.open(client(1), id, None, at(0)).unwrap();
        assert_eq!(table.budget.counts.reported, 1);
    }
    table.open(Caller::Reporter, "c", None, at(0)).unwrap();
    table.budget.advance(at(10));
    assert_eq!(table.budget.counts.reported, 1);
    let changes = table.budget.take_changes();
    let millis = |source: IceSource| {
        let row = changes[&source.into()].minutes[&Minute::new(0)];
        (row.granted.connection_millis, row.ungranted.connection_millis)
    };
    assert_eq!(millis(IceSource::Coturn), (20_000, 0));
    assert_eq!(millis(IceSource::Cloudflare), (0, 10_000));
}

#[test]
fn a_client_may_close_its_connection_twice_beside_one_of_the_reporter_with_the_same_id() {
    let mut table = opened(&[(1, "c")]);
    table.open(Caller::Reporter, "c", None, at(0)).unwrap();
    assert!(table.close(client(1), "c", at(1)).unwrap().is_some());
    assert_eq!(table.close(client(1), "c", at(1)), Ok(None));
    assert_eq!(table.close(client(2), "c", at(1)), Ok(None), "it belongs to no grant");
    assert!(table.close(Caller::Reporter, "c", at(1)).unwrap().is_some());
}

#[test]
fn the_reporter_may_close_a_clients_connection_unless_two_clients_have_one_of_this_id() {
    let mut table = opened(&[(1, "c"), (2, "c")]);
    assert_eq!(table.close(Caller::Reporter, "c", at(1)), Err(ReportError::Unknown));
    assert_eq!(table.connections.row_counts().0, 2);
    let _ = table.close(client(2), "c", at(1)).unwrap();
    assert!(table.close(Caller::Reporter, "c", at(1)).unwrap().is_some());
}

/// Its connection may have ended by a call whose answer was lost, or because it was silent for too long.
#[test]
fn a_report_of_the_reporters_ended_connection_does_not_change_a_clients_connection_of_this_id() {
    let mut table = opened(&[(1, "before")]);
    for id in ["before", "after"] {
        table.open(Caller::Reporter, id, None, at(0)).unwrap();
    }
    table.open(client(1), "after", None, at(0)).unwrap();
    for id in ["before", "after"] {
        assert!(table.close(Caller::Reporter, id, at(1)).unwrap().is_some());
        assert_eq!(table.close(Caller::Reporter, id, at(1)), Ok(None), "{id}");
        let late = table.heartbeat(Caller::Reporter, id, received(1), at(1));
        assert_eq!(late, Err(ReportError::Unknown), "{id}");
    }
    assert_eq!(table.connections.row_counts().0, 2);
}

#[test]
fn an_expired_grant_opens_no_connection_but_keeps_the_open_ones() {
    let mut table = empty();
    let _ = table.open(client(1), "c", None, at(599)).unwrap();
    assert_eq!(table.open(client(1), "d", None, at(600)), Err(OpenError::GrantExpired));
    let again = table.open(client(1), "c", None, at(605)).unwrap();
    assert_eq!(again.value, Opened::Already, "nothing is opened");
    assert!(table.heartbeat(client(1), "c", Report::default(), at(610)).is_ok());
    assert!(table.close(client(1), "c", at(620)).unwrap().is_some());
}

#[test]
fn three_missed_heartbeats_close_a_connection_one_interval_after_its_last_report() {
    let mut table = opened(&[(1, "c")]);
    assert_eq!(table.connections.next_due(at(29)), None);
    assert_eq!(table.connections.next_due(at(1_000)), Some(at(30)));
    assert_eq!(table.elapse(), None, "its clock stops");
    assert_eq!(table.connections.next_due(at(1_000)), Some(at(90)));
    let closed = table.elapse().unwrap();
    assert_eq!((closed.charged, closed.given_up), (ByteCount::new(7_500_000), true));
    assert_eq!(table.used(IceSource::Coturn), 7_500_000);
    assert_eq!((table.connections.row_counts().0, table.connections.next_due(at(1_000))), (0, None));
}

#[test]
fn a_full_table_refuses_new_connections() {
    let mut table = bounded(Bounds { connections: 2, grants: 10, ..Bounds::default() });
    let _ = table.open(Caller::Reporter, "a", None, at(0)).unwrap();
    let _ = table.open(Caller::Reporter, "b", None, at(0)).unwrap();
    assert_eq!(table.open(Caller::Reporter, "c", None, at(0)), Err(OpenError::TableFull));
    let mut table = bounded(Bounds { connections: 10, grants: 1, ..Bounds::default() });
    let _ = table.open(client(1), "a", None, at(0)).unwrap();
    assert_eq!(table.open(client(2), "b", None, at(0)), Err(OpenError::TableFull));
    assert!(table.open(client(1), "b", None, at(0)).is_ok(), "a grant that is known may open more");
}

#[test]
fn a_server_key_holds_at_most_a_quarter_and_a_quarter_stays_free_for_clients() {
    let mut table = bounded(Bounds { connections: 8, grants: 10, ..Bounds::default() });
    let keys = ["a", "b", "c", "d"].map(|name| Label::new(name).unwrap());
    let mut open = |by, id: &str| table.open(by, id, Some(false), at(0)).map(|_| ());
    for key in keys.iter().take(3) {
        let by = Caller::Server(key);
        assert_eq!((open(by, "1"), open(by, "2")), (Ok(()), Ok(())));
        let full = if *key == keys[2] { OpenError::TableFull } else { OpenError::TooManyOnClient };
        assert_eq!(open(by, "3"), Err(full), "{key:?}");
    }
    for by in [Caller::Server(&keys[3]), Caller::Reporter] {
        assert_eq!(open(by, "1"), Err(OpenError::TableFull));
    }
    assert_eq!((open(client(1), "1"), open(client(1), "2")), (Ok(()), Ok(())));
    let _ = table.close(Caller::Server(&keys[0]), "1", at(1)).unwrap().unwrap();
    assert!(table.open(Caller::Server(&keys[0]), "3", None, at(1)).is_ok(), "a place is free again");
}

#[test]
fn a_lost_connection_adds_allowance_for_one_interval() {
    let mut table = opened(&[(1, "a")]);
    while table.connections.row_counts().0 > 0 {
        table.elapse();
    }
    assert_eq!(table.used(IceSource::Coturn), 30 * 250_000, "the interval was charged by time");
    let _ = table.open(client(1), "b", None, at(100)).unwrap();
    let report = table.report(client(1), "b", received(u64::MAX), at(100));
    assert_eq!(report, (30 * 12_500_000, true), "the rest of the interval");
}

#[test]
fn a_connection_that_was_never_stored_leaves_no_change_to_store() {
    let mut table = empty();
    let _ = table.open(Caller::Reporter, "stored", None, at(0)).unwrap();
    assert_eq!(table.connections.take_changes().len(), 1);
    for n in 0..1_000 {
        let name = format!("c{n}");
        let _ = table.open(Caller::Reporter, &name, None, at(1)).unwrap();
        let _ = table.close(Caller::Reporter, &name, at(2)).unwrap();
    }
    // A stored connection must be removed from the disk, even if it is opened and closed again first.
    let _ = table.close(Caller::Reporter, "stored", at(2)).unwrap();
    let _ = table.open(Caller::Reporter, "stored", None, at(3)).unwrap();
    let _ = table.close(Caller::Reporter, "stored", at(4)).unwrap();
    let changes = table.connections.take_changes();
    assert_eq!(changes.len(), 1);
    assert!(changes.iter().all(|(name, row)| name.id() == "stored" && row.is_none()));
}
