//! Summaries of refusals in the log. A client can cause as many refusals as it can send requests. So each of the [`SUMMARIZED`] codes
//! logs at most [`LINES`] lines in [`LOG_WINDOW`](turn_base::throttle::LOG_WINDOW). The next line says how many were left out.

use std::time::Instant;

use turn_base::Throttle;

/// The most lines of one code in a window. A person who tries something by hand finds each refusal in the log.
const LINES: u64 = 10;
/// The codes that are summarized. All other errors have a line each.
const SUMMARIZED: [&str; 15] = [
    "RATE_LIMITED",
    "BUDGET_EXHAUSTED",
    "USER_LIMIT_REACHED",
    "KEY_LIMIT_REACHED",
    "GRANT_LIMIT_REACHED",
    "ADDRESS_LIMIT_REACHED",
    "USER_BLOCKED",
    "ADDRESS_BLOCKED",
    "BLOCKED",
    "ORIGIN_NOT_ALLOWED",
    "LEDGER_UNAVAILABLE",
    "GRANTS_FULL",
    "CLOCK_DISAGREES",
    "NO_LEADER",
    "OVERLOADED",
];

/// One throttle for each summarized code.
#[derive(Debug)]
pub struct RefusalLog([Throttle; SUMMARIZED.len()]);

impl Default for RefusalLog {
    fn default() -> Self {
        Self(SUMMARIZED.map(|_| Throttle::of_lines(LINES)))
    }
}

impl RefusalLog {
    /// `Some(n)` if a line may be written now, where `n` lines with this code were suppressed since the last line that was written. `n` is
    /// 0 for a code that is not summarized.
    pub fn pass(&self, code: &str, now: Instant) -> Option<u64> {
        let nth = SUMMARIZED.iter().position(|summarized| *summarized == code);
        nth.map_or(Some(0), |nth| self.0[nth].pass(now))
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
        for _ in 0..3 {
            assert_eq!(log.pass("INVALID_REQUEST", now), Some(0));
        }
        assert_eq!(log.pass("RATE_LIMITED", now + LOG_WINDOW), Some(1));
    }
}
