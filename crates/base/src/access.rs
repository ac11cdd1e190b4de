//! The permissions of the directories of the service, `STATE_DIR` and `REPORTS_DIR`: only their owner may read them. The ledger holds the
//! key that signs grant tokens, and anybody with that key can forge a grant. A report is what its sender saw.

use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// Permissions of the directory.
const DIRECTORY_MODE: u32 = 0o700;
/// Permissions of its files.
const FILE_MODE: u32 = 0o600;
/// The permission bits of everybody except the owner.
const OTHERS: u32 = 0o077;
/// The bit of a directory in which only the owner of a file may remove it. Such a directory is shared on purpose, like `/tmp`.
const STICKY: u32 = 0o1000;

/// Creates the directory, and its parents, for the owner only. An existing one stays as it is.
pub fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)
}

/// Removes the permissions of others from the directory that `setting` names, with a warning.
pub fn tighten_directory(directory: &Path, setting: &str) -> io::Result<()> {
    tighten_one(directory, DIRECTORY_MODE, setting)
}

/// Removes the permissions of others from a file in the directory that `setting` names, with a warning.
pub fn tighten_file(file: &Path, setting: &str) -> io::Result<()> {
    tighten_one(file, FILE_MODE, setting)
}

fn tighten_one(path: &Path, most: u32, setting: &str) -> io::Result<()> {
    let mode = std::fs::metadata(path)?.permissions().mode();
    let shown = path.display();
    let was = format!("{:04o}", mode & 0o7777);
    match judge(mode, most) {
        Access::Private => {}
        Access::Shared => tracing::warn!(
            "{shown} is a directory that others share (mode {was}): set {setting} to a directory of its own"
        ),
        Access::Loose { tightened } => {
            match std::fs::set_permissions(path, Permissions::from_mode(tightened)) {
                Ok(()) => tracing::warn!(
                    "others had access to {shown} (mode {was}): it is now {tightened:04o}, because only the service may read what is in {setting}"
                ),
                Err(error) => tracing::warn!(
                    %error,
                    "others have access to {shown} (mode {was}), and this user cannot change that: make the service's user its owner, with mode {most:04o}"
                ),
            }
        }
    }
    Ok(())
}

/// Who has access.
#[derive(Debug, PartialEq, Eq)]
enum Access {
    Private,
    Shared,
    /// Others have access and should not.
    Loose {
        /// The mode without them.
        tightened: u32,
    },
}

/// `most`: the permissions that are allowed. The owner gets no further ones: a read-only file stays read-only.
fn judge(mode: u32, most: u32) -> Access {
    match mode {
        mode if mode & OTHERS == 0 => Access::Private,
        mode if mode & STICKY != 0 => Access::Shared,
        mode => Access::Loose { tightened: mode & most },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn others_lose_their_access_and_the_owner_gains_none() {
        for (mode, most, expected) in [
            (0o100_600, FILE_MODE, Access::Private),
            (0o100_644, FILE_MODE, Access::Loose { tightened: 0o600 }),
            (0o100_444, FILE_MODE, Access::Loose { tightened: 0o400 }),
            (0o040_700, DIRECTORY_MODE, Access::Private),
            (0o042_775, DIRECTORY_MODE, Access::Loose { tightened: 0o700 }),
            (0o041_777, DIRECTORY_MODE, Access::Shared),
        ] {
            assert_eq!(judge(mode, most), expected, "{mode:o}");
        }
    }

    #[test]
    fn a_new_directory_and_its_missing_parent_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/b");
        make_directory(&directory).unwrap();
        assert_eq!((mode_of(&directory), mode_of(&parent.path().join("a"))), (0o700, 0o700));
    }
}
