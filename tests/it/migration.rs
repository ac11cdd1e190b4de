//! Tests of the migration from older formats. A ledger is migrated once, without losing anything, and a copy of the old
//! file is kept.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use redb::{Database, ReadableDatabase, TableDefinition};
use serde_json::{Value, json};
use turn_broker::journal::Storage;
use turn_broker::journal::store::{FILE_NAME, OpenError, Store};
use turn_ledger::changes::Stored;
use turn_ledger::minute::Minute;
use turn_ledger::minute_usage::{ClaimedUsage, LiveDelta, MinuteUsage};
use turn_ledger::source::IceSource;

use crate::support::{REPORTER, StateDir, TestBroker};

/// Format 1, as the version that wrote it defined it.
mod format_1 {
    use super::TableDefinition;

    pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    pub(super) const MARKS: TableDefinition<'_, (&str, i64), (i64, i64)> = TableDefinition::new("marks");
    pub(super) const FLOWS: TableDefinition<'_, (&str, i64), (u64, u64, u64, u64)> =
        TableDefinition::new("flows");
    pub(super) const CONNECTIONS: TableDefinition<'_, (&str, &str), &[u8]> =
        TableDefinition::new("connections");
    pub(super) const GRANTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("grants");
    pub(super) const RENEWALS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("renewals");
}

/// 2025-01-15T11:00Z: an hour before the tests begin.
const MINUTE: i64 = 28_948_980;
const KEY: [u8; 64] = [7; 64];
const GRANT: &str = "AQIDBAUGBwgJCgsMDQ4PEA";
const OTHER_GRANT: &str = "EQIDBAUGBwgJCgsMDQ4PEA";

/// Writes a ledger of format 1: a month's usage, one live grant that has reported, and one open connection.
fn write_format_1(directory: &Path) {
    let database = Database::create(directory.join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    let period = json!({"start": "2025-01-01T00:00:00.000Z", "end": "2025-02-01T00:00:00.000Z"});
    {
        let mut marks = transaction.open_table(format_1::MARKS).unwrap();
        marks.insert(("cloudflare", MINUTE), (1, 0)).unwrap();
        marks.insert(("cloudflare", MINUTE + 180), (-1, 0)).unwrap();
        let mut flows = transaction.open_table(format_1::FLOWS).unwrap();
        flows.insert(("cloudflare", MINUTE - 60), (0, 5_000_000_000, 8_000, 1_000_000)).unwrap();
        let mut connections = transaction.open_table(format_1::CONNECTIONS).unwrap();
        let connection = json!({
            "connection": {
                "id": "call-1", "owner": "Reporter", "source": "cloudflare",
                "opened_at": "2025-01-15T11:59:00.000Z", "last_seen": "2025-01-15T11:59:59.000Z",
                "relayed": true, "bytes_sent": 3, "bytes_received": 7, "clock": null, "guesses": [],
                "counted": 7, "counted_until": "2025-01-15T11:59:59.000Z", "claimed": 7, "settled_millis": 0
            },
            "own_allowance": {"open": 1, "busy_since": "2025-01-15T11:59:00.000Z", "busy_millis": 0, "granted": 7}
        });
        connections.insert(("call-1", "\"Reporter\""), connection.to_string().as_bytes()).unwrap();
        let mut grants = transaction.open_table(format_1::GRANTS).unwrap();
        let grant = json!({
            "allowance": {"open": 0, "busy_since": "2025-01-15T11:00:00.000Z", "busy_millis": 1000, "granted": 9},
            "expires_at": "2025-01-15T12:30:00.000Z", "alive_until": "2025-01-15T14:00:00.000Z"
        });
        grants.insert(GRANT, grant.to_string().as_bytes()).unwrap();
        let mut renewals = transaction.open_table(format_1::RENEWALS).unwrap();
        renewals.insert(GRANT, json!("2025-01-15T12:30:00.000Z").to_string().as_bytes()).unwrap();
        let mut meta = transaction.open_table(format_1::META).unwrap();
        meta.insert("format", 1_u32.to_be_bytes().as_slice()).unwrap();
        meta.insert("token-key", KEY.as_slice()).unwrap();
        meta.insert("now", json!("2025-01-15T12:00:00.000Z").to_string().as_bytes()).unwrap();
        let counts = json!([period, {"issued": 4, "reported": 3, "connections": 5}]);
        meta.insert("counts", counts.to_string().as_bytes()).unwrap();
        let december = json!({"start": "2024-12-01T00:00:00.000Z", "end": "2025-01-01T00:00:00.000Z"});
        let previous = json!({"period": december, "used": 123_456});
        meta.insert("previous/cloudflare", previous.to_string().as_bytes()).unwrap();
    }
    transaction.commit().unwrap();
}

fn open(state: &StateDir) -> Stored {
    Store::open(Path::new(state.path())).unwrap().load().unwrap().books
}

fn format_of(path: &Path) -> u32 {
    let database = Database::open(path).unwrap();
    let meta = database.begin_read().unwrap().open_table(format_1::META).unwrap();
    u32::from_be_bytes(meta.get("format").unwrap().unwrap().value().try_into().unwrap())
}

#[test]
fn every_row_of_an_older_ledger_is_kept() {
    let state = StateDir::new();
    write_format_1(Path::new(state.path()));
    let stored = open(&state);
    let rows = &stored.sources[&IceSource::Cloudflare];
    let expected = [
        (Minute::new(MINUTE), LiveDelta { live: 1, unreported: 0 }),
        (Minute::new(MINUTE + 180), LiveDelta { live: -1, unreported: 0 }),
    ];
    assert_eq!(rows.deltas, expected.into());
    let usage = MinuteUsage {
        granted: ClaimedUsage { connection_millis: 0, claimed: 5_000_000_000 },
        ungranted: ClaimedUsage { connection_millis: 8_000, claimed: 1_000_000 },
    };
    assert_eq!(rows.usage, [(Minute::new(MINUTE - 60), usage)].into());
    assert_eq!(rows.previous.unwrap().used, 123_456);
    assert_eq!(rows.reading, None);
    assert_eq!(stored.connections.keys().map(|(id, _)| &**id).collect::<Vec<_>>(), ["call-1"]);
    assert_eq!(stored.grants.len(), 1);
    let grant = &stored.grants[&GRANT.parse().unwrap()];
    assert!(grant.reported && grant.renewed && grant.revoked_at.is_none());
    assert_eq!(grant.source, IceSource::Cloudflare, "the only source that has grants");
    assert_eq!(grant.expires_at.to_string(), "2025-01-15T12:30:00.000Z");
    assert_eq!(grant.alive_until.unwrap().start().to_string(), "2025-01-15T14:00:00.000Z");
    assert_eq!(stored.now.unwrap().to_string(), "2025-01-15T12:00:00.000Z");
    assert_eq!(stored.counts.unwrap().1.issued, 4);
    assert_eq!(stored.key, Some(KEY));
}

#[test]
fn a_connection_of_an_older_ledger_keeps_all_that_it_has_reported() {
    let state = StateDir::new();
    write_format_1(Path::new(state.path()));
    let stored = open(&state);
    let (name, connection) = stored.connections.first_key_value().unwrap();
    assert_eq!(name, &connection.name());
    assert_eq!((connection.bytes_sent, connection.bytes_received, connection.relayed), (3, 7, Some(true)));
    assert_eq!(connection.opened_at.to_string(), "2025-01-15T11:59:00.000Z");
    assert_eq!(connection.last_seen.to_string(), "2025-01-15T11:59:59.000Z");
    assert_eq!(stored.grants[&GRANT.parse().unwrap()].client, None, "its address is not known yet");
}

/// Adds the rows that format 2 introduced: issued credentials, and a coturn's sessions in one value.
fn write_format_2(directory: &Path) {
    write_format_1(directory);
    let database = Database::open(directory.join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let issued: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("issued");
        let mut issued = transaction.open_table(issued).unwrap();
        let of_source = |source: &str, revoked_at: Option<&str>| {
            json!({
                "source": source, "username": "user", "expires_at": "2025-01-15T12:30:00.000Z",
                "revoked_at": revoked_at
            })
        };
        issued.insert(GRANT, of_source("coturn", None).to_string().as_bytes()).unwrap();
        let revoked = of_source("cloudflare", Some("2025-01-15T11:59:00.000Z"));
        issued.insert(OTHER_GRANT, revoked.to_string().as_bytes()).unwrap();
        let mut meta = transaction.open_table(format_1::META).unwrap();
        meta.insert("format", 2_u32.to_be_bytes().as_slice()).unwrap();
        let row = json!({
            "user": format!("1795169280:{GRANT}"), "grant": GRANT, "age": {"secs": 60, "nanos": 0},
            "reach": "Bound", "seen_at": "2025-01-15T11:58:00.000Z", "packets": 4096,
            "traffic": {"received": 0, "sent": 4_096_000},
            "mark": {
                "packets": 4096, "traffic": {"received": 0, "sent": 4_096_000},
                "at": "2025-01-15T11:58:00.000Z", "hidden_since": "2025-01-15T11:57:58.000Z"
            },
            "measured": null, "charged": {"received": 0, "sent": 5_000_000}, "cut_at": null
        });
        let period = json!({"start": "2025-01-01T00:00:00.000Z", "end": "2025-02-01T00:00:00.000Z"});
        let coturn = json!({
            "sessions": {
                "total": {"received": 0, "sent": 5_000_000}, "looked_at": "2025-01-15T11:59:58.000Z",
                "rows": {"1000000000000002": row}
            },
            "looked_at": "2025-01-15T11:59:58.000Z", "period": period, "granted": 5_000_000, "other": 7
        });
        meta.insert("coturn", coturn.to_string().as_bytes()).unwrap();
    }
    transaction.commit().unwrap();
}

#[test]
fn three_tables_of_format_2_become_one_row_per_grant() {
    let state = StateDir::new();
    write_format_2(Path::new(state.path()));
    let stored = open(&state);
    assert_eq!(stored.grants.len(), 2);
    let grant = &stored.grants[&GRANT.parse().unwrap()];
    assert_eq!((grant.source, grant.username.as_deref()), (IceSource::Coturn, Some("user")));
    assert!(grant.reported && grant.renewed && grant.revoked_at.is_none());
    let other = &stored.grants[&OTHER_GRANT.parse().unwrap()];
    assert_eq!(other.revoked_at.unwrap().to_string(), "2025-01-15T11:59:00.000Z");
    assert!(!other.reported && !other.renewed);
}

#[test]
fn the_sessions_of_format_2_become_rows() {
    let state = StateDir::new();
    write_format_2(Path::new(state.path()));
    let stored = open(&state);
    assert_eq!(stored.sessions.keys().map(|id| id.get()).collect::<Vec<_>>(), [1_000_000_000_000_002]);
    let sums = serde_json::to_value(stored.coturn).unwrap();
    assert_eq!(sums["sessions"]["total"]["sent"], 5_000_000);
    assert_eq!(sums["sessions"]["complete_at"], "2025-01-15T11:59:58.000Z");
    assert_eq!((&sums["counts"]["granted"], &sums["counts"]["other"]), (&json!(5_000_000), &json!(7)));
    assert_eq!(sums["counts"]["period"]["start"], "2025-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn the_figures_of_an_older_ledger_do_not_change() {
    let state = StateDir::new();
    write_format_1(Path::new(state.path()));
    let broker = TestBroker::start(&[("STATE_DIR", state.path())]).await;
    let status = broker.status().await;
    // 5 GB with a grant, 1 MB without one, and 8 s charged by time at 2 Mbps.
    assert_eq!(status["usedBytes"], 5_003_000_000_u64);
    assert_eq!(status["grants"], json!({"issued": 4, "live": 1, "reported": 3}));
    assert_eq!(status["activeConnections"], 1);
    let beat = json!({"bytesReceived": 10, "relayed": true});
    let answer = broker.post(REPORTER, "/api/connections/call-1/heartbeat", beat).await;
    assert_eq!(answer.status, 200);
    let usage = broker.operator("/api/usage").await.json();
    assert_eq!(usage["previousPeriod"]["usedBytes"], Value::from(123_456));
}

#[test]
fn a_ledger_is_migrated_once_and_a_copy_is_kept() {
    let state = StateDir::new();
    let file = Path::new(state.path()).join(FILE_NAME);
    let copy = Path::new(state.path()).join("ledger.redb.format-1");
    write_format_1(Path::new(state.path()));
    open(&state);
    assert_eq!(format_of(&file), 4);
    assert_eq!(format_of(&copy), 1);
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    std::fs::remove_file(&copy).unwrap();
    open(&state);
    assert!(!copy.exists(), "a ledger of the current format is not copied");
}

#[test]
fn a_restored_copy_is_migrated_again() {
    let state = StateDir::new();
    let file = Path::new(state.path()).join(FILE_NAME);
    write_format_1(Path::new(state.path()));
    open(&state);
    std::fs::copy(Path::new(state.path()).join("ledger.redb.format-1"), &file).unwrap();
    assert_eq!(open(&state).counts.unwrap().1.issued, 4);
    assert_eq!(format_of(&file), 4);
}

#[test]
fn without_a_copy_the_ledger_is_not_migrated() {
    let state = StateDir::new();
    let file = Path::new(state.path()).join(FILE_NAME);
    write_format_1(Path::new(state.path()));
    // Not even root can replace a directory with a file.
    std::fs::create_dir(Path::new(state.path()).join("ledger.redb.format-1")).unwrap();
    let error = Store::open(Path::new(state.path())).unwrap_err();
    assert!(matches!(error, OpenError::NotCopied { found: 1, .. }), "{error}");
    assert_eq!(format_of(&file), 1);
}

#[test]
fn an_unknown_or_later_format_is_refused() {
    for (format, is_later) in [(0_u32, false), (5, true)] {
        let state = StateDir::new();
        write_format_1(Path::new(state.path()));
        let database = Database::open(Path::new(state.path()).join(FILE_NAME)).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(format_1::META)
            .unwrap()
            .insert("format", format.to_be_bytes().as_slice())
            .unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = Store::open(Path::new(state.path())).unwrap_err();
        assert_eq!(matches!(error, OpenError::Newer { .. }), is_later, "{error}");
        assert_eq!(matches!(error, OpenError::Damaged { .. }), !is_later, "{error}");
        assert_eq!(format_of(&Path::new(state.path()).join(FILE_NAME)), format, "the file is not changed");
    }
}
