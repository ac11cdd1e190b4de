//! Where requests go: to this replica, to another one that leads, or to nobody yet.

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::http::uri::{Authority, Scheme};

use super::mac::ForwardKey;

/// Where requests go.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// This replica does not lead. `None`: there is no leader, or it is not known.
    Leader(Option<Arc<Leader>>),
    /// This replica leads.
    Here(Router),
}

/// Another replica that leads.
#[derive(Debug)]
pub struct Leader {
    /// The number of its lead.
    pub(super) epoch: i64,
    /// Where the others reach it, as it says itself.
    pub(super) url: String,
    /// The host and port of the URL.
    pub(super) address: Authority,
    pub(super) key: ForwardKey,
}

impl Leader {
    /// `None` unless the URL is `http://host:port`.
    pub fn at(url: &str, epoch: i64, key: ForwardKey) -> Option<Self> {
        let parsed: Uri = url.parse().ok()?;
        let is_plain = parsed.scheme() == Some(&Scheme::HTTP);
        let address = if is_plain { parsed.into_parts().authority } else { None }?;
        Some(Self { epoch, url: url.to_owned(), address, key })
    }
}

/// Two values are equal if they have the same epoch and the same URL.
impl PartialEq for Leader {
    fn eq(&self, other: &Self) -> bool {
        (self.epoch, &self.url) == (other.epoch, &other.url)
    }
}

impl Target {
    /// Whether requests go to this leader. `None`: whether they go to nobody.
    pub(super) fn is_leader(&self, leader: Option<&Leader>) -> bool {
        matches!(self, Self::Leader(known) if known.as_deref() == leader)
    }
}
