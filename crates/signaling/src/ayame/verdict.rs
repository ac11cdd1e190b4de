//! What the application answers when it is asked whether a socket may join.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ice;

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
    pub(super) ice_servers: Option<Box<RawValue>>,
}

impl Verdict {
    /// The verdict in the body of an answer.
    pub(super) fn parse(body: &str) -> Result<Self, serde_json::Error> {
        let mut verdict: Self = serde_json::from_str(body)?;
        verdict.ice_servers = verdict.ice_servers.as_deref().map(ice::usable).transpose()?.flatten();
        Ok(verdict)
    }
}
