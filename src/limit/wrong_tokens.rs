//! The allowance for wrong tokens of operator, reporter and monitoring and for wrong server keys: 20 a minute for each client. Then its
//! tokens are not looked at for a minute: the right one is answered like a wrong one, so nobody finds it by guessing. The exception is the
//! right one that the client used last, so a dashboard that is open goes on. The IPv6 /48 around a client has four times the allowance, which
//! only says how its wrong tokens are answered.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strum::VariantArray;
use turn_ledger::ClientKey;
use turn_limits::{Bucket, PerAddress, Rate, Row, Visit};

use crate::telemetry::metrics::Metrics;
use turn_base::{Clock, Throttle, TokenDigest};

/// How many wrong tokens a client may send.
const WRONG: Rate = Rate { burst: 20, each: Duration::from_secs(3) };
/// How long its tokens are not looked at after the last one of these.
const CLOSED_FOR: Duration = Duration::from_secs(60);
/// How long the token that a client used last is known.
const KNOWN_FOR: Duration = Duration::from_secs(86_400);
/// Clients with a row of their own, half for each address family.
const CLIENTS_MAX: usize = 8_192;

/// The token that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Role {
    /// `OPERATOR_TOKEN`.
    Operator,
    /// `REPORTER_TOKEN`, or a server key with a report.
    Reporter,
    /// One of `SERVER_KEYS`.
    Server,
}

/// What is known of the tokens of a client, or of an IPv6 /48.
#[derive(Debug, Default)]
struct Tokens {
    wrong: Bucket,
    closed_until: Duration,
    /// The right token that it used last, and until when that is known.
    last: Option<(TokenDigest, Duration)>,
}

impl Row for Tokens {
    fn is_idle(&self, now: Duration) -> bool {
        self.wrong.is_idle(now)
            && self.closed_until <= now
            && self.last.as_ref().is_none_or(|(_, until)| *until <= now)
    }
}

impl Tokens {
    /// Counts a wrong token. `Err`: the time until the next one is looked at.
    fn count(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        if self.closed_until > now {
            return Err(self.closed_until.saturating_sub(now));
        }
        self.wrong.take_several(1, rate, now).map_err(|spent| spent.next)?;
        let mut copy = self.wrong;
        let is_last = !copy.take(rate, now);
        if is_last {
            self.closed_until = now.saturating_add(CLOSED_FOR);
        }
        Ok(())
    }

    /// Whether a right token is accepted. It is then the one that was used last.
    fn accept(&mut self, shown: TokenDigest, now: Duration) -> bool {
        let is_last = self.last.as_ref().is_some_and(|(last, _)| last.is(&shown));
        let is_accepted = is_last || self.closed_until <= now;
        if is_accepted {
            self.last = Some((shown, now.saturating_add(KNOWN_FOR)));
        }
        is_accepted
    }
}

/// Counts wrong tokens by client.
#[derive(Debug)]
pub struct WrongTokens {
    clients: Mutex<PerAddress<Tokens>>,
    log: Throttle,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl WrongTokens {
    /// No wrong token yet.
    pub fn new(clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        for role in Role::VARIANTS {
            metrics.wrong_tokens.add([role.into()], 0);
        }
        let clients = Mutex::new(PerAddress::new(CLIENTS_MAX));
        Self { clients, log: Throttle::default(), clock, metrics }
    }

    /// Whether this right token of a client is accepted.
    pub fn accepts(&self, client: IpAddr, shown: &str) -> bool {
        let (key, now, shown) = (ClientKey::of(client), self.clock.since_boot(), TokenDigest::of_text(shown));
        let accept = |visit: Visit<'_, Tokens>| {
            // Guesses of others do not close a row for the client.
            let decides = visit.factor == 1 && !visit.is_shared;
            if decides && !visit.row.accept(shown.clone(), now) { Err(()) } else { Ok(()) }
        };
        self.clients.lock().try_each(key, now, accept).is_ok()
    }

    /// Counts one wrong token, and logs it unless another one was logged lately. If the client has sent too many, returns the time until
    /// one more is looked at.
    pub fn count(&self, role: Role, client: IpAddr) -> Option<Duration> {
        let role: &'static str = role.into();
        self.metrics.wrong_tokens.count([role]);
        // Two lines, because only lines at `info` and `debug` say who a client is.
        if let Some(held_back) = self.log.pass(self.clock.instant()) {
            tracing::info!(%client, role, "a client has sent a wrong {role} token");
            tracing::warn!(role, held_back, "a request had a wrong {role} token");
        }
        let now = self.clock.since_boot();
        let count = |visit: Visit<'_, Tokens>| visit.row.count(WRONG.times(visit.factor), now);
        self.clients.lock().try_each(ClientKey::of(client), now, count).err()
    }

    /// Removes clients of which nothing needs to be known.
    pub fn sweep(&self) {
        self.clients.lock().sweep(self.clock.since_boot());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// After so many wrong tokens at once.
    fn after(wrong: u32, now: Duration) -> Tokens {
        let mut tokens = Tokens::default();
        for _ in 0..wrong {
            let _ = tokens.count(WRONG, now);
        }
        tokens
    }

    #[test]
    fn after_20_wrong_tokens_only_the_one_that_was_used_last_is_accepted_for_a_minute() {
        let token = TokenDigest::of_text;
        assert!(after(19, MINUTE).accept(token("right"), MINUTE));
        let mut tokens = after(20, MINUTE);
        assert_eq!(tokens.count(WRONG, MINUTE), Err(CLOSED_FOR));
        let last_moment = (MINUTE + CLOSED_FOR).saturating_sub(Duration::from_nanos(1));
        assert!(!tokens.accept(token("right"), MINUTE) && !tokens.accept(token("right"), last_moment));
        assert!(tokens.accept(token("right"), MINUTE + CLOSED_FOR));
        let again = MINUTE + CLOSED_FOR;
        assert!((0..20).all(|_| tokens.count(WRONG, again).is_ok()) && tokens.count(WRONG, again).is_err());
        assert!(tokens.accept(token("right"), again), "the dashboard goes on");
        assert!(!tokens.accept(token("another right one"), again));
    }

    #[test]
    fn a_row_is_kept_while_it_decides_something() {
        assert!(Tokens::default().is_idle(MINUTE));
        let mut tokens = after(20, MINUTE);
        assert!(!tokens.is_idle((MINUTE + CLOSED_FOR).saturating_sub(Duration::from_nanos(1))));
        assert!(tokens.is_idle(MINUTE + CLOSED_FOR));
        tokens.accept(TokenDigest::of_text("right"), MINUTE * 2);
        assert!(!tokens.is_idle(MINUTE * 3) && tokens.is_idle(MINUTE * 2 + KNOWN_FOR));
    }
}
