//! A `PostgreSQL` server that the tests of this process share. It ends with the process. Each test has a schema of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use tokio_postgres::{Client, NoTls, Row};
use turn_broker::config::{Config, DatabaseConfig, Environment};

use super::held_port::HeldPort;

/// Runs the server until standard input ends.
const SERVER: &str = include_str!("postgres.sh");

struct Server {
    directory: PathBuf,
    port: u16,
    /// Also while the server is stopped.
    _held: HeldPort,
    /// Its standard input ends with this process. Its output.
    process: Mutex<(Child, BufReader<ChildStdout>)>,
}

/// A schema of the shared server.
#[derive(Clone)]
pub(crate) struct TestDatabase {
    server: &'static Server,
    pub(crate) schema: String,
}

/// The newest installed programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|bin| bin.join("initdb").exists())
        .max()
}

fn server() -> Option<&'static Server> {
    static SERVER_OF_PROCESS: OnceLock<Option<Server>> = OnceLock::new();
    SERVER_OF_PROCESS.get_or_init(|| programs().map(|programs| start(&programs, None))).as_ref()
}

/// Starts a server. `primary`: the port of the one of which it is the standby.
fn start(programs: &std::path::Path, primary: Option<u16>) -> Server {
    let directory = tempfile::tempdir().unwrap().keep();
    let held = HeldPort::new();
    let port = held.address().port();
    let mut child = Command::new("sh")
        .args(["-c", SERVER, "sh"])
        .arg(&directory)
        .arg(programs)
        .args([port.to_string(), "127.0.0.1".into()])
        .args(primary.map(|port| port.to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let server = Server { directory, port, _held: held, process: Mutex::new((child, output)) };
    server.wait_until_ready();
    server
}

impl Server {
    fn wait_until_ready(&self) {
        let mut line = String::new();
        self.process.lock().unwrap().1.read_line(&mut line).unwrap();
        let log = || std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        assert_eq!(line, "ready\n", "{}", log());
    }
}

impl TestDatabase {
    /// A new schema. Panics where `PostgreSQL` is not installed; with `WITHOUT_POSTGRESQL`, `None`.
    pub(crate) fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let Some(server) = server() else {
            let is_left_out = std::env::var_os("WITHOUT_POSTGRESQL").is_some();
            assert!(is_left_out, "install PostgreSQL, or set WITHOUT_POSTGRESQL=1 to leave out its tests");
            return None;
        };
        Some(Self { server, schema: format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed)) })
    }

    /// The same in a server that no other test uses.
    pub(crate) fn alone() -> Option<Self> {
        let shared = Self::new()?;
        Some(Self { server: Box::leak(Box::new(start(&programs()?, None))), ..shared })
    }

    /// A streaming standby of this server.
    pub(crate) async fn standby(&self) -> Self {
        let primary = self.server.port;
        let started = tokio::task::spawn_blocking(move || start(&programs().unwrap(), Some(primary)));
        Self { server: Box::leak(Box::new(started.await.unwrap())), schema: self.schema.clone() }
    }

    /// Stops the server at once, as a crash does, and starts it again after so many seconds.
    pub(crate) async fn restart(&self, seconds: u32) {
        self.stop_and(seconds.to_string()).await;
    }

    /// Stops the server at once, for good.
    pub(crate) async fn stop(&self) {
        self.stop_and("stop".into()).await;
    }

    async fn stop_and(&self, line: String) {
        let server = self.server;
        let restarted = tokio::task::spawn_blocking(move || {
            let mut process = server.process.lock().unwrap();
            writeln!(process.0.stdin.as_mut().unwrap(), "{line}").unwrap();
            drop(process);
            server.wait_until_ready();
        });
        restarted.await.unwrap();
    }

    pub(crate) fn address(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.server.port)
    }

    /// The authority of the server's certificate, which is for `localhost`.
    pub(crate) fn authority(&self) -> PathBuf {
        self.server.directory.join("ca.crt")
    }

    /// A URL without TLS.
    pub(crate) fn url(&self) -> String {
        url_at(self.server.port)
    }

    /// The settings of a replica that connects there.
    pub(crate) fn config(&self) -> DatabaseConfig {
        self.config_at(&self.url())
    }

    /// The same through another address.
    pub(crate) fn config_at(&self, url: &str) -> DatabaseConfig {
        self.config_with(&[("DATABASE_URL", url)])
    }

    pub(crate) fn config_with(&self, settings: &[(&str, &str)]) -> DatabaseConfig {
        let schema = [("DATABASE_SCHEMA", self.schema.as_str())];
        let environment = Environment::from_pairs(schema.iter().chain(settings).copied());
        Config::from_env(&environment).unwrap().database.unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&format!("SET search_path = {}", self.schema)).await.unwrap();
        client
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.client().await.batch_execute(sql).await.unwrap();
    }

    /// The only row of an answer.
    pub(crate) async fn row(&self, sql: &str) -> Row {
        self.client().await.query_one(sql, &[]).await.unwrap()
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.row(&format!("SELECT ({sql})::bigint")).await.get(0)
    }
}

/// A URL without TLS at this port of this machine.
pub(crate) fn url_at(port: u16) -> String {
    format!("postgres://turn@127.0.0.1:{port}/postgres?sslmode=disable")
}
