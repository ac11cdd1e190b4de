//! The settings of the proxy.

use std::time::Duration;

use secrecy::SecretString;
use turn_base::error::ErrorBody;
use turn_ledger::BitRate;
use url::Url;

use crate::fault::body_of;
use crate::path::{ICE_SERVERS, NEW_SESSION};

/// The proxy of Cloudflare's SFU.
#[derive(Clone, Debug)]
pub struct SfuConfig {
    /// The paths that are proxied, without slashes at their ends. `SFU_PREFIXES`.
    pub prefixes: Vec<String>,
    /// `CALLS_APP_ID`.
    pub app_id: String,
    /// `CALLS_APP_SECRET`.
    pub app_secret: SecretString,
    /// The base of the API, with a slash at its end. `CALLS_API_URL`.
    pub api: Url,
    /// The time between two looks at a session.
    pub look_interval: Duration,
    /// Whether only the browser that opened a session may use it. `SFU_LOCK`; true when unset. Pages of other origins send no cookies
    /// and need `false`.
    pub is_locked: bool,
    /// What one client may receive at a time, at the assumed rates of its tracks. `SFU_MBPS_PER_CLIENT`, above 0; 100 when unset.
    pub client_rate: BitRate,
}

impl SfuConfig {
    /// The content type and the body of an error of the broker, as partytracks reads them. It goes on after JSON without a session or ICE servers,
    /// and tries again after text. `None` at a path that is not proxied.
    pub fn error_body(&self, path: &str, error: &ErrorBody) -> Option<(&'static str, String)> {
        let mut prefixes = self.prefixes.iter();
        let rest =
            prefixes.find_map(|prefix| path.strip_prefix(&**prefix).filter(|rest| rest.starts_with('/')))?;
        let (code, description) =
            (error.code.to_ascii_lowercase(), error.message.as_deref().unwrap_or(error.error));
        Some(body_of(&code, description, matches!(rest, NEW_SESSION | ICE_SERVERS)))
    }
}
