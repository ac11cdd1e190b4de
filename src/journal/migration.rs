//! From an older format to the present one: steps in their order, all in one transaction, after the file was copied
//! beside itself. So a crash in the middle leaves the older format, and whoever wants to go back has the copy.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, WriteTransaction};

use super::store::{FILE_NAME, FORMAT, make_file};
use super::tables::{ISSUED, StoreError, put_format};

/// What brings a ledger from one format to the next.
type Step = fn(&WriteTransaction) -> Result<(), StoreError>;

/// In their order; each says from which format it starts.
const STEPS: [(u32, Step); 1] = [(1, credentials_that_are_out)];

/// Format 2 knows which credentials are out, and in `meta` readings, orders and alerts. What an older ledger does not say of
/// them is not known: its credentials cannot be revoked.
fn credentials_that_are_out(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(ISSUED)?;
    Ok(())
}

/// Whether there is a way from that format to the present one.
pub(super) fn is_known(format: u32) -> bool {
    format == FORMAT || STEPS.iter().any(|(from, _)| *from == format)
}

/// Brings an open ledger to the present format, all or nothing.
pub(super) fn migrate(database: &Database, from: u32) -> Result<(), StoreError> {
    migrate_by(database, from, &STEPS)
}

fn migrate_by(database: &Database, from: u32, steps: &[(u32, Step)]) -> Result<(), StoreError> {
    let transaction = database.begin_write()?;
    for (_, step) in steps.iter().filter(|(start, _)| *start >= from) {
        step(&transaction)?;
    }
    put_format(&transaction, FORMAT)?;
    transaction.commit()?;
    Ok(())
}

/// Copies the ledger beside itself, for its user only, and says where. A copy from an earlier attempt is replaced: what it
/// holds is in this one too.
pub(super) fn keep_copy(path: &Path, format: u32) -> io::Result<PathBuf> {
    let copy = path.with_file_name(format!("{FILE_NAME}.format-{format}"));
    let unfinished = path.with_file_name(format!("{FILE_NAME}.format-{format}.part"));
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut to = make_file(&unfinished)?;
    io::copy(&mut File::open(path)?, &mut to)?;
    to.sync_all()?;
    std::fs::rename(&unfinished, &copy)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(copy)
}
