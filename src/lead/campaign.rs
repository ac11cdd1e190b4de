//! A replica's way to the lead: it looks at the ledger's row until it may stand for election, takes the lead, and opens the ledger.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::Lead;
use super::election::{Action, Election};
use super::lease::Lease;
pub use crate::store::postgres::standby::Electorate;
use crate::store::{Contents, FORMAT, Observation, Store};
use crate::telemetry::metrics::Metrics;
use turn_base::{Clock, Throttle};

/// How often the row is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// The shortest pause between two looks. A request that did not reach the leader asks for a look before [`LOOK_INTERVAL`] is over.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest time of one look. A slower one counts as an interruption.
const LOOK_MAX: Duration = Duration::from_secs(2);

/// The error of a look that has taken [`LOOK_MAX`].
const NO_ANSWER: &str = "the database has not answered within 2 s";

/// The settings with which a replica stands for election.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// `LEASE_SECONDS`.
    pub lease: Duration,
    /// The digest of the settings that decide figures.
    pub settings: String,
}

/// What a replica knows while it does not lead.
pub struct Outlook<'a> {
    /// Where the others reach this replica.
    pub own_url: &'a str,
    /// The URL of the leader, if requests can be forwarded to it.
    pub leader: Option<&'a str>,
    /// The number of the latest lead.
    pub epoch: i64,
    /// The key that signs grant tokens, once it was read.
    pub key: Option<&'a [u8; 64]>,
    /// Whether the leader has written nothing lately.
    pub is_silent: bool,
    /// What the operator should know about this replica.
    pub warning: Option<String>,
    /// What the operator must do before this replica can serve.
    pub fault: Option<String>,
}

/// Learns what a look has shown, or why the database could not be read. Returns the epoch of the leader that this replica does not reach;
/// `None` if it reaches the leader, or knows none.
pub trait Tell: FnMut(Result<Outlook<'_>, &str>) -> Option<i64> + Send {}

impl<F: FnMut(Result<Outlook<'_>, &str>) -> Option<i64> + Send> Tell for F {}

/// The ledger, opened by its new leader.
pub struct Won {
    /// The lead.
    pub lead: Arc<Lead>,
    /// The writer.
    pub store: Store,
    /// What is stored.
    pub contents: Contents,
}

/// A replica that does not lead yet.
pub struct Campaign<E> {
    /// The database.
    pub electorate: E,
    election: Election,
    candidate: Candidate,
    /// Notified by a request that could not reach the leader.
    look_asked: Arc<Notify>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// The epoch in which the key of grant tokens was read, and whether the leader of that epoch had written by then; and the key.
    key: Option<((i64, bool), [u8; 64])>,
    /// Why the ledger was not opened, if an operator has to do something.
    refused: Option<String>,
    /// Limits the log lines about failures.
    failures: Throttle,
}

impl<E: Electorate> Campaign<E> {
    /// A replica that has just started.
    pub fn new(
        electorate: E,
        candidate: Candidate,
        look_asked: Arc<Notify>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let election = Election::new(FORMAT, candidate.lease);
        let (key, refused, failures) = (None, None, Throttle::default());
        Self { electorate, election, candidate, look_asked, clock, metrics, key, refused, failures }
    }

    /// Returns once this replica leads and has opened the ledger, or with an error if no replica can use the database. Calls `tell` after
    /// each look.
    pub async fn run(&mut self, mut tell: impl Tell) -> Result<Won, E::Error> {
        loop {
            if let Some(won) = self.look(&mut tell).await? {
                return Ok(won);
            }
            // A request that did not reach the leader asks for a look. Many such requests cause one look.
            tokio::time::sleep(LOOK_PAUSE_MIN).await;
            let _ = timeout(LOOK_INTERVAL.saturating_sub(LOOK_PAUSE_MIN), self.look_asked.notified()).await;
        }
    }

    /// Looks at the row once, and does what the row allows. Returns the ledger if this replica leads now.
    async fn look(&mut self, tell: &mut impl Tell) -> Result<Option<Won>, E::Error> {
        let looked = timeout(LOOK_MAX, self.electorate.observe()).await;
        let seen = match looked {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => {
                tell(Err(&error.to_string()));
                return if E::is_unusable(&error) { Err(error) } else { Ok(self.interrupted(&error)) };
            }
            Err(elapsed) => {
                tell(Err(NO_ANSWER));
                return Ok(self.interrupted(&elapsed));
            }
        };
        self.update_key(&seen).await;
        let own_url = &*self.electorate.url();
        let action = self.election.observe(&seen, own_url, self.clock.since_boot());
        let (leader, warning) = match &action {
            Action::Forward(url) => (Some(url.as_str()), self.warning(&seen)),
            Action::CannotLead(format) => (None, Some(too_new(*format))),
            Action::Wait | Action::Stand | Action::StateLoss(_) => (None, None),
        };
        if matches!(action, Action::Forward(_)) {
            self.refused = None;
        }
        let is_silent = self.election.is_silent();
        let (epoch, key) = (seen.epoch, self.key.as_ref().map(|(_, key)| key));
        let fault = fault(&self.electorate).or_else(|| self.refused.clone());
        let unreached = tell(Ok(Outlook { own_url, leader, epoch, key, is_silent, warning, fault }));
        self.electorate.set_unreached(unreached);
        Ok(match action {
            Action::Stand => self.stand(&seen).await,
            Action::StateLoss(seq) => {
                tracing::error!("LEDGER_LOST_WRITES: the database has lost writes, perhaps answered ones");
                let stated = self.electorate.state_loss(seq).await;
                stated.err().and_then(|error| self.interrupted(&error))
            }
            Action::Wait | Action::Forward(_) | Action::CannotLead(_) => None,
        })
    }

    /// Takes the lead and opens the ledger.
    async fn stand(&mut self, seen: &Observation) -> Option<Won> {
        let began = self.clock.since_boot();
        let storage = match self.electorate.stand(seen).await {
            // `None`: the row has changed since it was seen.
            Ok(storage) => storage?,
            Err(error) => {
                self.refused = Some(error.to_string());
                return self.interrupted(&error);
            }
        };
        let epoch = seen.epoch + 1;
        let lease = Lease::new(self.candidate.lease, began);
        let followed = self.election.followed();
        let url = self.electorate.url();
        // A row that names this replica was written by an earlier process at the same URL.
        let lost_leader = seen.leader.clone().filter(|leader| seen.is_held && *leader != url);
        let replaced = lost_leader.map(|leader| (leader, began));
        let lead = Arc::new(Lead { replaced, ..Lead::new(epoch, url, lease, followed) });
        let (clock, metrics, renewed) =
            (Arc::clone(&self.clock), Arc::clone(&self.metrics), Arc::clone(&lead));
        let note = Box::new(move |began, took: Duration| {
            renewed.lease.renew(began);
            metrics.ledger_write_seconds.observe(took.as_secs_f64());
        });
        // Reading the ledger blocks, for seconds if it is large.
        let opened = tokio::task::spawn_blocking(move || Store::open_noted(storage, clock, note)).await;
        self.refused = match &opened {
            Ok(Err(error)) => Some(error.to_string()),
            _ => None,
        };
        match opened {
            Ok(Ok((store, contents))) => {
                tracing::info!(epoch, "this replica leads");
                Some(Won { lead, store, contents })
            }
            Ok(Err(error)) => self.interrupted(&error),
            Err(error) => self.interrupted(&error),
        }
    }

    /// Notes a failure. Always returns `None`, for callers that return what they have won.
    fn interrupted(&mut self, error: &dyn Error) -> Option<Won> {
        self.election.interrupt();
        if let Some(held_back) = self.failures.pass(self.clock.instant()) {
            let causes = std::iter::successors(error.source(), |&cause| cause.source());
            let cause = causes.last().map(ToString::to_string);
            tracing::warn!(%error, cause, held_back, "the ledger in the database cannot be read");
        }
        None
    }

    /// Reads the key in each epoch, and again once the leader has written: its first write may replace the key.
    async fn update_key(&mut self, seen: &Observation) {
        let at = (seen.epoch, seen.takeovers.has_written(seen.seq));
        if self.key.as_ref().is_none_or(|(read_at, _)| *read_at != at)
            && let Ok(Ok(Some(key))) = timeout(LOOK_MAX, self.electorate.key()).await
        {
            self.key = Some((at, key));
        }
    }

    /// What the operator should know before this replica, which follows the leader that was seen, leads itself.
    fn warning(&self, seen: &Observation) -> Option<String> {
        if seen.format > FORMAT {
            return Some(too_new(seen.format));
        }
        let is_same_version = seen.version.as_deref() == Some(env!("CARGO_PKG_VERSION"));
        let differs =
            is_same_version && seen.settings.as_ref().is_some_and(|s| *s != self.candidate.settings);
        differs.then(|| {
            "Give all replicas the same settings: those of the leader differ from this one's.".to_owned()
        })
    }
}

/// What an operator has to do if two replicas say that they are reached at the same address: each would take the other one for itself.
pub fn fault(electorate: &impl Electorate) -> Option<String> {
    let url = electorate.url();
    electorate.has_twin().then(|| {
        format!("Set ADVERTISE_URL of each replica to an address of its own: another one is reached at {url}, too.")
    })
}

fn too_new(format: i32) -> String {
    format!("Upgrade this replica: the ledger has format {format}. It reads {FORMAT}, so it cannot lead.")
}
