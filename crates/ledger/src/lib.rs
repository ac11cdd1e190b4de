//! The bandwidth ledger of turn-broker. This package is pure: it reads no clock, no environment and no file, and it writes
//! none. Time and randomness are arguments, decisions are values.
//!
//! | where | what |
//! |---|---|
//! | [`units`], [`time`], [`period`], [`minute`] | bytes, bit rates, instants; the time of the books; billing periods; minutes |
//! | [`standing`] | whether the books' time is right |
//! | [`timeline`], [`minute_usage`], [`usage_change`] | one source minute by minute, and how usage changes it |
//! | [`reading`], [`doubt`], [`trial`] | the provider's own count; the assumed rate tested against it |
//! | [`promise`], [`ledger`], [`verdict`], [`overrides`] | all sources under one limit; admit or refuse; the operator's overrides |
//! | [`grants`], [`token`], [`spender`], [`key_name`] | one row per grant; its id; who spends; which TURN key minted |
//! | [`connection`], [`connections`], [`usage_rules`], [`reports`] | reported connections, and how they are charged |
//! | [`client`], [`clients`], [`allowance`] | which addresses count as one client; what each may claim, hold and reserve |
//! | [`coturn`], [`traffic`] | what coturn's sessions carried |
//! | [`spenders`], [`grant_counts`] | the sums by who spends; what a source counted for each grant |
//! | [`books`], [`open`], [`changes`], [`dirty`] | everything under one lock; opening it; what must be stored |

pub mod allowance;
pub mod books;
pub mod changes;
pub mod client;
pub mod clients;
pub mod connection;
pub mod connections;
pub mod coturn;
pub mod day;
pub mod dirty;
pub mod doubt;
pub mod grant_counts;
pub mod grants;
pub mod key_name;
pub mod ledger;
pub mod minute;
pub mod minute_usage;
mod minutes;
pub mod open;
pub mod overrides;
pub mod period;
pub mod promise;
mod rates;
pub mod reading;
pub mod reports;
mod sorted;
pub mod source;
pub mod spender;
pub mod spenders;
pub mod standing;
pub mod time;
pub mod timeline;
pub mod token;
pub mod traffic;
pub mod trial;
pub mod units;
pub mod usage_change;
pub mod usage_rules;
pub mod verdict;

pub(crate) use allowance::{Allowance, AllowanceTerms, Allowances, RELAY_RATE_MAX};
pub use books::{
    BLOCKED_USERS_MAX, Books, CLOCK_DIFFERENCE_TOLERATED, Commit, Hold, NotAdmitted, NotCommitted,
    NotRecorded, Requester, Snapshot, TooManyBlocked, UserRevoked, Written,
};
pub use changes::{Batch, Stored};
pub use client::ClientKey;
pub(crate) use clients::Clients;
pub use clients::{CONNECTIONS_PER_CLIENT_MAX, ClientTerms};
pub use connection::{Connection, Name, Report};
pub use connections::Bounds;
pub(crate) use connections::Connections;
pub use coturn::listing::{Forger, Listing, Reach, SESSIONS_MAX, Session, SessionId};
pub(crate) use coturn::sessions::SessionRow;
pub use coturn::sessions::to_cut;
pub(crate) use coturn::usage::{CoturnSums, CoturnUsage};
pub(crate) use day::DayCounts;
pub use day::{Day, DayCount};
pub(crate) use dirty::Dirty;
pub use dirty::Rows;
pub(crate) use doubt::CountDoubt;
pub use grant_counts::GrantCounts;
pub(crate) use grants::{Charge, CountedSources, LeastPromise, SpendingTerms, TAIL_MAX};
pub use grants::{
    DroppedKey, FastGrant, GrantEnd, GrantFilter, GrantPage, GrantPlace, GrantRow, Grants, ListedGrant,
    Revoked, SfuSession,
};
pub use key_name::KeyName;
pub(crate) use ledger::{Admission, Request};
pub use ledger::{Ledger, PeriodCounts, Terms};
pub use minute::Minute;
pub(crate) use minute::Slot;
pub(crate) use minute_usage::SourceState;
pub use minute_usage::{Basis, ClaimedUsage, LiveDelta, MinuteUsage, SourceRows};
pub(crate) use minutes::Minutes;
pub use open::Setup;
pub(crate) use overrides::Overrides;
pub use period::{BillingDay, Period};
pub(crate) use promise::Promise;
pub use promise::{GrantMinutes, PromisedTime};
pub use rates::Rates;
pub use reading::{Carried, LateCounts, Reading, ReadingOutcome};
pub use reports::{CONNECTIONS_PER_GRANT_MAX, Caller, Closed, OpenError, Opened, ReportError};
pub(crate) use reports::{Entry, UnknownConnection};
pub use source::{IceSource, MINT_SLACK, UNWRITTEN_MAX};
pub use spender::{Call, LABEL_MAX, Label, ORIGIN_MAX, Spender, USER_MAX, User};
pub use spenders::{
    Evidence, KeptAddresses, Place, RowKey, SpenderKey, SpenderKind, SpenderSums, SpenderTerms, Sums,
};
pub(crate) use spenders::{Keys, PeriodBytes, Spenders, Uncounted, UserPromises};
pub use standing::Standing;
pub(crate) use time::ClockMark;
pub use time::{Boot, Moment, SteadyTime};
pub use timeline::{MeasuredUsage, SourceTerms};
pub(crate) use timeline::{Slice, Timeline};
pub use token::{Grant, GrantId};
pub use traffic::Traffic;
pub use trial::Assumption;
pub(crate) use trial::{Point, Trial, TrialHours};
pub(crate) use units::as_millis;
pub use units::{BitRate, ByteCount, Timestamp, lossy, wait_seconds};
pub use usage_change::{ChangeKind, UsageChange};
pub use usage_rules::{BilledDirections, UsageRules};
pub use verdict::{BudgetMode, Figures, Refusal, UserShare, UserUsage};
pub(crate) use verdict::{ClientShare, STRICT_LIFE_MIN, Wish, decide};
