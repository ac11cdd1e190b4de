//! What the tables write and read. The books only: the service stores the alerts beside them, which no figure uses.

use turn_ledger::{Batch, Stored};

pub(super) struct Changes {
    pub(super) books: Batch,
    pub(super) alerts: Option<()>,
}

#[derive(Default)]
pub(super) struct Contents {
    pub(super) books: Stored,
    pub(super) alerts: (),
}

impl From<Batch> for Changes {
    fn from(books: Batch) -> Self {
        Self { books, alerts: None }
    }
}
