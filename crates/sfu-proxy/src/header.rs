//! Which headers pass. Each direction has a list, and no other header passes. So cookies, the client's address and our own tokens
//! do not reach Cloudflare, and what Cloudflare sets for its own host does not reach the page.

use axum::http::HeaderMap;

/// Headers of a request that go upstream. `Authorization` is replaced by the app's secret. `Accept-Encoding` does not pass,
/// because a compressed answer could not be read here.
pub(crate) const SENT: [&str; 3] = ["content-type", "accept", "accept-language"];

/// Headers of a response that come back. `Location` does not, because Orange reloads its page on a redirect.
pub(crate) const RETURNED: [&str; 1] = ["retry-after"];

/// The headers that are in `list`. Its names are in lower case.
pub(crate) fn passing(headers: &HeaderMap, list: &[&str]) -> HeaderMap {
    let passing = headers.iter().filter(|(name, _)| list.contains(&name.as_str()));
    passing.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_body_passes_and_what_identifies_a_client_or_a_server_does_not() {
        let passing = |names: &str, list: &[&str]| {
            let headers = names.split_whitespace().map(|name| (name.parse().unwrap(), "x".parse().unwrap()));
            passing(&headers.collect(), list).len()
        };
        assert_eq!((passing("content-type", &SENT), passing("Retry-After", &RETURNED)), (1, 1));
        let of_client = "host cookie authorization origin referer user-agent x-forwarded-for forwarded cf-connecting-ip \
            cf-access-jwt-assertion x-realtime-room connection keep-alive te trailer transfer-encoding upgrade \
            proxy-authorization content-length accept-encoding traceparent";
        assert_eq!(passing(of_client, &SENT), 0);
        let of_server =
            "content-type set-cookie location connection transfer-encoding content-length server cf-ray";
        assert_eq!(passing(of_server, &RETURNED), 0);
    }
}
