//! Log output: text on a terminal, otherwise one JSON object a line. A separate thread writes it. Each request logs one line.
//! Every other line that a client can trigger goes through a [`Throttle`](turn_base::throttle::Throttle).

use std::io::IsTerminal;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Lines that can wait to be written. Further lines are dropped and counted, so a slow reader of the log does not slow the
/// service.
const WAITING_MAX: usize = 16_384;

/// Keeps the log's writer thread running. Dropping it at the end of the process writes the lines that still wait.
#[derive(Debug)]
pub struct LogWriter {
    _flushes_on_drop: WorkerGuard,
    /// Number of dropped lines.
    pub lost: LostLines,
}

/// Number of log lines that were dropped because the reader was too slow.
#[derive(Clone, Debug, Default)]
pub struct LostLines(Option<ErrorCounter>);

impl LostLines {
    /// The number since the start.
    pub fn count(&self) -> u64 {
        let lost = self.0.as_ref().map_or(0, ErrorCounter::dropped_lines);
        u64::try_from(lost).unwrap_or(u64::MAX)
    }
}

/// Sets up logging for this process. Called once, by `main`.
pub fn install(config: &LogConfig) -> Result<LogWriter, Box<dyn std::error::Error + Send + Sync>> {
    let is_terminal = std::io::stdout().is_terminal();
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_MAX)
        .thread_name("log")
        .finish(std::io::stdout());
    let lost = LostLines(Some(writer.error_counter()));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&config.filter)?)
        .with_ansi(is_terminal)
        .with_writer(writer);
    match config.format {
        LogFormat::Text => builder.with_target(false).try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init()?,
    }
    Ok(LogWriter { _flushes_on_drop: guard, lost })
}
