//! Headers that concern one connection, and so are not passed on to the next one (RFC 9110, section 7.6.1).
//!
//! A header that the sender names in `Connection` is passed on, unless it is one of these. An intermediary would have to remove it. But all
//! replicas together are one server, and what a request means must not depend on the replica that it reaches: the leader reads each header
//! of a request that is sent to it. A client could also remove what a trusted proxy has added, such as the name of its user, if that proxy
//! passes `Connection` on.

use axum::http::header::{CONNECTION, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use axum::http::{HeaderMap, HeaderValue};

/// Headers of one connection, not of a request.
const OF_CONNECTION: [HeaderName; 7] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Removes what concerns one connection. A request to switch protocols concerns both.
pub(super) fn remove_of_connection(headers: &mut HeaderMap, is_upgrade: bool) {
    let upgrade = headers.get(UPGRADE).filter(|_| is_upgrade).cloned();
    for name in OF_CONNECTION {
        headers.remove(name);
    }
    if let Some(upgrade) = upgrade {
        headers.insert(UPGRADE, upgrade);
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
        assert_eq!(left(&lines), "host: a, x-other: 2, x-user: ann");
    }
}
