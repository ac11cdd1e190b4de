//! Which headers pass. Each direction has a list, and no other header passes. So cookies, the client's address and our own tokens
//! do not reach Cloudflare, and what Cloudflare sets for its own host does not reach the page.

/// The room of a session, for a page that has no `correlationId`. Read here, never sent upstream.
pub(crate) const ROOM: &str = "x-realtime-room";

/// Headers of a request that go upstream. `Authorization` is replaced by the app's secret. `Accept-Encoding` does not pass,
/// because a compressed answer could not be read here.
const SENT: [&str; 3] = ["content-type", "accept", "accept-language"];

/// Headers of a response that come back. `Location` does not, because a page that gets a redirect reloads itself.
const RETURNED: [&str; 2] = ["content-type", "retry-after"];

/// Whether a header of a request goes upstream. `name` in lower case.
pub(crate) fn is_sent(name: &str) -> bool {
    SENT.contains(&name)
}

/// Whether a header of a response comes back. `name` in lower case.
pub(crate) fn is_returned(name: &str) -> bool {
    RETURNED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_of_a_body_passes_and_what_identifies_a_client_or_a_server_does_not() {
        assert!(is_sent("content-type") && is_returned("content-type"));
        let of_client = "host cookie authorization origin referer user-agent x-forwarded-for forwarded cf-connecting-ip \
            cf-access-jwt-assertion x-realtime-room connection keep-alive te trailer transfer-encoding upgrade \
            proxy-authorization content-length accept-encoding traceparent";
        assert_eq!(of_client.split(' ').find(|name| is_sent(name)), None);
        let of_server = "set-cookie location connection transfer-encoding content-length server cf-ray";
        assert_eq!(of_server.split(' ').find(|name| is_returned(name)), None);
    }
}
