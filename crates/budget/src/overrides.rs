//! The operator's overrides. Tests: below.
//! They survive a restart. An override of the limit holds until the configured limit changes: the latest instruction wins.

use serde::{Deserialize, Serialize};

use crate::units::ByteCount;

/// The overrides in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// The override of the limit.
    limit: Option<LimitOverride>,
    /// Whether minting is stopped.
    pub frozen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LimitOverride {
    limit: ByteCount,
    /// The configured limit at the time of the override.
    configured: ByteCount,
}

impl Overrides {
    /// Sets another limit. `None` restores the configured one.
    pub fn override_limit(&mut self, limit: Option<ByteCount>, configured: ByteCount) {
        self.limit = limit.map(|limit| LimitOverride { limit, configured });
    }

    /// Drops an override of the limit that was set under another configured limit.
    pub fn drop_outdated(&mut self, configured: ByteCount) {
        self.limit = self.limit.filter(|set| set.configured == configured);
    }

    /// The limit in force.
    pub fn limit(&self, configured: ByteCount) -> ByteCount {
        let set = self.limit.filter(|set| set.configured == configured);
        set.map_or(configured, |set| set.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURED: ByteCount = ByteCount::new(1_000);

    #[test]
    fn an_override_of_the_limit_holds_until_it_is_removed() {
        let mut overrides = Overrides::default();
        assert_eq!(overrides.limit(CONFIGURED), CONFIGURED);
        overrides.override_limit(Some(ByteCount::new(5)), CONFIGURED);
        assert_eq!(overrides.limit(CONFIGURED), ByteCount::new(5));
        overrides.override_limit(None, CONFIGURED);
        assert_eq!(overrides.limit(CONFIGURED), CONFIGURED);
    }

    #[test]
    fn a_limit_that_is_configured_later_wins() {
        let mut overrides = Overrides::default();
        overrides.override_limit(Some(ByteCount::new(5)), CONFIGURED);
        assert_eq!(overrides.limit(ByteCount::new(2_000)), ByteCount::new(2_000));
    }

    #[test]
    fn an_overruled_override_does_not_return_with_the_old_configuration() {
        let mut overrides = Overrides::default();
        overrides.override_limit(Some(ByteCount::new(5)), CONFIGURED);
        overrides.drop_outdated(CONFIGURED);
        assert_eq!(overrides.limit(CONFIGURED), ByteCount::new(5));
        overrides.drop_outdated(ByteCount::new(2_000));
        overrides.drop_outdated(CONFIGURED);
        assert_eq!(overrides.limit(CONFIGURED), CONFIGURED);
    }
}
