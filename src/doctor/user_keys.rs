//! The check of the keys that verify users' tokens: it fetches the list of `AUTH_JWKS_URL` once, as the service does.

use reqwest::Client;

use super::finding::{Check, Finding};
use super::tls::host_of;
use crate::auth::count_keys;
use crate::clock::Clock;
use crate::config::Config;

/// Fetches the keys. `None` without `AUTH_JWKS_URL`.
pub(super) async fn check(config: &Config, client: &Client, clock: &dyn Clock) -> Option<Finding> {
    let url = config.auth.as_ref()?.jwks_url.as_ref()?;
    let (host, began) = (host_of(url), clock.instant());
    let finding = match count_keys(client, url).await {
        Ok(count) => Finding::ok(Check::UserKeys, host, format!("keys that can verify a token: {count}")),
        Err(error) => Finding::fail(Check::UserKeys, host, error.to_string(), error.remedy()),
    };
    Some(finding.after(clock.instant().saturating_duration_since(began)))
}
