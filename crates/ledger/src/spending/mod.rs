//! Who spends. The one door of this folder is this file. Tests: `src/books/spending/tests`.
//! A grant's row says what it has spent in this period and who spends it. The sums by user, label, origin, address and call are made when
//! somebody asks ([`SpenderWalk`]), so a mint or a report changes no sum of a label. Only users and server keys with a limit have sums that
//! are kept up to date.
//!
//! | where | what |
//! |---|---|
//! | `key` | who spends, as the key of a sum |
//! | `spent`, `recent` | the bytes of one grant: in the period, and in the last minutes |
//! | `of_grants` | what a change of a grant's bytes changes in the sums |
//! | `sums`, `left` | the sums of one spender; those of grants that left the table |
//! | `address_days` | what each address has used today |
//! | `limited`, `spent` | users and server keys with a limit: their sums, and what is promised for them |
//! | `walk`, `key`, `grant_page` | what operators read: the spenders of a kind, and single grants |
//! | `terms` | the settings |

mod address_days;
mod grant_page;
mod key;
mod left;
mod limited;
mod of_grants;
mod recent;
mod spent;
mod sums;
mod terms;
mod walk;

pub use recent::RecentTime;
pub(crate) use {address_days::*, recent::*};
pub use {grant_page::*, key::*, left::*, limited::*, spent::*, sums::*, terms::*, walk::*};
