//! Detection of a proxy that `TRUSTED_PROXIES` does not name. Such a proxy sends `CLIENT_ADDRESS_HEADER`, which is not read, so
//! all its clients count as one. A client can send the header too. So the operator gets a hint only if at least half of the
//! latest requests for credentials have the header. The hint states how many have it, and from where the latest of them came.

use std::net::IpAddr;

use parking_lot::Mutex;

/// The most requests that are remembered, one bit each.
const REQUESTS_MAX: u32 = 64;

/// The latest requests for credentials.
#[derive(Debug, Default)]
pub struct UntrustedProxies(Mutex<Latest>);

/// The latest requests, at most [`REQUESTS_MAX`].
#[derive(Debug, Default)]
struct Latest {
    /// One bit for each request, the latest in the lowest bit. Set if the request had a header that was not read.
    unread: u64,
    requests: u32,
    /// Where the latest request with such a header came from.
    peer: Option<IpAddr>,
}

/// How many of the latest requests had a `CLIENT_ADDRESS_HEADER` that was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Requests with such a header.
    pub forwarded: u32,
    /// How many requests are remembered, with and without such a header.
    pub of: u32,
    /// Where the latest request with such a header came from.
    pub peer: IpAddr,
}

impl UntrustedProxies {
    /// Records a request. `unread_from`: its peer, if it had a `CLIENT_ADDRESS_HEADER` that was not read.
    pub fn record(&self, unread_from: Option<IpAddr>) {
        let mut latest = self.0.lock();
        latest.unread = latest.unread << 1 | u64::from(unread_from.is_some());
        latest.requests = (latest.requests + 1).min(REQUESTS_MAX);
        latest.peer = unread_from.or(latest.peer);
    }

    /// The counts for the hint; `None` if no hint is due.
    pub fn seen(&self) -> Option<Unread> {
        let Latest { unread, requests, peer } = *self.0.lock();
        let forwarded = unread.count_ones();
        // If a request had such a header, `peer` is known.
        let is_due = forwarded > 0 && forwarded * 2 >= requests;
        if is_due { Some(Unread { forwarded, of: requests, peer: peer? }) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(requests: impl IntoIterator<Item = bool>) -> Option<(u32, u32)> {
        let proxy = IpAddr::from([192, 0, 2, 7]);
        let proxies = UntrustedProxies::default();
        requests.into_iter().for_each(|is_unread| proxies.record(is_unread.then_some(proxy)));
        let seen = proxies.seen()?;
        assert_eq!(seen.peer, proxy);
        Some((seen.forwarded, seen.of))
    }

    #[test]
    fn a_hint_is_due_after_the_first_request_through_an_untrusted_proxy() {
        assert_eq!(after([]), None);
        assert_eq!(after([false]), None);
        assert_eq!(after([true]), Some((1, 1)));
    }

    #[test]
    fn a_hint_is_due_only_while_at_least_half_of_the_latest_requests_have_the_header() {
        assert_eq!(after([false, true]), Some((1, 2)));
        assert_eq!(after([false, true, false]), None);
        let old = [true; 1_000].into_iter();
        assert_eq!(after(old.clone().chain([false; 32])), Some((32, 64)));
        assert_eq!(after(old.chain([false; 33])), None);
    }
}
