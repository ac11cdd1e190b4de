//! `turn-broker ledger show | export | verify`: what is on disk, for people, for programs, and whether it can be true.
//! Nothing is changed by any of them, and none of them ever shows the token key or a TURN user name.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::app::setup;
use crate::config::Config;
use crate::journal::inspect::Snapshot;
use crate::journal::store::{FORMAT, OpenError};
use crate::json::plain_number;
use turn_ledger::books::Statement;
use turn_ledger::changes::Recovered;
use turn_ledger::minute_usage::{ClaimedUsage, StoredSource};
use turn_ledger::units::Timestamp;

/// Findings that are printed.
const FINDINGS_MAX: usize = 100;

/// Which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerCommand {
    /// A summary for people.
    Show,
    /// Everything, as one JSON document.
    Export,
    /// What is wrong.
    Verify,
}

impl LedgerCommand {
    /// The one of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "show" => Some(Self::Show),
            "export" => Some(Self::Export),
            "verify" => Some(Self::Verify),
            _ => None,
        }
    }
}

/// What is printed, and whether all is well.
#[derive(Clone, Debug)]
pub struct Report {
    /// For standard output.
    pub text: String,
    /// `false`: exit status 1.
    pub is_well: bool,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum LedgerCommandError {
    /// The service runs.
    #[error(
        "{path} is in use: the service runs. Ask it (/api/bandwidth-status), or stop it first, or look at a copy of the file."
    )]
    InUse {
        /// Which.
        path: std::path::PathBuf,
    },
    /// It cannot be read.
    #[error(transparent)]
    Open(OpenError),
}

impl From<OpenError> for LedgerCommandError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::InUse { path } => Self::InUse { path },
            other => Self::Open(other),
        }
    }
}

/// Looks at the ledger in `directory`. `now` stands in for a last write that there never was.
pub fn run(
    config: &Config,
    directory: &Path,
    command: LedgerCommand,
    now: Timestamp,
) -> Result<Report, LedgerCommandError> {
    let mut snapshot = Snapshot::take(directory)?;
    if command == LedgerCommand::Verify {
        return Ok(verdict(&snapshot.path.display().to_string(), &snapshot.findings()));
    }
    let recovered = snapshot.recovered()?;
    let text = match command {
        LedgerCommand::Export => format!("{:#}", document(&snapshot, &recovered)),
        _ => summary(&Summary::of(config, &snapshot, recovered, now)),
    };
    Ok(Report { text, is_well: true })
}

/// What `show` shows.
struct Summary {
    path: String,
    format: u32,
    bytes: u64,
    /// `None`: the books were never written as a whole.
    written_at: Option<Timestamp>,
    alerts_pending: usize,
    /// As of the last write.
    statement: Statement,
}

impl Summary {
    fn of(config: &Config, snapshot: &Snapshot, recovered: Recovered, now: Timestamp) -> Self {
        Self {
            path: snapshot.path.display().to_string(),
            format: snapshot.format,
            bytes: snapshot.bytes,
            written_at: recovered.now,
            alerts_pending: recovered.alerts.pending_len(),
            statement: setup(config).open(Some(recovered), now).statement(),
        }
    }
}

fn summary(summary: &Summary) -> String {
    let statement = &summary.statement;
    let Statement { figures, measured, counts, live_grants, open_connections, .. } = statement;
    let age = if summary.format == FORMAT {
        String::new()
    } else {
        format!(" (the next start of the service brings it to {FORMAT}, and keeps a copy)")
    };
    let written = summary.written_at.map_or("never".into(), |at| format!("{at}; what follows is as of then"));
    let measured = match measured.as_of {
        Some(as_of) => format!("{} GB up to {as_of}", measured.bytes.gb_nearest()),
        None => "nothing in this period".into(),
    };
    let used_percent = plain_number(figures.used.percent_of(figures.limit));
    let room = if statement.promised_in_full { ": nothing more fits" } else { "" };
    let lines = [
        ("Ledger", summary.path.clone()),
        ("Format", format!("{}{age}", summary.format)),
        ("Size", format!("{} bytes", summary.bytes)),
        ("Last write", written),
        ("Period", format!("{} to {}", figures.period.start, figures.period.end)),
        ("Limit", format!("{} GB", plain_number(figures.limit.as_gb()))),
        ("Used", format!("{} GB ({used_percent} %)", figures.used.gb_nearest())),
        ("Measured", measured),
        ("Committed", format!("{} GB{room}", figures.committed.gb_up())),
        ("Bound", format!("{} GB past the limit at worst", figures.overshoot_bound().gb_up())),
        ("Grants", format!("{} issued, {} reported, {live_grants} live", counts.issued, counts.reported)),
        ("Connections", format!("{open_connections} open, {} opened in this period", counts.connections)),
        ("Overrides", statement.overrides_in_words().unwrap_or_else(|| "none".into())),
        ("Alerts", format!("{} to be delivered", summary.alerts_pending)),
    ];
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<12} {value}");
    }
    text.truncate(text.trim_end().len());
    text
}

fn verdict(path: &str, findings: &[String]) -> Report {
    if findings.is_empty() {
        return Report { text: format!("{path}: sound"), is_well: true };
    }
    let mut text = format!("{path}: {} found", findings.len());
    for finding in findings.iter().take(FINDINGS_MAX) {
        let _ = write!(text, "\n- {finding}");
    }
    if let Some(more @ 1..) = findings.len().checked_sub(FINDINGS_MAX) {
        let _ = write!(text, "\n- and {more} more");
    }
    Report { text, is_well: false }
}

/// Everything but the token key and the TURN user names (a coturn's sessions are known by them).
fn document(snapshot: &Snapshot, recovered: &Recovered) -> Value {
    let lanes = recovered.lanes.iter().map(|(source, stored)| (source.name().to_owned(), lane(stored)));
    let grants = recovered.grants.iter().map(|(id, row)| json!({ "grant": id, "row": row }));
    let issued = recovered.issued.iter().map(|(id, issued)| {
        let (expires_at, revoked_at) = (issued.expires_at, issued.revoked_at);
        json!({ "grant": id, "source": issued.source, "expires_at": expires_at, "revoked_at": revoked_at })
    });
    json!({
        "format": FORMAT,
        "file_format": snapshot.format,
        "written_at": recovered.now,
        "counts": recovered.counts.as_ref().map(|(period, counts)| json!({ "period": period, "counts": counts })),
        "sources": lanes.collect::<serde_json::Map<_, _>>(),
        "connections": recovered.connections,
        "grants": grants.collect::<Vec<_>>(),
        "issued": issued.collect::<Vec<_>>(),
        "renewals": recovered.renewals.len(),
        "orders": recovered.overrides,
        "alerts": recovered.alerts,
    })
}

fn lane(stored: &StoredSource) -> Value {
    let at = |minute: i64| Timestamp::from_millis(minute.saturating_mul(60_000));
    let flow =
        |flow: &ClaimedUsage| json!({ "connection_millis": flow.connection_millis, "bytes": flow.claimed });
    let marks = stored
        .marks
        .iter()
        .map(|(minute, mark)| json!({ "minute": at(*minute), "live": mark.live, "silent": mark.unreported }));
    let flows = stored.flows.iter().map(|(minute, flows)| {
        json!({ "minute": at(*minute), "granted": flow(&flows.granted), "ungranted": flow(&flows.ungranted) })
    });
    json!({
        "marks": marks.collect::<Vec<_>>(),
        "flows": flows.collect::<Vec<_>>(),
        "previous": stored.previous,
        "reading": stored.reading,
    })
}
