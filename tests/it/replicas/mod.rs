//! Several replicas on one ledger, in this process: who leads, and how requests reach the leader.

mod by_hand;
mod campaign;
mod doctor;
mod failover;
mod forward;
mod forward_wait;
mod hung;
mod lease;
mod ledger_copy;
mod processes;
mod role;
mod sockets;
mod store;
mod store_books;
mod store_connections;
mod store_loss;
mod store_outcomes;
mod takeover;

use std::ops::Deref;

use turn_broker::listen::Shutdown;
use turn_broker::listen::replica::Replica;

use crate::support::prelude::*;
use crate::support::test_broker::config;

/// `LEASE_SECONDS`.
const LEASE: Duration = Duration::from_secs(5);
/// How far a clock is advanced between two looks. A replica whose clock jumps by more than half of the lease has stood still.
const STEP: Duration = Duration::from_secs(1);

/// A replica with a clock of its own.
struct TestReplica {
    database: FakeDatabase,
    address: SocketAddr,
    url: String,
    clock: Arc<ManualClock>,
    api: Api,
    shutdown: Shutdown,
    service: JoinHandle<Ended>,
}

impl TestReplica {
    /// A replica that mints for a coturn, with these settings.
    async fn start(database: &FakeDatabase, settings: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_at(listener, database, settings)
    }

    /// One that does not reach the database yet.
    async fn start_cut_off(database: &FakeDatabase, settings: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        database.set_cut_off(&format!("http://{}", listener.local_addr().unwrap()), true);
        Self::start_at(listener, database, settings)
    }

    fn start_at(listener: TcpListener, database: &FakeDatabase, settings: &[(&str, &str)]) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self::start_as(&url, listener, database, settings)
    }

    /// One that the others reach at this URL.
    fn start_as(
        advertised: &str,
        listener: TcpListener,
        database: &FakeDatabase,
        settings: &[(&str, &str)],
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (url, clock) = (format!("http://{address}"), Arc::new(ManualClock::at(START)));
        let replica = Replica {
            config: config(&[&COTURN[..], settings].concat()),
            lease: LEASE,
            electorate: database.electorate(advertised),
            clock: clock.clone(),
            lost_lines: LostLines::default(),
        };
        let shutdown = Shutdown::default();
        let running = replica.run(listener, shutdown.clone());
        let service = tokio::spawn(async move { running.await.unwrap() });
        let api = Api::new(url.as_str());
        Self { database: database.clone(), address, url, clock, api, shutdown, service }
    }

    async fn leads(&self) -> bool {
        self.get("/leader").await.status == 200
    }

    /// Waits until this replica leads, without any time passing for it.
    async fn until_it_leads(&self) {
        eventually("it leads", async || self.leads().await).await;
    }

    /// Waits until this replica leads. Its time passes meanwhile.
    async fn takes_over(&self) {
        let leads = async || {
            self.step().await;
            self.leads().await
        };
        eventually("it takes over", leads).await;
    }

    /// Advances its clock, and waits until it has looked at the database since.
    async fn step(&self) {
        self.clock.advance(STEP);
        self.has_looked().await;
    }

    /// Waits until this replica has taken what the database shows now: the look after the next one has begun.
    async fn has_looked(&self) {
        let looks = self.database.looks(&self.url) + 2;
        eventually("it looks", async || self.database.looks(&self.url) >= looks).await;
    }

    /// Waits until this replica forwards.
    async fn until_it_forwards(&self) {
        eventually("it forwards", async || self.get("/ready").await.status == 200).await;
    }

    /// Ends like a killed process.
    async fn kill(mut self) {
        self.service.abort();
        let _ = (&mut self.service).await;
    }

    /// Waits for the end of the process.
    async fn ended(mut self) -> Ended {
        (&mut self.service).await.unwrap()
    }
}

impl Deref for TestReplica {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Drop for TestReplica {
    fn drop(&mut self) {
        self.shutdown.soft.cancel();
        self.shutdown.hard.cancel();
    }
}

/// Two replicas of which the first one leads and the second one forwards.
async fn pair(settings: &[(&str, &str)]) -> (FakeDatabase, TestReplica, TestReplica) {
    let database = FakeDatabase::new();
    let leader = TestReplica::start(&database, settings).await;
    leader.until_it_leads().await;
    // A new leader that has written nothing yet is waited for longer than a lease.
    eventually("the leader writes", async || database.row().seq > 1).await;
    let standby = TestReplica::start(&database, settings).await;
    standby.until_it_forwards().await;
    // It is on another machine.
    standby.clock.reboot(Duration::ZERO);
    (database, leader, standby)
}
