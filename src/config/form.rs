//! The forms of values. Each one reads a text, or says what was expected. No sentence repeats the text, which may be a secret.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderName;
use secrecy::zeroize::Zeroize;
use secrecy::{ExposeSecret, SecretBox, SecretString};
use turn_base::{is_visible_ascii, parse_web_url};
use url::{Host, Url};

/// The longest identifier at the provider. Real ones have 32 characters.
pub(super) const IDENTIFIER_MAX: usize = 128;

/// The fewest different characters of a secret of the operator's own. Of random secrets with 16 hexadecimal digits, one in 90 has fewer;
/// with 32 digits, one in 28 million.
const CHARS_MIN: usize = 8;

/// A value, or the sentence of what was expected in its place.
pub(super) type Formed<T> = Result<T, String>;

/// The form of the texts that `parse` reads. `expected` describes them.
pub(super) fn form<T>(
    expected: impl Display,
    parse: impl Fn(&str) -> Option<T>,
) -> impl Fn(&str) -> Formed<T> {
    move |text| parse(text).ok_or_else(|| format!("expected {expected}"))
}

/// The form of the texts that the `FromStr` of the type reads.
pub(super) fn parsed<T: FromStr>(expected: &str) -> impl Fn(&str) -> Formed<T> {
    form(expected, |text| text.parse().ok())
}

/// A whole number in `range`.
pub(super) fn number<T: FromStr>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Formed<T> {
    let expected = format!("a number from {} to {}", range.start(), range.end());
    form(expected, move |text| parse_number(text, &range))
}

/// A whole number of seconds in `range`.
pub(super) fn seconds(range: RangeInclusive<u64>) -> impl Fn(&str) -> Formed<Duration> {
    let number = number(range);
    move |text| number(text).map(Duration::from_secs)
}

/// What is wrong with a list of `count` keys, of which there may be `max`: the first of the `faults` that is so.
pub(super) fn fault_of_keys(count: usize, max: usize, faults: &[(bool, &str)]) -> Option<String> {
    if count > max {
        return Some(format!("expected at most {max} keys, found {count}"));
    }
    faults.iter().find(|(is_so, _)| *is_so).map(|(_, expected)| (*expected).to_owned())
}

/// One of the words of `choices`, in any case.
pub(super) fn one_of<T: Copy>(choices: &[(&str, T)]) -> impl Fn(&str) -> Formed<T> {
    let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
    let expected = match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    };
    let choose = |text: &str| choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
    form(expected, move |text| choose(text).map(|(_, value)| *value))
}

/// Yes or no.
pub(super) fn switch(text: &str) -> Formed<bool> {
    match &*text.to_ascii_lowercase() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// Visible ASCII characters, which a header value can carry.
pub(super) fn visible<T: for<'a> From<&'a str>>(length: RangeInclusive<usize>) -> impl Fn(&str) -> Formed<T> {
    let expected = format!("{} to {} visible ASCII characters without spaces", length.start(), length.end());
    form(expected, move |text| {
        (length.contains(&text.len()) && is_visible_ascii(text)).then(|| T::from(text))
    })
}

/// A secret that the operator has made, in this form. A placeholder that a person has typed, such as `changemechangeme`, is refused.
pub(super) fn own_secret<S: ?Sized + Zeroize + AsRef<[u8]>>(
    form: impl Fn(&str) -> Formed<SecretBox<S>>,
) -> impl Fn(&str) -> Formed<SecretBox<S>> {
    move |text| match form(text)? {
        secret if is_varied(secret.expose_secret()) => Ok(secret),
        _ => Err(format!(
            "expected at least {CHARS_MIN} different characters, such as those of openssl rand -hex 32"
        )),
    }
}

/// Whether a secret has enough different characters, or bytes.
pub(super) fn is_varied(secret: impl AsRef<[u8]>) -> bool {
    secret.as_ref().iter().collect::<BTreeSet<_>>().len() >= CHARS_MIN
}

/// A token of a provider.
pub(super) fn token(text: &str) -> Formed<SecretString> {
    let parse = |text: &str| is_visible_ascii(text).then(|| text.into());
    form("visible ASCII characters without spaces", parse)(text)
}

/// A password, which may have spaces.
pub(super) fn password(text: &str) -> Formed<SecretString> {
    let is_good = |text: &str| is_plain(text) && !has_comment(text);
    form("text without control characters or a comment", |text| is_good(text).then(|| text.into()))(text)
}

/// The path of `what`. `~` and `$` are refused, because only a shell replaces them.
pub(super) fn path(what: &str) -> impl Fn(&str) -> Formed<PathBuf> {
    let is_good = |text: &str| !text.starts_with('~') && !text.contains('$') && !has_comment(text);
    let expected = format!("the path of {what} without ~, $ or a comment");
    form(expected, move |text| is_good(text).then(|| text.into()))
}

/// Whether a text has quotes around it. They belong to an env file: `docker run --env-file` and `kubectl` keep them.
pub(super) fn is_quoted(text: &str) -> bool {
    ['\'', '"'].iter().any(|quote| text.len() > 1 && text.starts_with(*quote) && text.ends_with(*quote))
}

/// Whether a text seems to have a comment. Docker, `kubectl` and systemd take a comment for a part of the value.
fn has_comment(text: &str) -> bool {
    text.contains(" #") || text.contains("\t#")
}

/// An identifier that needs no escaping in a URL's path.
pub(super) fn identifier(length_max: usize) -> impl Fn(&str) -> Formed<String> {
    let expected = format!("1 to {length_max} letters, digits, _ or -");
    form(expected, move |text| parse_identifier(text).filter(|text| text.len() <= length_max))
}

/// Entries between commas or on lines of their own. No message contains an entry.
pub(super) fn entries<T>(
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> impl Fn(&str) -> Formed<Vec<T>> {
    move |text| {
        let entries = text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        let wrong = |number: u32| format!("expected {expected}, found another form in entry {number}");
        entries.zip(1..).map(|(entry, number)| parse(entry).ok_or_else(|| wrong(number))).collect()
    }
}

pub(super) fn header(text: &str) -> Formed<HeaderName> {
    parsed("the name of a header")(text)
}

/// An `http:` or `https:` URL that paths are appended to.
pub(super) fn base_url(text: &str) -> Formed<Url> {
    form("an http: or https: URL without user, query or fragment", parse_base)(text)
}

/// A whole number in `range`, written with digits only.
pub fn parse_number<T: FromStr>(text: &str, range: &RangeInclusive<u64>) -> Option<T> {
    let has_digits_only = text.bytes().all(|b| b.is_ascii_digit());
    let is_inside = text.parse().is_ok_and(|number| range.contains(&number));
    if has_digits_only && is_inside { text.parse().ok() } else { None }
}

/// A number of digits with at most one point: no sign, no exponent, no `inf`, no `nan`; not above `max`.
pub fn parse_decimal(text: &str, max: f64) -> Option<f64> {
    let is_decimal = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse().ok().filter(|value: &f64| is_decimal && *value <= max)
}

/// An identifier: 1 to [`IDENTIFIER_MAX`] letters, digits, `_` and `-`.
pub(super) fn parse_identifier(text: &str) -> Option<String> {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let has_length = (1..=IDENTIFIER_MAX).contains(&text.len());
    (has_length && text.bytes().all(is_good)).then(|| text.to_owned())
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

/// Whether `text` has no control characters. In a value of one line they are a mistake.
pub(super) fn is_plain(text: &str) -> bool {
    !text.contains(char::is_control)
}

/// Whether a path is `root`, or below it.
pub(super) fn is_at_or_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
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

    /// The values are separated by bars.
    #[track_caller]
    fn assert_form<T>(form: impl Fn(&str) -> Formed<T>, accepted: &str, refused: &str) {
        for (values, is_accepted) in [(accepted, true), (refused, false)] {
            for value in values.split(" | ") {
                assert_eq!(form(value).is_ok(), is_accepted, "{value}");
            }
        }
    }

    #[test]
    fn numbers_have_digits_only_and_decimals_one_point() {
        let whole = number::<u64>(5..=70);
        assert_form(
            whole,
            "5 | 70 | 0070",
            " | 4 | 71 | +5 | -5 | 5.0 | 5e0 | 5s | abc | ٧ | 99999999999999999999999",
        );
        let decimal = form("", |text| parse_decimal(text, 70.0));
        assert_form(
            decimal,
            "0 | 70 | .5 | 5. | 007",
            " | 70.1 | -1 | -0 | +1 | 1e1 | nan | inf | 1,5 | 1 000 | 1.2.3 | .",
        );
    }

    #[test]
    fn texts_have_a_length_in_visible_characters() {
        let [longest, long] = [4, 5].map(|length| "x".repeat(length));
        assert_form(visible::<String>(2..=4), &format!("xy | {longest}"), &format!("x | a b | aü | {long}"));
        assert_form(identifier(4), &format!("a | A_-1 | {longest}"), &format!(" | a/b | é | {long}"));
        assert_form(password, "hush hush", "hush\u{7f}hush");
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
}
