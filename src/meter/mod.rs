//! The meters: they regularly read a provider's own count of bytes, and give it to the account as a reading. Without a
//! count the ledger keeps its estimate, and the status shows the age of the last reading.

pub mod cloudflare;
pub mod coturn;
pub mod reference_clock;

/// What most meters use.
mod prelude {
    pub(super) use std::collections::BTreeMap;
    pub(super) use std::sync::Arc;
    pub(super) use std::time::Duration;

    pub(super) use parking_lot::Mutex;
    pub(super) use serde_json::{Value, json};
    pub(super) use turn_base::{CallError, HttpClient};
    pub(super) use turn_ledger::polls::spans::Span;
    pub(super) use turn_ledger::{
        BilledDirections, Books, ByteCount, CountOwner, GrantId, IceSource, IdDigest, Minute, ReadingOutcome,
        SESSIONS_MAX, Timestamp, Traffic,
    };

    pub(super) use crate::account::Account;
    pub(super) use crate::ice::cloudflare::OWN_IDENTIFIERS;
    pub(super) use crate::ice::turn_keys::OwnKey;
}
