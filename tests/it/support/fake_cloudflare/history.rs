//! The requests that the fake received, so that tests assert on what was sent.
//!
//! Invariant: the counters cover everything since the start. Only the last [`KEPT_MAX`] requests and credentials are kept,
//! so that memory stays bounded when the example binary runs under load for days.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;

use super::provider::Target;
use super::shapes::Credential;

/// Maximum number of requests, and of credentials. The oldest are removed first. A removed credential can no longer
/// be revoked.
const KEPT_MAX: usize = 10_000;

/// The history. Clones share it, so they also show later requests.
#[derive(Clone, Default)]
pub(crate) struct History {
    events: Arc<Mutex<Events>>,
}

#[derive(Default)]
struct Events {
    mints: usize,
    minted: usize,
    probes: usize,
    redirect_hits: usize,
    asked: usize,
    requests: VecDeque<Recorded>,
    queries: VecDeque<Recorded>,
    credentials: VecDeque<Issued>,
}

struct Issued {
    credential: Credential,
    revoked: bool,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    /// Without a query.
    pub(crate) path: String,
    /// The header's whole value, scheme included.
    pub(crate) authorization: Option<String>,
    pub(crate) user_agent: Option<String>,
    pub(crate) content_type: Option<String>,
    /// `Null` if the body is empty or not JSON.
    pub(crate) body: Value,
    /// The key id in the path, whether it is correct or not. `None` if the path has none.
    pub(crate) key_id: Option<String>,
    /// Seconds, from the body. `None` if it is absent or not a whole number.
    pub(crate) ttl: Option<u64>,
    pub(crate) custom_identifier: Option<String>,
}

impl History {
    /// The number of mint requests, failed ones included.
    pub(crate) fn mints(&self) -> usize {
        self.events().mints
    }

    /// The number of generated credentials, including those whose response was lost or damaged.
    pub(crate) fn minted(&self) -> usize {
        self.events().minted
    }

    /// The number of a broker's probes, whatever their outcome. [`Self::mints`] does not contain them.
    pub(crate) fn probes(&self) -> usize {
        self.events().probes
    }

    /// How often a client followed a redirect that it must not follow.
    pub(crate) fn redirect_hits(&self) -> usize {
        self.events().redirect_hits
    }

    /// The latest requests, oldest first, revocations and unknown paths included.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.events().requests.iter().cloned().collect()
    }

    /// The number of analytics queries, failed ones included.
    pub(super) fn asked(&self) -> usize {
        self.events().asked
    }

    /// The latest analytics queries, oldest first. [`Self::requests`] does not contain them.
    pub(super) fn queries(&self) -> Vec<Recorded> {
        self.events().queries.iter().cloned().collect()
    }

    /// The newest username and credential.
    #[track_caller]
    pub(crate) fn last_credential(&self) -> (String, String) {
        let events = self.events();
        let newest = events.credentials.back().map(|issued| issued.credential.clone());
        drop(events);
        let Credential { username, credential } = newest.expect("a credential was minted before");
        (username, credential)
    }

    /// Every kept username and credential. No log line or error response may contain them.
    pub(crate) fn minted_secrets(&self) -> Vec<String> {
        let events = self.events();
        let both =
            |issued: &Issued| [issued.credential.username.clone(), issued.credential.credential.clone()];
        events.credentials.iter().flat_map(both).collect()
    }

    pub(super) fn record_probe(&self) {
        self.events().probes += 1;
    }

    pub(super) fn record(&self, target: Target<'_>, request: Recorded) {
        let mut events = self.events();
        match target {
            Target::Mint { .. } => events.mints += 1,
            Target::AfterRedirect => events.redirect_hits += 1,
            Target::Analytics => events.asked += 1,
            Target::Revoke { .. } | Target::TurnKeys | Target::Clock | Target::Unknown => {}
        }
        let is_query = target == Target::Analytics;
        push_bounded(if is_query { &mut events.queries } else { &mut events.requests }, request);
    }

    pub(super) fn record_credential(&self, credential: Credential) {
        let mut events = self.events();
        events.minted += 1;
        push_bounded(&mut events.credentials, Issued { credential, revoked: false });
    }

    /// How many credentials are revoked.
    pub(crate) fn revoked(&self) -> usize {
        self.events().credentials.iter().filter(|issued| issued.revoked).count()
    }

    /// Marks a credential as revoked; false when it is unknown or already gone.
    pub(super) fn revoke(&self, username: &str) -> bool {
        let mut events = self.events();
        let known = |issued: &&mut Issued| !issued.revoked && issued.credential.username == username;
        let found = events.credentials.iter_mut().rev().find(known);
        found.map(|issued| issued.revoked = true).is_some()
    }

    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().expect("no code panics while it holds this lock")
    }
}

fn push_bounded<T>(kept: &mut VecDeque<T>, newest: T) {
    if kept.len() == KEPT_MAX {
        kept.pop_front();
    }
    kept.push_back(newest);
}
