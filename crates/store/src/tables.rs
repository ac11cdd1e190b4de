//! The tables of a ledger file.

use std::ops::Bound;

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use crate::rows::{
    self, FORMAT, KEY_FORMAT, Meta, ReadRows, Replaced, StoreError, TABLES, Table, TakeRow, WriteRows,
};

/// A table in the file.
pub const fn in_file(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name)
}

/// Creates every table and writes the format, so that a missing table means a damaged ledger.
pub fn make_all(transaction: &WriteTransaction) -> Result<(), StoreError> {
    for table in TABLES {
        drop(transaction.open_table(in_file(table))?);
    }
    put(transaction, KEY_FORMAT, &FORMAT.to_be_bytes())
}

/// The format number in the file, if there is one.
pub fn format(transaction: &ReadTransaction) -> Result<Option<i32>, StoreError> {
    let meta = Meta::read(transaction)?;
    Ok(meta.bytes(KEY_FORMAT).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes))
}

/// Puts a value under its name.
pub fn put(mut transaction: &WriteTransaction, key: &str, value: &[u8]) -> Result<(), StoreError> {
    rows::replace_named(&mut transaction, key, Some(value.into()))
}

impl ReadRows for ReadTransaction {
    fn each(&self, table: Table, take: TakeRow<'_>) -> Result<(), StoreError> {
        for row in self.open_table(in_file(table))?.iter()? {
            let (key, row) = row?;
            take(key.value(), row.value())?;
        }
        Ok(())
    }
}

impl WriteRows for &WriteTransaction {
    fn replace(&mut self, table: Table, rows: Replaced<'_>) -> Result<(), StoreError> {
        // A batch has no rows for most tables.
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut table = self.open_table(in_file(table))?;
        for row in rows {
            match row? {
                (key, Some(row)) => drop(table.insert(&*key, &*row)?),
                (key, None) => drop(table.remove(&*key)?),
            }
        }
        Ok(())
    }

    fn append(&mut self, table: Table, rows: Replaced<'_>) -> Result<(), StoreError> {
        let mut table = self.open_table(in_file(table))?;
        let mut end = table.upper_bound_mut(Bound::<&[u8]>::Unbounded)?;
        for row in rows {
            if let (key, Some(row)) = row? {
                end.insert_before(&*key, &*row)?;
            }
        }
        Ok(end.close()?)
    }
}
