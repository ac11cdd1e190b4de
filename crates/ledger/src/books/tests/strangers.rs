//! What one client can do with false reports: it mints as much as the rate limit allows, opens every connection that it can,
//! and always reports the highest count.

mod calls;
mod shares;
mod stopped;

use super::*;
use crate::books::commit::{NotAdmitted, Written};
use crate::client::ClientKey;
use crate::clients::{CONNECTIONS_PER_CLIENT_MAX, ClientTerms};
use crate::grants::requester::Requester;

const GB: u64 = 1_000_000_000;
const HEARTBEAT: u64 = 30_000;
const HOUR: u64 = 3_600_000;
const MINT_LIFE: Duration = Duration::from_secs(86_400);

fn key(text: &str) -> ClientKey {
    ClientKey::of(text.parse().unwrap())
}

/// Books with a limit of 1,000 GB.
struct World {
    books: Books,
    setup: Setup,
    disk: Stored,
    minted: u64,
    now: u64,
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
        let mut setup = setup(mode);
        setup.terms.limit = ByteCount::new(1_000 * GB);
        Self::of(setup)
    }

    fn of(setup: Setup) -> Self {
        // After the reset at two hours, so that no figure is lost there.
        let now = 3 * HOUR;
        Self {
            books: setup.open(Some(Stored::default()), at(now)),
            setup,
            disk: Stored::default(),
            minted: 0,
            now,
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now += millis;
        self.books.advance(at(self.now));
        self.books.tidy();
    }

    fn mint(&mut self, client: &mut Client) -> Result<(), NotAdmitted> {
        let requester = Requester { client: Some(client.key), ..Requester::default() };
        let hold =
            self.books.reserve(IceSource::Cloudflare, MINT_LIFE, Duration::from_secs(4), &requester)?;
        self.minted += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.minted.to_be_bytes());
        let issued_at = self.books.now();
        let expires_at = issued_at.plus(hold.life());
        let grant = Grant { id: GrantId::new(id), source: IceSource::Cloudflare, issued_at, expires_at };
        let commit = self.books.commit(hold, &grant, None, requester).unwrap();
        self.disk.apply(self.books.take_batch());
        self.books.note_written(&commit, Written::Yes).unwrap();
        client.grants.push(grant);
        Ok(())
    }

    /// Opens what it can and claims what it can. Returns how many connections are open.
    fn report_falsely(&mut self, client: &Client) -> usize {
        for (nth, grant) in client.grants.iter().enumerate() {
            let caller = Caller::Grant(*grant);
            let mut is_full = false;
            for n in 0..64 {
                is_full |= self.books.open(caller, &format!("{nth}-{n}"), Some(true)).is_err();
                let _ = self.books.heartbeat(caller, &format!("{nth}-{n}"), received(u64::MAX));
                if is_full {
                    break;
                }
            }
        }
        self.books.snapshot().open_connections
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
                self.restart();
            }
        }
        self.report_falsely(client);
    }

    fn restart(&mut self) {
        self.disk.apply(self.books.take_batch());
        self.books = self.setup.open(Some(self.disk.clone()), at(self.now));
    }

    fn used(&self) -> u64 {
        used(&self.books)
    }
}

#[test]
fn an_address_with_false_reports_is_charged_at_most_30_gb_in_an_hour_and_others_in_full() {
    for address in ["203.0.113.9", "2001:db8:1:2::1"] {
        let mut world = World::new(BudgetMode::Estimate);
        let mut attacker = Client::at(address);
        world.attack(&mut attacker, None);
        let used = world.used();
        assert!((20 * GB..=30 * GB).contains(&used), "{address}: {used}");
        assert!(world.books.snapshot().counts.clamped > 0);

        let mut honest = Client::at("198.51.100.7");
        world.mint(&mut honest).unwrap();
        let caller = Caller::Grant(honest.grants[0]);
        world.books.open(caller, "call", Some(true)).unwrap();
        let before = world.used();
        let silenced: Vec<_> = attacker.grants.iter().map(|grant| grant.id).collect();
        for grant in silenced {
            let _ = world.books.revoke(grant);
        }
        let of_the_close = world.used() - before;
        world.pass(HEARTBEAT);
        let outcome = world.books.heartbeat(caller, "call", received(7_500_000)).unwrap();
        assert!(!outcome.clamped);
        assert_eq!(world.used() - before, of_the_close + 7_500_000);
    }
}

#[test]
fn bytes_and_time_charges_of_one_grant_share_its_allowance() {
    for (estimated, reports_bytes) in [(2, false), (8, false), (8, true), (3, true)] {
        let mut setup = setup(BudgetMode::Estimate);
        setup.terms.limit = ByteCount::new(1_000 * GB);
        setup.terms.rates.estimated = BitRate::new(estimated * 1_000_000);
        setup.rules.estimated_rate = BitRate::new(estimated * 1_000_000);
        // Only the grant's own allowance is tested here.
        setup.bounds.client = ClientTerms { claims: BitRate::new(1_000_000_000), ..ClientTerms::default() };
        let mut world = World::of(setup);
        let mut client = Client::at("203.0.113.9");
        world.mint(&mut client).unwrap();
        let caller = Caller::Grant(client.grants[0]);
        for n in 0..64 {
            world.books.open(caller, &n.to_string(), None).unwrap();
        }
        for beat in 1..=10 {
            world.pass(HEARTBEAT);
            for n in 0..64 {
                let bytes = (reports_bytes && n % 8 == 0).then_some(u64::MAX);
                let report = Report { bytes_received: bytes, ..Report::default() };
                world.books.heartbeat(caller, &n.to_string(), report).unwrap();
            }
            let most = 100_000_000 / 8 * 30 * beat;
            assert!(
                (most / 2..=most + beat).contains(&world.used()),
                "{estimated}: {} of {most}",
                world.used()
            );
        }
    }
}

#[test]
fn an_address_holds_its_share_of_the_table_and_a_reporter_is_served_throughout() {
    let mut setup = setup(BudgetMode::Estimate);
    setup.terms.limit = ByteCount::new(1_000 * GB);
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
        let opened = world.books.open(Caller::Reporter, &n.to_string(), None);
        assert_eq!(opened.map(|outcome| outcome.value), Ok(Opened::New));
    }
    assert_eq!(world.books.open(Caller::Reporter, "one more", None), Err(OpenError::TableFull));
}

#[test]
fn grants_without_a_row_count_for_the_connections_of_their_address() {
    let mut world = World::new(BudgetMode::Estimate);
    let now = world.books.now();
    let (issued_at, expires_at) = (now, now.plus(MINT_LIFE));
    let most = usize::try_from(CONNECTIONS_PER_CLIENT_MAX).unwrap();
    for n in 0..=most {
        let id = GrantId::new(u128::try_from(n).unwrap().to_be_bytes());
        // Its credentials cost nothing, so it got no row when it was issued.
        let caller = Caller::Grant(Grant { id, source: IceSource::Manual, issued_at, expires_at });
        world.books.note_client(caller, key("203.0.113.9"));
        let opened = world.books.open(caller, "c", Some(true)).map(|outcome| outcome.value);
        assert_eq!(opened, if n < most { Ok(Opened::New) } else { Err(OpenError::TooManyOnClient) });
    }
}

#[test]
fn a_grant_of_an_older_version_takes_the_address_of_its_next_report() {
    let mut world = World::new(BudgetMode::Estimate);
    let mut attacker = Client::at("203.0.113.9");
    for _ in 0..4 {
        world.mint(&mut attacker).unwrap();
    }
    world.disk.apply(world.books.take_batch());
    for row in world.disk.grants.values_mut() {
        row.client = None;
    }
    world.restart();
    for grant in &attacker.grants {
        world.books.open(Caller::Grant(*grant), "c", Some(true)).unwrap();
        world.books.note_client(Caller::Grant(*grant), attacker.key);
    }
    world.pass(HEARTBEAT);
    for grant in &attacker.grants {
        let _ = world.books.heartbeat(Caller::Grant(*grant), "c", received(u64::MAX)).unwrap();
    }
    assert_eq!(world.used(), 30 * 50_000_000 / 8);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a client does, its charge stays within 50 Mbps times the time, and its promises within its share.
    #[test]
    fn no_address_exceeds_its_allowance(
        is_strict: bool,
        steps in prop::collection::vec((0u8..9, 0usize..6, 0u8..4, 0u64..40_000, prop::option::of(0u64..3_000_000_000)), 1..120),
    ) {
        let mut world = World::new(if is_strict { BudgetMode::Strict } else { BudgetMode::Estimate });
        let mut client = Client::at("203.0.113.9");
        let begin = world.now;
        for (action, nth, connection, wait, bytes) in steps {
            let grant = client.grants.get(nth).copied();
            let (id, relayed) = (connection.to_string(), [None, Some(true), Some(false), Some(true)][usize::from(connection)]);
            match (action, grant) {
                (0, _) => _ = world.mint(&mut client),
                (1, Some(grant)) => _ = world.books.open(Caller::Grant(grant), &id, relayed),
                (2..=4, Some(grant)) => {
                    let report = Report { bytes_received: bytes, relayed: None, ..Report::default() };
                    let _ = world.books.heartbeat(Caller::Grant(grant), &id, report);
                }
                (5, Some(grant)) => {
                    let report = Report { bytes_received: bytes, relayed, ..Report::default() };
                    let _ = world.books.close(Caller::Grant(grant), &id, report);
                }
                (6, _) => world.restart(),
                (7, Some(grant)) if wait < 4_000 => _ = world.books.revoke(grant.id),
                _ => world.pass(wait),
            }
            let most = 50_000_000 / 8 * (world.now - begin) / 1_000;
            prop_assert!(world.used() <= most + 100, "{} of {most}", world.used());
            if is_strict {
                let committed = world.books.snapshot().figures.committed.get();
                prop_assert!(committed <= 50 * GB, "{committed}");
            }
        }
    }
}
