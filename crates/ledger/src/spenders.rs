//! Who spends: the keys, what left the table of grants, and the limits of users and server keys. Tests: `src/books/spending/tests`.
//! A grant's row says what it has spent in this period and who spends it. The sums by user, label, origin, address and call are made when
//! somebody asks ([`crate::SpenderWalk`]), so a mint or a report changes no sum of a label. Only users and server keys with a limit have
//! sums that are kept up to date.

pub(crate) mod key;
pub(crate) mod left;
pub(crate) mod limited;
pub(crate) mod listing;
pub(crate) mod promised;
pub(crate) mod sums;
pub(crate) mod terms;
