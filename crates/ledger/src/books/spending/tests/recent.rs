//! Who spends now: the bytes of the last minutes, as reported and as counted.

use super::*;

impl Broker {
    /// Key, measured and claimed bytes of each spender in the last seconds, most bytes first.
    fn recent(&self, kind: SpenderKind, seconds: u64) -> Vec<(String, u64, u64)> {
        self.lately(kind, RecentTime { reported: last(seconds, self.books.now()), counted: None })
    }

    fn lately(&self, kind: SpenderKind, time: RecentTime) -> Vec<(String, u64, u64)> {
        let mut walk = SpenderWalk::new(kind, Some(time));
        while !walk.look(self.books.grants()) {}
        let name = |key: Option<SpenderKey>| key.map_or("-".into(), |key| key.to_string());
        let row = |row: SpenderSums| (name(row.key), row.sums.measured().get(), row.sums.claimed().get());
        let mut rows = walk.rows(&self.books.period_bytes());
        rows.sort_by(|a, b| a.order().cmp(&b.order()));
        rows.into_iter().map(row).collect()
    }

    fn by_user(&self, seconds: u64) -> Vec<(String, u64, u64)> {
        self.recent(SpenderKind::User, seconds)
    }
}

fn last(seconds: u64, end: Timestamp) -> Interval {
    Interval::new(end.minus(Duration::from_secs(seconds)), end)
}

fn row(name: &str, measured: u64, claimed: u64) -> (String, u64, u64) {
    (name.into(), measured, claimed)
}

#[test]
fn the_last_minutes_alone_say_who_spends_now() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let (ann, bob) = (broker.caller("ann", 7_200), broker.caller("bob", 7_200));
    for minute in 1..=20 {
        broker.books.advance(at(60 * minute));
        broker.beat(ann, 5 * MB * minute.min(10));
        broker.beat(bob, MB * minute);
    }
    assert_eq!(broker.of("ann"), Some((0, 50 * MB, 50 * MB)), "who has spent most of the month");
    assert_eq!(broker.by_user(300), [row("bob", 0, 5 * MB)]);
    assert_eq!(broker.by_user(660), [row("bob", 0, 11 * MB), row("ann", 0, 5 * MB)]);
    assert_eq!(broker.by_user(630), [row("bob", 0, 10_500_000), row("ann", 0, 2_500_000)], "half a minute");
    assert_eq!(broker.by_user(900), [row("ann", 0, 25 * MB), row("bob", 0, 15 * MB)]);
    assert_eq!(broker.recent(SpenderKind::Label, 300), [row("room-1", 0, 5 * MB)]);
    assert_eq!(broker.recent(SpenderKind::Call, 300), [row("-", 0, 5 * MB)], "of no call");
    let time = RecentTime { reported: last(300, at(20 * 60)), counted: None };
    let mut page = GrantPage::new(GrantFilter::default(), 9, None, Some(time));
    assert!(page.look(broker.books.grants(), broker.books.now()));
    let grants = page.rows(broker.books.grants(), broker.books.now());
    let grants: Vec<_> = grants.iter().map(|grant| (grant.id, grant.spent.bytes().get())).collect();
    assert_eq!(grants, [(bob.id, 5 * MB)]);
    broker.restart();
    assert_eq!(broker.by_user(900), [], "they are not stored");
}

#[test]
fn the_first_count_after_a_reset_shows_all_of_its_bytes() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let reset = 7_200;
    broker.books.advance(at(reset - 1_200));
    let ann = broker.caller("ann", 7_200);
    for end in [reset - 60, reset + 600] {
        broker.books.advance(at(end));
        assert!(broker.count(at(end - 60), true, &[(ann.id, 8 * MB)], 0));
    }
    assert_eq!(broker.by_user(600)[0], row("ann", 8 * MB, 0));
}

#[test]
fn a_count_replaces_what_was_claimed_for_its_time() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ann = broker.caller("ann", 7_200);
    for minute in 1..=12 {
        broker.books.advance(at(60 * minute));
        broker.beat(ann, 5 * MB * minute);
    }
    let stranger = GrantId::new([9; 16]);
    // The stranger relayed nothing before.
    assert!(broker.count(at(0), true, &[], 0));
    assert!(broker.count(at(120), false, &[(ann.id, 2 * MB), (stranger, 4 * MB)], 0));
    assert_eq!(broker.by_user(720), [row("ann", 2 * MB, 50 * MB), row("-", 4 * MB, 0)]);
    assert_eq!(broker.by_user(600), [row("ann", 0, 50 * MB)], "younger than the count");
    assert!(broker.count(at(180), true, &[(ann.id, 3 * MB), (stranger, 4 * MB)], 0));
    assert_eq!(broker.by_user(720), [row("ann", 3 * MB, 45 * MB), row("-", 4 * MB, 0)]);
    let time = RecentTime { reported: last(720, at(720)), counted: None };
    let unknown = broker.books.grants().recent_unknown_bytes(time);
    assert_eq!(unknown.get(), 4 * MB);
}

#[test]
fn whom_a_count_shows_is_seen_in_the_counted_minutes_and_others_in_those_since() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let (ann, thief) = (broker.caller("ann", 7_200), broker.mint(requester("thief"), 7_200).unwrap());
    for minute in 1..=12 {
        broker.books.advance(at(60 * minute));
        broker.beat(ann, 5 * MB * minute);
    }
    let bob = broker.caller("bob", 7_200);
    broker.books.advance(at(780));
    broker.beat(bob, 3 * MB);
    assert!(broker.count(at(0), true, &[], 0));
    assert!(broker.count(at(180), false, &[(ann.id, 15 * MB), (thief.id, 900 * MB)], 0));
    let reported = last(300, broker.books.now());
    let by_user = |counted| broker.lately(SpenderKind::User, RecentTime { reported, counted });
    assert_eq!(by_user(None), [row("ann", 0, 20 * MB), row("bob", 0, 3 * MB)], "the thief reports nothing");
    let both = by_user(Some(last(300, at(180))));
    assert_eq!(both, [row("thief", 900 * MB, 0), row("ann", 0, 20 * MB), row("bob", 0, 3 * MB)]);
}

#[test]
fn a_count_of_thirteen_minutes_ago_has_fifteen_minutes_of_bytes() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let thief = broker.mint(requester("thief"), 7_200).unwrap();
    broker.books.advance(at(28 * 60));
    assert!(broker.count(at(0), true, &[], 0));
    assert!(broker.count(at(900), false, &[(thief.id, 900 * MB)], 0));
    let time = RecentTime { reported: last(900, broker.books.now()), counted: Some(last(900, at(900))) };
    assert_eq!(broker.lately(SpenderKind::User, time), [row("thief", 900 * MB, 0)]);
}

#[test]
fn a_relay_that_is_watched_here_counts_the_last_seconds() {
    let mut broker = Broker::at_source(IceSource::Relay, BudgetMode::Estimate, 1_000 * MB);
    let grant = broker.caller("ann", 7_200);
    for seconds in (10..=90).step_by(10) {
        broker.books.advance(at(seconds));
        broker.beat(grant, seconds * MB);
        broker.books.add_grant_traffic(IceSource::Relay, &[(grant.id, Traffic::new(0, 3 * MB))].into());
        assert_eq!(broker.by_user(900), [row("ann", seconds / 10 * 3 * MB, 0)]);
    }
    broker.books.advance(at(95));
    broker.beat(grant, 91 * MB);
    assert_eq!(broker.by_user(900), [row("ann", 27 * MB, MB)], "claimed since the count");
}

#[test]
fn a_count_of_the_client_takes_back_what_was_charged_by_time() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ann = broker.caller("ann", 7_200);
    broker.books.advance(at(20));
    let silent = Report { relayed: Some(true), ..Report::default() };
    broker.books.heartbeat(Caller::Grant(ann), "c", silent).unwrap();
    assert_eq!(broker.by_user(60), [row("ann", 0, MINUTE_BYTES / 3)]);
    broker.books.advance(at(40));
    broker.beat(ann, MB);
    assert_eq!(broker.by_user(60), [row("ann", 0, MB)]);
}

#[test]
fn a_grant_relays_while_it_has_bytes_of_the_last_half_hour() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let (ann, bob) = (broker.caller("ann", 7_200), broker.caller("bob", 7_200));
    let relaying = |broker: &Broker| broker.books.grants().relaying();
    broker.books.advance(at(20));
    assert_eq!(relaying(&broker), 0, "both are idle");
    let silent = Report { relayed: Some(true), ..Report::default() };
    broker.books.heartbeat(Caller::Grant(bob), "c", silent).unwrap();
    broker.beat(ann, MB);
    assert_eq!(relaying(&broker), 2);
    broker.beat(bob, 0);
    assert_eq!(relaying(&broker), 1, "a report of no bytes replaces what was charged by time");
    broker.books.advance(at(30 * 60));
    while !broker.books.tidy() {}
    assert_eq!(relaying(&broker), 2, "a connection is charged by time until it is given up");
    broker.books.advance(at(33 * 60));
    while !broker.books.tidy() {}
    assert_eq!(relaying(&broker), 0);
}

#[test]
fn connections_without_a_grant_count_for_those_whom_the_reporter_names() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let report = |broker: &mut Broker, name: String, bytes| {
        broker.books.open(Caller::Reporter, &name, Some(true)).unwrap();
        let by_reporter = Spender { user: User::new(&name), ..Spender::default() };
        broker.books.report_spender(Caller::Reporter, &name, by_reporter);
        broker.vouch(&name, bytes);
    };
    broker.books.advance(at(30));
    report(&mut broker, "ann".into(), 0);
    broker.books.advance(at(59));
    report(&mut broker, "ann".into(), 9);
    assert_eq!(broker.by_user(60), [row("ann", 0, 9)]);
    for number in 1..=UNGRANTED_MAX {
        report(&mut broker, format!("user-{number}"), 0);
    }
    broker.books.advance(at(60));
    report(&mut broker, format!("user-{UNGRANTED_MAX}"), 7);
    assert_eq!(broker.by_user(60), [row("ann", 0, 9), row("-", 0, 7)], "the names are bounded");
}

#[test]
fn old_minutes_are_forgotten_with_their_grants() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let mut caller = |number: u32| {
        let spender = requester(&format!("user-{number}")).spender;
        let by_server = Requester { spender, ..Requester::default() };
        let grant = broker.mint(by_server, 7_200).unwrap();
        broker.books.open(Caller::Grant(grant), "c", Some(true)).unwrap();
        grant
    };
    let grants: Vec<_> = (0..2_100).map(&mut caller).collect();
    broker.books.advance(at(20));
    for grant in &grants {
        broker.beat(*grant, MB);
    }
    assert_eq!(broker.recent(SpenderKind::Label, 60), [row("room-1", 0, 2_100 * MB)]);
    broker.books.advance(at(35 * 60));
    assert!(!broker.books.tidy() && broker.books.tidy(), "in steps");
    assert_eq!(broker.by_user(2_000), [], "nothing is kept");
}
