//! What a ledger's file is called, which format it has, how one is made, and how one that may be damaged is read.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The format that this version writes.
pub const FORMAT: u32 = 2;
/// The file's name in the state directory.
pub const FILE_NAME: &str = "ledger.redb";

/// For this user's eyes only: it holds the key that signs grant tokens.
pub(super) fn make_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Damage that the library takes for a fault of its own.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("its pages are broken")]
pub(crate) struct Broken;

/// Reads what may be damaged in any way. A file that was closed in order is not checked by the library when it is opened, and
/// it panics at some pages that make no sense; whoever looks after a ledger is to be told what to do all the same.
pub(crate) fn survive<T>(read: impl FnOnce() -> T) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| Broken)
}
