//! The budget: what was used, what is promised, and whether one more credential fits. Everything here is pure.

mod cells;
pub mod charge;
pub mod flow;
pub mod grant;
pub mod grant_end;
pub mod grant_table;
pub mod history;
pub mod issued;
mod lane;
pub mod ledger;
pub mod orders;
pub mod period;
mod rates;
pub mod reading;
pub mod renewals;
pub mod timeline;
pub mod unstored;
pub mod verdict;
