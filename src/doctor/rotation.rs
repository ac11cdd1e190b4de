//! The check of the rotation of the TURN key: it lists the account's keys once. It does not test the permission to write, because
//! a key that it created would remain if its deletion failed.

use reqwest::Client;

use super::finding::{Check, Finding};
use crate::clock::Clock;
use crate::config::{Config, RotationConfig};
use crate::ice::turn_keys_api::TurnKeysApi;

/// How the names of created keys begin.
const CREATED: &str = "turn-broker auto-";

/// Lists the TURN keys of the account. `None` without `KEY_ROTATION_DAYS`.
pub(super) async fn check(config: &Config, client: &Client, clock: &dyn Clock) -> Option<Finding> {
    let RotationConfig { account_id, token, base, .. } = config.ice.cloudflare.as_ref()?.rotation.as_ref()?;
    let began = clock.instant();
    let finding = match TurnKeysApi::new(client.clone(), base, account_id, token) {
        None => Finding::fail(
            Check::TurnKeys,
            "",
            "the settings do not form a request",
            "check CLOUDFLARE_REST_BASE and CLOUDFLARE_API_TOKEN",
        ),
        Some(api) => match api.list().await {
            Ok(keys) => {
                let created = keys.iter().filter(|key| key.name.starts_with(CREATED)).count();
                let seen = format!(
                    "the API token reads the account's TURN keys: {}, created by a turn-broker: {created}; whether it may create one is not tested",
                    keys.len()
                );
                Finding::ok(Check::TurnKeys, "", seen)
            }
            Err(error) => Finding::fail(Check::TurnKeys, "", error.to_string(), error.remedy()),
        },
    };
    Some(finding.after(clock.instant().saturating_duration_since(began)))
}
