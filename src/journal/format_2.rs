//! Format 2 and its migration to format 3. Format 2 kept a grant in three tables and all sessions of a coturn in one value.
//! The types here are those of the version that wrote format 2.

use std::collections::BTreeMap;

use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use turn_ledger::minute::Minute;
use turn_ledger::source::IceSource;
use turn_ledger::units::Timestamp;

use super::format_3::{CONNECTIONS, OldConnection};
use super::tables::{GRANTS, KEY_COTURN, MARKS, META, SESSIONS, StoreError, from_json, to_json};

type JsonTable = TableDefinition<'static, &'static str, &'static [u8]>;

/// Grant → JSON of the issued credential.
pub(super) const ISSUED: JsonTable = TableDefinition::new("issued");
/// Grant that was renewed → JSON of its expiry.
const RENEWALS: JsonTable = TableDefinition::new("renewals");

#[derive(Deserialize)]
struct Issued {
    source: IceSource,
    username: Option<String>,
    expires_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Reported {
    allowance: Value,
    expires_at: Timestamp,
    alive_until: Option<Timestamp>,
}

/// Makes one row for each grant. Tables `issued` and `renewals` are removed.
pub(super) fn merge_grants(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let issued: BTreeMap<String, Issued> = take_rows(transaction, ISSUED)?;
    let reported: BTreeMap<String, Reported> = take_rows(transaction, GRANTS)?;
    let renewed: BTreeMap<String, Timestamp> = take_rows(transaction, RENEWALS)?;
    let connected = sources_of_connections(transaction)?;
    let usual = usual_source(transaction)?;
    let mut grants = transaction.open_table(GRANTS)?;
    let mut ids: Vec<_> = issued.keys().chain(reported.keys()).chain(renewed.keys()).collect();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        let (issued, reported) = (issued.get(id), reported.get(id));
        let expires_at = issued.map(|row| row.expires_at).or(reported.map(|row| row.expires_at));
        let alive_until = reported.and_then(|row| row.alive_until).map(Minute::from_end);
        let row = json!({
            "source": issued.map(|row| row.source).or_else(|| connected.get(id).copied()).unwrap_or(usual),
            "expires_at": expires_at.or_else(|| renewed.get(id).copied()),
            "username": issued.and_then(|row| row.username.as_deref()),
            "alive_until": alive_until,
            "renewed": renewed.contains_key(id),
            "revoked_at": issued.and_then(|row| row.revoked_at),
            "claims": reported.map(|row| &row.allowance),
        });
        grants.insert(id.as_str(), to_json(&row)?.as_slice())?;
    }
    drop(grants);
    transaction.delete_table(ISSUED)?;
    transaction.delete_table(RENEWALS)?;
    Ok(())
}

/// Makes one row for each session in the coturn's value.
pub(super) fn split_sessions(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let mut sessions = transaction.open_table(SESSIONS)?;
    let mut meta = transaction.open_table(META)?;
    let Some(old) = meta.remove(KEY_COTURN)?.map(|value| from_json::<Value>(value.value())) else {
        return Ok(());
    };
    let old = old.map_err(StoreError::Migration)?;
    let rows = old.pointer("/sessions/rows").and_then(Value::as_object).cloned().unwrap_or_default();
    for (id, row) in &rows {
        let id: u64 =
            id.parse().map_err(|_| StoreError::Migration("names a session without a number".into()))?;
        sessions.insert(id, to_json(row)?.as_slice())?;
    }
    meta.insert(KEY_COTURN, to_json(&sums_of(&old))?.as_slice())?;
    Ok(())
}

fn sums_of(old: &Value) -> Value {
    let mut sessions = Map::new();
    let mut counts = Map::new();
    for (name, place) in
        [("total", "/sessions/total"), ("looked_at", "/sessions/looked_at"), ("complete_at", "/looked_at")]
    {
        sessions.extend(old.pointer(place).map(|value| (name.to_owned(), value.clone())));
    }
    for name in ["period", "granted", "other"] {
        counts.extend(old.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    json!({ "sessions": sessions, "counts": counts })
}

/// The sources of grants that have an open connection.
fn sources_of_connections(transaction: &WriteTransaction) -> Result<BTreeMap<String, IceSource>, StoreError> {
    let mut sources = BTreeMap::new();
    for row in transaction.open_table(CONNECTIONS)?.iter()? {
        let (_, row) = row?;
        let OldConnection { connection } = from_json(row.value()).map_err(StoreError::Migration)?;
        if let Some(grant) = connection.grant() {
            sources.insert(grant.to_string(), connection.source);
        }
    }
    Ok(sources)
}

/// The first source that has any grants. Format 1 does not store the source of a grant.
fn usual_source(transaction: &WriteTransaction) -> Result<IceSource, StoreError> {
    let marks = transaction.open_table(MARKS)?;
    for source in IceSource::ALL {
        let of_source = (source.name(), i64::MIN)..=(source.name(), i64::MAX);
        if marks.range(of_source)?.next().is_some() {
            return Ok(source);
        }
    }
    Ok(IceSource::Cloudflare)
}

/// Takes all rows out of a table.
fn take_rows<T: DeserializeOwned>(
    transaction: &WriteTransaction,
    table: JsonTable,
) -> Result<BTreeMap<String, T>, StoreError> {
    let mut rows = BTreeMap::new();
    let mut table = transaction.open_table(table)?;
    for row in table.iter()? {
        let (id, row) = row?;
        rows.insert(id.value().to_owned(), from_json(row.value()).map_err(StoreError::Migration)?);
    }
    table.retain(|_, _| false)?;
    Ok(rows)
}
