//! Replicas on one ledger: which of them leads, and until when it may rely on its lead. One leader has the books. All others forward to it.

use std::time::Duration;

use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;
use turn_ledger::Timestamp;
use url::Url;

pub mod campaign;

pub use crate::store::postgres::standby::Replica;
use lease::Lease;
pub use turn_store::{election, lease};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The lead of this process.
#[derive(Debug)]
pub struct Lead {
    /// The number of the lead. It grows with each takeover.
    pub epoch: i64,
    /// Where the others reach this replica.
    pub url: String,
    /// Until when this process may rely on its lead.
    pub lease: Lease,
    /// The latest time of the books that another leader has written, as far as this process has seen, and this machine's time since boot
    /// when this process first saw that time. `None` if this process has seen no write since its last look that failed.
    pub followed: Option<(Timestamp, Duration)>,
    /// The URL of the previous leader, and this machine's time since boot at the takeover. `None` if the previous leader has released the
    /// ledger, or had the same URL as this process.
    pub replaced: Option<(String, Duration)>,
    /// Canceled once this process gives the lead up, because neither another replica nor a client reaches it.
    pub given_up: CancellationToken,
    /// When this process last answered a client that had sent its request here and not to another replica, as the time since boot.
    pub answered_at: RwLock<Option<Duration>>,
    /// The replicas that were seen lately, this one among them.
    pub replicas: RwLock<Vec<Replica>>,
    fault: RwLock<Option<String>>,
}

impl Lead {
    /// A lead that has just begun.
    pub fn new(epoch: i64, url: String, lease: Lease, followed: Option<(Timestamp, Duration)>) -> Self {
        let (given_up, answered_at, replicas, fault) = Default::default();
        Self { epoch, url, lease, followed, replaced: None, given_up, answered_at, replicas, fault }
    }

    /// Whether this process gives the lead up: there are other live replicas, none of them reaches this one, and this one has answered no
    /// client of its own for `LEASE_SECONDS`. Clients would not reach a replica that no leader has ever reached, so what it says does not
    /// count. A replica that has itself lately given up its lead does not count either: otherwise two replicas that do not reach each
    /// other would pass the lead back and forth. `now`: the time since boot. `lease`: `LEASE_SECONDS`.
    pub fn gives_up(&self, replicas: &[Replica], now: Duration, lease: Duration) -> bool {
        let counts = |replica: &&Replica| self.is_other(replica) && replica.was_reached && !replica.gave_up;
        let mut others = replicas.iter().filter(counts).peekable();
        let is_unreached =
            others.peek().is_some() && others.all(|replica| replica.unreached == Some(self.epoch));
        let has_clients = self.answered_at.read().is_some_and(|at| now.saturating_sub(at) < lease);
        is_unreached && !has_clients
    }

    /// Whether this is another replica that is live.
    pub fn is_other(&self, replica: &Replica) -> bool {
        replica.url != self.url && replica.is_live
    }

    /// What an operator must do if this process has never reached a live replica. `None` without such a replica.
    pub fn closed(&self, replicas: &[Replica]) -> Option<String> {
        let closed = replicas.iter().find(|replica| self.is_other(replica) && !replica.was_reached)?;
        Some(closed_port(&closed.url, &self.url))
    }

    /// What an operator must do if a replica of the same version has other settings: it belongs to another deployment, or only some
    /// replicas were changed. `None` without such a replica. `settings`: the digest of this replica's settings.
    pub fn differing(&self, replicas: &[Replica], settings: &str) -> Option<String> {
        let differs = |replica: &&Replica| {
            replica.is_live && replica.version == VERSION && replica.settings.as_deref() != Some(settings)
        };
        replicas.iter().find(differs).map(|replica| {
            let url = &replica.url;
            format!("Give all replicas the same settings, and another deployment a DATABASE_SCHEMA of its own: the settings of {url} differ from those of the leader.")
        })
    }

    /// What an operator must do about the replicas; `None` if the latest check found nothing.
    pub fn fault(&self) -> Option<String> {
        self.fault.read().clone()
    }

    /// Sets the fault. A new text is logged.
    pub fn set_fault(&self, fault: Option<String>) {
        set_and_log(&mut self.fault.write(), fault, |fault| tracing::error!("{fault}"));
    }
}

/// What an operator must do if the replica at `url` does not answer the one at `own_url`.
pub fn closed_port(url: &str, own_url: &str) -> String {
    let parsed = |url: &str| Url::parse(url).ok();
    let (other, own) = (parsed(url), parsed(own_url));
    let port = other.as_ref().and_then(Url::port_or_known_default).unwrap_or_default();
    let host = |url: Option<Url>| url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    let (host, own) = (host(other), host(own));
    format!("Check the firewall and ADVERTISE_URL: port {port} of {host} is closed for {own}.")
}

/// Sets a warning or a fault. If its text has changed, calls `log` with the text.
pub fn set_and_log(current: &mut Option<String>, new: Option<String>, log: impl FnOnce(&str)) {
    if let Some(text) = &new
        && *current != new
    {
        log(text);
    }
    *current = new;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `LEASE_SECONDS`.
    const LEASE: Duration = Duration::from_secs(5);

    fn lead() -> Lead {
        Lead::new(3, "http://one".into(), Lease::new(LEASE, Duration::ZERO), None)
    }

    /// A live replica that does not reach the leader of this epoch.
    fn replica(url: &str, unreached: Option<i64>) -> Replica {
        Replica {
            url: url.into(),
            version: VERSION.into(),
            settings: Some("a".into()),
            seen_at: Timestamp::default(),
            clock_ahead_millis: 0,
            is_live: true,
            unreached,
            gave_up: false,
            was_reached: true,
        }
    }

    #[test]
    fn a_leader_without_clients_gives_up_if_each_other_live_replica_says_that_it_is_not_reached() {
        let (own, two, three) =
            (replica("http://one", None), replica("http://two", Some(3)), replica("http://three", Some(3)));
        let says_nothing = Replica { unreached: None, ..three.clone() };
        let of_earlier_lead = Replica { unreached: Some(2), ..three.clone() };
        let gone = Replica { is_live: false, ..says_nothing.clone() };
        let muted = Replica { gave_up: true, ..two.clone() };
        let never_reached = Replica { was_reached: false, ..two.clone() };
        for (others, gives_up) in [
            (vec![], false),
            (vec![&two], true),
            (vec![&two, &three], true),
            (vec![&two, &says_nothing], false),
            (vec![&two, &of_earlier_lead], false),
            (vec![&two, &gone], true),
            (vec![&gone], false),
            (vec![&muted], false),
            (vec![&never_reached], false),
            (vec![&never_reached, &three], true),
        ] {
            let replicas: Vec<_> = std::iter::once(&own).chain(others).cloned().collect();
            assert_eq!(lead().gives_up(&replicas, Duration::MAX, LEASE), gives_up, "{replicas:?}");
        }
    }

    #[test]
    fn a_leader_that_has_answered_a_client_within_the_lease_keeps_the_lead() {
        let (lead, replicas) = (lead(), [replica("http://two", Some(3))]);
        *lead.answered_at.write() = Some(Duration::from_secs(100));
        let gives_up = |millis| lead.gives_up(&replicas, Duration::from_millis(millis), LEASE);
        assert_eq!([100_000, 104_999, 105_000].map(gives_up), [false, false, true]);
    }

    #[test]
    fn a_live_replica_that_was_never_reached_is_named_with_its_port() {
        let lead = Lead { url: "http://10.0.0.11:3001".into(), ..lead() };
        let other = Replica { was_reached: false, ..replica("http://10.0.0.12:3001", None) };
        let found = lead.closed(std::slice::from_ref(&other)).unwrap();
        assert!(found.contains("port 3001 of 10.0.0.12 is closed for 10.0.0.11"), "{found}");
        for fine in [
            Replica { was_reached: true, ..other.clone() },
            Replica { is_live: false, ..other.clone() },
            Replica { url: lead.url.clone(), ..other },
        ] {
            assert_eq!(lead.closed(&[fine]), None);
        }
    }

    #[test]
    fn a_live_replica_of_the_same_version_with_other_settings_is_named() {
        let same = replica("http://two", None);
        let other = Replica { url: "http://three".into(), settings: Some("b".into()), ..same.clone() };
        let found = lead().differing(&[same.clone(), other.clone()], "a").unwrap();
        assert!(found.contains("http://three"), "{found}");
        for fine in
            [same, Replica { is_live: false, ..other.clone() }, Replica { version: "0".into(), ..other }]
        {
            assert_eq!(lead().differing(&[fine], "a"), None);
        }
    }
}
