//! The ledger's file: its name, its format, how it is made, and how a damaged one is read.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The format that this version writes.
pub const FORMAT: u32 = 3;
/// The file's name in the state directory.
pub const FILE_NAME: &str = "ledger.redb";

/// Readable by its owner only: it holds the key that signs grant tokens.
pub(super) fn make_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Damage at which the library panics.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("its pages are broken")]
pub(crate) struct Broken;

/// Reads a file that may be damaged in any way. The library does not check a file that was closed in order, and panics at
/// some broken pages. The operator needs a remedy all the same.
pub(crate) fn catch_panic<T>(read: impl FnOnce() -> T) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| Broken)
}
