//! The permissions of `STATE_DIR`: only its owner may read the ledger, and nobody else may have written it.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use rustix::process::geteuid;
use turn_base::access;

use super::ledger_file::FILE_NAME;
use crate::store::prelude::*;

/// The user `root`, which can write every file anyway.
const ROOT: u32 = 0;
/// The permissions of everybody except the owner to write.
const WRITE_OF_OTHERS: u32 = 0o022;

/// Refuses a directory whose file system keeps no modes if others may write every file there. A new file without a name shows that, so
/// nothing is changed. Where none can be made, other errors say why.
pub fn require_modes(directory: &Path) -> Result<(), OpenError> {
    let made = tempfile::tempfile_in(directory).and_then(|file| file.metadata());
    let kept = made.map_or(Ok(()), |made| access::require_mode(!WRITE_OF_OTHERS, made.permissions().mode()));
    kept.map_err(|error| OpenError::Directory { path: directory.to_owned(), error })
}

/// Removes the permissions of others from the directory and from the ledger's files in it, with a warning for each. A permission that
/// cannot be removed is only a warning too, unless it lets others write the ledger. Refuses a ledger that is a link, or that belongs
/// neither to this user nor to root.
pub(super) fn tighten(directory: &Path) -> Result<(), OpenError> {
    let ledger = directory.join(FILE_NAME);
    let untrusted = |why| OpenError::Untrusted { path: ledger.clone(), why };
    if std::fs::symlink_metadata(&ledger).is_ok_and(|found| found.is_symlink()) {
        return Err(untrusted("it is a link".to_owned()));
    }
    let unusable = |error| OpenError::Directory { path: directory.to_owned(), error };
    let Some(found) = tighten_files(directory).map_err(unusable)? else { return Ok(()) };
    distrust(found.uid(), geteuid().as_raw(), found.permissions().mode()).map_err(untrusted)
}

/// Why a ledger with this owner and these permissions is not trusted by this user.
fn distrust(owner: u32, user: u32, mode: u32) -> Result<(), String> {
    if owner != user && owner != ROOT {
        return Err(format!("it belongs to user {owner}, and the service runs as user {user}"));
    }
    if mode & WRITE_OF_OTHERS != 0 {
        return Err(format!(
            "others may write it (mode {:04o}), and this user cannot change that",
            mode & 0o7777
        ));
    }
    Ok(())
}

/// Removes the permissions of others. Returns the metadata that the ledger has afterwards; `None` without a ledger.
fn tighten_files(directory: &Path) -> io::Result<Option<Metadata>> {
    access::tighten(directory, "STATE_DIR")?;
    let mut ledger = None;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        // Only the ledger and its copies.
        let name = entry.file_name();
        if !name.to_string_lossy().starts_with(FILE_NAME) || !entry.file_type()?.is_file() {
            continue;
        }
        match access::tighten_file(&entry.path(), "STATE_DIR") {
            Ok(found) if name == FILE_NAME => ledger = Some(found),
            // The metadata of a file that this user may not read says at least who owns it.
            Err(error) if name == FILE_NAME && error.kind() == ErrorKind::PermissionDenied => {
                ledger = Some(entry.metadata()?);
            }
            Err(error) if name == FILE_NAME => return Err(error),
            // The service starts whatever is wrong with a copy.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(ledger)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode_of(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn copies_of_the_ledger_are_tightened_and_other_files_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["ledger.redb", "ledger.redb.copy", "notes.txt"] {
            std::fs::write(path(name), "x").unwrap();
            std::fs::set_permissions(path(name), Permissions::from_mode(0o644)).unwrap();
        }
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        tighten(directory.path()).unwrap();
        let modes = ["", "ledger.redb", "ledger.redb.copy", "notes.txt"].map(|name| mode_of(&path(name)));
        assert_eq!(modes, [0o700, 0o600, 0o600, 0o644]);
    }

    #[test]
    fn a_ledger_that_is_a_link_is_refused_and_nothing_is_changed_where_a_link_leads() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::NamedTempFile::new().unwrap();
        std::fs::set_permissions(elsewhere.path(), Permissions::from_mode(0o644)).unwrap();
        for name in ["ledger.redb.copy", "ledger.redb"] {
            std::os::unix::fs::symlink(elsewhere.path(), directory.path().join(name)).unwrap();
            let tightened = tighten(directory.path()).map_err(|error| error.to_string());
            let is_refused =
                tightened.is_err_and(|error| error.contains("ledger.redb is not trusted: it is a link"));
            assert_eq!(is_refused, name == FILE_NAME);
        }
        assert_eq!(mode_of(elsewhere.path()), 0o644);
    }

    #[test]
    fn a_trusted_ledger_belongs_to_its_service_or_to_root_and_nobody_else_may_write_it() {
        assert_eq!([distrust(7, 7, 0o600), distrust(0, 7, 0o100_644)], [Ok(()), Ok(())]);
        let refused = |owner, user, mode| distrust(owner, user, mode).unwrap_err();
        assert_eq!(refused(8, 7, 0o600), "it belongs to user 8, and the service runs as user 7");
        assert_eq!(refused(8, 0, 0o600), "it belongs to user 8, and the service runs as user 0");
        for mode in [0o100_666, 0o620, 0o602] {
            assert!(refused(7, 7, mode).starts_with("others may write it (mode 06"), "{mode:o}");
        }
    }
}
