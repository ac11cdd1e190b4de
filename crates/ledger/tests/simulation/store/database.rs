//! The rows of a ledger in a database, in memory.

use std::collections::BTreeMap;

use turn_ledger::{Batch, GrantId, Stored, Timestamp};

use super::{Changes, Contents};
use turn_store::observation::books_now;
use turn_store::rows::{
    self, GRANTS, KEY_COPIED, KEY_HEAD, KEY_TOKEN_KEY, META, Pruned, ReadRows, Replaced, StoreError, Table,
    TakeRow, WriteRows,
};

/// A table and a key.
type Name = (Table, Vec<u8>);

/// Everything that is stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    items: BTreeMap<Name, Vec<u8>>,
}

/// What one statement writes.
#[derive(Debug, Default)]
pub(crate) struct Change {
    items: Vec<(Name, Option<Vec<u8>>)>,
}

fn named(key: &str) -> Name {
    (META, key.into())
}

impl Change {
    /// All of a batch.
    pub(crate) fn of(batch: Batch) -> Self {
        let mut change = Self::default();
        rows::write(&mut change, &Changes::from(batch), &Pruned::default())
            .unwrap_or_else(|error| panic!("{error}"));
        change
    }
}

impl WriteRows for Change {
    fn replace(&mut self, table: Table, rows: Replaced<'_>) -> Result<(), StoreError> {
        for row in rows {
            let (key, row) = row?;
            self.items.push(((table, key), row));
        }
        Ok(())
    }
}

impl Rows {
    /// Those of a new ledger.
    pub(crate) fn new() -> Self {
        let items = [(named(KEY_TOKEN_KEY), vec![0; 64])].into();
        Self { items }
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        for (name, row) in &change.items {
            match row {
                Some(row) => self.items.insert(name.clone(), row.clone()),
                None => self.items.remove(name),
            };
        }
    }

    /// Notes that grants are missing.
    pub(crate) fn mark_copy(&mut self) {
        self.items.insert(named(KEY_COPIED), vec![]);
    }

    pub(crate) fn is_copy(&self) -> bool {
        self.items.contains_key(&named(KEY_COPIED))
    }

    pub(crate) fn has_grant(&self, id: GrantId) -> bool {
        self.items.contains_key(&(GRANTS, id.as_bytes().to_vec()))
    }

    /// The time of the books.
    pub(crate) fn books_now(&self) -> Option<Timestamp> {
        books_now(self.items.get(&named(KEY_HEAD))?)
    }

    pub(crate) fn read(&self) -> Stored {
        let contents: Contents = rows::read(self, &mut Err).unwrap_or_else(|error| panic!("{error}"));
        contents.books
    }
}

impl ReadRows for Rows {
    fn each(&self, table: Table, take: TakeRow<'_>) -> Result<(), StoreError> {
        for ((_, key), row) in self.items.iter().filter(|((of, _), _)| *of == table) {
            take(key, row)?;
        }
        Ok(())
    }
}
