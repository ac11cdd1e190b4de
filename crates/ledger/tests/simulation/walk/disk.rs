//! Where the books of a walk are stored. What is still under way when the process dies is lost.

use turn_ledger::changes::{Batch, Stored};

/// A disk that keeps what it is given.
pub(crate) trait Disk {
    /// Stores a batch, all of it or nothing.
    fn write(&mut self, batch: Batch);
    /// Everything that is stored.
    fn read(&self) -> Stored;
}

/// A disk in memory.
pub(crate) struct MemoryDisk(Stored);

impl MemoryDisk {
    /// An empty ledger.
    pub(crate) fn new() -> Self {
        Self(Stored { key: Some([0; 64]), ..Stored::default() })
    }
}

impl Disk for MemoryDisk {
    fn write(&mut self, batch: Batch) {
        self.0.apply(batch);
    }

    fn read(&self) -> Stored {
        self.0.clone()
    }
}
