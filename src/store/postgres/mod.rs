//! The ledger in `PostgreSQL`, for one leader and any number of standbys. Even if a leader wrongly believes that it still leads, its write
//! changes nothing unless the row of `shard` is as its last write left it. No other replica can be elected without changing that row.

mod blocking;
pub mod connect;
pub mod copy;
mod leader;
mod loss;
mod rows;
mod schema;
pub mod standby;
pub mod storage;

pub use turn_store::{observation, takeovers};
