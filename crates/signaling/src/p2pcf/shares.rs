//! How much is stored: in all, by each client address, and by each IPv6 /48. One client can fill its own share, and nobody
//! else's.

use turn_ledger::ClientKey;
use turn_limits::Held;

/// Entries in all rooms together. So there are no more rooms than that.
const ENTRIES_MAX: usize = 16_384;
/// Bytes of all entries together.
const BYTES_MAX: usize = 64 << 20;
/// Entries of one client address: the pages of a large office. An IPv6 /48 has four times as many.
const ENTRIES_PER_CLIENT_MAX: usize = 256;
/// Bytes of the entries of one client address. An IPv6 /48 has four times as many.
const BYTES_PER_CLIENT_MAX: usize = 4 << 20;

/// What is stored.
#[derive(Debug, Default)]
pub(super) struct Shares {
    all: Share,
    clients: Held<Share>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Share {
    entries: usize,
    bytes: usize,
}

impl Shares {
    /// Whether one more entry of this client fits.
    pub(super) fn fits(&self, client: ClientKey, bytes: usize) -> bool {
        let is_full = |share: &Share, factor| {
            !share.fits(bytes, ENTRIES_PER_CLIENT_MAX * factor, BYTES_PER_CLIENT_MAX * factor)
        };
        self.all.fits(bytes, ENTRIES_MAX, BYTES_MAX) && self.clients.full(client, is_full).is_none()
    }

    /// An entry is stored.
    pub(super) fn add(&mut self, client: ClientKey, bytes: usize) {
        self.all.add(bytes);
        self.clients.change(client, |share| share.add(bytes));
    }

    /// An entry is removed.
    pub(super) fn remove(&mut self, client: ClientKey, bytes: usize) {
        self.all.remove(bytes);
        self.clients.change(client, |share| share.remove(bytes));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.all == Share::default() && self.clients.is_empty()
    }
}

impl Share {
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

    fn client(text: &str) -> ClientKey {
        ClientKey::of(text.parse().unwrap())
    }

    /// Adds entries of `bytes` until one does not fit. Returns how many did.
    fn fill(shares: &mut Shares, client: ClientKey, bytes: usize) -> usize {
        let mut added = 0;
        while shares.fits(client, bytes) {
            shares.add(client, bytes);
            added += 1;
        }
        added
    }

    #[test]
    fn a_client_fills_its_own_share() {
        let mut shares = Shares::default();
        assert_eq!(fill(&mut shares, client("192.0.2.1"), 1), ENTRIES_PER_CLIENT_MAX);
        assert_eq!(fill(&mut shares, client("192.0.2.2"), 1 << 20), 4);
        shares.remove(client("192.0.2.2"), 1 << 20);
        assert_eq!(fill(&mut shares, client("192.0.2.2"), 1 << 20), 1);
        assert!(shares.fits(client("192.0.2.3"), 1));
    }

    #[test]
    fn a_48_has_four_shares() {
        let mut shares = Shares::default();
        let of_one_48 = (0..8).map(|n| fill(&mut shares, client(&format!("2001:db8:1:{n}::1")), 1));
        assert_eq!(of_one_48.sum::<usize>(), 4 * ENTRIES_PER_CLIENT_MAX);
        assert!(shares.fits(client("2001:db8:2::1"), 1));
    }

    #[test]
    fn all_clients_together_are_bounded() {
        let mut shares = Shares::default();
        let all = (0..64).map(|n| fill(&mut shares, client(&format!("192.0.2.{n}")), 1 << 20));
        assert_eq!(all.sum::<usize>(), 64);
        let mut shares = Shares::default();
        let all = (0..100).map(|n| fill(&mut shares, client(&format!("192.0.2.{n}")), 1));
        assert_eq!(all.sum::<usize>(), ENTRIES_MAX);
    }
}
