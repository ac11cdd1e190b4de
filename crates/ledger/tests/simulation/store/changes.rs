//! What the tables write and read. The books only: the service stores three values beside them, which no figure uses.

use turn_ledger::{Batch, Stored};

pub(super) struct Changes {
    pub(super) books: Batch,
    pub(super) alerts: Option<()>,
    pub(super) actions: Option<()>,
}

#[derive(Default)]
pub(super) struct Contents {
    pub(super) books: Stored,
    pub(super) alerts: (),
    pub(super) actions: (),
}

impl From<Batch> for Changes {
    fn from(books: Batch) -> Self {
        Self { books, alerts: None, actions: None }
    }
}
