//! The pace of the requests to a provider, learned from its answers: a token bucket. Its rate grows with each success, and halves when the
//! provider refuses a request as too fast. While the provider asks to wait, the bucket is empty, except for a try now and then: a success
//! ends the pause. Pure: `now` is an argument.

use std::time::{Duration, Instant};

use turn_base::CallError;

/// Requests a second at the start. Cloudflare asks its users to start with at most 500 mints a second.
const RATE_FIRST: f64 = 500.0;
const RATE_MIN: f64 = 1.0;
const RATE_MAX: f64 = 10_000.0;
/// What a success adds to the rate. After one second with 500 successes, the next second may have 525 requests.
const GAIN: f64 = 0.05;
/// The size of the bucket: as many requests as the rate allows in this time. A full bucket lets all of them through at once, so the people
/// of a full room do not wait for each other.
const BURST: Duration = Duration::from_millis(500);
/// The longest wait of a request for its turn. A request that would wait longer is refused at once, so that the next source is tried.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// The pause after a refusal that states no pause.
const PAUSE: Duration = Duration::from_secs(1);
/// While a pause holds, one request in this time tries whether the provider answers again.
pub const TRY_INTERVAL: Duration = Duration::from_secs(10);

/// The pace of the requests to one provider.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Requests a second.
    rate: f64,
    /// When the bucket will be full. Each request moves this by the time in which one token comes back. The bucket is empty while this is
    /// [`BURST`] or more in the future.
    full_at: Instant,
    /// When the pause after the latest refusals ends. A refusal during this pause does not halve the rate again.
    refused_until: Instant,
    /// When the pause began.
    refused_at: Instant,
    /// When a request may try although the pause holds.
    try_at: Instant,
}

impl Pace {
    /// A full bucket.
    pub fn new(now: Instant) -> Self {
        Self { rate: RATE_FIRST, full_at: now, refused_until: now, refused_at: now, try_at: now }
    }

    /// Takes a token for a request, and returns how long the request has to wait for its turn. The error is the time after which to try
    /// again; no token was taken then.
    pub fn take(&mut self, now: Instant) -> Result<Duration, Duration> {
        if self.paused_until(now).is_some() && now >= self.try_at {
            self.try_at = now + TRY_INTERVAL;
            return Ok(Duration::ZERO);
        }
        let full_at = self.full_at.max(now);
        // The bucket stays empty until this wait is over.
        let wait = full_at.saturating_duration_since(now + BURST);
        if wait > WAIT_MAX {
            return Err(wait);
        }
        self.full_at = full_at + Duration::from_secs_f64(1.0 / self.rate);
        Ok(wait)
    }

    /// The end of the pause, if a request would wait too long for it.
    pub fn paused_until(&self, now: Instant) -> Option<Instant> {
        (self.refused_until > now + WAIT_MAX).then_some(self.refused_until)
    }

    /// Whether a lower pace remains to be tried.
    pub fn can_slow_down(&self) -> bool {
        self.rate > RATE_MIN
    }

    /// Notes the result of a request that was sent at this time. `error`: `None` if it succeeded.
    pub fn note(&mut self, error: Option<&CallError>, sent: Instant, now: Instant) {
        let Some(error) = error else {
            self.rate = (self.rate + GAIN).min(RATE_MAX);
            if self.refused_at < sent && now < self.refused_until {
                (self.refused_until, self.full_at) = (now, now + BURST);
            }
            return;
        };
        let is_too_fast = error.status() == Some(429);
        if !is_too_fast && error.retry_after().is_none() {
            return;
        }
        let pause = error.retry_after().unwrap_or(PAUSE);
        if now >= self.refused_until {
            (self.refused_at, self.try_at) = (now, now + TRY_INTERVAL);
            if is_too_fast {
                self.rate = (self.rate / 2.0).max(RATE_MIN);
            }
        }
        self.refused_until = self.refused_until.max(now + pause);
        self.full_at = self.full_at.max(self.refused_until + BURST);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn start() -> Instant {
        Instant::now()
    }

    fn refusal(wait: u64) -> CallError {
        let retry_after = (wait > 0).then(|| Duration::from_secs(wait));
        CallError::Status { status: reqwest::StatusCode::TOO_MANY_REQUESTS, retry_after }
    }

    #[test]
    fn nothing_is_asked_while_the_provider_wants_a_pause() {
        let now = start();
        let mut pace = Pace::new(now);
        assert_eq!(pace.take(now), Ok(Duration::ZERO));
        pace.note(Some(&refusal(5)), now, now);
        assert_eq!(pace.take(now), Err(Duration::from_secs(5)));
        let after = now + Duration::from_secs(5);
        assert_eq!(pace.take(after), Ok(Duration::ZERO));
        // A pause of a service that is down leaves the rate.
        let rate = pace.rate;
        let retry_after = Some(Duration::from_secs(3));
        let down = CallError::Status { status: reqwest::StatusCode::SERVICE_UNAVAILABLE, retry_after };
        pace.note(Some(&down), after, after);
        assert_eq!((pace.rate, pace.take(after).is_err()), (rate, true));
        let before = pace;
        pace.note(Some(&CallError::Timeout), after, after);
        assert_eq!(pace, before);
    }

    #[test]
    fn one_request_each_10_s_tries_during_a_pause_and_its_success_ends_the_pause() {
        let (start, second) = (start(), Duration::from_secs(1));
        let mut pace = Pace::new(start);
        pace.note(Some(&refusal(300)), start, start);
        pace.note(None, start, start + second);
        let tries = (1..=30).filter(|n| pace.take(start + second * *n).is_ok());
        // A success from before the pause ends nothing.
        assert_eq!(tries.collect::<Vec<_>>(), [10, 20, 30]);
        let sent = start + second * 30;
        pace.note(Some(&CallError::Timeout), sent, sent + second);
        assert_eq!(pace.paused_until(sent), Some(start + second * 300));
        pace.note(None, sent, sent + second * 2);
        assert_eq!(pace.paused_until(sent + second * 2), None);
        assert_eq!(pace.take(sent + second * 2), Ok(Duration::ZERO));
    }

    #[test]
    fn a_provider_that_refuses_everything_is_asked_once_a_second_and_is_then_a_failure() {
        let mut now = start();
        let mut pace = Pace::new(now);
        let mut asked = 0;
        while pace.can_slow_down() {
            asked += 1;
            pace.note(Some(&refusal(0)), now, now);
            now += Duration::from_secs(1);
        }
        assert_eq!(asked, 9);
    }

    /// A herd of 5,000 a second for 20 s at a provider that takes 500 in each second and answers after 150 ms.
    #[test]
    fn a_herd_is_paced_to_what_the_provider_takes() {
        let (start, answer) = (start(), Duration::from_millis(150));
        let mut pace = Pace::new(start);
        let (mut turns, mut answers) = (VecDeque::new(), VecDeque::new());
        let (mut taken, mut minted, mut refused) = (0, 0, 0);
        for millis in 0..20_000_u64 {
            let now = start + Duration::from_millis(millis);
            if millis % 1_000 == 0 {
                taken = 0;
            }
            for _ in 0..5 {
                turns.extend(pace.take(now).ok().map(|wait| now + wait));
            }
            while turns.front().is_some_and(|at| *at <= now) {
                turns.pop_front();
                let is_minted = taken < 500;
                taken += 1;
                answers.push_back((now, is_minted));
            }
            while let Some((sent, is_minted)) = answers.front().copied()
                && sent + answer <= now
            {
                answers.pop_front();
                if is_minted {
                    minted += 1;
                    pace.note(None, sent, now);
                } else {
                    refused += 1;
                    pace.note(Some(&refusal(1)), sent, now);
                }
            }
        }
        assert!(refused < 20 * 500 / 10, "{refused} calls over the limit");
        assert!(minted > 20 * 500 / 2, "{minted} of 10,000 that it would take");
    }
}
