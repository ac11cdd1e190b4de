//! What one client can do with false reports: it mints as much as the rate limit allows, opens every connection that it can,
//! and always reports the highest count.

mod calls;
mod shares;
mod stopped;

use super::*;

/// In milliseconds.
const HEARTBEAT: u64 = 30_000;
const HOUR: u64 = 3_600_000;
/// A day, in seconds.
const MINT_LIFE: u64 = 86_400;

fn key(text: &str) -> ClientKey {
    ClientKey::of(text.parse().unwrap())
}

/// A broker with a limit of 1,000 GB.
struct World {
    broker: Broker,
}

/// One caller's grants.
struct Client {
    key: ClientKey,
    grants: Vec<Grant>,
}

impl Client {
    fn at(address: &str) -> Self {
        Self { key: key(address), grants: vec![] }
    }
}

impl World {
    fn new(mode: BudgetMode) -> Self {
        Self::of(setup(mode))
    }

    /// It begins after the reset at two hours, so that no figure is lost there.
    fn of(mut setup: Setup) -> Self {
        setup.terms.limit = ByteCount::new(1_000 * GB);
        Self { broker: Broker::open(setup, at(3 * HOUR)) }
    }

    fn pass(&mut self, millis: u64) {
        let now = self.broker.books.now();
        self.broker.books.advance(now.plus_millis(millis));
        self.broker.books.tidy();
    }

    fn mint(&mut self, client: &mut Client) -> Result<Grant, NotAdmitted> {
        let requester = Requester { client: Some(client.key), ..Requester::default() };
        let grant = self.broker.mint(requester, MINT_LIFE)?;
        client.grants.push(grant);
        Ok(grant)
    }

    /// Opens what it can and claims what it can. Returns how many connections are open.
    fn report_falsely(&mut self, client: &Client) -> usize {
        for (nth, grant) in client.grants.iter().enumerate() {
            let caller = Caller::Grant(*grant);
            let mut is_full = false;
            for n in 0..64 {
                is_full |= self.broker.books.open(caller, &format!("{nth}-{n}"), Some(true)).is_err();
                let _ = self.broker.books.heartbeat(caller, &format!("{nth}-{n}"), received(u64::MAX));
                if is_full {
                    break;
                }
            }
        }
        self.broker.books.snapshot().open_connections
    }

    /// An hour of an attack: 50 mints in five minutes, and lies with each heartbeat.
    fn attack(&mut self, client: &mut Client, restart_each: Option<u64>) {
        for beat in 0..HOUR / HEARTBEAT {
            for _ in 0..5 {
                let _ = self.mint(client);
            }
            self.report_falsely(client);
            self.pass(HEARTBEAT);
            if restart_each.is_some_and(|each| beat % each == 0) {
                self.broker.restart();
            }
        }
        self.report_falsely(client);
    }
}

#[test]
fn an_address_with_false_reports_is_charged_at_most_30_gb_in_an_hour_and_others_in_full() {
    for address in ["203.0.113.9", "2001:db8:1:2::1"] {
        let mut world = World::new(BudgetMode::Estimate);
        let mut attacker = Client::at(address);
        world.attack(&mut attacker, None);
        let used = world.broker.used();
        assert!((20 * GB..=30 * GB).contains(&used), "{address}: {used}");
        assert!(world.broker.books.snapshot().counts.clamped > 0);

        let caller = Caller::Grant(world.mint(&mut Client::at("198.51.100.7")).unwrap());
        world.broker.books.open(caller, "call", Some(true)).unwrap();
        let before = world.broker.used();
        for grant in &attacker.grants {
            let _ = world.broker.books.revoke(grant.id);
        }
        let of_the_close = world.broker.used() - before;
        world.pass(HEARTBEAT);
        let outcome = world.broker.books.heartbeat(caller, "call", received(7_500_000)).unwrap();
        assert!(!outcome.clamped);
        assert_eq!(world.broker.used() - before, of_the_close + 7_500_000);
    }
}

#[test]
fn bytes_and_time_charges_of_one_grant_share_its_allowance() {
    for (estimated, reports_bytes) in [(2, false), (8, false), (8, true), (3, true)] {
        let mut setup = setup(BudgetMode::Estimate);
        setup.terms.rates.estimated = BitRate::new(estimated * 1_000_000);
        setup.rules.estimated_rate = BitRate::new(estimated * 1_000_000);
        // Only the grant's own allowance is tested here.
        setup.bounds.client = ClientTerms { claims: BitRate::new(1_000_000_000), ..ClientTerms::default() };
        let mut world = World::of(setup);
        let caller = Caller::Grant(world.mint(&mut Client::at("203.0.113.9")).unwrap());
        for n in 0..64 {
            world.broker.books.open(caller, &n.to_string(), None).unwrap();
        }
        for beat in 1..=10 {
            world.pass(HEARTBEAT);
            for n in 0..64 {
                let bytes = (reports_bytes && n % 8 == 0).then_some(u64::MAX);
                let report = Report { bytes_received: bytes, ..Report::default() };
                world.broker.books.heartbeat(caller, &n.to_string(), report).unwrap();
            }
            let (used, most) = (world.broker.used(), 100_000_000 / 8 * 30 * beat);
            assert!((most / 2..=most + beat).contains(&used), "{estimated}: {used} of {most}");
        }
    }
}

#[test]
fn an_address_holds_its_share_of_the_table_and_a_reporter_is_served_throughout() {
    let mut setup = setup(BudgetMode::Estimate);
    setup.bounds.connections = 1_000;
    let mut world = World::of(setup);
    let mut clients: Vec<_> = (0..8).map(|n| Client::at(&format!("203.0.113.{n}"))).collect();
    for client in &mut clients {
        for _ in 0..8 {
            world.mint(client).unwrap();
        }
    }
    let most = usize::try_from(CONNECTIONS_PER_CLIENT_MAX).unwrap();
    assert_eq!(world.report_falsely(&clients[0]), most);
    let opened = clients.iter().map(|client| world.report_falsely(client)).max();
    assert_eq!(opened, Some(900), "a tenth of the table is kept for the reporter");
    for n in 0..100 {
        let opened = world.broker.books.open(Caller::Reporter, &n.to_string(), None);
        assert_eq!(opened.map(|outcome| outcome.value), Ok(Opened::New));
    }
    assert_eq!(world.broker.books.open(Caller::Reporter, "one more", None), Err(OpenError::TableFull));
}

#[test]
fn grants_without_a_row_count_for_the_connections_of_their_address() {
    let mut world = World::new(BudgetMode::Estimate);
    let issued_at = world.broker.books.now();
    let expires_at = issued_at.plus(Duration::from_secs(MINT_LIFE));
    for n in 0..=CONNECTIONS_PER_CLIENT_MAX {
        // Its credentials cost nothing, so it got no row when it was issued.
        let grant = Grant { id: grant_id(n.into()), source: IceSource::Manual, issued_at, expires_at };
        let caller = Caller::Grant(grant);
        world.broker.books.note_client(caller, key("203.0.113.9"));
        let opened = world.broker.books.open(caller, "c", Some(true)).map(|outcome| outcome.value);
        let has_room = n < CONNECTIONS_PER_CLIENT_MAX;
        assert_eq!(opened, if has_room { Ok(Opened::New) } else { Err(OpenError::TooManyOnClient) });
    }
}

#[test]
fn a_grant_of_an_older_version_takes_the_address_of_its_next_report() {
    let mut world = World::new(BudgetMode::Estimate);
    let mut attacker = Client::at("203.0.113.9");
    for _ in 0..4 {
        world.mint(&mut attacker).unwrap();
    }
    for (_, row) in world.broker.disk.grants.iter_mut() {
        row.client = None;
    }
    world.broker.crash_until(at(3 * HOUR));
    for grant in &attacker.grants {
        world.broker.books.open(Caller::Grant(*grant), "c", Some(true)).unwrap();
        world.broker.books.note_client(Caller::Grant(*grant), attacker.key);
    }
    world.pass(HEARTBEAT);
    for grant in &attacker.grants {
        let _ = world.broker.books.heartbeat(Caller::Grant(*grant), "c", received(u64::MAX)).unwrap();
    }
    assert_eq!(world.broker.used(), 30 * 50_000_000 / 8);
}

/// Also of members of calls, whose sessions report for them.
#[test]
fn whatever_a_client_does_its_charge_stays_within_its_rate_and_its_promises_within_its_share() {
    for (seed, mut dice) in Dice::cases(64) {
        let mode = if dice.below(2) == 0 { BudgetMode::Strict } else { BudgetMode::Estimate };
        let (mut world, mut client) = (World::new(mode), Client::at("203.0.113.9"));
        for _ in 0..120 {
            let (action, wait, connection) = (dice.below(9), dice.below(40_000), dice.below(4));
            let relayed = [None, Some(true), Some(false), Some(true)][usize::try_from(connection).unwrap()];
            let bytes_received = (dice.below(2) == 0).then(|| dice.below(3 * GB));
            let report = Report { bytes_received, ..Report::default() };
            let id = connection.to_string();
            let grant = client.grants.get(usize::try_from(dice.below(6)).unwrap()).copied();
            let caller = grant
                .map(|grant| if dice.below(4) == 0 { Caller::Member(grant) } else { Caller::Grant(grant) });
            let books = &mut world.broker.books;
            match (action, caller) {
                (0, _) => drop(world.mint(&mut client)),
                (1, Some(caller)) => drop(books.open(caller, &id, relayed)),
                (2..=4, Some(caller)) => drop(books.heartbeat(caller, &id, report)),
                (5, Some(caller)) => drop(books.close(caller, &id, Report { relayed, ..report })),
                (6, _) => world.broker.restart(),
                (7, Some(caller)) if wait < 4_000 => drop(books.revoke(caller.grant().unwrap().id)),
                _ => world.pass(wait),
            }
            let most = 50_000_000 / 8 * world.broker.books.now().millis_since(at(3 * HOUR)) / 1_000;
            assert!(world.broker.used() <= most + 100, "{} of {most}, seed {seed}", world.broker.used());
            let committed = world.broker.committed();
            assert!(mode == BudgetMode::Estimate || committed <= 50 * GB, "{committed}, seed {seed}");
        }
    }
}
