//! What one address or one user may do. A [`Holder`] is who holds or spends something: a client address, with its user if one has signed
//! in. A [`Bucket`] is an allowance that refills with time. [`PerAddress`] has a row for each client address and for each IPv6 /48, with a
//! fixed number of rows, and gives a /48 [`GROUP_FACTOR`] times the allowance of a client. [`PerUser`] has a row for each user.
//! [`PerHolder`] is both, with buckets. [`Held`] has a row for each [`Share`] in which something is held. [`Counts`] has the
//! number for each of these rows, and [`MemoryQuota`] counts the bytes that are kept for each holder.
//! Everything is pure: `now` is an argument, as the time since any fixed instant; only [`MemoryQuota`] has a lock.
//!
//! ```
//! # use std::time::Duration;
//! # use turn_budget::ClientKey;
//! # use turn_limits::{PerHolder, Rate};
//! let mut polls = PerHolder::new(Rate { burst: 20, each: Duration::from_secs(3) }, 8_192);
//! let (client, now) = (ClientKey::of("192.0.2.1".parse().unwrap()), Duration::ZERO);
//! assert!((0..20).all(|_| polls.take(client, 1, now).is_ok()));
//! let spent = polls.take(client, 1, now).unwrap_err();
//! assert_eq!((spent.next, spent.full), (Duration::from_secs(3), Duration::from_secs(60)));
//! ```

mod bucket;
mod counts;
mod held;
mod holder;
mod memory_quota;
mod per_address;
mod prefix;
mod table;

pub use bucket::{Bucket, Rate, Spent};
pub use counts::{Bounds, Counts};
pub use held::Held;
pub use holder::{Holder, Share};
pub use memory_quota::{MemoryQuota, MemoryUse};
pub use per_address::{PerAddress, PerHolder, PerUser};
pub use prefix::Prefix;
pub use table::{Row, SHARED_ROWS, SHARED_ROWS_OF_NETWORK, Visit};
pub use turn_budget::GROUP_FACTOR;

/// How many times the share of one client fits into a table that outsiders fill. An IPv6 /48 may have [`GROUP_FACTOR`] times the share of a
/// client.
pub const SHARES: usize = 16;
