//! What stands for the relay in a program that was built without it: a type that has no value.

use tokio_util::sync::CancellationToken;

use super::{RelayError, RelayParts};
use crate::config::RelayConfig;
use crate::ice::relay::EmbeddedRelay;

/// There is none.
#[derive(Debug)]
pub enum Relay {}

impl Relay {
    /// Says that there is none.
    pub fn open(_: &RelayConfig, _: RelayParts) -> Result<Self, RelayError> {
        Err(RelayError::NotBuiltIn)
    }

    /// What it would mint.
    #[must_use]
    pub fn credentials(&self) -> &EmbeddedRelay {
        match *self {}
    }

    /// What it would do.
    #[expect(clippy::unused_async, reason = "the one that is built in waits")]
    pub async fn run(&self, _: &CancellationToken) {
        match *self {}
    }
}
