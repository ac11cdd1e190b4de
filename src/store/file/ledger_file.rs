//! The ledger's file: its name, its creation, the check of its format, and the guard against damage that makes redb panic.

use std::cell::Cell;
use std::fs::TryLockError;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use turn_base::access::open_own;

use crate::store::prelude::*;
use crate::store::rows::is_readable;
use crate::store::storage::Broken;

/// The file's name in the state directory.
pub const FILE_NAME: &str = "ledger.redb";

/// The name of a ledger's file until it is complete. An incomplete file that a power cut has left is overwritten.
pub(super) const PART_NAME: &str = "ledger.redb.part";
/// The name of a complete copy of a ledger until no broker starts with the original any more.
pub(super) const COPY_NAME: &str = "ledger.redb.copy";

/// Creates the empty file `part`, or empties an incomplete one. Only its owner can read it, because it will hold the key that signs grant
/// tokens. The process that creates it keeps it locked until it is renamed to the ledger. `is_made`: whether another process has made the
/// ledger. `None`: it has, or makes it now.
pub(super) fn make_part(part: &Path, is_made: impl Fn() -> io::Result<bool>) -> io::Result<Option<File>> {
    let file = open_own(part, File::options().read(true).write(true).truncate(false))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(None),
        locked => locked?,
    }
    // The file may have become the ledger since it was opened.
    if is_made()? {
        return Ok(None);
    }
    file.set_len(0)?;
    Ok(Some(file))
}

thread_local! {
    /// Whether a panic of this thread becomes an error.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `read` and turns a panic into an error. redb panics at some broken pages. The operator gets a remedy, and not the text of the
/// panic.
pub(super) fn catch_panic<T>(read: impl FnOnce() -> T) -> Result<T, Broken> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_CAUGHT.get() {
                previous(panic);
            }
        }));
    });
    let before = IS_CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    IS_CAUGHT.set(before);
    result.map_err(|_| Broken)
}

/// Like [`catch_panic`]; the error has the path.
pub(super) fn guard<T>(path: &Path, read: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
    catch_panic(read).unwrap_or_else(|broken| Err(OpenError::damaged(path, &broken)))
}

/// An error while a ledger file is opened, read or written. An error of the system is a problem of the directory, not a damaged ledger. A
/// file that ends too early is damaged.
pub(super) fn open_error(path: &Path, error: StoreError) -> OpenError {
    match error {
        StoreError::File(redb::Error::DatabaseAlreadyOpen) => OpenError::InUse(path.to_owned()),
        StoreError::File(redb::Error::Io(error))
            if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            OpenError::Directory { path: path.parent().unwrap_or(path).to_owned(), error }
        }
        other => OpenError::damaged(path, &other),
    }
}

/// The format of a file. Refuses one that this version cannot read.
pub(super) fn known_format(path: &Path, found: Option<i32>) -> Result<i32, OpenError> {
    match found {
        Some(found) if is_readable(found) => Ok(found),
        Some(found) => Err(OpenError::OtherFormat { path: path.to_owned(), found }),
        None => Err(OpenError::damaged(path, &"it has no format number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_disk_is_no_damaged_ledger_but_a_file_that_ends_too_early_is_one() {
        let of = |kind| {
            open_error(Path::new("/state/ledger.redb"), redb::StorageError::Io(io::Error::from(kind)).into())
        };
        let disk = of(io::ErrorKind::StaleNetworkFileHandle);
        assert!(matches!(&disk, OpenError::Directory { path, .. } if path == Path::new("/state")), "{disk}");
        assert!(matches!(of(io::ErrorKind::UnexpectedEof), OpenError::Damaged { .. }));
    }
}
