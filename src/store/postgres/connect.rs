//! Connections to the database. Each statement has a deadline, because a connection that is half open behind a proxy never fails by
//! itself. Callers drop a connection after an error, unless the server has only refused the statement. No error contains a password or the
//! content of a row.

use std::error::Error;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use rustls::ClientConfig;
use tokio::net::{UdpSocket, lookup_host};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, LoadBalanceHosts};
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Row};
use tokio_postgres_rustls::MakeRustlsConnect;
use turn_base::{NoRandomness, Throttle, in_words};

use crate::config::DatabaseConfig;
use crate::store::prelude::*;

/// The longest time for one statement.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);
/// The longest time for each answer while the whole ledger is read: to the query of a table, and to each of its rows. Before the first row
/// the server may have to sort a large table. A leader that reads for a minute in all is replaced.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest time for a connection to one address, unless the URL has another time. A replica's look at the database may take as long as
/// three such attempts.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(600);

/// The name of sessions that do not lead.
pub(super) const SESSION_NAME: &str = "turn-broker";

/// The function of the server that waits for the synchronous standby. Its warning says that the commit may be missing on that standby.
/// Unlike the warning's text, the name of the function is not translated.
const STANDBY_WAIT: &str = "SyncRepWaitForLSN";
/// The function of the server that sends the text of a RAISE, as in an operator's own trigger. The text may have the content of a row.
const RAISE: &str = "exec_stmt_raise";
/// A warning of the database is logged once in this time.
const WARNING_WINDOW: Duration = Duration::from_secs(60);

/// The system identifier of the database, and the server's timeline: the first eight hexadecimal digits in the name of its WAL file.
const HISTORY: &str = "SELECT system_identifier, ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int \
    FROM pg_control_system()";
const OLD_PRIMARY: &str = "Stop the old primary of the database: DATABASE_URL leads to one that has an older timeline than one that was seen, so another server has replaced it.";

/// `PostgreSQL` 14, as the server states it.
const VERSION_MIN: i32 = 140_000;

/// The settings of each session:
/// - No timeout of the server ends a statement. A statement that is canceled while it waits for a synchronous standby is committed
///   nevertheless.
/// - The wait for a lock ends before [`STATEMENT_TIMEOUT`], so no session still waits for a lock after its client has given up.
/// - Writes find rows by their keys. The server plans a write while the tables are small, and keeps the plan while they grow. Without these
///   settings the plan would read whole tables.
/// - No plan is compiled. The server still makes a disabled plan where it has no other one. The plan counts as so expensive that the server
///   would compile it, which takes a quarter of a second.
const SESSION: &str = "
    SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN
        ('statement_timeout', 'transaction_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout');
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') <> 'remote_apply';
    SET default_transaction_isolation = 'read committed';
    SET client_min_messages = 'warning';
    SET lock_timeout = '3s';
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
    SET jit = off;";

/// Why the database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// No answer in time.
    #[error("the database has not answered within {} s", .0.as_secs())]
    Deadline(Duration),
    /// No connection, or an error as the answer.
    #[error("the database: {0}")]
    Failed(String),
    /// An error as the answer to a statement, which was therefore not committed. The session can still be used.
    #[error("the database: {0}")]
    Refused(String),
    /// The database cannot keep the ledger safely. The text is the remedy.
    #[error("{0}")]
    Unfit(&'static str),
    /// A pooler in transaction or statement mode. It gives the session of one client to another one, so settings of a session and its name
    /// mean nothing.
    #[error(
        "Connect to PostgreSQL directly, or to a pooler in session mode: DATABASE_URL leads to a pooler in transaction or statement mode."
    )]
    SharedSession,
    /// Another version wrote the ledger.
    #[error(
        "the ledger in the database has format {0}, but this version reads {FORMAT_OLDEST} to {FORMAT}. Run the version that wrote it."
    )]
    OtherFormat(i32),
    /// There is no random name for a session.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// No runtime, or no thread.
    #[error("the connection to the database has no thread: {0}")]
    Thread(String),
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        match (error.as_db_error(), error.source()) {
            (Some(answer), _) => {
                let text = format!("{} ({})", answer.message(), answer.code().code());
                if recurs_in_a_new_session(answer) { Self::Refused(text) } else { Self::Failed(text) }
            }
            (None, Some(source)) => Self::Failed(in_words(&format!("{error}: {source}"))),
            (None, None) => Self::Failed(error.to_string()),
        }
    }
}

impl From<DatabaseError> for OpenError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error.into())
    }
}

/// Whether another session would get the same answer: the server lacks a resource, such as disk space (class 53), or a right is missing. An
/// answer that the server has become read-only is different: another server has taken over, so a new session helps.
fn recurs_in_a_new_session(answer: &DbError) -> bool {
    let lacks_resource_or_right =
        answer.code().code().starts_with("53") || *answer.code() == SqlState::INSUFFICIENT_PRIVILEGE;
    lacks_resource_or_right && answer.parsed_severity() == Some(Severity::Error)
}

/// Where the ledger is.
#[derive(Debug)]
pub struct Database {
    options: tokio_postgres::Config,
    /// The server's certificate and name are always verified.
    tls: ClientConfig,
    schema: String,
    /// Limits the log lines of the warnings of all sessions.
    warnings: Arc<Throttle>,
    /// The newest history of the database that was seen.
    newest: Mutex<Option<History>>,
    /// Whether the first writable host of the settings was found to be an old primary.
    is_first_old: AtomicBool,
}

/// The system identifier of a database, and the timeline of its server. A standby that is promoted begins a timeline with a higher number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct History {
    system: i64,
    timeline: i32,
}

impl History {
    /// Whether `newest` is a later timeline of the same database; `false` if none was seen yet.
    fn is_before(self, newest: Option<Self>) -> bool {
        newest.is_some_and(|newest| newest.system == self.system && newest.timeline > self.timeline)
    }
}

impl Database {
    /// Connects nowhere yet.
    pub fn new(config: &DatabaseConfig) -> Self {
        let mut options = config.url.expose().clone();
        if options.get_connect_timeout().is_none() {
            options.connect_timeout(CONNECT_TIMEOUT);
        }
        let warnings = Arc::new(Throttle::every(WARNING_WINDOW));
        let (newest, is_first_old) = Default::default();
        let (tls, schema) = (config.trust.client(), config.schema.clone());
        Self { options, tls, schema, warnings, newest, is_first_old }
    }

    /// The name of the tables' schema. It needs no quotes.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The URL at which the other replicas reach this one if no setting says so: its port, at the address from which it reaches the
    /// database.
    pub async fn default_url(&self, port: u16) -> String {
        let address = self.local_address().await.unwrap_or(Ipv4Addr::LOCALHOST.into());
        format!("http://{}", SocketAddr::new(address, port))
    }

    /// The address from which this machine reaches the database. `None` if it reaches the database through a socket of the file system, or
    /// if the address cannot be found.
    async fn local_address(&self) -> Option<IpAddr> {
        let host = self.options.get_hosts().iter().find_map(|host| match host {
            Host::Tcp(host) => Some(host.as_str()),
            Host::Unix(_) => None,
        });
        let database = lookup_host((host?, 0)).await.ok()?.next()?;
        let any = if database.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        // To connect a UDP socket sends nothing, but chooses the local address.
        let socket = UdpSocket::bind((any, 0)).await.ok()?;
        socket.connect((database.ip(), 5_432)).await.ok()?;
        Some(socket.local_addr().ok()?.ip())
    }

    /// Opens a session with this name and the settings of [`SESSION`]. Refuses an old primary.
    pub async fn connect(&self, name: &str) -> Result<Connection, DatabaseError> {
        if self.newest.lock().is_none() {
            self.see_each_host().await;
        }
        let mut options = self.options.clone();
        options.application_name(name);
        // In the order of the settings, each attempt would lead to the old primary again.
        if self.is_first_old.load(Ordering::Relaxed) {
            options.load_balance_hosts(LoadBalanceHosts::Random);
        }
        let connection = self.open(options).await?;
        let session = format!("{SESSION} SET search_path = {};", self.schema);
        connection.run(&session).await?;
        self.refuse_old(&connection).await?;
        Ok(connection)
    }

    /// Opens a session, and logs the warnings that the server sends in it.
    async fn open(&self, options: tokio_postgres::Config) -> Result<Connection, DatabaseError> {
        let (client, mut socket) = within(options.connect(MakeRustlsConnect::new(self.tls.clone()))).await?;
        let is_unconfirmed = Arc::new(AtomicBool::default());
        let (unconfirmed, warnings) = (Arc::clone(&is_unconfirmed), Arc::clone(&self.warnings));
        let driver = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| socket.poll_message(context)).await {
                if let AsyncMessage::Notice(notice) = message
                    && notice.parsed_severity() == Some(Severity::Warning)
                {
                    let is_about_standby = notice.routine() == Some(STANDBY_WAIT);
                    unconfirmed.fetch_or(is_about_standby, Ordering::Relaxed);
                    log_warning(&notice, &warnings);
                }
            }
        });
        Ok(Connection { client, is_unconfirmed, driver })
    }

    /// Asks each writable host of the settings for its history, because a process that has just started has seen no history. So a restarted
    /// process recognizes an old primary while the new one can be reached.
    async fn see_each_host(&self) {
        let hosts = self.options.get_hosts().len();
        if hosts < 2 {
            return;
        }
        let history = async |at| self.open(only_host(&self.options, at)).await.ok()?.history().await;
        let seen = join_all((0..hosts).map(history)).await;
        for history in seen.into_iter().flatten() {
            self.observe(history);
        }
    }

    /// Refuses a primary that another one has replaced, if this process has seen the other one. Later sessions then try the hosts in random
    /// order.
    async fn refuse_old(&self, connection: &Connection) -> Result<(), DatabaseError> {
        // A server that does not tell its history is accepted.
        let Some(seen) = connection.history().await else { return Ok(()) };
        if self.observe(seen) {
            return Ok(());
        }
        self.is_first_old.store(true, Ordering::Relaxed);
        Err(DatabaseError::Unfit(OLD_PRIMARY))
    }

    /// Keeps this history, unless a newer one was seen. Returns whether it was kept.
    fn observe(&self, seen: History) -> bool {
        let mut newest = self.newest.lock();
        let is_old = seen.is_before(*newest);
        if !is_old {
            *newest = Some(seen);
        }
        !is_old
    }
}

/// The same options with one of the hosts alone.
fn only_host(options: &tokio_postgres::Config, at: usize) -> tokio_postgres::Config {
    let mut only = tokio_postgres::Config::new();
    match options.get_hosts().get(at) {
        Some(Host::Tcp(host)) => only.host(host),
        Some(Host::Unix(path)) => only.host_path(path),
        None => &mut only,
    };
    // A single port in the settings applies to all hosts.
    options.get_ports().get(at).or(options.get_ports().first()).map(|port| only.port(*port));
    options.get_hostaddrs().get(at).map(|address| only.hostaddr(*address));
    options.get_user().map(|user| only.user(user));
    options.get_password().map(|password| only.password(password));
    options.get_dbname().map(|name| only.dbname(name));
    options.get_options().map(|session| only.options(session));
    options.get_connect_timeout().map(|time| only.connect_timeout(*time));
    only.ssl_mode(options.get_ssl_mode()).ssl_negotiation(options.get_ssl_negotiation());
    only.channel_binding(options.get_channel_binding());
    only.target_session_attrs(options.get_target_session_attrs()).application_name(SESSION_NAME);
    only
}

/// A session of the database. It ends when this is dropped, whatever the server does.
#[derive(Debug)]
pub struct Connection {
    /// For statements.
    pub client: Client,
    is_unconfirmed: Arc<AtomicBool>,
    driver: JoinHandle<()>,
}

/// The parameters of a statement.
pub(super) type Values<'a> = &'a [(&'a (dyn ToSql + Sync), Type)];

impl Connection {
    /// Runs statements without parameters.
    pub(super) async fn run(&self, sql: &str) -> Result<(), DatabaseError> {
        within(self.client.batch_execute(sql)).await
    }

    /// Runs one statement, and returns the number of changed rows.
    pub(super) async fn execute(&self, sql: &str, values: Values<'_>) -> Result<u64, DatabaseError> {
        within(self.client.execute_typed(sql, values)).await
    }

    pub(crate) async fn rows(&self, sql: &str, values: Values<'_>) -> Result<Vec<Row>, DatabaseError> {
        within(self.client.query_typed(sql, values)).await
    }

    /// The only row, if there is one.
    pub(super) async fn row(&self, sql: &str, values: Values<'_>) -> Result<Option<Row>, DatabaseError> {
        within(self.client.query_typed_opt(sql, values)).await
    }

    /// The system identifier and the timeline of the server; `None` if the query fails, for whatever reason.
    async fn history(&self) -> Option<History> {
        let row = self.one(HISTORY).await.ok()?;
        Some(History { system: row.get(0), timeline: row.get(1) })
    }

    /// The only row.
    pub(crate) async fn one(&self, sql: &str) -> Result<Row, DatabaseError> {
        within(self.client.query_typed_one(sql, &[])).await
    }

    /// Refuses a server that forgets what it has committed, and one that is too old.
    pub(crate) async fn check_server(&self) -> Result<(), DatabaseError> {
        // Neon answers a commit when several machines have stored it, so `fsync` may be off there. Its customers cannot change these
        // settings.
        let settings = "SELECT current_setting('server_version_num')::int, \
            current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on' \
            OR coalesce(current_setting('neon.timeline_id', true), '') <> '' AND current_setting('synchronous_standby_names') = 'walproposer'";
        let row = self.one(settings).await?;
        judge_server(row.get(0), row.get(1))
    }

    /// Resolves when the session is over.
    pub(super) async fn broken(&mut self) {
        if !self.driver.is_finished() {
            let _ = (&mut self.driver).await;
        }
    }

    /// Whether the server has said since the last call that a commit may not be on its synchronous standby.
    pub(super) fn take_unconfirmed(&self) -> bool {
        self.is_unconfirmed.swap(false, Ordering::Relaxed)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn log_warning(warning: &DbError, throttle: &Throttle) {
    let Some(held_back) = throttle.pass(clock::timer_now().into_std()) else { return };
    let (code, routine) = (warning.code().code(), warning.routine());
    let message = if routine == Some(RAISE) { "" } else { warning.message() };
    tracing::warn!(code, routine, message, held_back, "the database warns");
}

fn judge_server(version: i32, is_durable: bool) -> Result<(), DatabaseError> {
    if version < VERSION_MIN {
        return Err(DatabaseError::Unfit("Use PostgreSQL 14 or later for DATABASE_URL."));
    }
    if is_durable {
        return Ok(());
    }
    Err(DatabaseError::Unfit(
        "Set fsync and full_page_writes to on in PostgreSQL: without them, a power cut loses answered writes or damages the ledger. If the provider does not let you, use another database.",
    ))
}

/// Waits for the answer to a statement.
pub async fn within<T>(
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, DatabaseError> {
    within_time(STATEMENT_TIMEOUT, answer).await
}

/// Waits for an answer for this time.
pub(super) async fn within_time<T>(
    time: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, DatabaseError> {
    match tokio::time::timeout(time, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(DatabaseError::Deadline(time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_does_not_answer_holds_no_damaged_ledger() {
        let error = OpenError::of_database(DatabaseError::Deadline(READ_TIMEOUT).into());
        assert!(matches!(error, OpenError::Database(_)), "{error}");
    }

    #[test]
    fn an_earlier_timeline_of_the_same_database_is_refused() {
        let newest = History { system: 7, timeline: 3 };
        for (seen, is_old) in [
            (History { timeline: 2, ..newest }, true),
            (newest, false),
            (History { timeline: 4, ..newest }, false),
            (History { system: 8, timeline: 1 }, false),
        ] {
            assert_eq!(seen.is_before(Some(newest)), is_old, "{seen:?}");
        }
        assert!(!newest.is_before(None));
    }

    #[test]
    fn a_server_that_forgets_commits_and_an_old_one_are_refused() {
        assert!(judge_server(140_000, true).is_ok());
        for (refused, remedy) in
            [(judge_server(140_000, false), "Set fsync"), (judge_server(139_999, true), "Use PostgreSQL 14")]
        {
            assert!(refused.unwrap_err().to_string().starts_with(remedy), "{remedy}");
        }
    }
}
