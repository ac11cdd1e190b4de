//! What an operator has ordered while the service ran. Orders outlive a restart; an order about the limit holds until the
//! configuration names another limit, so that whoever spoke last is heard.

use serde::{Deserialize, Serialize};

use crate::units::ByteCount;

/// The orders in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// Another limit than the configured one.
    limit: Option<LimitOrder>,
    /// Nothing is minted.
    pub frozen: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LimitOrder {
    limit: ByteCount,
    /// What the configuration said then.
    configured: ByteCount,
}

impl Orders {
    /// Orders another limit; `None` goes back to the configured one.
    pub fn order_limit(&mut self, limit: Option<ByteCount>, configured: ByteCount) {
        self.limit = limit.map(|limit| LimitOrder { limit, configured });
    }

    /// The limit in force.
    #[must_use]
    pub fn limit(&self, configured: ByteCount) -> ByteCount {
        match self.limit {
            Some(order) if order.configured == configured => order.limit,
            _ => configured,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURED: ByteCount = ByteCount::new(1_000);

    #[test]
    fn an_ordered_limit_holds_until_it_is_taken_back() {
        let mut orders = Orders::default();
        assert_eq!(orders.limit(CONFIGURED), CONFIGURED);
        orders.order_limit(Some(ByteCount::new(5)), CONFIGURED);
        assert_eq!(orders.limit(CONFIGURED), ByteCount::new(5));
        orders.order_limit(None, CONFIGURED);
        assert_eq!(orders.limit(CONFIGURED), CONFIGURED);
    }

    #[test]
    fn a_limit_that_is_configured_later_is_the_last_word() {
        let mut orders = Orders::default();
        orders.order_limit(Some(ByteCount::new(5)), CONFIGURED);
        assert_eq!(orders.limit(ByteCount::new(2_000)), ByteCount::new(2_000));
    }
}
