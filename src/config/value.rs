//! Parsers of values. Pure: text in, value or `None` out. `settings.rs` states what was expected.

use std::ops::RangeInclusive;
use std::str::FromStr;

use url::{Host, Url};

/// The most characters of a value in a message.
const SHOWN_CHARS_MAX: usize = 100;
/// The longest identifier at the provider. Real ones have 32 characters.
const IDENTIFIER_CHARS_MAX: usize = 128;

/// Digits only, and in range.
pub(super) fn parse_number<T: FromStr + PartialOrd>(text: &str, range: &RangeInclusive<T>) -> Option<T> {
    let digits_only = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|value| digits_only && range.contains(value))
}

/// Digits with at most one point: no sign, no exponent, no `inf`, no `nan`; not above `max`.
pub(super) fn parse_decimal(text: &str, max: f64) -> Option<f64> {
    let is_decimal = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse().ok().filter(|value: &f64| is_decimal && *value <= max)
}

/// The words for yes and no.
pub(super) const BOOLEANS: &[(&str, bool)] = &[
    ("true", true),
    ("false", false),
    ("1", true),
    ("0", false),
    ("yes", true),
    ("no", false),
    ("on", true),
    ("off", false),
];

/// Whether `text` has only visible ASCII characters, which a header value can carry.
pub(super) fn is_visible_ascii(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic())
}

/// An identifier that needs no escaping in a URL's path.
pub(super) fn parse_identifier(text: &str) -> Option<String> {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    (text.len() <= IDENTIFIER_CHARS_MAX && text.bytes().all(is_good)).then(|| text.to_owned())
}

/// Whether `text` has no control characters. In a value of one line they are a mistake.
pub(super) fn is_plain(text: &str) -> bool {
    !text.contains(char::is_control)
}

/// A value for a message: truncated, escaped, and hidden if it may be a URL with a password.
pub(super) fn shown(text: &str) -> String {
    if text.contains('@') {
        return "a value with an @, which is not shown".to_owned();
    }
    let cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    let more = if cut.len() < text.len() { " and more" } else { "" };
    format!("{cut:?}{more}")
}

/// An `http:` or `https:` URL without user, query or fragment. Its path ends in `/`, so that `Url::join` appends.
pub(super) fn parse_base(text: &str) -> Option<Url> {
    let mut url = parse_web_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return None;
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Some(url)
}

/// An `http:` or `https:` URL without user and password.
pub(super) fn parse_web_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https") && text.contains("://");
    (is_web && url.username().is_empty() && url.password().is_none()).then_some(url)
}

/// Whether others on the network path can read requests to this URL: `http:` to another machine.
pub(super) fn is_cleartext(url: &Url) -> bool {
    let is_this_machine = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    };
    url.scheme() == "http" && !is_this_machine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_digits_with_at_most_one_point() {
        for (text, value) in
            [("0", 0.0), ("1000", 1000.0), ("0.5", 0.5), (".5", 0.5), ("5.", 5.0), ("007", 7.0)]
        {
            assert_eq!(parse_decimal(text, 1e6), Some(value), "{text}");
        }
        for bad in [
            "",
            ".",
            "-1",
            "-0",
            "+1",
            "1e3",
            "nan",
            "inf",
            "1,5",
            "1 000",
            "1.2.3",
            "0x10",
            "1000000.1",
            "٣",
        ] {
            assert_eq!(parse_decimal(bad, 1e6), None, "{bad}");
        }
    }

    #[test]
    fn numbers_are_digits_within_their_range() {
        assert_eq!(parse_number("0", &(0..=u16::MAX)), Some(0));
        assert_eq!(parse_number("65535", &(0..=u16::MAX)), Some(65_535));
        for bad in ["", "-1", "+1", "65536", "1.0", "1e3", "abc", "99999999999999999999999", "٣"] {
            assert_eq!(parse_number(bad, &(0..=u16::MAX)), None, "{bad}");
        }
    }

    #[test]
    fn a_base_gets_the_slash_that_makes_join_append() {
        for (text, joined) in [
            ("https://rtc.live.cloudflare.com", "https://rtc.live.cloudflare.com/v1"),
            ("http://127.0.0.1:8080/proxy", "http://127.0.0.1:8080/proxy/v1"),
            ("HTTPS://Example.com:443/a/", "https://example.com/a/v1"),
        ] {
            assert_eq!(parse_base(text).unwrap().join("v1").unwrap().as_str(), joined);
        }
    }

    #[test]
    fn a_text_that_is_not_a_base_is_refused() {
        for bad in [
            "",
            "example.com",
            "ftp://example.com",
            "https://",
            "https:example.com",
            "https://u:p@example.com",
            "https://u@example.com",
            "https://example.com?a=b",
            "https://example.com#a",
            "http://a b",
        ] {
            assert_eq!(parse_base(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_http_to_another_machine_is_cleartext() {
        for (text, expected) in [
            ("http://example.com", true),
            ("http://10.0.0.1", true),
            ("http://localhost.example.com", true),
            ("https://example.com", false),
            ("http://localhost:8080", false),
            ("http://fake.localhost", false),
            ("http://127.0.0.2", false),
            ("http://[::1]:1", false),
            ("http://[::ffff:127.0.0.1]", false),
        ] {
            assert_eq!(is_cleartext(&parse_base(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn a_shown_value_is_truncated_escaped_and_without_passwords() {
        assert_eq!(shown("a\"b"), "\"a\\\"b\"");
        assert_eq!(shown(&"ä".repeat(101)), format!("\"{}\" and more", "ä".repeat(100)));
        assert!(!shown("https://me:hush@host").contains("hush"));
    }
}
