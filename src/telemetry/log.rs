//! Log lines: text on a terminal, one JSON object a line otherwise. Lines that an outsider can trigger at will go
//! through a [`Throttle`], so that nobody can buy log volume.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Sets up logging for this process. Called once, by `main`.
pub fn install(config: &LogConfig) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(&config.filter)?);
    match config.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    }
}

/// Lets one line through per window and counts the rest.
#[derive(Debug)]
pub struct Throttle {
    window: Duration,
    state: Mutex<Option<(Instant, u64)>>,
}

impl Throttle {
    /// One line per `window`.
    #[must_use]
    pub const fn new(window: Duration) -> Self {
        Self { window, state: Mutex::new(None) }
    }

    /// `Some(n)` when a line may be written now; `n` were held back since the last one.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            Some((last, held_back)) if now.saturating_duration_since(*last) < self.window => {
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
        let throttle = Throttle::new(Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!(throttle.pass(start), Some(0));
        assert_eq!(throttle.pass(start + Duration::from_secs(9)), None);
        assert_eq!(throttle.pass(start + Duration::from_secs(9)), None);
        assert_eq!(throttle.pass(start + Duration::from_secs(10)), Some(2));
    }
}
