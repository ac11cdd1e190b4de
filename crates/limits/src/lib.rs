//! What one address may do. A [`Bucket`] is an allowance that refills with time. [`PerAddress`] has a row for each client address
//! and for each IPv6 /48, with a fixed number of rows, and gives a /48 [`GROUP_FACTOR`] times the allowance of a client. [`PerUser`]
//! has one for each user. [`Held`] counts what they hold, and [`MemoryQuota`] the bytes that are kept for them. Everything is pure: `now`
//! is an argument, as the time since any fixed instant; only [`MemoryQuota`] and [`ClientRate`] have a lock.
//!
//! ```
//! # use std::time::Duration;
//! # use turn_limits::{Bucket, PerAddress, Prefix, Rate};
//! const POLLS: Rate = Rate::new(20, Duration::from_secs(3));
//! let mut polls = PerAddress::<Bucket>::new(8_192);
//! let (address, now) = (Prefix::of("192.0.2.1".parse().unwrap(), 64), Duration::ZERO);
//! assert!((0..20).all(|_| polls.take(address, POLLS, now).is_ok()));
//! let spent = polls.take(address, POLLS, now).unwrap_err();
//! assert_eq!((spent.next, spent.full), (Duration::from_secs(3), Duration::from_secs(60)));
//! ```

mod bucket;
mod client_rate;
mod held;
mod memory_quota;
mod per_address;
mod prefix;
mod table;

pub use bucket::{Bucket, Rate, Spent};
pub use client_rate::ClientRate;
pub use held::Held;
pub use memory_quota::{MemoryBounds, MemoryQuota, MemoryUse};
pub use per_address::{PerAddress, PerUser};
pub use prefix::Prefix;
pub use table::{Row, SHARED_ROWS, SHARED_ROWS_OF_NETWORK, Visit};
pub use turn_ledger::GROUP_FACTOR;
