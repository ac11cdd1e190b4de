//! Summaries of refusals in the log. A client can cause as many refusals as it can send requests. So each code that is summarized logs at
//! most [`LINES`] lines in [`LOG_WINDOW`](turn_base::LOG_WINDOW). The next line says how many were left out. All other errors have a line
//! each.

use std::collections::HashMap;
use std::time::Instant;

use axum::http::StatusCode;
use strum::VariantArray;
use turn_base::{Code, Throttle};

/// The most lines of one code in a window. A person who tries something by hand finds each refusal in the log.
const LINES: u64 = 10;

fn is_summarized(code: Code) -> bool {
    let of_many = [StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    of_many.contains(&code.status()) && code != Code::ShuttingDown
}

/// One throttle for each summarized code.
#[derive(Debug)]
pub struct RefusalLog(HashMap<&'static str, Throttle>);

impl Default for RefusalLog {
    fn default() -> Self {
        let summarized = Code::VARIANTS.iter().filter(|code| is_summarized(**code));
        Self(summarized.map(|code| (code.into(), Throttle::of_lines(LINES))).collect())
    }
}

impl RefusalLog {
    /// `Some(n)` if a line may be written now, where `n` lines with this code were suppressed since the last line that was written. `n` is
    /// 0 for a code that is not summarized.
    pub fn pass(&self, code: &str, now: Instant) -> Option<u64> {
        self.0.get(code).map_or(Some(0), |throttle| throttle.pass(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_base::LOG_WINDOW;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn each_code_has_a_summary_of_its_own_and_other_errors_have_none() {
        let (log, now) = (RefusalLog::default(), Instant::now());
        for _ in 0..LINES {
            assert_eq!(log.pass("RATE_LIMITED", now), Some(0));
        }
        assert_eq!(log.pass("RATE_LIMITED", now), None);
        assert_eq!(log.pass("BUDGET_EXHAUSTED", now), Some(0));
        for _ in 0..=LINES {
            assert_eq!(log.pass("INVALID_REQUEST", now), Some(0));
            assert_eq!(log.pass("SHUTTING_DOWN", now), Some(0));
        }
        assert_eq!(log.pass("RATE_LIMITED", now + LOG_WINDOW), Some(1));
    }
}
