//! The operator's own relays, and which of them a credential names. [`Fleet::choose`] is pure: what is known of the relays and randomness are
//! arguments.

use super::rest::RestServer;
use crate::config::CoturnRelay;
use turn_ledger::CountOwner;

/// One relay.
#[derive(Debug)]
pub struct OwnRelay {
    /// Its host.
    pub host: String,
    /// Whose count has its bytes.
    pub owner: CountOwner,
    /// Computes credentials for it.
    pub server: RestServer,
}

/// All relays, in the order of `COTURN_URLS`.
#[derive(Debug)]
pub struct Fleet(pub Vec<OwnRelay>);

/// Whether a relay can get new credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelayState {
    /// Yes.
    Serves,
    /// Only while no other one serves: its sessions are not listed now, so nobody ends them.
    LastResort,
    /// No.
    Out,
}

impl OwnRelay {
    /// A relay of which nothing is known yet.
    pub fn new(config: &CoturnRelay) -> Self {
        Self { host: config.host.clone(), owner: config.owner(), server: config.server.clone() }
    }

    /// `is_uncut`: whether its listings have stopped.
    pub fn state(&self, is_uncut: bool, is_strict: bool) -> RelayState {
        match (is_uncut, is_strict) {
            (false, _) => RelayState::Serves,
            (true, false) => RelayState::LastResort,
            (true, true) => RelayState::Out,
        }
    }
}

impl Fleet {
    /// One of those that serve best. `states`: of each relay.
    pub fn choose(&self, states: &[RelayState], random: u64) -> Option<&OwnRelay> {
        let best = states.iter().min().filter(|best| **best != RelayState::Out)?;
        let of_best: Vec<_> =
            self.0.iter().zip(states).filter(|(_, state)| *state == best).map(|(relay, _)| relay).collect();
        let index = random.checked_rem(u64::try_from(of_best.len()).ok()?)?;
        of_best.get(usize::try_from(index).ok()?).copied()
    }
}
