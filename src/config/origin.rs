//! Origins in one canonical form: `scheme://host[:port]`, lower case, without the scheme's default port. Two origins are
//! equal exactly when their canonical forms are. `null` is the origin of pages that have none: Electron, sandboxed frames. A text without
//! such a form (a path, a user, `*`) is not an origin.

use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, HeaderValue};
use url::Url;

/// What browsers send for a page without an origin.
const NULL: &str = "null";
/// A public suffix below which `--` separates a preview from the name of its site, which has no `--`.
const WITH_PREVIEWS: &str = "netlify.app";

/// The origins of pages that may call. `CLIENT_URL`, and the origin of `PUBLIC_URL`; `http://localhost:5173` when unset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// Every origin, written as `*`.
    Any,
    /// Only these, in canonical form. A `*` stands for a label, or for what is before `--` in one.
    List(Vec<String>),
}

impl AllowedOrigins {
    /// Whether a request with this `Origin` header may be served.
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::List(allowed) => canonical(origin).is_some_and(|origin| {
                allowed.iter().any(|entry| match entry.split_once('*') {
                    None => *entry == origin,
                    Some((scheme, rest)) => {
                        let label = origin.strip_prefix(scheme).and_then(|host| host.strip_suffix(rest));
                        label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
                    }
                })
            }),
        }
    }

    /// The first value of a request's `Origin` headers that is not allowed. `None` if all are allowed, or if there is none.
    pub fn foreign<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let is_allowed = |origin: &HeaderValue| {
            *self == Self::Any || origin.to_str().is_ok_and(|origin| self.allows(origin))
        };
        headers.get_all(ORIGIN).iter().find(|origin| !is_allowed(origin))
    }
}

/// The canonical form of an origin from the configuration. One slash at the end is allowed, and `*.` before a name of two labels
/// or more, or before `localhost`, and `*--` before a label of such a name. `*.com`, `*.vercel.app` and `*--a.vercel.app` are refused, because
/// the names below a public suffix belong to many operators.
pub(super) fn parse_entry(text: &str) -> Option<String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let Some((scheme, starred)) = text.split_once("://*") else { return canonical(text) };
    let below = starred.strip_prefix('.').or_else(|| starred.strip_prefix("--"))?;
    let after_star = starred.strip_suffix(below)?;
    let origin = Url::parse(&canonical(&format!("{scheme}://{below}"))?).ok()?;
    let name = origin.domain()?;
    // The operator's own, if the entry allows only the operator's pages.
    let own = if after_star == "." { name } else { name.split_once('.')?.1 };
    let is_public = (after_star == "." || own != WITH_PREVIEWS)
        && psl::suffix(own.as_bytes()).is_some_and(|suffix| suffix.is_known() && suffix == own);
    let is_name = own == "localhost" || own.contains('.');
    if is_public || !is_name || name.split('.').any(str::is_empty) {
        return None;
    }
    let port = origin.port().map_or(String::new(), |port| format!(":{port}"));
    Some(format!("{}://*{after_star}{name}{port}", origin.scheme()))
}

/// The canonical form of an origin that is written as browsers write it. `None` for any other text.
pub(super) fn canonical(text: &str) -> Option<String> {
    if text == NULL {
        return Some(NULL.to_owned());
    }
    let (_, authority) = text.split_once("://")?;
    let is_blank = |c: char| c.is_whitespace() || c.is_control();
    if text.contains(is_blank) || authority.contains(['/', '\\', '?', '#', '@', '*', '%']) {
        return None;
    }
    // The parser drops a default port, normalizes IPv6 and non-ASCII names, and refuses bad ports.
    let url = Url::parse(text).ok().filter(|url| url.scheme() != "file")?;
    // In a scheme that the parser does not know, it encodes non-ASCII characters with `%`.
    let host = url.host_str().filter(|host| !host.is_empty() && !host.contains('%'))?.to_ascii_lowercase();
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    Some(format!("{}://{host}{port}", url.scheme()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The entries and origins are separated by blanks.
    #[track_caller]
    fn assert_allowed(entries: &str, allowed: &str, refused: &str) {
        let list =
            AllowedOrigins::List(entries.split(' ').map(|entry| parse_entry(entry).unwrap()).collect());
        for origin in allowed.split_whitespace() {
            assert!(list.allows(origin), "{origin}");
        }
        for origin in refused.split_whitespace().chain(["", "null", "*", "garbage"]) {
            assert!(!list.allows(origin), "{origin}");
            assert!(AllowedOrigins::Any.allows(origin), "{origin}");
        }
    }

    #[test]
    fn every_spelling_of_an_origin_has_the_same_form() {
        for (text, form) in [
            ("http://localhost:5173", "http://localhost:5173"),
            ("HTTPS://Example.COM", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("http://example.com:80/", "http://example.com"),
            ("http://example.com:443", "http://example.com:443"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("http://[::0001]:3000", "http://[::1]:3000"),
            ("capacitor://LocalHost", "capacitor://localhost"),
            ("https://*.Example.com:443/", "https://*.example.com"),
            ("http://*.localhost:5173", "http://*.localhost:5173"),
            ("https://*--Site.netlify.app", "https://*--site.netlify.app"),
        ] {
            assert_eq!(parse_entry(text).as_deref(), Some(form), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_not_an_origin_is_refused() {
        let texts = r"NULL null.example example.com example.com:443 //example.com http:// http:/// https:example.com https://example.com/app
            https://example.com// https://example.com?a https://example.com#a https://user@example.com https://*.com https://*. https://*
            https://*..example.com https://*.example.com. https://*.*.example.com https://a.*.example.com https://*example.com
            https://*.10.0.0.1 https://*.[::1] https://*.example.com/app https://example.com:99999 https://example.com:port
            https://*.vercel.app https://*.co.uk https://*.github.io https://*--a.com https://*--a.vercel.app https://*--netlify.app
            https://*-a.netlify.app https://*--a https://*--localhost
            https://example.com\@evil.example https://%65xample.com file:/// file://host javascript://";
        for text in texts.split_whitespace().chain(["", "https://exa mple.com", "https://a\t.example"]) {
            assert_eq!(parse_entry(text), None, "{text}");
        }
    }

    #[test]
    fn only_listed_origins_are_allowed_in_any_spelling() {
        assert_allowed(
            "https://example.com http://localhost:5173/",
            "https://example.com https://EXAMPLE.com:443 http://localhost:5173",
            "http://example.com https://example.com.evil.example https://evil-example.com https://sub.example.com
            https://example.com:8443 https://example.com/ http://localhost",
        );
    }

    #[test]
    fn a_star_stands_for_exactly_one_label_or_for_what_is_before_the_name_of_the_site_in_it() {
        assert_allowed(
            "https://*.Example.com:443/ http://*.localhost:5173 https://*.app.vercel.app https://*--site.netlify.app",
            "https://app.example.com https://pr-7.EXAMPLE.com:443 http://ann.localhost:5173 https://pr-7--site.netlify.app
            https://a--b--site.netlify.app",
            "https://example.com https://.example.com https://a.b.example.com https://evil-example.com
            https://app.example.com.evil.example https://*.example.com http://app.example.com https://app.example.com:8443
            http://localhost:5173 https://site.netlify.app https://pr-7-site.netlify.app https://pr-7--other.netlify.app",
        );
    }

    #[test]
    fn pages_without_an_origin_are_allowed_if_the_list_has_null() {
        assert_eq!(parse_entry("null").as_deref(), Some("null"));
        let list = AllowedOrigins::List(vec!["null".into()]);
        assert!(list.allows("null") && !list.allows("NULL") && !list.allows("https://null"));
    }

    const ALLOWED: &str = "https://app.example:8443";

    proptest! {
        #[test]
        fn the_canonical_form_of_a_canonical_form_is_that_form(text in ".{0,40}", scheme in "([a-z]{1,6}://)?") {
            if let Some(form) = canonical(&format!("{scheme}{text}")) {
                prop_assert_eq!(canonical(&form), Some(form.clone()));
            }
        }

        #[test]
        fn an_origin_with_a_changed_or_added_character_is_foreign(at in 0..ALLOWED.len(), added: bool, other in "[ -~\t]") {
            let mut text = ALLOWED.to_owned();
            text.replace_range(at..if added { at } else { at + 1 }, &other);
            // A port may have zeros in front.
            let means_the_same = text.to_ascii_lowercase().replace(":08443", ":8443") == ALLOWED;
            prop_assert_eq!(AllowedOrigins::List(vec![ALLOWED.into()]).allows(&text), means_the_same, "{}", text);
        }
    }
}
