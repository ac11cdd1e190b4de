//! The tables of a ledger file.

use redb::{
    Key, ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, Value, WriteTransaction,
};

use turn_ledger::{Head, IceSource, LiveDelta, Minute, Timestamp};

use super::changes::Changes;
use super::file::FORMAT;
use super::rows::{
    self, KEY_COPIED, KEY_FORMAT, KEY_HEAD, KEY_TOKEN_KEY, MARKS, META, Meta, ReadRows, StoreError, WriteRows,
};

/// Creates every table and writes the format, so that a missing table means a damaged ledger.
pub(super) fn make_all(transaction: &WriteTransaction) -> Result<(), StoreError> {
    drop(transaction.open_table(MARKS)?);
    rows::each_table!(|table| drop(transaction.open_table(table)?));
    transaction.open_table(META)?.insert(KEY_FORMAT, FORMAT.to_be_bytes().as_slice())?;
    Ok(())
}

/// The format number in the file, if there is one.
pub(super) fn format(transaction: &ReadTransaction) -> Result<Option<u32>, StoreError> {
    let meta = Meta::read(transaction)?;
    Ok(meta.bytes(KEY_FORMAT).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes))
}

pub(super) fn put_token_key(transaction: &WriteTransaction, key: &[u8; 64]) -> Result<(), StoreError> {
    transaction.open_table(META)?.insert(KEY_TOKEN_KEY, key.as_slice())?;
    Ok(())
}

/// Marks the file as a copy of a ledger that goes on.
pub(super) fn mark_copy(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(META)?.insert(KEY_COPIED, [].as_slice())?;
    Ok(())
}

/// The stored time of the books.
pub(super) fn stored_now(transaction: &ReadTransaction) -> Result<Option<Timestamp>, StoreError> {
    Ok(Meta::read(transaction)?.json(KEY_HEAD, &mut Err)?.map(|head: Head| head.now))
}

/// The number of rows, except those that have a name. It is stored, so nothing is read for it.
pub(super) fn count(transaction: &ReadTransaction) -> Result<u64, StoreError> {
    let mut rows = transaction.open_table(MARKS)?.len()?;
    rows::each_table!(|table| rows += transaction.open_table(table)?.len()?);
    Ok(rows)
}

/// Writes a batch.
pub(super) fn write(transaction: &WriteTransaction, changes: &Changes) -> Result<(), StoreError> {
    rows::write(&mut &*transaction, changes)
}

impl ReadRows for ReadTransaction {
    fn each<K: Key + 'static, V: Value + 'static>(
        &self,
        table: TableDefinition<'_, K, V>,
        mut take: impl FnMut(K::SelfType<'_>, V::SelfType<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for row in self.open_table(table)?.iter()? {
            let (key, value) = row?;
            take(key.value(), value.value())?;
        }
        Ok(())
    }
}

impl WriteRows for &WriteTransaction {
    fn replace<'k, K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'_, K, V>,
        rows: impl Iterator<Item = Result<(K::SelfType<'k>, Option<Vec<u8>>), StoreError>>,
    ) -> Result<(), StoreError> {
        // A batch has no rows for most tables.
        let mut rows = rows.peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut table = self.open_table(table)?;
        for row in rows {
            match row? {
                (key, Some(row)) => drop(table.insert(key, V::from_bytes(&row))?),
                (key, None) => drop(table.remove(key)?),
            }
        }
        Ok(())
    }

    fn add_marks<'a>(
        &mut self,
        source: IceSource,
        marks: impl Iterator<Item = (&'a Minute, &'a LiveDelta)>,
    ) -> Result<(), StoreError> {
        let mut table = self.open_table(MARKS)?;
        for (minute, change) in marks {
            let key = (source.name(), minute.number());
            let (live, per_minute) = table.get(key)?.map_or((0, 0), |value| value.value());
            let LiveDelta { live, per_minute } = change.plus(LiveDelta { live, per_minute });
            if (live, per_minute) == (0, 0) {
                table.remove(key)?;
            } else {
                table.insert(key, (live, per_minute))?;
            }
        }
        Ok(())
    }
}
