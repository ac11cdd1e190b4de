//! How much is stored: in all, and by each client or user. Each can fill its own share, and nobody else's.

use turn_limits::{Held, Holder, SHARES};

/// Entries in all rooms together. So there are no more rooms than that.
const ENTRIES_MAX: usize = 16_384;
/// Bytes of all entries together.
const BYTES_MAX: usize = SHARES * BYTES_PER_CLIENT_MAX;
/// Entries of one client address or user: the pages of a large office. An IPv6 /48 has four times as many.
const ENTRIES_PER_CLIENT_MAX: usize = 256;
/// Bytes of the entries of one client address or user. An IPv6 /48 has four times as many.
const BYTES_PER_CLIENT_MAX: usize = 4 << 20;

/// What is stored.
#[derive(Debug, Default)]
pub(super) struct Shares {
    all: Stored,
    holders: Held<Stored>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stored {
    entries: usize,
    bytes: usize,
}

impl Shares {
    /// Whether one more entry of this holder fits.
    pub(super) fn fits(&self, holder: &Holder, bytes: usize) -> bool {
        let is_full = |stored: &Stored, factor| {
            !stored.fits(bytes, ENTRIES_PER_CLIENT_MAX * factor, BYTES_PER_CLIENT_MAX * factor)
        };
        self.all.fits(bytes, ENTRIES_MAX, BYTES_MAX) && self.holders.full(holder, is_full).is_none()
    }

    /// An entry is stored.
    pub(super) fn add(&mut self, holder: &Holder, bytes: usize) {
        self.all.add(bytes);
        self.holders.change(holder, |stored| stored.add(bytes));
    }

    /// An entry is removed.
    pub(super) fn remove(&mut self, holder: &Holder, bytes: usize) {
        self.all.remove(bytes);
        self.holders.change(holder, |stored| stored.remove(bytes));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.all == Stored::default() && self.holders.is_empty()
    }
}

impl Stored {
    fn fits(self, bytes: usize, entries_max: usize, bytes_max: usize) -> bool {
        self.entries < entries_max && self.bytes + bytes <= bytes_max
    }

    fn add(&mut self, bytes: usize) -> bool {
        self.entries += 1;
        self.bytes += bytes;
        true
    }

    /// Returns whether anything is left.
    fn remove(&mut self, bytes: usize) -> bool {
        self.entries -= 1;
        self.bytes -= bytes;
        self.entries > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_ledger::ClientKey;

    fn client(text: &str) -> Holder {
        ClientKey::of(text.parse().unwrap()).into()
    }

    /// Adds entries of `bytes` until one does not fit. Returns how many did.
    fn fill(shares: &mut Shares, holder: &Holder, bytes: usize) -> usize {
        let mut added = 0;
        while shares.fits(holder, bytes) {
            shares.add(holder, bytes);
            added += 1;
        }
        added
    }

    #[test]
    fn a_client_fills_its_own_share() {
        let mut shares = Shares::default();
        assert_eq!(fill(&mut shares, &client("192.0.2.1"), 1), ENTRIES_PER_CLIENT_MAX);
        assert_eq!(fill(&mut shares, &client("192.0.2.2"), 1 << 20), 4);
        shares.remove(&client("192.0.2.2"), 1 << 20);
        assert_eq!(fill(&mut shares, &client("192.0.2.2"), 1 << 20), 1);
        assert!(shares.fits(&client("192.0.2.3"), 1));
    }

    #[test]
    fn a_48_has_four_shares() {
        let mut shares = Shares::default();
        let of_one_48 = (0..8).map(|n| fill(&mut shares, &client(&format!("2001:db8:1:{n}::1")), 1));
        assert_eq!(of_one_48.sum::<usize>(), 4 * ENTRIES_PER_CLIENT_MAX);
        assert!(shares.fits(&client("2001:db8:2::1"), 1));
    }

    #[test]
    fn four_48s_leave_room_for_others() {
        for bytes in [1, 1 << 20] {
            let mut shares = Shares::default();
            for n in 0..64 {
                fill(&mut shares, &client(&format!("2001:db8:{}:{n}::1", n / 16)), bytes);
            }
            let alone = fill(&mut Shares::default(), &client("192.0.2.1"), bytes);
            let others = (1..=4).map(|n| fill(&mut shares, &client(&format!("192.0.2.{n}")), bytes));
            assert_eq!(others.collect::<Vec<_>>(), [alone; 4]);
        }
    }

    #[test]
    fn all_clients_together_are_bounded() {
        let mut shares = Shares::default();
        let all = (0..100).map(|n| fill(&mut shares, &client(&format!("192.0.2.{n}")), 1 << 20));
        assert_eq!(all.sum::<usize>(), 80);
        let mut shares = Shares::default();
        let all = (0..100).map(|n| fill(&mut shares, &client(&format!("192.0.2.{n}")), 1));
        assert_eq!(all.sum::<usize>(), ENTRIES_MAX);
    }
}
