//! The permissions of `STATE_DIR`: only its owner may read the ledger.

use std::io;
use std::path::Path;

use turn_base::access;

use super::ledger_file::FILE_NAME;

/// Removes the permissions of others from the directory and from the ledger's files in it, with a warning for each. A
/// permission that cannot be changed is only a warning too, because a file system without permissions must not stop the
/// service.
pub(super) fn tighten(directory: &Path) -> io::Result<()> {
    access::tighten(directory, "STATE_DIR")?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        // The ledger and its copies.
        let is_ours = entry.file_name().to_string_lossy().starts_with(FILE_NAME);
        if is_ours && entry.path().is_file() {
            access::tighten(&entry.path(), "STATE_DIR")?;
        }
    }
    Ok(())
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
}
