//! The ledger's file: its name, its creation, and the guard against damage that makes redb panic.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The file's name in the state directory.
pub const FILE_NAME: &str = "ledger.redb";

/// Creates a file that only its owner can read: it holds the key that signs grant tokens.
pub(super) fn make_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Damage at which redb panics.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("its pages are broken")]
pub struct Broken;

/// Runs `read` and turns a panic into an error. redb does not check a file that was closed properly, and it panics at some
/// broken pages. The operator needs a remedy instead.
pub(crate) fn catch_panic<T>(read: impl FnOnce() -> T) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| Broken)
}
