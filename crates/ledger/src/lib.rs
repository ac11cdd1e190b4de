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

use minutes::Minutes;
pub use {
    allowance::*,
    books::*,
    changes::*,
    client::*,
    clients::*,
    connection::*,
    connections::*,
    coturn::{listing::*, sessions::*, usage::*},
    day::*,
    dirty::*,
    doubt::*,
    grant_counts::*,
    grants::*,
    key_name::*,
    ledger::*,
    minute::*,
    minute_usage::*,
    open::*,
    overrides::*,
    period::*,
    promise::*,
    rates::*,
    reading::*,
    reports::*,
    source::*,
    spender::*,
    spenders::*,
    standing::*,
    time::*,
    timeline::*,
    token::*,
    traffic::*,
    trial::*,
    units::*,
    usage_change::*,
    usage_rules::*,
    verdict::*,
};
