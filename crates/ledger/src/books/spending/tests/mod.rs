mod addresses;
mod chains;
mod counts;
mod ending;
mod forgetting;
mod full;
mod left;
mod limits;
mod listing;
mod rates;
mod recent;
mod resets;
mod servers;
mod tails;

use crate::testing::prelude::*;

use super::*;

const SOURCE: IceSource = IceSource::Cloudflare;
/// 2 Mbps for a minute.
const MINUTE_BYTES: u64 = 15_000_000;
/// With the slack for minting, five minutes.
const SHORT: u64 = 296;
/// Minutes by which the clock of the provider may differ from ours. What is promised is so much longer at each end.
const CLOCKS: u64 = 2;
/// Minutes that are promised for a credential of [`SHORT`].
const PROMISED: u64 = 5 + 2 * CLOCKS;
const MB: u64 = 1_000_000;

/// What a user has used, and what the user may have used at the reset.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Share {
    used: u64,
    committed: u64,
}

/// 2025-01-31T22:00Z, two hours before a reset, plus so many seconds.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_738_360_800_000).plus_millis(seconds * 1_000)
}

/// When the counts of a ledger begin that is new at `at(0)`: the clock of the provider may be behind.
fn before() -> Timestamp {
    at(0).minus(Duration::from_secs(60 * CLOCKS))
}

fn setup(mode: BudgetMode, spenders: SpenderTerms) -> Setup {
    let mut setup = testing::setup(mode);
    setup.terms.limit = ByteCount::new(1_000_000 * MB);
    (setup.sources[0].tail, setup.sources[0].sampling) = (Duration::ZERO, 0);
    setup.bounds.spenders = spenders;
    setup
}

fn user(name: &str) -> User {
    User::new(name).unwrap()
}

fn requester(name: &str) -> Requester {
    let spender = Spender { user: User::new(name), label: Label::new("room-1"), ..Spender::default() };
    let client = Some(ClientKey::of("203.0.113.9".parse().unwrap()));
    Requester { client, spender: spender.known(), ..Requester::default() }
}

impl Broker {
    fn new(mode: BudgetMode, spenders: SpenderTerms) -> Self {
        Self::open(setup(mode, spenders), at(0))
    }

    /// Each user may use so many bytes in a period.
    fn with_limit(mode: BudgetMode, limit: u64) -> Self {
        Self::new(mode, SpenderTerms { user_limit: Some(ByteCount::new(limit)), ..SpenderTerms::default() })
    }

    /// The same, and all is at another source.
    fn at_source(source: IceSource, mode: BudgetMode, limit: u64) -> Self {
        let mut broker = Self::with_limit(mode, limit);
        (broker.setup.sources[0].owner, broker.setup.default_source) = (source.into(), source);
        broker.books = broker.setup.open(Some(Stored::default()), at(0));
        broker
    }

    /// Room for a credential of five minutes.
    fn hold(&mut self, requester: &Requester) -> Result<Hold, NotAdmitted> {
        self.reserve(SHORT, requester)
    }

    /// Used and committed bytes of a user with a limit.
    fn share(&mut self, name: &str) -> Share {
        let share = self.books.user_share(&user(name)).unwrap();
        Share { used: share.usage.used.get(), committed: share.committed.get() }
    }

    fn count(&mut self, until: Timestamp, is_final: bool, bytes: &[(GrantId, u64)], other: u64) -> bool {
        let by_grant = bytes.iter().map(|(id, bytes)| (*id, Traffic::new(0, *bytes))).collect();
        let from = self.books.grants().counted_until(SOURCE);
        let other = Traffic::new(0, other);
        let counts = GrantCounts { from, until, by_grant, other, is_complete: true, is_final, at: until };
        self.take(&counts)
    }

    /// The provider gives these counts, and a minute later again.
    fn take(&mut self, counts: &GrantCounts) -> bool {
        counts.is_final && self.take_once(&first_answer(counts)) || self.take_once(counts)
    }

    fn take_once(&mut self, counts: &GrantCounts) -> bool {
        let mut parts = std::iter::repeat_with(|| self.books.take_grant_counts(SOURCE, counts));
        parts.find(|taken| *taken != CountsTaken::InPart) == Some(CountsTaken::Whole)
    }

    /// A grant of a user, with an open connection.
    fn caller(&mut self, name: &str, life: u64) -> Grant {
        let grant = self.mint(requester(name), life).unwrap();
        self.books.open(Caller::Grant(grant), "c", Some(true)).unwrap();
        grant
    }

    /// The renewal of a grant of ann.
    fn renew(&mut self, renewed: &Grant, life: u64) -> Grant {
        assert!(self.books.take_renewal(renewed));
        self.mint(Requester { renews: Some(renewed.id), ..requester("ann") }, life).unwrap()
    }

    fn beat(&mut self, grant: Grant, bytes: u64) {
        let report = Report { bytes_received: Some(bytes), relayed: Some(true), ..Report::default() };
        self.books.heartbeat(Caller::Grant(grant), "c", report).unwrap();
    }

    /// An app server says what a connection has relayed.
    fn vouch(&mut self, connection: &str, bytes: u64) {
        let report = Report { bytes_received: Some(bytes), ..Report::default() };
        self.books.heartbeat(Caller::Reporter, connection, report).unwrap();
    }

    /// Lets so many seconds pass. Returns the time after them.
    fn wait(&mut self, seconds: u64) -> Timestamp {
        self.books.advance(self.books.now().plus_millis(seconds * 1_000));
        self.books.now()
    }

    /// Each chain that is asked for alone has relayed so many bytes.
    fn judge_suspects(&mut self, bytes: u64) {
        for suspect in self.books.grants().suspects(SOURCE, usize::MAX) {
            judge(self, &suspect, bytes);
        }
    }

    /// The row of a user.
    fn row(&self, name: &str) -> SpenderSums {
        self.find(&SpenderKey::User(user(name))).unwrap()
    }

    /// The row of a key, whatever the period has used.
    fn find(&self, key: &SpenderKey) -> Option<SpenderSums> {
        let period = PeriodBytes { used: ByteCount::new(u64::MAX), ..self.books.period_bytes() };
        let rows = testing::walk(&self.books, key.kind()).rows(&period);
        rows.into_iter().find(|row| row.key.as_ref() == Some(key))
    }

    /// Measured, claimed and all bytes of a user.
    fn of(&self, name: &str) -> Option<(u64, u64, u64)> {
        self.sums(SpenderKind::User, name)
    }

    /// Measured, claimed and all bytes of a key.
    fn sums(&self, kind: SpenderKind, key: &str) -> Option<(u64, u64, u64)> {
        let row = self.find(&SpenderKey::parse(kind, key).unwrap())?;
        Some((row.sums.measured().get(), row.sums.claimed().get(), row.sums.bytes().get()))
    }
}

#[test]
fn an_ended_grant_stays_until_the_period_ends_and_does_nothing_more() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let ann = broker.mint(requester("ann"), 600).unwrap();
    assert!(broker.count(at(60), true, &[(ann.id, 5)], 0));
    // Its promise is over after 600 s, the slack and the minutes of the clocks.
    broker.books.advance(at(800));
    broker.books.tidy();
    let grants = broker.books.grants();
    assert_eq!((grants.count(), grants.ended_count(), grants.get(ann.id)), (0, 1, None));
    assert!(broker.books.revoke(ann.id).is_none() && !broker.books.take_renewal(&ann));
    assert!(broker.count(at(800), true, &[(ann.id, 6)], 0), "its counts come late");
    broker.restart();
    assert_eq!(broker.books.grants().ended_count(), 1);
    assert_eq!(broker.of("ann"), Some((11, 0, 11)));
    let shown = broker.row("ann");
    assert_eq!((shown.live, shown.sums.grants()), (0, 1));
    broker.books.advance(at(7_200));
    assert_eq!((broker.books.grants().iter().count(), broker.of("ann")), (0, None));
    broker.books.tidy();
    assert_eq!(broker.books.grants().ended_count(), 1, "its tail was not looked at");
    broker.books.advance(at(800 + 86_400));
    broker.books.tidy();
    assert_eq!((broker.books.grants().ended_count(), broker.of("ann")), (0, None));
    broker.restart();
    assert_eq!((broker.books.grants().ended_count(), broker.disk.grants.len()), (0, 0));
}

/// The same answer a minute earlier.
fn first_answer(counts: &GrantCounts) -> GrantCounts {
    GrantCounts { at: counts.at.minus(Duration::from_secs(60)), ..counts.clone() }
}

/// The provider is asked for a chain alone, and counts so many bytes, as many of each of its grants, and a minute later again.
fn judge(broker: &mut Broker, suspect: &Suspect, bytes: u64) {
    let count = u64::try_from(suspect.grants.len()).unwrap();
    let rest = |nth| if nth == 0 { bytes % count } else { 0 };
    let by_grant = suspect.grants.iter().enumerate();
    let by_grant = by_grant.map(|(nth, id)| (*id, Traffic::new(0, bytes / count + rest(nth))));
    let by_grant = by_grant.collect();
    for at in [suspect.until, suspect.until.plus(Duration::from_secs(60))] {
        broker.books.judge(SOURCE, suspect, &by_grant, at);
    }
}
