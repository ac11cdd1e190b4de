//! Reports on disk: a file for each one that has a UUID, and a file of short notes for each day. Only the owner may read them.
//! Everything is removed after [`KEPT`], and the number and the size of files are bounded: the oldest ones make room.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use turn_base::access;
use turn_ledger::Timestamp;
use turn_limits::SHARES;
use turn_signaling::uuid::is_uuid;

/// How long a report is kept.
pub(crate) const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// Bug reports of one client that are kept at once. One more is kept after a sixteenth of [`KEPT`].
pub(crate) const KEPT_BURST: usize = 16;
/// Bytes of the notes of one client at once. The same again comes back within a day.
pub(crate) const NOTE_BYTES_BURST: usize = 64 * 1024;
/// The most files. In the time that a report is kept, a client can send two bursts: one at once, and one as it comes back.
pub(crate) const FILES_MAX: usize = SHARES * 2 * KEPT_BURST;
/// The most bytes of a file. Only the notes of a kind and day can reach it, because a report is shorter. Here too, a client can send two
/// bursts.
pub(crate) const NOTES_MAX: usize = SHARES * 2 * NOTE_BYTES_BURST;
/// Notes about the quality of a call.
pub(crate) const QUALITY: &str = "quality-";
/// Notes about a page that was loaded again.
pub(crate) const REFRESH: &str = "refresh-";

/// A directory of reports. One thread at a time changes it.
#[derive(Debug)]
pub(crate) struct Store(PathBuf);

impl Store {
    /// Creates the directory, and its parents, for the owner only. Others lose their access to an existing one.
    pub(crate) fn open(directory: PathBuf) -> io::Result<Self> {
        access::make_directory(&directory)?;
        access::tighten_directory(&directory, "REPORTS_DIR")?;
        Ok(Self(directory))
    }

    /// A kept report. `None` if there is none with this UUID, or it is too old.
    pub(crate) fn read(&self, id: &str, now: Timestamp) -> io::Result<Option<Vec<u8>>> {
        let path = self.0.join(report(id));
        // Only a UUID names a file in this directory.
        if !is_uuid(id) || !path.exists() || modified(&path)? <= oldest(now) {
            return Ok(None);
        }
        fs::read(path).map(Some)
    }

    /// Adds to a file, which is made if it is missing, and sets its time to that of the service. `false` if the file is full. A failure
    /// leaves nothing behind.
    pub(crate) fn append(&self, name: &str, bytes: &[u8], now: Timestamp) -> io::Result<bool> {
        let path = self.0.join(name);
        self.sweep(FILES_MAX - usize::from(!path.exists()), now)?;
        // Where a link leads to is none of our files.
        let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let mut file =
            File::options().append(true).create(true).mode(0o600).custom_flags(no_link).open(&path)?;
        let length = file.metadata()?.len();
        if usize::try_from(length).unwrap_or(NOTES_MAX) + bytes.len() > NOTES_MAX {
            return Ok(false);
        }
        let written = file.write_all(bytes).and_then(|()| file.set_modified(system(now)));
        if written.is_err() {
            let _ = if length == 0 { fs::remove_file(&path) } else { file.set_len(length) };
        }
        written.map(|()| true)
    }

    /// Removes what is too old, and then the oldest files until there are at most `most`.
    pub(crate) fn sweep(&self, most: usize, now: Timestamp) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_ours) {
                files.push((modified(&entry.path())?, entry.path()));
            }
        }
        files.sort_unstable();
        let excess = files.len().saturating_sub(most);
        for (at, (age, path)) in files.iter().enumerate() {
            if at < excess || *age <= oldest(now) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// The name of the file of a report.
pub(crate) fn report(id: &str) -> String {
    format!("{id}.json")
}

/// The name of the file of the notes of a kind and day.
pub(crate) fn notes(kind: &str, now: Timestamp) -> String {
    format!("{kind}{}.jsonl", now.to_utc().date_naive())
}

/// Whether this module has made the file.
fn is_ours(name: &str) -> bool {
    let is_note = |name: &str| name.starts_with(QUALITY) || name.starts_with(REFRESH);
    name.strip_suffix(".json").is_some_and(is_uuid) || name.strip_suffix(".jsonl").is_some_and(is_note)
}

fn modified(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// What was changed at this time or before is too old.
fn oldest(now: Timestamp) -> SystemTime {
    system(now).checked_sub(KEPT).unwrap_or(UNIX_EPOCH)
}

fn system(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;
    use turn_signaling::uuid::uuid;

    const NOON: Timestamp = Timestamp::from_millis(1_736_942_400_000);

    fn store() -> (TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("reports")).unwrap();
        (directory, store)
    }

    fn names(store: &Store) -> Vec<String> {
        let files = fs::read_dir(&store.0).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn only_the_owner_may_read_and_no_link_is_followed() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("reports");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let store = Store::open(directory.clone()).unwrap();
        store.append(&report(&uuid(1)), b"{}", NOON).unwrap();
        store.append(&notes(REFRESH, NOON), b"{}", NOON).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700, "others lose their access to a directory that exists");
        assert!(names(&store).iter().all(|name| mode(&directory.join(name)) == 0o600));
        let elsewhere = parent.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, directory.join(report(&uuid(2)))).unwrap();
        assert!(store.append(&report(&uuid(2)), b"{}", NOON).is_err() && !elsewhere.exists());
    }

    #[test]
    fn the_oldest_files_make_room_and_other_files_stay() {
        let (_directory, store) = store();
        let foreign = ["backup.json", "notes.txt", "quality-.txt"];
        for name in foreign {
            fs::write(store.0.join(name), "mine").unwrap();
        }
        store.append(&notes(QUALITY, NOON), b"first", NOON).unwrap();
        let at = |n: u64| NOON.plus(Duration::from_secs(n));
        for n in 1..=640 {
            store.append(&report(&uuid(n.into())), b"{}", at(n)).unwrap();
        }
        assert_eq!(names(&store).len(), FILES_MAX + foreign.len());
        assert!(!names(&store).contains(&"quality-2025-01-15.jsonl".to_owned()), "the notes were the oldest");
        store.append(&report(&uuid(999)), b"{}", at(999)).unwrap();
        assert_eq!(store.read(&uuid(1), at(999)).unwrap(), None);
        assert!(store.read(&uuid(2), at(999)).unwrap().is_some());
        store.sweep(FILES_MAX, at(999).plus(KEPT.saturating_sub(Duration::from_millis(1)))).unwrap();
        assert_eq!(names(&store).len(), 1 + foreign.len());
        store.sweep(FILES_MAX, at(999).plus(KEPT)).unwrap();
        assert_eq!(names(&store), foreign);
    }

    #[test]
    fn a_file_is_bounded() {
        let (_directory, store) = store();
        let note = |line: &str| store.append("a.jsonl", line.as_bytes(), NOON).unwrap();
        let rest = "x".repeat(2560 * 1024 - 2);
        assert!(note("a\n") && !note(&format!("{rest}x")) && note(&rest) && !note("x"));
        assert_eq!(fs::metadata(store.0.join("a.jsonl")).unwrap().len(), 2560 * 1024);
    }
}
