//! The tables of a ledger file, as the service writes and reads them.

#[path = "../../../../../src/store/file/pruning.rs"]
pub(super) mod pruning;
#[expect(dead_code, reason = "the service uses more of it")]
#[path = "../../../../../src/store/file/tables.rs"]
pub(super) mod tables;
