//! For how long credentials of a source are assumed to relay after their expiry. Tests: `../ledger/src/books/tests/tails.rs`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Budget;
use crate::evidence::CountOwner;
use crate::source::IceSource;
use crate::timeline::Timeline;
use crate::units::Timestamp;

impl Budget {
    /// How long a credential of each metered [group](CountOwner::group) counts as alive after its expiry, as of now.
    pub fn tails(&self) -> Vec<(CountOwner, Duration)> {
        let groups: BTreeSet<_> = self.groups().collect();
        groups.into_iter().map(|group| (group, self.tail(group))).collect()
    }

    /// The metered groups that issue credentials, some of them more than once.
    pub fn groups(&self) -> impl Iterator<Item = CountOwner> {
        let owners = self.metered().map(|timeline| timeline.terms.owner);
        owners.filter(|owner| owner.source.issues_credentials()).map(CountOwner::group)
    }

    /// The relays whose sessions we can cut.
    pub fn cut_groups(&self) -> Vec<CountOwner> {
        let cut = self.timelines.iter().filter(|timeline| timeline.terms.cut_tail.is_some());
        cut.map(|timeline| timeline.terms.owner).collect()
    }

    /// How long a grant that is issued now for an owner counts as alive after its expiry; zero for an unknown source.
    pub fn tail(&self, owner: impl Into<CountOwner>) -> Duration {
        self.of(owner).map_or(Duration::ZERO, |timeline| timeline.tail(self.latest()))
    }

    /// The tail of an owner while its sessions are not cut; zero for an unknown source.
    pub fn long_tail(&self, owner: impl Into<CountOwner>) -> Duration {
        self.of(owner).map_or(Duration::ZERO, Timeline::long_tail)
    }

    /// Notes that a count shows bytes of a source's credentials after the assumed tail, at most `longest` after an expiry.
    pub fn note_after_tail(&mut self, source: IceSource, longest: Duration) {
        let of_source = self.timelines.iter_mut().filter(|timeline| timeline.terms.owner.source == source);
        of_source.for_each(|timeline| timeline.note_after_tail(longest));
    }

    /// Assumes the default tail of each source with bytes after a shorter one. Returns whether there is such a source.
    pub fn restore_tails(&mut self) -> bool {
        self.timelines.iter_mut().filter_map(Timeline::restore_tail).count() > 0
    }

    /// The tail of an owner while we cut its sessions; `None` if we cannot.
    pub fn cut_tail(&self, owner: impl Into<CountOwner>) -> Option<Duration> {
        self.of(owner)?.terms.cut_tail
    }
}

impl Timeline {
    /// How long a grant that is issued at `now` counts as alive after its expiry.
    pub fn tail(&self, now: Timestamp) -> Duration {
        match self.terms.cut_tail {
            Some(tail) if self.is_cut(now) => tail,
            _ => self.long_tail(),
        }
    }

    /// The same while the owner's sessions are not cut. It includes the difference of the provider's clock, by which the bytes are counted.
    pub fn long_tail(&self) -> Duration {
        self.terms.tail.saturating_add(self.terms.owner.source.clocks_differ_by())
    }
}
