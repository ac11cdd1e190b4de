//! The disk of a simulated broker. Changes that were not written before the process dies are lost.

use turn_ledger::changes::{Batch, Stored};

/// Storage for the books.
pub(crate) trait Disk {
    /// Stores a batch, all of it or nothing.
    fn write(&mut self, batch: Batch);
    /// Returns everything that is stored.
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
