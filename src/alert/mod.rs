//! Operator alerts. [`rules`] decides which are due; [`Alert`] is one of them, with the [`Spending`] that it shows. Both are
//! pure. [`webhook`] writes an alert as JSON and sends it once. [`dispatcher`] sends each waiting alert until the alert is
//! delivered, refused for good, or tried too often.

mod acts;
mod body;
pub mod dispatcher;
mod event;
mod fault;
mod found;
mod message;
pub mod mints;
pub mod rules;
mod spending;
mod stop;
pub mod webhook;

pub use acts::{Act, ActFacts};
pub use event::{Alert, AlertKind, BudgetFigures, SpentGrant};
pub use fault::{Fault, FaultFacts, FoundFault, Severity};
pub use found::{ServiceFacts, faults};
pub use spending::{
    AlertCost, COUNTED_LATER, Forecast, NAMED_KINDS, SpenderNow, Spending, TOP_SPENDERS, TopSpender,
};
pub use stop::{MintFacts, MintStop, MintingBody, StopCode, minting};
