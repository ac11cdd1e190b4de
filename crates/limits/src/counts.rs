//! How much there is of something: in all, and in each share of those who hold it.

use crate::held::Held;
use crate::holder::{Holder, Share};

/// The most that may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// By one client or one user. An IPv6 /48 may hold four times as much, the users of one client ten times, but neither may hold more
    /// than is still free. So four /48s leave room for clients elsewhere.
    pub client_max: usize,
    /// By all holders together.
    pub all_max: usize,
}

impl Bounds {
    /// No bounds: everything is counted, and nothing is refused.
    pub const NONE: Self = Self::per_client(usize::MAX);

    /// A bound for each client, and none for all together.
    pub const fn per_client(client_max: usize) -> Self {
        Self { client_max, all_max: usize::MAX }
    }
}

/// What is held. A share has a row while it holds something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    all: usize,
    by_share: Held<usize>,
}

impl Counts {
    /// How much all holders have together.
    pub fn all(&self) -> usize {
        self.all
    }

    /// How much is held in a share. `None`: by all holders together.
    pub fn of(&self, share: Option<&Share>) -> usize {
        share.map_or(self.all, |share| self.by_share.get(share).copied().unwrap_or(0))
    }

    /// Whether a holder may have `more` in addition.
    pub fn fits(&self, holder: &Holder, more: usize, bounds: Bounds) -> bool {
        self.all.saturating_add(more) <= bounds.all_max && self.full(holder, more, bounds).is_none()
    }

    /// The first share of a holder that has no room for `more`. `None` if all of them have room.
    pub fn full(&self, holder: &Holder, more: usize, bounds: Bounds) -> Option<Share> {
        let free = bounds.all_max.saturating_sub(self.all);
        self.by_share.full(holder.clone(), |held, factor| {
            let after = held.saturating_add(more);
            // A share of several clients may also not hold more than is free.
            after > bounds.client_max.saturating_mul(factor) || (factor > 1 && after > free)
        })
    }

    /// The share that holds most for its size, which is its [factor](Share::factor). `None` if nobody holds anything.
    pub fn largest(&self) -> Option<Share> {
        let for_its_size = |(share, held): &(&Share, &usize)| **held / share.factor();
        self.by_share.iter().max_by_key(for_its_size).map(|(share, _)| share.clone())
    }

    /// Adds `more` to what a holder has.
    pub fn add(&mut self, holder: &Holder, more: usize) {
        self.replace(holder, 0, more);
    }

    /// Subtracts `less` from what a holder has.
    pub fn remove(&mut self, holder: &Holder, less: usize) {
        self.replace(holder, less, 0);
    }

    /// Replaces `before`, a part of what a holder has, by `after`.
    pub fn replace(&mut self, holder: &Holder, before: usize, after: usize) {
        let replaced = |held: usize| held.saturating_sub(before).saturating_add(after);
        self.all = replaced(self.all);
        self.by_share.change(holder.clone(), |held| {
            *held = replaced(*held);
            *held > 0
        });
    }

    /// Whether nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.all == 0 && self.by_share.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SHARES;
    use turn_budget::{ClientKey, User};

    const BOUNDS: Bounds = Bounds { client_max: 100, all_max: SHARES * 100 };

    fn at(address: &str) -> Holder {
        ClientKey::of(address.parse().unwrap()).into()
    }

    /// Takes what a holder may still have, in parts of 20. Returns how much that is.
    fn fill(counts: &mut Counts, holder: &Holder) -> usize {
        let before = counts.all();
        while counts.fits(holder, 20, BOUNDS) {
            counts.add(holder, 20);
        }
        counts.all() - before
    }

    #[test]
    fn a_client_has_its_own_share_a_48_four_and_what_is_removed_is_free_again() {
        let mut counts = Counts::default();
        assert_eq!([fill(&mut counts, &at("192.0.2.1")), fill(&mut counts, &at("192.0.2.2"))], [100; 2]);
        counts.replace(&at("192.0.2.1"), 60, 20);
        assert_eq!(fill(&mut counts, &at("192.0.2.1")), 40);
        let of_48 = (1..=5).map(|site| fill(&mut counts, &at(&format!("2001:db8:1:{site}::1"))));
        assert_eq!(of_48.collect::<Vec<_>>(), [100, 100, 100, 100, 0]);
        assert_eq!(
            counts.full(&at("2001:db8:1:6::1"), 1, BOUNDS),
            at("2001:db8:1:6::1").client().wider().map(Share::Client)
        );
        for (address, held) in [("192.0.2.1", 100), ("192.0.2.2", 100)] {
            counts.remove(&at(address), held);
        }
        (1..=4).for_each(|site| counts.remove(&at(&format!("2001:db8:1:{site}::1")), 100));
        assert!(counts.is_empty());
    }

    #[test]
    fn a_user_has_the_share_of_a_client_on_all_addresses_together_and_takes_nothing_from_others() {
        let mut counts = Counts::default();
        let user = |address: &str, name: &str| Holder::new(at(address).client(), User::new(name));
        assert_eq!(fill(&mut counts, &user("192.0.2.1", "ann")), 100);
        assert_eq!(fill(&mut counts, &user("192.0.2.9", "ann")), 0);
        let others = (0..10).map(|n| fill(&mut counts, &user("192.0.2.1", &n.to_string())));
        assert_eq!(others.sum::<usize>(), 700, "with ann's 100: half of all, less than ten shares");
        assert_eq!(fill(&mut counts, &at("192.0.2.1")), 100);
    }

    #[test]
    fn four_48s_leave_room_for_others_and_all_together_have_a_bound() {
        let mut counts = Counts::default();
        for n in 0..64 {
            fill(&mut counts, &at(&format!("2001:db8:{}:{n}::1", n / 16)));
        }
        let others = (1..=5).map(|n| fill(&mut counts, &at(&format!("192.0.2.{n}"))));
        assert_eq!(others.collect::<Vec<_>>(), [100, 100, 0, 0, 0]);
        assert_eq!(counts.all(), BOUNDS.all_max);
    }

    #[test]
    fn a_client_with_more_than_a_quarter_of_a_48_has_most_for_its_size() {
        let mut counts = Counts::default();
        counts.add(&at("192.0.2.1"), 70);
        (0..4).for_each(|n| counts.add(&at(&format!("2001:db8:0:{n}::1")), 60));
        assert_eq!(counts.largest(), at("192.0.2.1").shares().next());
        (4..6).for_each(|n| counts.add(&at(&format!("2001:db8:0:{n}::1")), 30));
        let group = at("2001:db8:0:1::1").client().wider().map(Share::Client);
        assert_eq!(counts.largest(), group, "300 of four shares");
    }
}
