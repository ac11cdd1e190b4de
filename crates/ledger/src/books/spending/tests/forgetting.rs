//! A person is removed from everything that is stored.

use super::*;

fn of(name: &str, label: &str, address: &str) -> Requester {
    let spender = Spender { user: User::new(name), label: Label::new(label), ..Spender::default() };
    let client = Some(ClientKey::of(address.parse().unwrap()));
    Requester { client, spender: spender.known(), ..Requester::default() }
}

/// Everything that is on disk, as text.
fn disk(broker: &Broker) -> String {
    format!("{:?}", broker.disk)
}

/// The stored tables that can name a person. What is listed as `_` names nobody; the names of coturn's sessions are those of their
/// credentials, and leave when the revoked sessions end.
fn tables(broker: &Broker) -> [String; 4] {
    let Stored {
        grants,
        spenders,
        blocks,
        connections,
        head: _,
        sources: _,
        sessions: _,
        is_copy: _,
        keys: _,
        shares_key: _,
    } = &broker.disk;
    [format!("{grants:?}"), format!("{spenders:?}"), format!("{blocks:?}"), format!("{connections:?}")]
}

/// What each kind of sums adds up to.
fn totals(broker: &Broker) -> Vec<u64> {
    let of = |kind| testing::spenders(&broker.books, kind).iter().map(|row| row.sums.bytes().get()).sum();
    SpenderKind::ALL.into_iter().map(of).collect()
}

#[test]
fn a_person_is_in_no_live_ended_or_summed_row_any_more_and_the_bytes_stay() {
    for mode in [BudgetMode::Estimate, BudgetMode::Strict] {
        let terms = SpenderTerms {
            ended_max: 1,
            user_limit: Some(ByteCount::new(900_000 * MB)),
            addresses: KeptAddresses::Full,
            ..SpenderTerms::default()
        };
        let mut broker = Broker::new(mode, terms);
        let whole = Some("2001:db8:7::7".parse().unwrap());
        let left = broker.mint(of("ann", "left-1", "192.0.2.1"), 60).unwrap();
        let ended = broker.mint(of("ann", "ended-1", "192.0.2.2"), 120).unwrap();
        let counts = [(left.id, 5), (ended.id, 7)];
        broker.books.advance(at(600));
        assert!(broker.count(at(600), true, &counts, 0));
        while !broker.books.tidy() {}
        assert_eq!(broker.books.grants().iter().count(), 1, "one has left the table");
        let live = Requester { address: whole, ..of("ann", "live-1", "2001:db8:7::7") };
        let live = broker.mint(live, 3_600).unwrap();
        broker.mint(of("ann", "room-1", "203.0.113.9"), 3_600).unwrap();
        broker.mint(requester("bob"), 3_600).unwrap();
        broker.books.open(Caller::Grant(live), "c", Some(true)).unwrap();
        broker.books.open(Caller::Reporter, "r", Some(true)).unwrap();
        let by_reporter =
            Spender { user: User::new("ann"), label: Label::new("told-1"), ..Spender::default() };
        broker.books.report_spender(Caller::Reporter, "r", by_reporter);
        broker.books.advance(at(605));
        broker.beat(live, 400);
        broker.vouch("r", 300);
        for spender in [SpenderKey::User(user("ann")), SpenderKey::Label(Label::new("live-1").unwrap())] {
            broker.books.block(&spender, None).unwrap();
        }
        broker.flush();
        for name in ["ann", "ended-1", "live-1", "told-1", "192.0.2.2", "2001:db8:7::7"] {
            assert!(disk(&broker).contains(name), "{name}");
        }
        for table in tables(&broker) {
            assert!(table.contains("ann"), "{table}");
        }
        let (used, before) = (broker.books.budget().figures(), totals(&broker));

        let (revoked, who) = broker.books.forget_user(&user("ann"));
        assert_eq!((who.rows, revoked.grants.len(), revoked.closed.len()), (3, 2, 1));
        let names: Vec<_> = who.names.iter().map(ToString::to_string).collect();
        for name in ["ann", "ended-1", "live-1", "told-1", "192.0.2.2", "2001:db8:7::7"] {
            assert!(names.contains(&name.to_owned()), "{name}: {names:?}");
        }
        let after = broker.books.budget().figures();
        assert_eq!((used.used, used.committed), (after.used, after.committed));
        for _ in 0..2 {
            assert_eq!(totals(&broker), before, "the bytes stay");
            broker.flush();
            for table in tables(&broker) {
                assert!(!table.contains("\"ann\""), "{table}");
            }
            let stored = disk(&broker);
            for name in ["ann", "ended-1", "live-1", "told-1", "192.0.2.2", "2001:db8:7::7"] {
                assert!(
                    !stored.contains(&format!("\"{name}")) && !stored.contains(&format!("({name}")),
                    "{name}: {stored}"
                );
                assert!(!stored.contains("192.0.2.2") && !stored.contains("2001:db8:7::7"), "{stored}");
            }
            assert!(!broker.books.is_blocked(&SpenderKey::User(user("ann"))) && broker.of("ann").is_none());
            assert_eq!(broker.share("ann").used, 0, "a limit begins anew");
            assert_eq!(broker.row("bob").usable, 1);
            assert!(broker.sums(SpenderKind::Label, "room-1").is_some(), "bob has this label too");
            assert!(broker.sums(SpenderKind::Address, "203.0.113.9").is_some(), "and this address");
            broker.books.note_client(Caller::Grant(live), ClientKey::of("2001:db8:7::7".parse().unwrap()));
            broker.restart();
        }
    }
}
