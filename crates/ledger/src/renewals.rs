//! Which grants have used their renewal. Each buys exactly one, from three quarters of its life on until its end; a
//! right that was taken for a mint that came to nothing is given back. The table is bounded: when it is full, nobody
//! renews, and everybody can still fetch anew.

use crate::grant_table::GrantTable;
use crate::token::{Grant, GrantId};
use crate::units::Timestamp;

/// Grants remembered at most, each until it expires. About 60 bytes each.
pub const RENEWALS_MAX: usize = 200_000;

/// See the module's invariant.
#[derive(Debug, Default)]
pub struct Renewals {
    /// When each of them expires.
    used: GrantTable<Timestamp>,
}

impl Renewals {
    /// As they were stored.
    #[must_use]
    pub fn restore(used: Vec<(GrantId, Timestamp)>) -> Self {
        Self { used: GrantTable::restore(used) }
    }

    /// What has changed since the last call; `None` is what is gone.
    pub fn take_unstored(&mut self) -> Vec<(GrantId, Option<Timestamp>)> {
        self.used.take_unstored()
    }

    /// Takes a grant's right to renew, if it has it now.
    pub fn take(&mut self, grant: &Grant, now: Timestamp) -> bool {
        let is_due = grant.refresh_after() <= now && !grant.is_expired(now);
        if !is_due || self.used.len() >= RENEWALS_MAX || self.used.contains(grant.id) {
            return false;
        }
        self.used.insert(grant.id, grant.expires_at);
        self.used.note(grant.id);
        true
    }

    /// Gives a right back: nothing was minted on it.
    pub fn give_back(&mut self, grant: GrantId) {
        self.used.remove(grant);
    }

    /// Forgets grants that are over: they could not renew anyway.
    pub fn forget_expired(&mut self, now: Timestamp) {
        self.used.retain(|expires_at| *expires_at > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::IceSource;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn grant(id: u8) -> Grant {
        Grant {
            id: GrantId::new([id; 16]),
            source: IceSource::Cloudflare,
            issued_at: at(0),
            expires_at: at(1_000),
        }
    }

    #[test]
    fn a_grant_renews_once_from_three_quarters_of_its_life_to_its_end() {
        let mut renewals = Renewals::default();
        assert!(!renewals.take(&grant(1), at(749)));
        assert!(renewals.take(&grant(1), at(750)));
        assert!(!renewals.take(&grant(1), at(751)), "once");
        assert!(renewals.take(&grant(2), at(999)));
        assert!(!renewals.take(&grant(3), at(1_000)), "its life is over");
    }

    #[test]
    fn a_right_that_is_given_back_can_be_taken_again() {
        let mut renewals = Renewals::default();
        assert!(renewals.take(&grant(1), at(800)));
        renewals.give_back(grant(1).id);
        assert!(renewals.take(&grant(1), at(800)));
    }

    #[test]
    fn forgetting_what_is_over_lets_nobody_renew_twice() {
        let mut renewals = Renewals::default();
        assert!(renewals.take(&grant(1), at(800)));
        renewals.forget_expired(at(999));
        assert!(!renewals.take(&grant(1), at(999)));
        renewals.forget_expired(at(1_000));
        assert!(!renewals.take(&grant(1), at(1_000)) && renewals.used.is_empty());
    }
}
