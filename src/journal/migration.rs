//! Migration from an older format. All steps run in one transaction, so a crash in the middle leaves the older format. The
//! file is copied beside itself first, so that the operator can return to the older version.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, WriteTransaction};

use super::file::{FILE_NAME, FORMAT, make_file};
use super::format_2::{self, ISSUED};
use super::format_3;
use super::tables::{StoreError, put_format};

/// Migrates a ledger from one format to the next.
type Step = fn(&WriteTransaction) -> Result<(), StoreError>;

/// All steps in order, each with the format from which it starts.
const STEPS: [(u32, Step); 3] = [(1, table_of_credentials), (2, one_row_per_grant), (3, short_rows)];

/// Adds the table of issued credentials. Credentials that were issued under format 1 are not in it and cannot be revoked.
fn table_of_credentials(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(ISSUED)?;
    Ok(())
}

/// Makes one row for each grant and one for each session of a coturn.
fn one_row_per_grant(transaction: &WriteTransaction) -> Result<(), StoreError> {
    format_2::merge_grants(transaction)?;
    format_2::split_sessions(transaction)
}

/// Shortens the rows of connections and grants.
fn short_rows(transaction: &WriteTransaction) -> Result<(), StoreError> {
    format_3::shorten_connections(transaction)?;
    format_3::drop_claims(transaction)
}

/// Whether this version can migrate that format, or uses it.
pub(super) fn is_known(format: u32) -> bool {
    format == FORMAT || STEPS.iter().any(|(from, _)| *from == format)
}

/// Migrates an open ledger to the current format: completely or not at all.
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

/// Copies the ledger beside itself, readable by its owner only, and returns the copy's path. Replaces the copy of an earlier
/// attempt, because the new copy contains everything that the earlier one does.
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

#[cfg(test)]
mod tests {
    use super::super::tables::{MARKS, META};
    use super::*;
    use redb::{ReadableDatabase, ReadableTableMetadata, TableHandle};

    /// A temporary directory for one test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("turn-broker-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        /// A ledger of format 1 with one row.
        fn format_1(&self) -> (PathBuf, Database) {
            let path = self.0.join(FILE_NAME);
            let database = Database::create(&path).unwrap();
            let transaction = database.begin_write().unwrap();
            put_format(&transaction, 1).unwrap();
            transaction.open_table(MARKS).unwrap().insert(("cloudflare", 5), (1, 0)).unwrap();
            transaction.commit().unwrap();
            (path, database)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Checks that the ledger is unchanged in format 1.
    fn assert_is_format_1(database: &Database) {
        let transaction = database.begin_read().unwrap();
        assert_eq!(super::super::tables::format(&transaction).unwrap(), Some(1));
        let tables: Vec<_> =
            transaction.list_tables().unwrap().map(|table| table.name().to_owned()).collect();
        assert_eq!(tables, ["marks", "meta"]);
        let marks = transaction.open_table(MARKS).unwrap();
        assert_eq!(marks.get(("cloudflare", 5)).unwrap().unwrap().value(), (1, 0));
        assert_eq!(transaction.open_table(META).unwrap().len().unwrap(), 1);
    }

    #[test]
    fn the_steps_lead_to_the_current_format_without_a_gap() {
        let starts: Vec<_> = STEPS.iter().map(|(from, _)| *from).collect();
        assert_eq!(starts, (1..FORMAT).collect::<Vec<_>>());
        assert!(!is_known(0) && !is_known(FORMAT + 1));
    }

    #[test]
    fn a_step_that_fails_leaves_the_older_format() {
        let scratch = Scratch::new("failing-step");
        let (path, database) = scratch.format_1();
        let failing: Step = |transaction| {
            transaction.open_table(MARKS)?.insert(("cloudflare", 5), (9, 9))?;
            Err(redb::StorageError::Corrupted("made up".into()).into())
        };
        assert!(migrate_by(&database, 1, &[(1, table_of_credentials), (2, failing)]).is_err());
        assert_is_format_1(&database);
        drop(database);
        assert_is_format_1(&Database::open(path).unwrap());
    }

    #[test]
    fn a_crash_between_the_steps_leaves_the_older_format() {
        let scratch = Scratch::new("crash-between-steps");
        let (path, database) = scratch.format_1();
        // A copy of the file in the middle of the transaction is what a crash leaves.
        let transaction = database.begin_write().unwrap();
        table_of_credentials(&transaction).unwrap();
        transaction.open_table(MARKS).unwrap().insert(("cloudflare", 5), (9, 9)).unwrap();
        put_format(&transaction, FORMAT).unwrap();
        let crashed = scratch.0.join("crashed.redb");
        std::fs::copy(&path, &crashed).unwrap();
        transaction.commit().unwrap();
        assert_is_format_1(&Database::open(crashed).unwrap());
    }

    #[test]
    fn the_copy_is_unchanged_and_only_its_owner_can_read_it() {
        let scratch = Scratch::new("kept-copy");
        let (path, database) = scratch.format_1();
        std::fs::write(scratch.0.join("ledger.redb.format-1"), "an earlier attempt").unwrap();
        std::fs::write(scratch.0.join("ledger.redb.format-1.part"), "an incomplete copy").unwrap();
        let copy = keep_copy(&path, 1).unwrap();
        migrate(&database, 1).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&copy.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert_is_format_1(&Database::open(copy).unwrap());
    }
}
