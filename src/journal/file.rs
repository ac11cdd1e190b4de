//! What a ledger's file is called, which format it has, and how one is made.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The format that this version writes.
pub const FORMAT: u32 = 2;
/// The file's name in the state directory.
pub const FILE_NAME: &str = "ledger.redb";

/// For this user's eyes only: it holds the key that signs grant tokens.
pub(super) fn make_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).mode(0o600).open(path)
}
