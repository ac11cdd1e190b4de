//! Headers that concern one connection, and so are not passed on to the next connection (RFC 9110, section 7.6.1).
//!
//! Any other header is passed on, even if the sender names it in `Connection`. An intermediary would have to remove such a header. But all
//! replicas together are one server, and what a request means must not depend on the replica that it reaches: a leader that gets the
//! request itself reads every header. If such headers were removed, a client could also remove what a trusted proxy has added, such as the
//! name of its user, if that proxy passes `Connection` on. For the same reason `Upgrade` is passed on: the leader refuses an `Upgrade` that
//! `Connection` does not name.

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::{CONNECTION, HeaderName, TE, TRAILER, TRANSFER_ENCODING};
use axum::http::{HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use turn_base::entries;

/// Headers of one connection, not of a request.
const OF_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Whether a request asks to switch protocols: `Connection` must name `upgrade`. hyper looks only at the header `Upgrade`.
pub(super) fn is_upgrade(request: &Request<Bytes>) -> bool {
    request.extensions().get::<OnUpgrade>().is_some()
        && entries(request.headers(), &CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"))
}

/// Removes the headers that concern one connection. A request to switch protocols concerns both connections, so its `Connection` still
/// names `upgrade`.
pub(super) fn remove_of_connection(headers: &mut HeaderMap, is_upgrade: bool) {
    for name in OF_CONNECTION {
        headers.remove(name);
    }
    if is_upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(lines: &[(&'static str, &'static str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        remove_of_connection(&mut headers, false);
        let mut names: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        names.sort();
        names.join(", ")
    }

    #[test]
    fn what_concerns_one_connection_is_removed_and_nothing_else_that_the_sender_names() {
        let lines = [
            ("host", "a"),
            ("connection", "keep-alive, X-User"),
            ("connection", "close"),
            ("x-user", "ann"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("x-other", "2"),
        ];
        assert_eq!(left(&lines), "host: a, upgrade: h2c, x-other: 2, x-user: ann");
    }
}
