//! The rows of a ledger in a database, in memory: the service's own rows, whose marks are differences.

use std::collections::BTreeMap;

use redb::{Key, TableDefinition, TableHandle, Value};
use turn_ledger::{Batch, GrantId, IceSource, LiveDelta, Minute, Stored, Timestamp};

use super::postgres::standby::books_now;
use super::rows::{
    self, GRANTS, KEY_COPIED, KEY_HEAD, KEY_TOKEN_KEY, MARKS, META, ReadRows, StoreError, WriteRows, bytes_of,
};

/// A table and a key.
type Name = (String, Vec<u8>);

/// Everything that is stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    items: BTreeMap<Name, Vec<u8>>,
    marks: BTreeMap<(&'static str, i64), LiveDelta>,
}

/// What one statement writes.
#[derive(Debug, Default)]
pub(crate) struct Change {
    items: Vec<(Name, Option<Vec<u8>>)>,
    marks: Vec<((&'static str, i64), LiveDelta)>,
}

fn name<K: Key + 'static, V: Value + 'static>(
    table: TableDefinition<'_, K, V>,
    key: &K::SelfType<'_>,
) -> Name {
    (table.name().to_owned(), bytes_of::<K>(key))
}

impl Change {
    /// All of a batch.
    pub(crate) fn of(batch: Batch) -> Self {
        let mut change = Self::default();
        rows::write(&mut change, &batch.into()).unwrap_or_else(|error| panic!("{error}"));
        change
    }
}

impl WriteRows for Change {
    fn replace<'k, K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'_, K, V>,
        rows: impl Iterator<Item = Result<(K::SelfType<'k>, Option<Vec<u8>>), StoreError>>,
    ) -> Result<(), StoreError> {
        for row in rows {
            let (key, row) = row?;
            self.items.push((name(table, &key), row));
        }
        Ok(())
    }

    fn add_marks<'a>(
        &mut self,
        source: IceSource,
        marks: impl Iterator<Item = (&'a Minute, &'a LiveDelta)>,
    ) -> Result<(), StoreError> {
        self.marks.extend(marks.map(|(minute, delta)| ((source.name(), minute.number()), *delta)));
        Ok(())
    }
}

impl Rows {
    /// Those of a new ledger.
    pub(crate) fn new() -> Self {
        let items = [(name(META, &KEY_TOKEN_KEY), vec![0; 64])].into();
        Self { items, ..Self::default() }
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        for (name, row) in &change.items {
            match row {
                Some(row) => self.items.insert(name.clone(), row.clone()),
                None => self.items.remove(name),
            };
        }
        for (at, delta) in &change.marks {
            let sum = self.marks.entry(*at).or_default();
            *sum = sum.plus(*delta);
        }
    }

    /// Notes that grants are missing.
    pub(crate) fn mark_copy(&mut self) {
        self.items.insert(name(META, &KEY_COPIED), vec![]);
    }

    pub(crate) fn is_copy(&self) -> bool {
        self.items.contains_key(&name(META, &KEY_COPIED))
    }

    pub(crate) fn has_grant(&self, id: GrantId) -> bool {
        self.items.contains_key(&name(GRANTS, &id.as_bytes()))
    }

    /// The time of the books.
    pub(crate) fn books_now(&self) -> Option<Timestamp> {
        books_now(self.items.get(&name(META, &KEY_HEAD))?)
    }

    pub(crate) fn read(&self) -> Stored {
        rows::read(self, &mut Err).unwrap_or_else(|error| panic!("{error}")).books
    }
}

impl ReadRows for Rows {
    fn each<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
        mut take: impl FnMut(K::SelfType<'_>, V::SelfType<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if table.name() == MARKS.name() {
            for ((source, minute), LiveDelta { live, per_minute }) in &self.marks {
                let (key, row) = (bytes_of::<(&str, i64)>(&(source, *minute)), (*live, *per_minute));
                take(K::from_bytes(&key), V::from_bytes(&bytes_of::<(i64, i64)>(&row)))?;
            }
        }
        for ((of, key), row) in &self.items {
            if of == table.name() {
                take(K::from_bytes(key), V::from_bytes(row))?;
            }
        }
        Ok(())
    }
}
