//! What was relayed in truth, by the clocks that count it.

use super::prelude::*;

use super::sfu::Page;

impl<D: Disk> Broker<D> {
    /// How far the clock that counts a source is ahead, in milliseconds.
    pub(super) fn ahead(&self, source: IceSource) -> i64 {
        if source.is_counted_by_provider() { self.settings.provider_ahead } else { 0 }
    }

    /// When that clock shows this time, in the world's milliseconds.
    pub(super) fn shown(&self, source: IceSource, at: Timestamp) -> u64 {
        u64::try_from(at.as_millis() - self.begin.as_millis() - self.ahead(source)).unwrap_or(0)
    }

    /// True bytes of a period, by the clocks that count them.
    pub(crate) fn truth(&self, world: &World, period: Period) -> u64 {
        let bytes = |source: &IceSource| {
            let [start, end] = [period.start, period.end].map(|at| self.shown(*source, at));
            world.bytes_of(*source, start, world.now.min(end))
        };
        METERED.iter().map(bytes).sum()
    }

    /// True bytes of these grants in a period, by the clocks that count them.
    pub(super) fn truth_of_grants(
        &self,
        world: &World,
        grants: impl Iterator<Item = GrantId>,
        period: Period,
    ) -> u64 {
        let bytes = |grant: GrantId| {
            let [start, end] = [period.start, period.end].map(|at| self.shown(world.source_of(grant), at));
            world.bytes_of_grant(grant, start, end)
        };
        grants.map(bytes).sum()
    }

    /// True bytes of a user in a period.
    pub(crate) fn truth_of_user(&self, world: &World, user: u64, period: Period) -> u64 {
        let grants = self.users.iter().filter(|(_, of)| **of == user).map(|(grant, _)| *grant);
        let pages = self.pages.iter().filter(|page| page.user == Some(user)).map(Page::grant);
        self.truth_of_grants(world, grants.chain(pages), period)
    }
}
