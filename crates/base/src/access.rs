//! The directories of the service, `STATE_DIR` and `REPORTS_DIR`: permissions that let only the owner of a directory read it, and whether
//! its files outlive a restart. The ledger holds the key that signs grant tokens, and anybody with that key can forge a grant. The reports
//! contain session descriptions and addresses of people.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::geteuid;

/// The user `root`, which can write every file anyway.
const ROOT: u32 = 0;
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// The permission bits of everybody except the owner.
const GROUP_AND_OTHERS: u32 = 0o077;
/// The permission bits of everybody who is neither the owner nor in the group.
const OTHERS: u32 = 0o007;
/// The bit of a directory in which only the owner of a file may remove it. Such a directory is shared on purpose, like `/tmp`.
const STICKY: u32 = 0o1000;

/// The bit of a directory whose files belong to its group. Kubernetes sets it on a volume with `fsGroup`, together with access of the
/// group, at each start.
const SET_GROUP: u32 = 0o2000;

/// Creates the directory, and its parents, for the owner only. An existing one stays as it is.
pub fn make_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)
}

/// Removes the permissions of group and others from the directory that `setting` names, with a warning in the log. A directory that is
/// shared on purpose keeps its permissions. If this user may not change the permissions, there is a warning and no error. If only the group
/// has access because of an `fsGroup` of Kubernetes, there is no warning.
pub fn tighten(directory: &Path, setting: &str) -> io::Result<()> {
    tighten_open(&File::open(directory)?, directory, setting)
}

/// The same as [`tighten`], for a file in the directory. A symbolic link is an error, because its target is not a file of ours. Returns the
/// metadata that the file has afterwards.
pub fn tighten_file(path: &Path, setting: &str) -> io::Result<Metadata> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    tighten_open(&file, path, setting)?;
    file.metadata()
}

/// Opens or creates a file of ours, which only this user can read. A link, a file with a second name and a file of another user are errors:
/// somebody else has put it there.
pub fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or(0);
    let foreign = || {
        let why = format!("{} is not this user's own file: remove it", path.display());
        io::Error::new(ErrorKind::AlreadyExists, why)
    };
    let opened = options.create(true).mode(FILE_MODE).custom_flags(flags).open(path);
    let is_link = |error: &io::Error| error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
    let file = opened.map_err(|error| if is_link(&error) { foreign() } else { error })?;
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() != 1 || found.uid() != geteuid().as_raw() {
        return Err(foreign());
    }
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

/// The owner of a file, or of a link on the way to it, if that is neither this user nor root: it could have been put there for others.
pub fn foreign_owner(path: &Path) -> Option<u32> {
    let found = [std::fs::symlink_metadata(path), std::fs::metadata(path)];
    let owners = found.into_iter().flatten().map(|found| found.uid());
    owners.into_iter().find(|owner| *owner != ROOT && *owner != geteuid().as_raw())
}

/// See [`tighten`]. `path`: that of the open `file`.
fn tighten_open(file: &File, path: &Path, setting: &str) -> io::Result<()> {
    let metadata = file.metadata()?;
    let mode = metadata.permissions().mode();
    let most = if metadata.is_dir() { DIRECTORY_MODE } else { FILE_MODE };
    let (shown, was) = (path.display(), format!("{:04o}", mode & 0o7777));
    if mode & GROUP_AND_OTHERS == 0 {
        return Ok(());
    }
    if mode & STICKY != 0 {
        tracing::warn!("{shown} is a directory that others share (mode {was}): set {setting} to another one");
        return Ok(());
    }
    // The owner gets no further permissions: a read-only file stays read-only.
    let tightened = mode & (most | SET_GROUP);
    let parent = path.parent().and_then(|parent| std::fs::metadata(parent).ok());
    let parent_mode = parent.map_or(0, |parent| parent.permissions().mode());
    let changed = file.set_permissions(Permissions::from_mode(tightened));
    // Some file systems accept every mode and keep their own.
    match changed.and_then(|()| require_mode(tightened, file.metadata()?.permissions().mode())) {
        // Whether the change worked or not: Kubernetes gives the group access again at each start, so an operator could not follow a
        // warning.
        _ if (mode | parent_mode) & SET_GROUP != 0 && mode & OTHERS == 0 => {
            tracing::debug!("the group of {shown} has access (mode {was}), as the volume has an fsGroup");
        }
        Ok(()) => tracing::warn!(
            "others had access to {shown} (mode {was}): it is now {tightened:04o}, because only the service may read what is in {setting}"
        ),
        Err(error) => tracing::warn!(
            %error,
            "others have access to {shown} (mode {was}), and this user cannot change that: make the service's user its owner, with mode {most:04o}"
        ),
    }
    Ok(())
}

/// Fails if group or others have more permissions than those of `most`, although nobody has given them.
pub fn require_mode(most: u32, found: u32) -> io::Result<()> {
    if found & !most & GROUP_AND_OTHERS == 0 {
        return Ok(());
    }
    let why = format!("its file system keeps no modes: every file has {:04o}", found & 0o7777);
    Err(io::Error::new(ErrorKind::PermissionDenied, why))
}

/// The kind of the directory's file system, if its files are lost with the machine's memory or with the container. `None` if its files
/// outlive both, or if nobody knows.
pub fn volatile_kind(directory: &Path) -> Option<&'static str> {
    // The numbers are those of linux/magic.h.
    match u64::try_from(rustix::fs::statfs(directory).ok()?.f_type).ok()? {
        0x0102_1994 => Some("tmpfs"),
        0x8584_58f6 => Some("ramfs"),
        0x794c_7630 => Some("overlayfs"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_that_somebody_else_has_put_there_is_not_opened() {
        let directory = tempfile::tempdir().unwrap();
        let [own, link, second] = ["own", "link", "second"].map(|name| directory.path().join(name));
        let open = |path: &Path| open_own(path, File::options().write(true).truncate(false));
        open(&own).unwrap();
        std::fs::set_permissions(&own, Permissions::from_mode(0o666)).unwrap();
        open(&own).unwrap();
        assert_eq!(mode_of(&own), 0o600);
        assert_eq!(foreign_owner(&own), None);
        std::os::unix::fs::symlink(&own, &link).unwrap();
        assert!(open(&link).is_err());
        std::fs::hard_link(&own, &second).unwrap();
        assert!(open(&own).is_err() && open(&second).is_err());
        std::fs::remove_file(&second).unwrap();
        open(&own).unwrap();
        // Only root can make a file that belongs to another user.
        if std::os::unix::fs::chown(&own, Some(65_534), None).is_ok() {
            assert!(open(&own).is_err());
            assert_eq!([foreign_owner(&own), foreign_owner(&link)], [Some(65_534); 2]);
        }
    }

    #[test]
    fn others_lose_their_access_and_the_owner_gains_none() {
        let parent = tempfile::tempdir().unwrap();
        let (file, directory) = (parent.path().join("file"), parent.path().join("directory"));
        std::fs::write(&file, "").unwrap();
        make_directory(&directory).unwrap();
        let tightened = |path: &Path, mode| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            if path.is_dir() {
                tighten(path, "STATE_DIR").unwrap();
            } else {
                tighten_file(path, "STATE_DIR").map(drop).unwrap();
            }
            mode_of(path)
        };
        assert_eq!([0o600, 0o644, 0o444].map(|mode| tightened(&file, mode)), [0o600, 0o600, 0o400]);
        let modes = [0o700, 0o775, 0o1777].map(|mode| tightened(&directory, mode));
        assert_eq!(modes, [0o700, 0o700, 0o1777], "a directory like /tmp is shared on purpose");
    }

    #[test]
    fn a_mode_that_was_set_is_in_force_only_if_nobody_else_has_more_than_it_gives() {
        for (most, found, is_kept) in [
            (0o600, 0o100_600, true),
            (0o600, 0o100_777, false),
            (0o600, 0o100_640, false),
            (0o2700, 0o42_700, true),
            (0o700, 0o500, true),
        ] {
            assert_eq!(require_mode(most, found).is_ok(), is_kept, "{most:o} {found:o}");
        }
    }

    #[test]
    fn a_file_system_in_memory_is_named() {
        assert_eq!(volatile_kind(Path::new("/dev/shm")), Some("tmpfs"));
        assert_eq!(volatile_kind(Path::new("/proc")), None);
        assert_eq!(volatile_kind(Path::new("/no/such/directory")), None);
    }

    #[test]
    fn a_new_directory_and_its_missing_parent_are_private() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("a/b");
        make_directory(&directory).unwrap();
        assert_eq!((mode_of(&directory), mode_of(&parent.path().join("a"))), (0o700, 0o700));
    }
}
