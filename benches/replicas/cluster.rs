//! Replicas as processes, and the faults that are made at them. Each can have a proxy of its own before the database.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::clients::{Call, Faulty, http_client};
use crate::postgres::{TestDatabase, url_at};
use crate::process::Process;
use crate::proxy::{Harm, Proxy};

/// How long a leader is paused or cut off: the lease, which is that of the default, and what a takeover takes.
const BEYOND_THE_LEASE: Duration = Duration::from_secs(8);
/// The exit status of a replica that has lost its lead.
const LOST: Option<i32> = Some(75);

/// What happens to the leader.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    /// Paused for longer than the lease, and continued.
    Stop,
    /// Its connections to the database are closed, and new ones refused.
    Cut,
    /// Nothing reaches the database or comes from it, until all of it arrives late.
    Hold,
    /// The answers of the database vanish.
    Swallow,
    Term,
    /// Each of three replicas ends in order and is started again, one after another.
    Rolling,
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "`kill -9` of the leader",
            Self::Stop => "SIGSTOP of the leader for 8 s, then SIGCONT",
            Self::Cut => "the leader is cut off from the database for 8 s: refused",
            Self::Hold => "the same: nothing arrives, until all of it arrives late",
            Self::Swallow => "the same: the answers of the database vanish",
            Self::Term => "SIGTERM to the leader",
            Self::Rolling => "three replicas are restarted one after another",
        }
    }

    pub(crate) fn signal(self) -> &'static str {
        if self == Self::Kill { "`kill -9`" } else { "SIGTERM" }
    }
}

/// A replica, or a broker alone. It keeps its port.
pub(crate) struct Node {
    program: PathBuf,
    port: u16,
    settings: Vec<(&'static str, String)>,
    process: Option<Process>,
}

impl Node {
    fn new(program: &Path, settings: Vec<(&'static str, String)>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { program: program.to_owned(), port, settings, process: None }
    }

    pub(crate) fn alone(program: &Path, state: &Path) -> Self {
        Self::new(program, vec![("STATE_DIR", state.to_str().unwrap().to_owned())])
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(crate) fn start(&mut self) {
        let mut command = Command::new(&self.program);
        command.env_clear().current_dir(std::env::temp_dir()).envs([
            ("HOST", "127.0.0.1"),
            ("ICE_SOURCES", "coturn"),
            ("COTURN_URLS", "turn:relay.example"),
            ("COTURN_SECRET", "bench-fixture-secret"),
            ("BANDWIDTH_LIMIT_GB", "1000000"),
            ("RATE_LIMIT_REQUESTS", "10000"),
            ("RATE_LIMIT_WINDOW_SECONDS", "1"),
            ("RUST_LOG", "error,turn_broker::telemetry::startup=info"),
        ]);
        command
            .env("PORT", self.port.to_string())
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::spawn(&mut command));
    }

    /// Ends the process with a signal, and waits for its end.
    async fn end(&mut self, signal: &str) -> Option<i32> {
        self.process.as_ref().unwrap().signal(signal);
        self.ended().await
    }

    async fn ended(&mut self) -> Option<i32> {
        let process = self.process.take().unwrap();
        tokio::task::spawn_blocking(|| process.finish().1).await.unwrap()
    }

    /// Ends the process and starts it again at once.
    pub(crate) async fn restart(&mut self, fault: Fault) -> Faulty {
        let from = Instant::now();
        self.end(if fault == Fault::Kill { "-KILL" } else { "-TERM" }).await;
        self.start();
        self.is_at("/ready").await;
        Faulty { node: 0, from, until: Instant::now() }
    }

    /// Waits until a route answers 200.
    async fn is_at(&self, path: &str) {
        let (http, begun) = (http_client(), Instant::now());
        while !self.answers(&http, path).await {
            assert!(begun.elapsed() < Duration::from_secs(60), "{path} is not 200");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn answers(&self, http: &reqwest::Client, path: &str) -> bool {
        let request = http.get(format!("{}{path}", self.url())).timeout(Duration::from_secs(1));
        request.send().await.is_ok_and(|response| response.status() == 200)
    }

    /// The number of grants in the ledger.
    pub(crate) async fn issued(&self) -> usize {
        let status = http_client().get(format!("{}/api/bandwidth-status", self.url())).send().await.unwrap();
        let status: serde_json::Value = status.json().await.unwrap();
        usize::try_from(status["grants"]["issued"].as_u64().unwrap()).unwrap()
    }
}

/// Replicas on one ledger.
pub(crate) struct Cluster {
    database: TestDatabase,
    nodes: Vec<(Node, Proxy)>,
}

impl Cluster {
    /// The first one leads. The proxies take time, so what is measured without a fault goes past them.
    pub(crate) async fn start(
        program: &Path,
        database: &TestDatabase,
        count: usize,
        has_proxies: bool,
    ) -> Self {
        Self::start_with(program, database, count, has_proxies, &[]).await
    }

    /// The same, with further settings.
    pub(crate) async fn start_with(
        program: &Path,
        database: &TestDatabase,
        count: usize,
        has_proxies: bool,
        more: &[(&'static str, &str)],
    ) -> Self {
        let mut nodes = vec![];
        for _ in 0..count {
            let proxy = Proxy::start(database.address()).await;
            let url = if has_proxies { url_at(proxy.port) } else { database.url() };
            let mut settings = vec![("DATABASE_URL", url), ("DATABASE_SCHEMA", database.schema.clone())];
            settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
            let mut node = Node::new(program, settings);
            node.start();
            node.is_at(if nodes.is_empty() { "/leader" } else { "/ready" }).await;
            nodes.push((node, proxy));
        }
        Self { database: database.clone(), nodes }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|(node, _)| node.url()).collect()
    }

    pub(crate) fn address(&self, node: usize) -> SocketAddr {
        self.nodes[node].0.address()
    }

    /// The resident memory of a replica, in MB.
    pub(crate) fn resident_mb(&self, node: usize) -> u64 {
        let id = self.nodes[node].0.process.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024 / 1_000_000
    }

    async fn leader(&self) -> usize {
        let http = http_client();
        loop {
            for (number, (node, _)) in self.nodes.iter().enumerate() {
                if node.process.is_some() && node.answers(&http, "/leader").await {
                    return number;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Makes a fault, and waits until all replicas serve again.
    pub(crate) async fn make(&mut self, fault: Fault) -> Vec<Faulty> {
        if fault == Fault::Rolling {
            let mut faulty = vec![];
            for number in 0..self.nodes.len() {
                let restarted = self.nodes[number].0.restart(fault).await;
                faulty.push(Faulty { node: number, ..restarted });
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            return faulty;
        }
        let number = self.leader().await;
        let (node, proxy) = &mut self.nodes[number];
        let from = Instant::now();
        match fault {
            Fault::Kill => {
                node.end("-KILL").await;
            }
            Fault::Term | Fault::Rolling => assert_eq!(node.end("-TERM").await, Some(0)),
            Fault::Stop => {
                node.process.as_ref().unwrap().signal("-STOP");
                tokio::time::sleep(BEYOND_THE_LEASE).await;
                assert_eq!(node.end("-CONT").await, LOST);
            }
            Fault::Cut | Fault::Hold | Fault::Swallow => {
                proxy.harm_all(match fault {
                    Fault::Cut => Harm::Cut,
                    Fault::Hold => Harm::Pause,
                    _ => Harm::DropAnswers,
                });
                tokio::time::sleep(BEYOND_THE_LEASE).await;
                proxy.harm_all(Harm::None);
                assert_eq!(node.ended().await, LOST);
            }
        }
        self.leader().await;
        let node = &mut self.nodes[number].0;
        node.start();
        node.is_at("/ready").await;
        vec![Faulty { node: number, from, until: Instant::now() }]
    }

    /// How many of the answered grants the database lacks.
    pub(crate) async fn lacking(&self, calls: &[Call]) -> usize {
        let ids: Vec<_> = calls.iter().filter_map(|call| call.answered.as_deref()).collect();
        let lacking = "SELECT count(*) FROM unnest($1::bytea[]) AS id \
            WHERE NOT EXISTS (SELECT FROM item WHERE kind = 4 AND key = id)";
        let count: i64 = self.database.client().await.query_one(lacking, &[&ids]).await.unwrap().get(0);
        usize::try_from(count).unwrap()
    }
}
