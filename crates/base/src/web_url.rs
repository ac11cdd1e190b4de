//! URLs of the web. The URL of a webhook is a secret, because anyone who knows it can post there.

use std::fmt;

use url::Url;

/// An `http:` or `https:` URL without user and password.
pub fn parse_web_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https") && text.contains("://");
    (is_web && url.username().is_empty() && url.password().is_none()).then_some(url)
}

/// Whether `text` has only visible ASCII characters.
pub fn is_visible_ascii(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic())
}

/// An `http:` or `https:` URL without user. Its `Debug` form shows only scheme and host.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

impl WebhookUrl {
    /// `None` for anything else, and for a text with other than visible ASCII characters.
    pub fn parse(text: &str) -> Option<Self> {
        is_visible_ascii(text).then(|| parse_web_url(text)).flatten().map(Self)
    }

    /// The host, which may be shown.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The whole URL, for the request.
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/[redacted]", self.0.scheme(), self.host())
    }
}
