//! The address at which people and programs reach this broker. Alerts link to the dashboard there, and pages of its origin may call the
//! API.

use std::fmt;

use super::form::parse_base;
use super::host::{self, AllowedHost};
use super::origin::canonical;
use super::prelude::*;

/// The longest URL, so that an alert with its link fits into a chat message.
const PUBLIC_URL_MAX: usize = 200;

/// An `http:` or `https:` URL without user, query and fragment, at most 200 characters. `PUBLIC_URL`; none when unset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let is_short = |url: &Url| url.as_str().len() <= PUBLIC_URL_MAX;
        is_visible_ascii(text).then(|| parse_base(text)).flatten().filter(is_short).map(Self)
    }

    /// Its host, which requests have in their `Host` header.
    pub(super) fn host(&self) -> Option<AllowedHost> {
        host::parse_entry(self.0.host_str()?)
    }

    /// Its origin. React Native on Android sends it with each WebSocket.
    pub(super) fn origin(&self) -> Option<String> {
        canonical(&self.0.origin().ascii_serialization())
    }

    /// The address of a part of the dashboard. `section`: the id of this part in the page.
    pub fn dashboard(&self, section: &str) -> String {
        format!("{self}dashboard#{section}")
    }

    pub(super) fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let expected = "an http: or https: URL without user, query and fragment, at most 200 characters";
        settings.optional("PUBLIC_URL", form(expected, Self::parse))
    }

    /// Warns if others on the network path can read the token with which the operator signs in at the dashboard there.
    pub(super) fn warn_of_cleartext(&self, settings: &mut Settings<'_>) {
        settings.warn_of_cleartext("PUBLIC_URL", &self.0, "see OPERATOR_TOKEN when you sign in");
    }
}

impl fmt::Display for PublicUrl {
    /// Ends in `/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_is_below_the_url() {
        for (text, link) in [
            ("https://turn.example.com", "https://turn.example.com/dashboard#spenders"),
            ("https://example.com/turn", "https://example.com/turn/dashboard#spenders"),
            ("http://localhost:3001/", "http://localhost:3001/dashboard#spenders"),
        ] {
            assert_eq!(PublicUrl::parse(text).unwrap().dashboard("spenders"), link);
        }
        let long = format!("https://a.example/{}", "x".repeat(PUBLIC_URL_MAX));
        assert_eq!(PublicUrl::parse(&long), None);
    }
}
