//! Log output: text on a terminal, otherwise one JSON object a line. A separate thread writes it. Each request logs one line.
//! Every other line that a client can trigger goes through a [`Throttle`].

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

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

/// A line that clients can cause is logged once in this time.
pub const LOG_WINDOW: Duration = Duration::from_secs(10);

/// Passes one line in each [`LOG_WINDOW`] and counts the others.
#[derive(Debug, Default)]
pub struct Throttle {
    state: Mutex<Option<(Instant, u64)>>,
}

impl Throttle {
    /// No line yet.
    pub const fn new() -> Self {
        Self { state: Mutex::new(None) }
    }

    /// `Some(n)` if a line may be written now, where `n` lines were suppressed since the last one.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            Some((last, held_back)) if now.saturating_duration_since(*last) < LOG_WINDOW => {
                *held_back += 1;
                None
            }
            previous => {
                let held_back = previous.map_or(0, |(_, held_back)| held_back);
                *previous = Some((now, 0));
                Some(held_back)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn one_line_passes_per_window_and_says_how_many_were_held_back() {
        let throttle = Throttle::new();
        let start = Instant::now();
        assert_eq!(throttle.pass(start), Some(0));
        assert_eq!(throttle.pass(start + Duration::from_secs(9)), None);
        assert_eq!(throttle.pass(start + Duration::from_secs(9)), None);
        assert_eq!(throttle.pass(start + Duration::from_secs(10)), Some(2));
    }
}
