//! What a replica that does not lead sees of the ledger: the row that says who leads, and the other replicas.

use std::error::Error;
use std::time::Instant;

use tokio_postgres::types::Type;

use super::connect::{Connection, Database, DatabaseError, SESSION_NAME, Values};
use super::leader::{Node, VERSION};
use super::observation::books_now;
use super::storage::PostgresStorage;
use super::takeovers::Takeovers;
use super::{loss, schema};
use crate::config::DatabaseConfig;
use crate::store::prelude::*;
use crate::store::rows::{KEY_HEAD, KEY_TOKEN_KEY};
use turn_base::Clock;

/// How often a replica shows that it is there.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);

const NO_ROW: &str = "Restore the database from a backup: the table shard has lost its row.";
const OBSERVE: &str = "SELECT epoch, seq, held, \
    EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = shard.pid AND a.application_name = shard.sessions[1]), \
    leader, format, settings, version, (SELECT row FROM item WHERE kind = 0 AND key = $1), began, sessions, \
    written_at > pg_postmaster_start_time() \
    FROM shard WHERE id = 1";
/// Stores that this replica is there, and how far its clock (`$4`) is ahead of the database's. Returns whether another process was seen at
/// the same URL in the last 5 s, and more than a lease after this process has begun.
const NOTE: &str = "WITH noted AS (INSERT INTO node VALUES ($1, $2, $3, clock_timestamp(), \
        $4 - (extract(epoch FROM clock_timestamp()) * 1000)::bigint, $7) \
    ON CONFLICT (url) DO UPDATE SET version = EXCLUDED.version, settings = EXCLUDED.settings, \
        seen_at = EXCLUDED.seen_at, clock_ms = EXCLUDED.clock_ms, unreached = EXCLUDED.unreached), \
    own AS (INSERT INTO process AS p VALUES ($5, $1, clock_timestamp(), clock_timestamp()) \
        ON CONFLICT (id) DO UPDATE SET seen_at = EXCLUDED.seen_at RETURNING p.began) \
    SELECT EXISTS (SELECT FROM process, own WHERE url = $1 AND id <> $5 \
        AND process.seen_at > greatest(own.began + make_interval(secs => $6), clock_timestamp() - interval '5 s'))";
/// Whether two processes were seen at one address in the last 5 s, more than a lease after both have begun.
const SHARED: &str = "SELECT EXISTS (SELECT FROM process one JOIN process other USING (url) \
    WHERE url = $1 AND one.id < other.id AND least(one.seen_at, other.seen_at) > greatest( \
        greatest(one.began, other.began) + make_interval(secs => $2), clock_timestamp() - interval '5 s'))";
/// Removes replicas of earlier days. They accumulate if each new container has a new address.
const FORGET_OLD: &str = "DELETE FROM node WHERE seen_at < now() - interval '1 day'; \
    DELETE FROM process WHERE seen_at < now() - interval '1 day'";
/// A replica is live if it was seen in the last 3 s. It is seen each second while it works.
const REPLICAS: &str = "SELECT url, version, (extract(epoch FROM seen_at) * 1000)::bigint, clock_ms, settings, \
    seen_at > clock_timestamp() - interval '3 s', unreached, \
    coalesce(gave_up_at > clock_timestamp() - interval '5 minutes', false), reached FROM node \
    WHERE seen_at > now() - interval '1 minute' ORDER BY url LIMIT 64";
const OTHERS: &str = "SELECT url FROM node WHERE url <> $1 AND seen_at > clock_timestamp() - interval '3 s' \
    ORDER BY url LIMIT 64";
const GIVE_UP: &str = "UPDATE node SET gave_up_at = clock_timestamp() WHERE url = $1";
const REACHED: &str = "UPDATE node SET reached = true WHERE url = $1";
const META_ROW: &str = "SELECT row FROM item WHERE kind = 0 AND key = $1";

/// The database with the ledger, as its replicas see it.
pub trait Electorate: Send + 'static {
    /// The ledger, for the replica that leads.
    type Storage: Storage;
    /// Why the database cannot be asked.
    type Error: Error + Send;

    /// Whether no replica can use this database, so that it would be useless to try again.
    fn is_unusable(error: &Self::Error) -> bool;

    /// Where the others reach this replica. Without a setting, empty until the database was reached.
    fn url(&self) -> String;
    /// Whether another replica has lately said that it is reached at the same URL.
    fn has_twin(&self) -> bool;
    /// Reads the row that says who leads, and shows the others that this replica is there.
    fn observe(&mut self) -> impl Future<Output = Result<Observation, Self::Error>> + Send;
    /// Takes the lead. `None` if the row that says who leads has changed since `seen`: another replica leads, or the leader has written.
    fn stand(
        &mut self,
        seen: &Observation,
    ) -> impl Future<Output = Result<Option<Self::Storage>, Self::Error>> + Send;
    /// Sets the epoch whose leader this replica does not reach; `None` if it reaches the leader. [`Self::observe`] shows it to the others.
    fn set_unreached(&mut self, epoch: Option<i64>);
    /// Notes for all replicas that this one has reached the replica at `url`.
    fn set_reached(&mut self, url: &str) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// States that this replica gives its lead up, because no other replica reaches it.
    fn give_up(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// States in the ledger that writes up to `seq` are lost. This ends every lead.
    fn state_loss(&mut self, seq: i64) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// The key that signs grant tokens; `None` before the first leader has made it.
    fn key(&mut self) -> impl Future<Output = Result<Option<[u8; 64]>, Self::Error>> + Send;
    /// The replicas that were seen lately.
    fn replicas(&mut self) -> impl Future<Output = Result<Vec<Replica>, Self::Error>> + Send;
}

/// One replica, as all replicas see it in the database. A leader bases only one decision on these facts: whether to give up its lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Where the others reach it.
    pub url: String,
    /// Its version.
    pub version: String,
    /// The digest of its settings that decide figures.
    pub settings: Option<String>,
    /// When it was last seen, by the clock of the database.
    pub seen_at: Timestamp,
    /// How far its clock is ahead of the database's, in milliseconds.
    pub clock_ahead_millis: i64,
    /// Whether it was seen in the last seconds.
    pub is_live: bool,
    /// The epoch of the leader that it has not reached for `LEASE_SECONDS`.
    pub unreached: Option<i64>,
    /// Whether it has lately given its lead up.
    pub gave_up: bool,
    /// Whether a leader has ever reached it.
    pub was_reached: bool,
}

/// A replica's connection to the database. An error or a canceled call ends it, and the next call connects again.
#[derive(Debug)]
pub struct Standby {
    database: Arc<Database>,
    node: Node,
    clock: Arc<dyn Clock>,
    port: u16,
    connection: Option<Connection>,
    /// How many connections this process has opened.
    connections: u64,
    /// When this replica last showed the others that it is there.
    noted_at: Option<Instant>,
    /// The random name of this process, made when it is first needed.
    id: Option<String>,
    lease: Duration,
    has_twin: bool,
    unreached: Option<i64>,
    /// Whether it was checked that no pooler shares sessions.
    is_checked: bool,
}

impl Standby {
    /// Connects nowhere yet. `port`: the port of this replica, for its URL if the settings have none. `settings`: the digest of the
    /// settings that decide figures.
    pub fn new(config: &DatabaseConfig, port: u16, settings: String, clock: Arc<dyn Clock>) -> Self {
        // Paths are appended to it.
        let url = config.advertise_url.as_ref().map_or("", |url| url.as_str().trim_end_matches('/'));
        Self {
            database: Arc::new(Database::new(config)),
            node: Node { url: url.to_owned(), settings },
            clock,
            port,
            connection: None,
            connections: 0,
            noted_at: None,
            id: None,
            lease: config.lease,
            has_twin: false,
            unreached: None,
            is_checked: false,
        }
    }

    /// Takes the connection out of `self`, or opens one. After opening one, finds the URL of this replica, makes the tables if they are
    /// missing, and removes old rows of replicas. A call puts it back when it succeeds, so the connection of a call that has failed or was
    /// canceled is not used again.
    async fn connection(&mut self) -> Result<Connection, DatabaseError> {
        if let Some(connection) = self.connection.take().filter(|open| !open.client.is_closed()) {
            return Ok(connection);
        }
        let connection = self.database.connect(SESSION_NAME).await?;
        self.connections += 1;
        if !self.is_checked {
            refuse_shared_session(&self.database, &connection).await?;
            self.is_checked = true;
        }
        if self.node.url.is_empty() {
            self.node.url = self.database.default_url(self.port).await;
        }
        schema::make(&connection, self.database.schema()).await?;
        connection.run(FORGET_OLD).await?;
        Ok(connection)
    }

    /// Shows the others that this replica is there, and learns whether another process names the same URL.
    async fn note(&mut self, connection: &Connection) -> Result<(), DatabaseError> {
        if self.id.is_none() {
            self.id = Some(format!("{:032x}", u128::from_be_bytes(random::bytes()?)));
        }
        let Node { url, settings } = &self.node;
        let (now, lease) = (self.clock.now().as_millis(), self.lease.as_secs_f64());
        let values: Values<'_> = &[
            (url, Type::TEXT),
            (&VERSION, Type::TEXT),
            (settings, Type::TEXT),
            (&now, Type::INT8),
            (&self.id, Type::TEXT),
            (&lease, Type::FLOAT8),
            (&self.unreached, Type::INT8),
        ];
        self.has_twin = connection.row(NOTE, values).await?.is_some_and(|row| row.get(0));
        Ok(())
    }
}

impl Electorate for Standby {
    type Storage = PostgresStorage;
    type Error = DatabaseError;

    fn is_unusable(error: &DatabaseError) -> bool {
        matches!(error, DatabaseError::SharedSession)
    }

    fn url(&self) -> String {
        self.node.url.clone()
    }

    fn has_twin(&self) -> bool {
        self.has_twin
    }

    /// Writes the row of this replica at most once a second.
    async fn observe(&mut self) -> Result<Observation, DatabaseError> {
        let connection = self.connection().await?;
        let row = connection.row(OBSERVE, &[(&KEY_HEAD.as_bytes(), Type::BYTEA)]).await?;
        let row = row.ok_or(DatabaseError::Unfit(NO_ROW))?;
        let now = self.clock.instant();
        if self.noted_at.is_none_or(|at| now.saturating_duration_since(at) >= NOTE_INTERVAL) {
            self.note(&connection).await?;
            self.noted_at = Some(now);
        }
        self.connection = Some(connection);
        Ok(Observation {
            epoch: row.get(0),
            seq: row.get(1),
            is_held: row.get(2),
            has_session: row.get(3),
            has_written: row.get(11),
            connection: self.connections.saturating_sub(1),
            leader: row.get(4),
            format: row.get(5),
            settings: row.get(6),
            version: row.get(7),
            books_now: row.get::<_, Option<&[u8]>>(8).and_then(books_now),
            takeovers: Takeovers::new(row.get(9), row.get(10)),
        })
    }

    /// The storage blocks, so the caller must open its writer in a thread that may block.
    async fn stand(&mut self, seen: &Observation) -> Result<Option<PostgresStorage>, DatabaseError> {
        let (database, node, seen) = (Arc::clone(&self.database), self.node.clone(), seen.clone());
        let stood = tokio::task::spawn_blocking(move || PostgresStorage::stand(database, &node, &seen));
        stood.await.map_err(|error| DatabaseError::Thread(error.to_string()))?
    }

    fn set_unreached(&mut self, epoch: Option<i64>) {
        self.unreached = epoch;
    }

    async fn set_reached(&mut self, url: &str) -> Result<(), DatabaseError> {
        let connection = self.connection().await?;
        connection.execute(REACHED, &[(&url, Type::TEXT)]).await?;
        self.connection = Some(connection);
        Ok(())
    }

    async fn give_up(&mut self) -> Result<(), DatabaseError> {
        let connection = self.connection().await?;
        connection.execute(GIVE_UP, &[(&self.node.url, Type::TEXT)]).await?;
        self.connection = Some(connection);
        Ok(())
    }

    async fn state_loss(&mut self, seq: i64) -> Result<(), DatabaseError> {
        let connection = self.connection().await?;
        loss::state(&connection, seq).await?;
        self.connection = Some(connection);
        Ok(())
    }

    async fn key(&mut self) -> Result<Option<[u8; 64]>, DatabaseError> {
        let connection = self.connection().await?;
        let row = connection.row(META_ROW, &[(&KEY_TOKEN_KEY.as_bytes(), Type::BYTEA)]).await?;
        self.connection = Some(connection);
        Ok(row.and_then(|row| row.get::<_, &[u8]>(0).first_chunk().copied()))
    }

    /// The replicas that were seen in the last minute.
    async fn replicas(&mut self) -> Result<Vec<Replica>, DatabaseError> {
        let connection = self.connection().await?;
        let rows = connection.rows(REPLICAS, &[]).await?;
        self.connection = Some(connection);
        let replica = |row: tokio_postgres::Row| Replica {
            url: row.get(0),
            version: row.get::<_, Option<String>>(1).unwrap_or_default(),
            seen_at: Timestamp::from_millis(row.get(2)),
            clock_ahead_millis: row.get(3),
            settings: row.get(4),
            is_live: row.get(5),
            unreached: row.get(6),
            gave_up: row.get(7),
            was_reached: row.get(8),
        };
        Ok(rows.into_iter().map(replica).collect())
    }
}

/// Refuses a pooler that gives the session of one client to another one. In statement mode the pooler refuses BEGIN. In transaction mode it
/// gives `other` the idle session of `connection`, and keeps that session for `other` until the transaction ends.
pub(crate) async fn refuse_shared_session(
    database: &Database,
    connection: &Connection,
) -> Result<(), DatabaseError> {
    const BACKEND: &str = "SELECT pg_backend_pid()";
    let other = database.connect(SESSION_NAME).await?;
    let of_one: i32 = connection.one(BACKEND).await?.get(0);
    if let Err(error) = other.run("BEGIN").await {
        // If another query succeeds, the pooler has refused only BEGIN.
        let is_there = database.connect(SESSION_NAME).await?.one(BACKEND).await.is_ok();
        return Err(if is_there { DatabaseError::SharedSession } else { error });
    }
    let of_other: i32 = other.one(BACKEND).await?.get(0);
    // Another client may have got the session of `connection` before `other` asked. Then that session is in use, so the pooler gives
    // `connection` a different one for its second query.
    if of_one != of_other && of_one == connection.one(BACKEND).await?.get::<_, i32>(0) {
        return Ok(());
    }
    Err(DatabaseError::SharedSession)
}

/// Where the live replicas are reached, but for the one at this URL.
pub(crate) async fn others(connection: &Connection, url: &str) -> Result<Vec<String>, DatabaseError> {
    let rows = connection.rows(OTHERS, &[(&url, Type::TEXT)]).await?;
    Ok(rows.into_iter().map(|row| row.get(0)).collect())
}

/// Whether two replicas say that they are reached at this URL, as [`SHARED`] finds it.
pub(crate) async fn is_shared(
    connection: &Connection,
    url: &str,
    lease: Duration,
) -> Result<bool, DatabaseError> {
    let values: Values<'_> = &[(&url, Type::TEXT), (&lease.as_secs_f64(), Type::FLOAT8)];
    Ok(connection.row(SHARED, values).await?.is_some_and(|row| row.get(0)))
}
