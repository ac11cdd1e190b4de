//! Rows of an earlier format, as rows of the present one. A value that is JSON needs no migration: what it lacks has a default, and what
//! nobody knows any more is left out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use turn_budget::{ByteCount, ClientKey, Timestamp, User};
use turn_ledger::{Block, GrantRowUpToClosed, SessionRowUpToTraffic, SpenderKey};

use super::{
    BLOCKS, BadRow, DAYS, FORMAT, GRANTS, Meta, ReadRows, SESSIONS, StoreError, Table, TakeRow, block_key,
    to_row,
};

/// The oldest format that this version reads.
pub const FORMAT_OLDEST: i32 = 22;

/// Whether this version reads a ledger of this format.
pub fn is_readable(format: i32) -> bool {
    (FORMAT_OLDEST..=FORMAT).contains(&format)
}

/// Stored rows of any format that this version reads, which are read as rows of the present one.
pub struct Migrated<R> {
    /// The rows as they are stored.
    pub rows: R,
    /// From [`FORMAT_OLDEST`] to [`FORMAT`].
    pub format: i32,
}

impl<R: ReadRows> ReadRows for Migrated<R> {
    fn each(&self, table: Table, take: TakeRow<'_>) -> Result<(), StoreError> {
        if table == BLOCKS && self.format < 23 {
            return self.each_block(take);
        }
        self.rows.each(table, &mut |key, row| match migrated(self.format, table, row) {
            Ok(None) => take(key, row),
            Ok(Some(row)) => take(key, &row),
            Err(_) => {
                Err(BadRow::new(table, key, format!("does not have the form of format {}", self.format))
                    .into())
            }
        })
    }
}

impl<R: ReadRows> Migrated<R> {
    /// Until format 22 the blocks of users and of addresses were two values with a name.
    fn each_block(&self, take: TakeRow<'_>) -> Result<(), StoreError> {
        let (meta, bad) = (Meta::read(&self.rows)?, &mut Err);
        let users: Option<BTreeSet<User>> = meta.json("blocked", bad)?;
        let addresses: Option<BTreeMap<ClientKey, Option<Timestamp>>> =
            meta.json("blocked-addresses", bad)?;
        let users = users.into_iter().flatten().map(|user| (SpenderKey::User(user), None));
        let addresses =
            addresses.into_iter().flatten().map(|(client, until)| (SpenderKey::Client(client), until));
        let blocks: BTreeMap<_, _> =
            users.chain(addresses).map(|(spender, until)| (spender, Block { until, since: None })).collect();
        blocks.iter().try_for_each(|(spender, block)| take(&block_key(spender)?, &to_row(block)?))
    }
}

/// The first fields of a row, their bytes, and the other bytes.
fn split<'a, T: Deserialize<'a>>(row: &'a [u8]) -> Result<(T, &'a [u8], &'a [u8]), postcard::Error> {
    let (fields, rest) = postcard::take_from_bytes(row)?;
    let (first, rest) = row.split_at(row.len() - rest.len());
    Ok((fields, first, rest))
}

/// A row of this format in the present one. `None` if it is the same.
fn migrated(format: i32, table: Table, row: &[u8]) -> Result<Option<Vec<u8>>, postcard::Error> {
    match table {
        // What one answer had said stays. From format 24 on two answers have to agree.
        DAYS if format < 24 => {
            let (as_of, first, rest) = split::<Timestamp>(row)?;
            let ((granted, at_most, _sampling, other), ..) =
                split::<(ByteCount, ByteCount, u32, ByteCount)>(rest)?;
            let agreed = to_row(&(as_of, granted.plus(other), granted, at_most, None::<()>))?;
            Ok(Some([first, &agreed, rest].concat()))
        }
        // Bytes that no count showed were a figure of each grant.
        GRANTS if matches!(format, 24 | 25) => {
            let ((.., spent), first, rest) = split::<GrantRowUpToClosed>(row)?;
            if spent.is_none() {
                return Ok(None);
            }
            let (_unshown, _, rest) = split::<ByteCount>(rest)?;
            Ok(Some([first, rest].concat()))
        }
        // Bytes that coturn did not show were estimated. Only what it has shown stays counted here.
        SESSIONS if format < 26 => {
            let ((.., seen_at, _packets, _traffic), first, _) = split::<SessionRowUpToTraffic>(row)?;
            let [has_ended, is_missing] = [false; 2];
            Ok(Some([first, &to_row(&(seen_at, has_ended, is_missing))?].concat()))
        }
        // Nobody knows when these began.
        BLOCKS if format < 28 => Ok(Some([row, &to_row(&None::<Timestamp>)?].concat())),
        _ => Ok(None),
    }
}
