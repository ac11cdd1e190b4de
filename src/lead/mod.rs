//! Replicas on one ledger: which of them leads, and until when it may rely on its lead. One leader has the books. All others forward to it.

use std::time::Duration;

use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;
use turn_ledger::Timestamp;

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
    /// Canceled once this process gives the lead up, because no other replica reaches it.
    pub given_up: CancellationToken,
    /// The replicas that were seen lately, this one among them.
    pub replicas: RwLock<Vec<Replica>>,
    fault: RwLock<Option<String>>,
}

impl Lead {
    /// A lead that has just begun.
    pub fn new(epoch: i64, url: String, lease: Lease, followed: Option<(Timestamp, Duration)>) -> Self {
        let (given_up, replicas, fault) = Default::default();
        Self { epoch, url, lease, followed, replaced: None, given_up, replicas, fault }
    }

    /// Whether there are other live replicas and none of them reaches this one. A replica that has itself lately given up its lead for this
    /// reason does not count: otherwise two replicas that do not reach each other would pass the lead back and forth.
    pub fn is_unreached(&self, replicas: &[Replica]) -> bool {
        let counts = |replica: &&Replica| replica.url != self.url && replica.is_live && !replica.gave_up;
        let mut others = replicas.iter().filter(counts).peekable();
        others.peek().is_some() && others.all(|replica| replica.unreached == Some(self.epoch))
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

    fn lead() -> Lead {
        Lead::new(3, "http://one".into(), Lease::new(Duration::from_secs(5), Duration::ZERO), None)
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
        }
    }

    #[test]
    fn a_leader_is_unreached_if_each_other_live_replica_says_so() {
        let (own, two, three) =
            (replica("http://one", None), replica("http://two", Some(3)), replica("http://three", Some(3)));
        let says_nothing = Replica { unreached: None, ..three.clone() };
        let of_earlier_lead = Replica { unreached: Some(2), ..three.clone() };
        let gone = Replica { is_live: false, ..says_nothing.clone() };
        let muted = Replica { gave_up: true, ..two.clone() };
        for (others, is_unreached) in [
            (vec![], false),
            (vec![&two], true),
            (vec![&two, &three], true),
            (vec![&two, &says_nothing], false),
            (vec![&two, &of_earlier_lead], false),
            (vec![&two, &gone], true),
            (vec![&gone], false),
            (vec![&muted], false),
        ] {
            let replicas: Vec<_> = std::iter::once(&own).chain(others).cloned().collect();
            assert_eq!(lead().is_unreached(&replicas), is_unreached, "{replicas:?}");
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
