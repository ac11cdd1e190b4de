//! The disk of a simulated broker: the tables that the service writes and reads, in memory. A field that is not stored is lost at a
//! restart here too.

mod changes;
#[expect(unreachable_pub, reason = "the service exports it")]
#[path = "../../../../../src/store/contradictions.rs"]
pub(crate) mod contradictions;
pub(crate) mod database;
mod file;
pub(crate) mod postgres;
#[expect(dead_code, unreachable_pub, reason = "the service uses more of it")]
#[path = "../../../../../src/store/rows.rs"]
mod rows;
pub(crate) mod storage;

pub(crate) use file::MemoryFile;
