//! Sessions of programs that know the secret and make their own user names.

use super::*;

const GB: u64 = 1_000_000_000;

/// A session with this user name.
fn session(number: u64, user: &str, bytes: u64) -> Session {
    let expiry = user.split_once(':').and_then(|(expiry, _)| expiry.parse().ok());
    Session {
        user: user.into(),
        grant: GrantId::of_foreign(user),
        expires_at: expiry.map(|seconds: i64| Timestamp::from_millis(seconds * 1_000)),
        ..listing(&[Sent { number, bytes }]).sessions.remove(0)
    }
}

fn user(name: &str) -> User {
    User::at_relay(name).unwrap()
}

/// A name of ann whose credential expires in an hour.
fn ann() -> String {
    format!("{}:ann", at(HOUR).as_secs())
}

fn with_user_limit(limit: u64) -> Setup {
    let mut setup = setup(BudgetMode::Strict);
    setup.bounds.spenders.user_limit = Some(ByteCount::new(limit));
    setup
}

impl Broker {
    /// The numbers of the sessions that must end.
    fn list_foreign(&mut self, seconds: u64, sessions: &[Session]) -> Vec<u64> {
        self.books.advance(at(seconds));
        let listing = Listing { sessions: sessions.to_vec(), is_complete: true, ..Listing::default() };
        let dead = self.books.take_sessions(IceSource::Coturn, listing, at(seconds));
        dead.into_iter().map(SessionId::get).collect()
    }

    fn used_by(&self, name: &str) -> u64 {
        let filter = GrantFilter { keys: vec![SpenderKey::User(user(name))], live: None };
        self.listed(filter).iter().map(|row| row.spent.measured.get()).sum()
    }

    fn listed(&self, filter: GrantFilter) -> Vec<ListedGrant> {
        let (grants, now) = (self.books.grants(), self.books.now());
        let mut page = GrantPage::new(filter, 100, None, None);
        assert!(page.look(grants, now));
        page.rows(grants, now)
    }
}

#[test]
fn the_user_is_the_name_after_the_colon_or_the_whole_name() {
    let mut broker = strict();
    let names = [&*ann(), "carol", "1:", ":dave"];
    let sessions: Vec<_> =
        (1..).zip(names).map(|(number, name)| session(number, name, number * GB)).collect();
    assert_eq!(broker.list_foreign(2, &sessions), [], "nobody has a limit");
    for _ in 0..2 {
        for (name, bytes) in [("ann", GB), ("carol", 2 * GB), ("1:", 3 * GB), ("dave", 4 * GB)] {
            assert_eq!(broker.used_by(name), bytes, "{name}");
        }
        let snapshot = broker.books.snapshot();
        assert_eq!((broker.used(), snapshot.unknown_bytes), (10 * GB, ByteCount::ZERO));
        assert!(snapshot.foreign_sessions);
        assert!(snapshot.bound_holds(), "what nothing was promised for exceeds no promise");
        broker.restart();
    }
}

#[test]
fn sessions_of_a_blocked_user_end() {
    let mut broker = strict();
    let sessions = [session(1, &ann(), GB), session(2, "1:eve", GB)];
    assert_eq!(broker.list_foreign(2, &sessions), []);
    broker.books.block(&SpenderKey::User(User::new("ann").unwrap()), None).unwrap();
    assert_eq!(broker.list_foreign(3, &sessions), [], "somebody of that name who signs in is another user");
    broker.books.block(&SpenderKey::User(user("ann")), None).unwrap();
    assert_eq!(broker.list_foreign(4, &sessions), [1]);
    broker.books.allow(&SpenderKey::User(user("ann")));
    assert_eq!(broker.list_foreign(6, &sessions), []);
    assert_eq!(broker.list_foreign(8, &[]), []);
    assert!(!broker.books.snapshot().foreign_sessions, "they have ended");
}

#[test]
fn sessions_of_a_user_over_the_limit_of_each_user_end_at_all_relays() {
    let mut broker = Broker::open(with_user_limit(3 * GB), at(0));
    // Two credentials of one user.
    let sessions =
        |bytes| [session(1, &ann(), bytes), session(2, "7:ann", bytes), session(3, "7:eve", bytes)];
    assert_eq!(broker.list_foreign(2, &sessions(GB)), []);
    assert_eq!(broker.list_foreign(4, &sessions(2 * GB)), [1, 2]);
    broker.restart();
    assert_eq!(broker.list_foreign(6, &sessions(2 * GB)), [1, 2]);
}

#[test]
fn at_the_limit_all_sessions_end() {
    let mut broker = strict();
    let sessions = [session(1, &ann(), 5_000), session(2, "carol", 0)];
    assert_eq!(broker.list_foreign(2, &sessions), []);
    broker.books.override_limit(Some(ByteCount::new(5_000)));
    assert_eq!(broker.list_foreign(4, &sessions), [1, 2]);
}

#[test]
fn a_credential_stays_revoked_until_it_expires() {
    let mut broker = strict();
    let sessions = [session(1, &ann(), GB), session(2, "carol", GB)];
    broker.list_foreign(2, &sessions);
    assert_eq!(broker.books.revoke_all_of(&SpenderKey::User(user("ann"))).grants.len(), 1);
    assert_eq!(broker.list_foreign(4, &sessions), [1]);
    assert_eq!(broker.list_foreign(HOUR - 2, &sessions), [1]);
}

/// coturn lets a session go on after the end of its credential.
#[test]
fn a_session_is_counted_and_named_for_as_long_as_it_lives() {
    let mut broker = strict();
    for hours in 1..=5 {
        for seconds in (hours * HOUR..hours * HOUR + 10).step_by(2) {
            assert_eq!(broker.list_foreign(seconds, &[session(1, &ann(), hours * GB)]), []);
            while !broker.books.tidy() {}
        }
    }
    assert!(broker.used_by("ann") >= 5 * GB, "{}", broker.used_by("ann"));
    assert_eq!(broker.books.snapshot().unknown_bytes, ByteCount::ZERO);
}

/// Nothing is reserved for it, so it takes no room from callers before it relays.
#[test]
fn names_of_other_programs_fill_half_of_the_tables_at_most() {
    let mut setup = with_user_limit(3 * GB);
    (setup.bounds.grants, setup.bounds.spenders.users_max) = (20, 8);
    let mut broker = Broker::open(setup, at(0));
    let sessions: Vec<_> =
        (1..=15).map(|number| session(number, &format!("1:user-{number}"), 1_000)).collect();
    broker.list_foreign(2, &sessions);
    let named = broker.listed(GrantFilter::default());
    assert_eq!(named.len(), 10);
    assert_eq!(named.iter().filter(|grant| grant.row.user().is_some()).count(), 4);
    assert_eq!(broker.books.snapshot().unknown_bytes.get(), 5_000, "what has no row is counted, too");
    assert_eq!(broker.committed(), 15_000);
}
