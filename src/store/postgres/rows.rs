//! Rows of the ledger as rows of the database: a batch as the parameters of one statement, and everything that is stored as one
//! snapshot.

use std::pin::pin;

use futures_util::TryStreamExt;
use tokio::runtime::Runtime;
use tokio_postgres::Client;
use tokio_postgres::binary_copy::BinaryCopyOutStream;
use tokio_postgres::types::Type;

use super::connect::{Connection, DatabaseError, READ_TIMEOUT, Values, within, within_time};
use crate::store::prelude::*;
use crate::store::rows::{Replaced, Table, TakeRow, WriteRows};

/// Rows of one statement.
const ROWS_TOGETHER: usize = 10_000;
/// The longest time for the commit of a whole ledger.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(600);

const PUT_ITEMS: &str = "INSERT INTO item SELECT * FROM unnest($1::smallint[], $2::bytea[], $3::bytea[]) \
    ON CONFLICT (kind, key) DO UPDATE SET row = EXCLUDED.row";

/// The columns of a batch: kind, key and row of each row that is put, kind and key of each row that is removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RowBatch {
    pub(super) kinds: Vec<i16>,
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) rows: Vec<Vec<u8>>,
    pub(super) gone_kinds: Vec<i16>,
    pub(super) gone_keys: Vec<Vec<u8>>,
}

impl WriteRows for RowBatch {
    fn replace(&mut self, table: Table, rows: Replaced<'_>) -> Result<(), StoreError> {
        for row in rows {
            let (key, row) = row?;
            if let Some(row) = row {
                self.kinds.push(table.kind);
                self.keys.push(key);
                self.rows.push(row);
            } else {
                self.gone_kinds.push(table.kind);
                self.gone_keys.push(key);
            }
        }
        Ok(())
    }
}

impl RowBatch {
    /// Puts the rows in the current transaction. Removes nothing.
    pub(super) async fn put(&self, connection: &Connection) -> Result<(), DatabaseError> {
        let Self { kinds, keys, rows, .. } = self;
        let items =
            kinds.chunks(ROWS_TOGETHER).zip(keys.chunks(ROWS_TOGETHER)).zip(rows.chunks(ROWS_TOGETHER));
        for ((kinds, keys), rows) in items {
            let values: Values<'_> =
                &[(&kinds, Type::INT2_ARRAY), (&keys, Type::BYTEA_ARRAY), (&rows, Type::BYTEA_ARRAY)];
            connection.execute(PUT_ITEMS, values).await?;
        }
        Ok(())
    }
}

/// Ends a transaction that has changed a whole ledger.
pub(super) async fn commit(connection: &Connection) -> Result<(), DatabaseError> {
    within_time(COMMIT_TIMEOUT, connection.client.batch_execute("COMMIT")).await
}

/// Everything that is stored, as of the first statement of a transaction.
pub(super) struct Snapshot<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) client: &'a Client,
}

impl<'a> Snapshot<'a> {
    pub(super) fn begin(runtime: &'a Runtime, client: &'a Client) -> Result<Self, DatabaseError> {
        let begin = client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY");
        runtime.block_on(within(begin))?;
        Ok(Self { runtime, client })
    }

    pub(super) fn end(self) -> Result<(), DatabaseError> {
        self.runtime.block_on(within(self.client.batch_execute("COMMIT")))
    }

    async fn each_item(&self, kind: i16, take: TakeRow<'_>) -> Result<(), StoreError> {
        let copy = format!(
            "COPY (SELECT key, row FROM item WHERE kind = {kind} ORDER BY key) TO STDOUT (FORMAT binary)"
        );
        let rows = within_time(READ_TIMEOUT, self.client.copy_out(&copy)).await?;
        let mut rows = pin!(BinaryCopyOutStream::new(rows, &[Type::BYTEA, Type::BYTEA]));
        while let Some(row) = within_time(READ_TIMEOUT, rows.try_next()).await? {
            let column = |at| row.try_get(at).map_err(DatabaseError::from);
            take(column(0)?, column(1)?)?;
        }
        Ok(())
    }
}

impl ReadRows for Snapshot<'_> {
    fn each(&self, table: Table, take: TakeRow<'_>) -> Result<(), StoreError> {
        self.runtime.block_on(self.each_item(table.kind, take))
    }
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(Box::new(error))
    }
}
