//! The format number that the tables write.

pub(super) const FORMAT: u32 = 1;
