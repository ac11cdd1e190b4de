//! The format number that the tables write. Any number will do: nothing else reads it.

pub(super) const FORMAT: u32 = 1;
