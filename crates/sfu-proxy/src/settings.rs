//! The settings of the proxy.

use secrecy::SecretString;
use url::Url;

use crate::path::{ICE_SERVERS, NEW_SESSION};
use crate::prelude::*;

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
    /// Whether only a token names a room, in its claim `room`. `SFU_ROOMS`; false (`any`) when unset: a page names it.
    pub rooms_by_token: bool,
    /// Whether only the browser that opened a session may use it. `SFU_LOCK`; true when unset. Pages of other origins send no cookies
    /// and need `false`.
    pub is_locked: bool,
    /// What one client may receive at a time, at the assumed rates of its tracks. `SFU_MBPS_PER_CLIENT`, above 0; 100 when unset.
    pub client_rate: BitRate,
}

impl SfuConfig {
    /// Whether an error of the broker is text at a path of the proxy. partytracks tries again after text, but takes any JSON for a
    /// session or for ICE servers. `None` at any other path.
    pub fn error_is_text(&self, path: &str) -> Option<bool> {
        let below = |prefix: &String| path.strip_prefix(&**prefix).filter(|rest| rest.starts_with('/'));
        self.prefixes.iter().find_map(below).map(|rest| matches!(rest, NEW_SESSION | ICE_SERVERS))
    }
}
