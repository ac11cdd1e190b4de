//! The disk of a simulated broker. Changes that were not written before the process dies are lost.

use super::prelude::*;

/// Storage for the books.
pub(crate) trait Disk {
    /// An empty ledger.
    fn new() -> Self;
    /// Stores a batch, all of it or nothing.
    fn write(&mut self, batch: Batch);
    /// Returns everything that is stored.
    fn read(&self) -> Stored;
    /// A copy, as a backup makes it. `None` if this disk cannot be copied.
    fn copy(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}
