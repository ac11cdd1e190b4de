//! The rules for a request's head on every route: exactly one `Host`, which names this service, at most one encoding of the body, and an
//! `Upgrade` with the key of a WebSocket. If a proxy in front could interpret the head differently, the request is refused and the
//! connection closed, so no second request can be hidden in a body.
//!
//! hyper decides three cases. A head that is much too large gets a 431 without a body (`src/listen/door.rs`), and an encoding that does not
//! end in `chunked` a 400 without one. After a request with both a length and an encoding, the connection is closed.

use axum::http::header::{CONNECTION, HOST, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING, UPGRADE};
use axum::http::{HeaderName, Method, Version};

use super::prelude::*;
use crate::config::AllowedHosts;

/// Routes that are served under any host, because the probes of a container platform use an address as host. Their responses
/// contain no data.
const ANY_HOST: [&str; 3] = ["/health", "/ready", "/leader"];

/// The most headers of a request.
const HEADERS_MAX: usize = 100;
/// The most bytes of the request line and the headers.
const HEAD_MAX: usize = 16 * 1024;

/// The response to a request whose head breaks a rule, or that `HAProxy` sends by default to see whether the service is there; `None` for any
/// other. `is_by_replica`: another replica has checked the size, and has then added headers.
pub fn refuse(request: &Request, route: &str, hosts: &AllowedHosts, is_by_replica: bool) -> Option<Response> {
    if request.method() == Method::OPTIONS && request.version() < Version::HTTP_11 {
        return Some(StatusCode::OK.into_response());
    }
    let size = if is_by_replica { Ok(()) } else { check_size(request) };
    let error = size.and_then(|()| check_rules(request, route, hosts)).err()?;
    let mut response = error.into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Some(response)
}

fn check_size(request: &Request) -> Result<(), ApiError> {
    // In addition to the method and the URI, the request line has two spaces, `HTTP/1.1` and a line end: 12 bytes. In addition to name and
    // value, a header has `: ` and a line end: 4 bytes. The empty line after the headers has 2 bytes.
    let line = request.method().as_str().len() + request.uri().to_string().len() + 12;
    let of_header = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    let bytes = line + request.headers().iter().map(of_header).sum::<usize>() + 2;
    if request.headers().len() <= HEADERS_MAX && bytes <= HEAD_MAX {
        return Ok(());
    }
    let mut error =
        ApiError::invalid("Send at most 100 headers, and 16 KiB in the request line and all headers.");
    error.status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    Err(error)
}

/// Checks every rule except the size: one `Host`, a body that can be read, an `Upgrade` that no proxy has dropped, a host that is served.
fn check_rules(request: &Request, route: &str, hosts: &AllowedHosts) -> Result<(), ApiError> {
    let headers = request.headers();
    let host = single_host(headers, request.version())?;
    if !is_allowed_encoding(headers) {
        return Err(ApiError::invalid(
            "Send the body with a Content-Length, or as `Transfer-Encoding: chunked` alone.",
        ));
    }
    if headers.contains_key(SEC_WEBSOCKET_KEY) && !headers.contains_key(UPGRADE) {
        return Err(ApiError::upgrade_required(
            "Set the proxy to pass WebSockets on, as docs/OPERATE.md does for nginx and Caddy: a proxy in between dropped the Upgrade header.",
        ));
    }
    if *hosts == AllowedHosts::Any || ANY_HOST.contains(&route) {
        return Ok(());
    }
    // A request line with a whole URL names a host, too.
    let target_host = request.uri().authority();
    let is_served = host.is_some_and(|host| hosts.allows(host))
        && target_host.is_none_or(|authority| hosts.allows(authority.as_str()));
    if is_served { Ok(()) } else { Err(ApiError::misdirected()) }
}

/// The value of the only `Host`; `None` for a request in HTTP/1.0 without one.
fn single_host(headers: &HeaderMap, version: Version) -> Result<Option<&str>, ApiError> {
    let mut lines = headers.get_all(HOST).iter();
    match (lines.next(), lines.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(None),
        (Some(host), None) if host.as_bytes().iter().all(|byte| is_of_host(*byte)) => Ok(host.to_str().ok()),
        _ => Err(ApiError::invalid("Send exactly one Host header, with a host name and an optional port.")),
    }
}

/// Whether a `Host` may have this byte: in a name, an address in brackets or a port.
const fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b':' | b'[' | b']')
}

/// Whether the body has no `Transfer-Encoding`, or `chunked` alone.
fn is_allowed_encoding(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    encodings.next().is_none_or(is_chunked) && encodings.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(host: &[u8], hosts: &AllowedHosts) -> &'static str {
        let mut request = Request::default();
        request.headers_mut().insert(HOST, HeaderValue::from_bytes(host).unwrap());
        check_rules(&request, "/api", hosts).map_or_else(|error| error.body.code, |()| "")
    }

    proptest! {
        #[test]
        fn no_bytes_in_the_host_header_pass_unless_they_name_a_listed_host(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let hosts = AllowedHosts::at_port(&["turn.example"], 80);
            if HeaderValue::from_bytes(&bytes).is_ok() {
                let verdict = code(&bytes, &hosts);
                let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
                prop_assert!(!verdict.is_empty() || text.starts_with("turn.example"), "{text}");
            }
        }
    }
}
