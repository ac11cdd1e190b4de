//! The disk of a simulated broker: the tables that the service writes and reads, in memory. A field that is not stored is lost at a
//! restart here too.

pub(crate) mod database;
mod file;

pub(crate) use file::MemoryFile;

/// The books only: the service stores the alerts beside them, which no figure uses.
type Changes = turn_store::changes::Changes<()>;
type Contents = turn_store::changes::Contents<()>;
