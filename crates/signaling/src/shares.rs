//! How much of a table is taken: in all, and by each client or user. Each can fill its own share, and nobody else's. An IPv6 /48 has four
//! shares.

use turn_limits::{Held, Holder, SHARES};

/// What is stored in a table. A client or user may have `CLIENT_MAX` rows with `CLIENT_BYTES_MAX` bytes, and all together may have `ALL_MAX`
/// rows with [`SHARES`] times as many bytes.
#[derive(Debug, Default)]
pub(crate) struct Shares<const CLIENT_MAX: usize, const CLIENT_BYTES_MAX: usize, const ALL_MAX: usize> {
    all: Stored,
    holders: Held<Stored>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stored {
    rows: usize,
    bytes: usize,
}

impl<const CLIENT_MAX: usize, const CLIENT_BYTES_MAX: usize, const ALL_MAX: usize>
    Shares<CLIENT_MAX, CLIENT_BYTES_MAX, ALL_MAX>
{
    /// Whether one more row of this holder fits.
    pub(crate) fn fits(&self, holder: &Holder, bytes: usize) -> bool {
        let is_full =
            |stored: &Stored, factor| !stored.fits(bytes, CLIENT_MAX * factor, CLIENT_BYTES_MAX * factor);
        self.all.fits(bytes, ALL_MAX, SHARES * CLIENT_BYTES_MAX)
            && self.holders.full(holder, is_full).is_none()
    }

    /// A row is stored.
    pub(crate) fn add(&mut self, holder: &Holder, bytes: usize) {
        self.all.add(bytes);
        self.holders.change(holder, |stored| stored.add(bytes));
    }

    /// A row is removed.
    pub(crate) fn remove(&mut self, holder: &Holder, bytes: usize) {
        self.all.remove(bytes);
        self.holders.change(holder, |stored| stored.remove(bytes));
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.all == Stored::default() && self.holders.is_empty()
    }
}

impl Stored {
    fn fits(self, bytes: usize, rows_max: usize, bytes_max: usize) -> bool {
        self.rows < rows_max && self.bytes + bytes <= bytes_max
    }

    fn add(&mut self, bytes: usize) -> bool {
        self.rows += 1;
        self.bytes += bytes;
        true
    }

    /// Returns whether anything is left.
    fn remove(&mut self, bytes: usize) -> bool {
        self.rows -= 1;
        self.bytes -= bytes;
        self.rows > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::client;

    const ROWS: usize = 256;
    const ALL: usize = 16_384;
    type Table = Shares<ROWS, { 4 << 20 }, ALL>;

    /// Adds rows of `bytes` until one does not fit. Returns how many did.
    fn fill(shares: &mut Table, address: &str, bytes: usize) -> usize {
        let holder = client(address).into();
        let mut added = 0;
        while shares.fits(&holder, bytes) {
            shares.add(&holder, bytes);
            added += 1;
        }
        added
    }

    #[test]
    fn a_client_fills_its_own_share_and_a_48_four() {
        let mut shares = Table::default();
        assert_eq!(fill(&mut shares, "192.0.2.1", 1), ROWS);
        assert_eq!(fill(&mut shares, "192.0.2.2", 1 << 20), 4);
        shares.remove(&client("192.0.2.2").into(), 1 << 20);
        assert_eq!(fill(&mut shares, "192.0.2.2", 1 << 20), 1);
        let of_one_48 = (0..8).map(|n| fill(&mut shares, &format!("2001:db8:1:{n}::1"), 1));
        assert_eq!(of_one_48.sum::<usize>(), 4 * ROWS);
        assert!(shares.fits(&client("2001:db8:2::1").into(), 1));
    }

    #[test]
    fn four_48s_leave_room_for_others() {
        for bytes in [1, 1 << 20] {
            let mut shares = Table::default();
            for n in 0..64 {
                fill(&mut shares, &format!("2001:db8:{}:{n}::1", n / 16), bytes);
            }
            let alone = fill(&mut Table::default(), "192.0.2.1", bytes);
            let others = (1..=4).map(|n| fill(&mut shares, &format!("192.0.2.{n}"), bytes));
            assert_eq!(others.collect::<Vec<_>>(), [alone; 4]);
        }
    }

    #[test]
    fn all_clients_together_are_bounded() {
        for (bytes, all) in [(1 << 20, 80), (1, ALL)] {
            let mut shares = Table::default();
            let added = (0..100).map(|n| fill(&mut shares, &format!("192.0.2.{n}"), bytes));
            assert_eq!(added.sum::<usize>(), all);
        }
    }
}
