//! How much of a table is taken, in rows and in bytes. Each client or user can fill its own share, and nobody else's. An IPv6 /48 has four
//! shares.

use turn_limits::{Bounds, Counts, Holder, SHARES};

/// What is stored in a table. A client or user may have `CLIENT_MAX` rows with `CLIENT_BYTES_MAX` bytes, and all together may have `ALL_MAX`
/// rows with [`SHARES`] times as many bytes.
#[derive(Debug, Default)]
pub(crate) struct Shares<const CLIENT_MAX: usize, const CLIENT_BYTES_MAX: usize, const ALL_MAX: usize> {
    rows: Counts,
    bytes: Counts,
}

impl<const CLIENT_MAX: usize, const CLIENT_BYTES_MAX: usize, const ALL_MAX: usize>
    Shares<CLIENT_MAX, CLIENT_BYTES_MAX, ALL_MAX>
{
    /// Whether one more row of this holder fits.
    pub(crate) fn fits(&self, holder: &Holder, bytes: usize) -> bool {
        let bytes_max = Bounds { client_max: CLIENT_BYTES_MAX, all_max: SHARES * CLIENT_BYTES_MAX };
        self.rows.fits(holder, 1, Bounds { client_max: CLIENT_MAX, all_max: ALL_MAX })
            && self.bytes.fits(holder, bytes, bytes_max)
    }

    /// A row is stored.
    pub(crate) fn add(&mut self, holder: &Holder, bytes: usize) {
        self.rows.add(holder, 1);
        self.bytes.add(holder, bytes);
    }

    /// A row is removed.
    pub(crate) fn remove(&mut self, holder: &Holder, bytes: usize) {
        self.rows.remove(holder, 1);
        self.bytes.remove(holder, bytes);
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.bytes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::client;

    #[test]
    fn rows_and_bytes_have_a_bound_for_each_client_and_one_for_all() {
        for (bytes, of_one, of_all) in [(1, 256, 16_384), (1 << 20, 4, 80)] {
            let mut shares = Shares::<256, { 4 << 20 }, 16_384>::default();
            let added = (0..100).map(|n| {
                let holder = client(&format!("192.0.2.{n}")).into();
                let rows = || shares.fits(&holder, bytes).then(|| shares.add(&holder, bytes));
                std::iter::from_fn(rows).count()
            });
            let added: Vec<_> = added.collect();
            assert_eq!((added[0], added.iter().sum::<usize>()), (of_one, of_all));
            shares.remove(&client("192.0.2.0").into(), bytes);
            assert!(shares.fits(&client("192.0.2.0").into(), bytes));
        }
    }
}
