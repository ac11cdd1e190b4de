//! Random numbers for tests of this package and of `turn-ledger`.

/// splitmix64: small, and the same everywhere. Random tests draw from it, one seed for each case.
pub(crate) struct Dice(u64);

impl Dice {
    /// So many cases, each with dice of its own and its number for the message of a failure.
    pub(crate) fn cases(count: u64) -> impl Iterator<Item = (u64, Self)> {
        (0..count).map(|seed| (seed, Self(seed)))
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }
}
