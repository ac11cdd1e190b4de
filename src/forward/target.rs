//! Where requests go: to this replica, to another one that leads, or to nobody yet.

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::{Authority, PathAndQuery, Scheme};
use turn_ledger::Timestamp;

use super::mac::{ForwardKey, Forwarded};

/// Where requests go.
#[derive(Clone, Debug)]
pub enum Target {
    /// Nobody leads. The key, once it is known.
    Nobody(Option<ForwardKey>),
    /// Another replica leads.
    At(Leader),
    /// This replica leads.
    Here(Router),
}

/// A leader as others reach it.
#[derive(Clone, Debug)]
pub struct Leader {
    pub(super) address: Authority,
    pub(super) key: ForwardKey,
}

impl Leader {
    /// `None` unless the URL is `http://host:port`.
    pub fn at(url: &str, key: ForwardKey) -> Option<Self> {
        let url: Uri = url.parse().ok()?;
        let is_plain = url.scheme() == Some(&Scheme::HTTP);
        Some(Self { address: url.into_parts().authority.filter(|_| is_plain)?, key })
    }

    /// Host and port.
    pub fn address(&self) -> &Authority {
        &self.address
    }

    /// The URL of a path there.
    pub(super) fn uri(&self, path: PathAndQuery) -> Option<Uri> {
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(self.address.clone()).path_and_query(path);
        uri.build().ok()
    }
}

impl Target {
    /// Whether requests go the same way. The key is another fact.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nobody(_), Self::Nobody(_)) | (Self::Here(_), Self::Here(_)) => true,
            (Self::At(one), Self::At(other)) => one.address == other.address,
            _ => false,
        }
    }

    /// Whether requests do not go to this address any more. `None`: whether there is a leader.
    pub(super) fn has_left(&self, address: Option<&Authority>) -> bool {
        match self {
            Self::Nobody(_) => address.is_some(),
            Self::At(leader) => Some(&leader.address) != address,
            Self::Here(_) => true,
        }
    }

    /// Whether another replica has forwarded this request, which this one may serve only by itself.
    pub(super) fn ends<B>(&self, request: &Request<B>, now: Timestamp) -> bool {
        let key = match self {
            Self::Nobody(key) => key.as_ref(),
            Self::At(leader) => Some(&leader.key),
            Self::Here(_) => None,
        };
        key.is_some_and(|key| key.check(request, now) != Forwarded::No)
    }
}
