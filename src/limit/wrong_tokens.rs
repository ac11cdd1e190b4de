//! The allowance for wrong operator and reporter tokens and wrong server keys: 20 a minute for each client, and four times as many for the
//! IPv6 /48 around it. It only affects wrong tokens: a request with the right token is always served.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strum::VariantArray;
use turn_ledger::ClientKey;
use turn_limits::{PerHolder, Rate};

use crate::telemetry::metrics::Metrics;
use turn_base::clock::Clock;
use turn_base::throttle::Throttle;

/// How many wrong tokens of one client get a 401 at once. Further ones get a 429.
const WRONG_MAX: u32 = 20;
/// The time after which one more wrong token gets a 401. After a minute, 20 do again.
const EACH: Duration = Duration::from_secs(3);
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

/// Counts wrong tokens by client.
#[derive(Debug)]
pub struct WrongTokens {
    allowances: Mutex<PerHolder>,
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
        let allowances = Mutex::new(PerHolder::new(Rate { burst: WRONG_MAX, each: EACH }, CLIENTS_MAX));
        Self { allowances, log: Throttle::default(), clock, metrics }
    }

    /// Counts one wrong token, and logs it unless another one was logged lately. If the client has sent too many, returns the time until
    /// one more gets a 401.
    pub fn count(&self, role: Role, client: IpAddr) -> Option<Duration> {
        let role: &'static str = role.into();
        self.metrics.wrong_tokens.count([role]);
        // Two lines, because only lines at `info` and `debug` say who a client is.
        if let Some(held_back) = self.log.pass(self.clock.instant()) {
            tracing::info!(%client, role, "a client has sent a wrong {role} token");
            tracing::warn!(role, held_back, "a request had a wrong {role} token");
        }
        let spent = self.allowances.lock().take(ClientKey::of(client), 1, self.clock.since_boot()).err()?;
        Some(spent.next)
    }

    /// Removes clients whose allowance is full again.
    pub fn sweep(&self) {
        self.allowances.lock().sweep(self.clock.since_boot());
    }
}
