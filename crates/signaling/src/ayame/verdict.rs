//! What the application answers when it is asked whether a socket may join.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ice::IceServers;

/// The application's verdict.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verdict {
    pub(super) allowed: bool,
    /// Why not.
    pub(super) reason: Option<String>,
    /// For the client.
    pub(super) authz_metadata: Option<Box<RawValue>>,
    /// Servers that the client gets before ours.
    pub(super) ice_servers: Option<IceServers>,
}
