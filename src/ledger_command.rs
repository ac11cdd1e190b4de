//! `turn-broker ledger show | export | verify | rotate-key | copy`: a summary of the ledger on disk, its content as JSON, its errors, a new
//! key of grant tokens, and its move to a database or back. The first three change nothing. No command shows the token key or a TURN user
//! name.

use std::fmt::Write;
use std::path::Path;

use clap::{ArgGroup, Subcommand};
use serde_json::{Value, json};

use crate::alert::rules::KeptAlert;
use crate::app::setup;
use crate::config::Config;
use crate::json::plain_number;
use crate::store::file::access::require_modes;
use crate::store::file::ledger_file::FILE_NAME;
use crate::store::postgres::connect::Database;
use crate::store::postgres::copy;
use crate::store::postgres::copy::CopyError;
use crate::store::{Contents, FORMAT, FileStorage, LedgerCopy, OpenError, Storage};
use crate::telemetry::words;
use turn_base::random;
use turn_ledger::{
    Block, ClaimedUsage, Connection, GrantId, GrantRow, Head, IceSource, LeftKey, Minute, Snapshot,
    SourceRows, SpenderKey, Sums, Timestamp, TokenKey,
};

/// The most findings that are printed.
const FINDINGS_MAX: usize = 100;

/// What `rotate-key` says.
const KEY_ROTATED: &str = "A new key signs grant tokens from the next start on. Tokens of the last four keys are good until their grants have ended, 48 h at most.";

/// A ledger command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum LedgerCommand {
    /// Print a summary of the ledger
    Show,
    /// Print the ledger as JSON, without secrets; with --people, with names
    Export {
        /// Also who spends, who is blocked, and the names that apps have given to connections
        #[arg(long)]
        people: bool,
    },
    /// Find errors in the ledger; exit status 0, 1 or 78
    Verify,
    /// Sign new grant tokens with a new key, while no service runs; earlier tokens are good until their grants have ended
    RotateKey,
    /// Move the ledger from `STATE_DIR` to `DATABASE_URL`, or back, while no service runs on either
    #[command(group = ArgGroup::new("direction").required(true))]
    Copy {
        /// Into a schema of the database that has no ledger
        #[arg(long, group = "direction")]
        to_database: bool,
        /// Into a directory that has no ledger
        #[arg(long, group = "direction")]
        from_database: bool,
    },
}

/// The output of a command.
#[derive(Clone, Debug)]
pub struct Report {
    /// The text for standard output.
    pub text: String,
    /// Whether the ledger has no errors; otherwise the exit status is 1.
    pub is_sound: bool,
}

/// Why the ledger cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub enum LedgerCommandError {
    /// There is no ledger on disk.
    #[error(
        "STATE_DIR is not set: there is no ledger on disk. If it is in the database of DATABASE_URL, set STATE_DIR to the directory of a backup."
    )]
    NoDirectory,
    /// There is no database to copy to or from.
    #[error("DATABASE_URL is not set. Set it and STATE_DIR to copy a ledger from one to the other.")]
    NoDatabase,
    /// It cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It cannot be copied.
    #[error(transparent)]
    Copy(#[from] CopyError),
}

/// Runs a command on the ledger in `STATE_DIR`. Without `STATE_DIR`, a new key is for the ledger in the database. `now`: the time of the
/// summary if the ledger was never written, and of a new key.
pub fn run(config: &Config, command: LedgerCommand, now: Timestamp) -> Result<Report, LedgerCommandError> {
    let directory = match (&config.budget.state_dir, command, &config.database) {
        // With STATE_DIR, the key of the file is replaced, even if DATABASE_URL is set too.
        (Some(directory), ..) => directory,
        (None, LedgerCommand::RotateKey, Some(database)) => {
            copy::rotate_key(&Database::new(database), now)?;
            return Ok(Report { text: KEY_ROTATED.into(), is_sound: true });
        }
        _ => return Err(LedgerCommandError::NoDirectory),
    };
    let text = match command {
        LedgerCommand::RotateKey => {
            rotate_key(directory, now)?;
            KEY_ROTATED.into()
        }
        LedgerCommand::Copy { to_database, .. } => move_ledger(config, directory, to_database)?,
        LedgerCommand::Verify => {
            require_modes(directory)?;
            let mut ledger = LedgerCopy::take(directory)?;
            return Ok(report_of(&ledger.path.display().to_string(), &ledger.findings()));
        }
        LedgerCommand::Export { people } => {
            format!("{:#}", document(&LedgerCopy::take(directory)?.stored()?, people))
        }
        LedgerCommand::Show => {
            let ledger = LedgerCopy::take(directory)?;
            let stored = ledger.stored()?;
            summary(config, &ledger, stored, now)
        }
    };
    Ok(Report { text, is_sound: true })
}

fn rotate_key(directory: &Path, now: Timestamp) -> Result<(), OpenError> {
    // `FileStorage::open` would create a ledger where there is none. `LedgerCopy::take` fails instead.
    drop(LedgerCopy::take(directory)?);
    let mut ledger = FileStorage::open(directory)?;
    let stored = ledger.read()?.books;
    let keys = stored.with_key_replaced(TokenKey::new(random::bytes()?), now);
    ledger.put_keys(&keys, &stored)
}

/// Moves the ledger to the database or back: no service starts with the old copy any more. Returns what to print.
fn move_ledger(config: &Config, directory: &Path, to_database: bool) -> Result<String, LedgerCommandError> {
    let settings = config.database.as_ref().ok_or(LedgerCommandError::NoDatabase)?;
    let database = Database::new(settings);
    let (schema, path) = (database.schema(), directory.join(FILE_NAME));
    let (from, to) = (path.display(), format!("the schema {schema} of the database"));
    if to_database {
        let ledger = LedgerCopy::take(directory)?;
        // A ledger with a row that cannot be read is not moved.
        ledger.stored()?;
        let rows = copy::to_database(ledger, directory, &database)?;
        return Ok(format!(
            "{rows} rows of {from} are in {to}. No broker starts with the file any more: move it away."
        ));
    }
    copy::from_database(&database, directory)?;
    Ok(format!("The ledger of {to} is in {from}. No replica starts with the schema any more: drop it."))
}

/// The summary, with the figures at the last write, or at `now` if the books were never written.
fn summary(config: &Config, ledger: &LedgerCopy, stored: Contents, now: Timestamp) -> String {
    let (written_at, alerts) = (stored.books.now(), stored.alerts.waiting().count());
    let snapshot = &setup(config).open(Some(stored.books), now).snapshot();
    let Snapshot { figures, measured, counts, live_grants, open_connections, .. } = snapshot;
    let written = written_at.map_or("never".into(), |at| format!("{at}; the lines below show that time"));
    let measured = match measured.as_of {
        Some(as_of) => format!("{} GB up to {as_of}", measured.bytes.gb_nearest()),
        None => "nothing in this period".into(),
    };
    let used_percent = plain_number(figures.used.percent_of(figures.limit));
    let room = if snapshot.is_promised_in_full() { ": no room for another credential" } else { "" };
    let lines = [
        ("Ledger", ledger.path.display().to_string()),
        ("Format", ledger.format.to_string()),
        ("Size", format!("{} bytes", ledger.bytes)),
        ("Last write", written),
        ("Period", format!("{} to {}", figures.period.start, figures.period.end)),
        ("Limit", format!("{} GB", plain_number(figures.limit.as_gb()))),
        ("Used", format!("{} GB ({used_percent} %)", figures.used.gb_nearest())),
        ("Measured", measured),
        ("Committed", format!("{} GB{room}", figures.committed.gb_up())),
        ("Bound", format!("{} GB past the limit at worst", figures.overshoot_bound().gb_up())),
        ("Grants", format!("{} issued, {} reported, {live_grants} live", counts.issued, counts.reported)),
        ("Connections", format!("{open_connections} open, {} opened in this period", counts.connections)),
        ("Overrides", words::overrides(snapshot).unwrap_or_else(|| "none".into())),
        ("Alerts", format!("{alerts} to be delivered")),
    ];
    lines.map(|(name, value)| format!("{name:<12} {value}")).join("\n")
}

/// What `verify` reports. `path`: that of the ledger.
fn report_of(path: &str, findings: &[String]) -> Report {
    if findings.is_empty() {
        return Report { text: format!("{path}: sound"), is_sound: true };
    }
    let mut text = format!("{path}: {} found", findings.len());
    for finding in findings.iter().take(FINDINGS_MAX) {
        let _ = write!(text, "\n- {finding}");
    }
    if let Some(more @ 1..) = findings.len().checked_sub(FINDINGS_MAX) {
        let _ = write!(text, "\n- and {more} more");
    }
    Report { text, is_sound: false }
}

/// What `export` prints. It leaves out the token keys, and coturn's sessions, which contain TURN user names. `people`: whether it has names.
fn document(contents: &Contents, people: bool) -> Value {
    let stored = &contents.books;
    let sources = stored.sources.iter().map(|(owner, rows)| (owner.to_string(), source_document(rows)));
    let grant = |id: &GrantId, row: &GrantRow| {
        let GrantRow { source, issued_at, expires_at, .. } = row;
        let extra = row.extra();
        json!({
            "grant": id,
            "source": source,
            "issued_at": issued_at,
            "expires_at": expires_at,
            "alive_until": row.alive_until().map(Minute::start),
            "reported": extra.reported,
            "renewed": extra.renewed,
            "revoked_at": extra.revoked_at,
            "kbps": (*source == IceSource::Sfu).then(|| row.sfu_kbps()),
            "bytes": row.spent().measured.plus(row.spent().claimed),
            "spender": row.spender.as_ref().filter(|_| people),
        })
    };
    let connection = |open: &Connection| {
        json!({
            "id": people.then(|| open.name.id()),
            "grant": open.name.grant(),
            "source": open.counted_by.source,
            "opened_at": open.opened_at,
            "last_seen": open.last_seen,
            "relayed": open.relayed,
            "bytes_sent": open.bytes_sent,
            "bytes_received": open.bytes_received,
        })
    };
    // The texts of an alert name who spends.
    let alert = |KeptAlert { alert, waits }: &KeptAlert| json!({ "event": alert.kind.name(), "at": alert.at, "budget": alert.budget, "waits": waits });
    let spender = |((period, kind, key), row): (&LeftKey, &Sums)| {
        let key = key.as_ref().map(ToString::to_string);
        json!({ "period": period.start(), "kind": kind.name(), "key": key, "sums": row })
    };
    let block = |(who, Block { until, since }): (&SpenderKey, &Block)| json!({ "kind": who.kind().name(), "key": who.to_string(), "until": until, "since": since });
    let head = stored.head.as_ref();
    json!({
        "format": FORMAT,
        "written_at": stored.now(),
        "counts": head.map(|Head { counts: (period, counts), .. }| json!({ "period": period, "counts": counts })),
        "sources": sources.collect::<serde_json::Map<_, _>>(),
        "connections": stored.connections.values().map(|open| connection(open)).collect::<Vec<_>>(),
        "issued": stored.grants.iter().map(|(id, row)| grant(id, row)).collect::<Vec<_>>(),
        "renewals": stored.grants.iter().filter(|(_, row)| row.extra().renewed).count(),
        "orders": head.map(|head| head.overrides),
        "spenders": people.then(|| stored.spenders.iter().map(spender).collect::<Vec<_>>()),
        "blocked": people.then(|| stored.blocks.iter().map(block).collect::<Vec<_>>()),
        "alerts": contents.alerts.latest().map(alert).collect::<Vec<_>>(),
    })
}

fn source_document(stored: &SourceRows) -> Value {
    let claims =
        |row: &ClaimedUsage| json!({ "connection_millis": row.connection_millis, "bytes": row.claimed });
    let minutes = stored.minutes.iter().map(|(minute, row)| {
        json!({
            "minute": minute.start(),
            "live": row.live,
            "granted": claims(&row.granted),
            "ungranted": claims(&row.ungranted),
            "vouched": row.vouched,
        })
    });
    let days = stored.days.iter().map(|(day, count)| json!({ "day": day.start(), "count": count }));
    json!({
        "minutes": minutes.collect::<Vec<_>>(),
        "days": days.collect::<Vec<_>>(),
        "late_counts_at": stored.state.as_ref().and_then(|state| state.late),
    })
}
