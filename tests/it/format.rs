//! A ledger of the present format as text, which this version must read to the same values and write to the same bytes, in a file and in a
//! database alike; and rows of each earlier format (`formats`), as the version of that format wrote them. If the form of a stored row changes, move the rows of the text to `formats`, raise `FORMAT` in
//! `crates/store/src/rows.rs`, say in `migration.rs` what changes, and write the text again:
//! `UPDATE_FORMAT=1 cargo test --locked -p turn-broker --test it format::`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use turn_broker::store::rows::FORMAT_OLDEST;
use turn_broker::store::{Changes, Contents, FORMAT, FileStorage, LedgerCopy, Storage};
use turn_ledger::{Batch, GrantId, GrantRow, Head, Overrides, Stored, Timestamp, TokenKey};

use crate::ledger_file::LedgerFile;
use crate::ledger_file::walk::faults::Fault;
use crate::ledger_file::walk::{Scenario, restored_equals_written};
use crate::support::prelude::*;

/// Where the text is.
const PATH: &str = "tests/it/format.txt";
/// Tables whose keys and rows are bytes. Those of `meta` are text, but for the keys of grant tokens.
pub(crate) const TABLES: [&str; 8] =
    ["meta", "minutes", "days", "open_connections", "grants", "sessions", "spenders", "blocks"];
/// Rows of each table in the text.
const ROWS_MAX: usize = 8;

/// Keys and rows of each table, in hexadecimal digits.
type Rows = BTreeMap<String, Vec<(String, String)>>;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn table(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

/// The rows that these values are written as.
fn written(contents: Contents) -> Rows {
    let state = StateDir::new();
    let mut storage = FileStorage::open(state.path().as_ref()).unwrap();
    let Contents { books: stored, alerts } = contents;
    let keys = stored.keys.clone().unwrap();
    storage.put_keys(&keys, &stored).unwrap();
    let books = Batch {
        head: stored.head.unwrap(),
        sources: stored.sources,
        grants: stored.grants.iter().map(|(id, row)| (*id, Some(Box::new(row.clone())))).collect(),
        spenders: stored.spenders.into_iter().map(|(key, row)| (key, Some(row))).collect(),
        blocks: stored.blocks.into_iter().map(|(spender, block)| (spender, Some(block))).collect(),
        connections: stored.connections.into_iter().map(|(name, row)| (name, Some(row))).collect(),
        sessions: stored.sessions.into_iter().map(|(id, row)| (id, Some(row))).collect(),
    };
    storage.write(&Changes { books, alerts: Some(alerts) }, true).unwrap();
    let database = once_free(|| Database::open(state.file())).unwrap();
    let read = database.begin_read().unwrap();
    let rows = TABLES.map(|name| {
        let rows = read.open_table(table(name)).unwrap();
        let rows = rows.iter().unwrap().map(|row| {
            let (key, row) = row.unwrap();
            (hex(key.value()), hex(row.value()))
        });
        (name.to_owned(), rows.collect::<Vec<_>>())
    });
    rows.into()
}

/// The values that these rows are read as.
fn read(rows: &Rows) -> Contents {
    let state = state_of(rows);
    once_free(|| FileStorage::open(state.path().as_ref())).unwrap().read().unwrap()
}

fn state_of(rows: &Rows) -> StateDir {
    let state = StateDir::new();
    drop(FileStorage::open(state.path().as_ref()).unwrap());
    let database = once_free(|| Database::open(state.file())).unwrap();
    let write = database.begin_write().unwrap();
    for (name, rows) in rows {
        let mut table = write.open_table(table(name)).unwrap();
        for (key, row) in rows {
            table.insert(&*bytes(key), &*bytes(row)).unwrap();
        }
    }
    write.commit().unwrap();
    state
}

/// The text: the rows, then what they are read as.
fn text(rows: &Rows) -> String {
    let mut text = format!("format {FORMAT}\n");
    for (table, rows) in rows {
        for (key, row) in rows {
            writeln!(text, "{table} {key} {row}").unwrap();
        }
    }
    let Contents { books, alerts } = read(rows);
    let keys = books.keys.iter().map(|keys| (keys.signing, &keys.earlier));
    let keys: Vec<_> = keys.map(|(signing, earlier)| (hex(&signing.expose()[..2]), earlier)).collect();
    writeln!(text, "\n{books:#?}\n{alerts:#?}\n{keys:?}").unwrap();
    text
}

fn rows_of(text: &str) -> Rows {
    let mut rows = Rows::new();
    for line in text.lines().skip(1).take_while(|line| !line.is_empty()) {
        let parts: Vec<_> = line.split(' ').collect();
        let [table, key, row] = parts[..] else { panic!("{line}") };
        rows.entry(table.into()).or_default().push((key.into(), row.into()));
    }
    rows
}

/// Which of its fields a value has: its text without what they contain.
fn shape(value: &impl Debug) -> BTreeSet<String> {
    let text = format!("{value:#?}");
    text.lines()
        .map(|line| line.trim().trim_end_matches(|char: char| char != ':' && char != '(').to_owned())
        .collect()
}

/// The rows that have something which none before has.
fn telling<K: Ord + Clone, V: Debug + Clone>(rows: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut seen = BTreeSet::new();
    let new = rows.into_iter().filter(|(_, row)| {
        let before = seen.len();
        seen.extend(shape(row));
        seen.len() > before
    });
    new.take(ROWS_MAX).collect()
}

/// The same grant with what no scenario sets.
fn with_all(row: &GrantRow) -> GrantRow {
    let mut row = serde_json::to_value(row).unwrap();
    for (of, field, value) in [
        ("/spender", "label", json!("room-1")),
        ("/spender", "origin", json!("https://app.example.com")),
        ("/spender", "call", json!("call-1")),
        ("/extra", "address", json!("2001:db8::1")),
        ("/extra", "revocation_answer", json!("Revoked")),
        ("/extra/pulls", "opened_by", json!(GrantId::new([9; 16]))),
    ] {
        if let Some(Value::Object(of)) = row.pointer_mut(of) {
            assert!(of.insert(field.into(), value).is_some(), "a row has no {field}");
        }
    }
    serde_json::from_value(row).unwrap()
}

/// Rows of many scenarios.
fn made() -> Rows {
    let (mut all, mut grants) = (Stored::default(), BTreeMap::new());
    for seed in 0..40 {
        let scenario = Scenario::random(seed, 60, seed % 2 == 0, &Fault::all());
        if scenario.uses_relay() {
            continue;
        }
        let stored = restored_equals_written::<LedgerFile>(&scenario);
        let is_telling = stored.head.as_ref().map(|head| shape(head).len());
        if is_telling > all.head.as_ref().map(|head| shape(head).len()) {
            all.head = stored.head;
        }
        for (source, rows) in stored.sources {
            let of = all.sources.entry(source).or_default();
            of.minutes.extend(rows.minutes);
            of.days.extend(rows.days);
            of.state = rows.state.or(of.state.take());
        }
        grants.extend(stored.grants.iter().map(|(id, row)| (*id, row.clone())));
        all.spenders.extend(stored.spenders);
        all.blocks.extend(stored.blocks);
        all.connections.extend(stored.connections);
        all.sessions.extend(stored.sessions);
    }
    for rows in all.sources.values_mut() {
        rows.minutes = telling(std::mem::take(&mut rows.minutes));
        rows.days = telling(std::mem::take(&mut rows.days));
    }
    for (id, row) in telling(grants.into_iter().map(|(id, row)| (id, with_all(&row)))) {
        all.grants.insert(id, row);
    }
    all.spenders = telling(all.spenders);
    (all.connections, all.sessions) = (telling(all.connections), telling(all.sessions));
    let keys = all.with_key_replaced(TokenKey::new([1; 64]), Timestamp::default());
    all.keys = Some(keys.replaced(TokenKey::new([2; 64]), Timestamp::default()));
    let prices = |free| json!({"per_gb": 50_000, "free": free});
    let tariff = json!({"prices": {"usual": prices(1), "own": {"http": prices(0)}}, "currency": "USD"});
    let tariffs = serde_json::from_value(json!({"2025-01-01T00:00:00.000Z": tariff})).unwrap();
    all.head = all.head.map(|head| Head { grants: all.grants.len(), tariffs, ..head });
    written(Contents { books: all, ..Contents::default() })
}

#[test]
fn a_ledger_of_this_format_is_read_and_written_as_it_was() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PATH);
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let is_of_format = kept.starts_with(&format!("format {FORMAT}\n"));
    if std::env::var_os("UPDATE_FORMAT").is_some() {
        if !is_of_format {
            std::fs::write(&path, text(&made())).unwrap();
        }
        return;
    }
    assert!(
        is_of_format,
        "{PATH} is of another format: UPDATE_FORMAT=1 cargo test --locked -p turn-broker --test it format::"
    );
    let rows = rows_of(&kept);
    let now = text(&rows);
    let differs = kept.lines().zip(now.lines()).find(|(kept, now)| kept != now);
    assert!(kept == now, "a row is read as something else; raise FORMAT: {differs:?}");
    for (table, rows) in written(read(&rows)) {
        let kept = rows_of(&kept).remove(&table).unwrap_or_default();
        assert_eq!(rows, kept, "rows of {table} are written otherwise; raise FORMAT");
    }
}

/// What a ledger of each earlier format has, but for the figures that this version has no more.
#[test]
fn a_ledger_of_an_earlier_format_is_opened_and_stays_beside_the_new_one() {
    for format in FORMAT_OLDEST..FORMAT {
        let rows = earlier(format);
        let state = state_of(&rows);
        let before = std::fs::read(state.file()).unwrap();
        assert!(!LedgerCopy::take(state.path().as_ref()).unwrap().stored().unwrap().books.grants.is_empty());
        let read = || once_free(|| FileStorage::open(state.path().as_ref())).unwrap().read().unwrap();
        let contents = read();
        has_what_earlier_ones_have(format, &rows, &contents.books);
        assert_eq!(format!("{:?}", read()), format!("{contents:?}"), "it has the present format now");
        let kept = Path::new(state.path()).join(format!("ledger.redb.format-{format}"));
        assert!(std::fs::read(kept).unwrap() == before, "format {format}");
    }
}

pub(crate) fn earlier(format: i32) -> Rows {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/formats/{format}.txt"));
    rows_of(&format!("\n{}", std::fs::read_to_string(path).unwrap()))
}

/// Compares the books that `rows` are read as with what the version of that format wrote.
pub(crate) fn has_what_earlier_ones_have(format: i32, rows: &Rows, books: &Stored) {
    let days: usize = books.sources.values().map(|source| source.days.len()).sum();
    let minutes: usize = books.sources.values().map(|source| source.minutes.len()).sum();
    let counts = [
        ("days", days),
        ("minutes", minutes),
        ("grants", books.grants.len()),
        ("sessions", books.sessions.len()),
        ("open_connections", books.connections.len()),
        ("spenders", books.spenders.len()),
    ];
    for (table, count) in counts {
        assert_eq!(count, rows[table].len(), "{table} of format {format}");
    }
    let blocks: Vec<_> =
        books.blocks.iter().map(|(who, block)| (who.to_string(), block.until.is_some())).collect();
    let address = ("203.0.113.7".to_owned(), true);
    let user = ("0".to_owned(), false);
    assert_eq!(blocks, if [22, 27].contains(&format) { vec![user, address] } else { vec![user] });
    assert_ne!(books.head.as_ref().unwrap().overrides, Overrides::default(), "format {format}");
    // Its figures were written as 11, 12 (the one that is no more), 13, 14 and 15.
    let grants = format!("{:?}", books.grants);
    let figures = "closed: ByteCount(11), assumed: ByteCount(13), vouched: ByteCount(14), excess: Excess { bytes: ByteCount(15)";
    assert_eq!(grants.contains(figures), (24..27).contains(&format), "format {format}");
    for day in books.sources.values().flat_map(|source| source.days.values()).flatten() {
        let [seen, agreed] = [(day.as_of, day.total()), (day.agreed.until, day.agreed.bytes)];
        assert!(format >= 24 || seen == agreed, "one answer acted until format 23: {day:?}");
    }
}
