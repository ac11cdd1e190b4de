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
use turn_signaling::uuid::is_uuid;

/// How long a report is kept.
pub(crate) const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// The most files. A report has at most 1 MiB.
pub(crate) const FILES_MAX: usize = 640;
/// The most bytes of the notes of one kind and day.
pub(crate) const NOTES_MAX: u64 = 2_560 * 1024;
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

    /// Keeps a report under a new UUID.
    pub(crate) fn keep(&self, id: &str, json: &[u8], now: Timestamp) -> io::Result<()> {
        self.append(&self.report(id), json, now)
    }

    /// A kept report. `None` if there is none with this UUID, or it is too old.
    pub(crate) fn read(&self, id: &str, now: Timestamp) -> io::Result<Option<Vec<u8>>> {
        let path = self.report(id);
        // Only a UUID names a file in this directory.
        if !is_uuid(id) || !path.exists() || modified(&path)? <= oldest(now) {
            return Ok(None);
        }
        fs::read(path).map(Some)
    }

    /// Adds a line to the notes of the day. `false` if they are full.
    pub(crate) fn note(&self, kind: &'static str, line: &str, now: Timestamp) -> io::Result<bool> {
        let day = now.to_utc().date_naive();
        let path = self.0.join(format!("{kind}{day}.jsonl"));
        let length = fs::metadata(&path).map_or(0, |file| file.len());
        let has_room = length + u64::try_from(line.len()).unwrap_or(NOTES_MAX) <= NOTES_MAX;
        if has_room {
            self.append(&path, line.as_bytes(), now)?;
        }
        Ok(has_room)
    }

    /// Removes what is too old.
    pub(crate) fn sweep(&self, now: Timestamp) -> io::Result<()> {
        self.make_room(FILES_MAX, now)
    }

    /// Appends to a file, and sets the file's time to that of the service. A failure leaves nothing behind.
    fn append(&self, path: &Path, bytes: &[u8], now: Timestamp) -> io::Result<()> {
        self.make_room(FILES_MAX - usize::from(!path.exists()), now)?;
        // Where a link leads to is none of our files.
        let no_link = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
        let mut file =
            File::options().append(true).create(true).mode(0o600).custom_flags(no_link).open(path)?;
        let length = file.metadata()?.len();
        let written = file.write_all(bytes).and_then(|()| file.set_modified(system(now)));
        if written.is_err() {
            let _ = if length == 0 { fs::remove_file(path) } else { file.set_len(length) };
        }
        written
    }

    /// Removes what is too old, and then the oldest files until there are at most `most`.
    fn make_room(&self, most: usize, now: Timestamp) -> io::Result<()> {
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

    fn report(&self, id: &str) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }
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
        store.keep(&uuid(1), b"{}", NOON).unwrap();
        store.note(REFRESH, "{}", NOON).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700, "others lose their access to a directory that exists");
        assert!(names(&store).iter().all(|name| mode(&directory.join(name)) == 0o600));
        let elsewhere = parent.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, store.report(&uuid(2))).unwrap();
        assert!(store.keep(&uuid(2), b"{}", NOON).is_err() && !elsewhere.exists());
    }

    #[test]
    fn the_oldest_files_make_room_and_other_files_stay() {
        let (_directory, store) = store();
        let foreign = ["backup.json", "notes.txt", "quality-.txt"];
        for name in foreign {
            fs::write(store.0.join(name), "mine").unwrap();
        }
        store.note(QUALITY, "first", NOON).unwrap();
        let at = |n: u64| NOON.plus(Duration::from_secs(n));
        for n in 1..=640 {
            store.keep(&uuid(n.into()), b"{}", at(n)).unwrap();
        }
        assert_eq!(names(&store).len(), FILES_MAX + foreign.len());
        assert!(!names(&store).contains(&"quality-2025-01-15.jsonl".to_owned()), "the notes were the oldest");
        store.keep(&uuid(999), b"{}", at(999)).unwrap();
        assert_eq!(store.read(&uuid(1), at(999)).unwrap(), None);
        assert!(store.read(&uuid(2), at(999)).unwrap().is_some());
        store.sweep(at(999).plus(KEPT.saturating_sub(Duration::from_millis(1)))).unwrap();
        assert_eq!(names(&store).len(), 1 + foreign.len());
        store.sweep(at(999).plus(KEPT)).unwrap();
        assert_eq!(names(&store), foreign);
    }

    #[test]
    fn four_48s_leave_room_for_others() {
        use crate::reports::{KEPT_BURST, NOTE_BYTES_BURST};
        use turn_limits::SHARES;
        // While something is kept, a client sends what it may send at once, and as much again.
        let of_clients = |burst: u32| SHARES * 2 * usize::try_from(burst).unwrap();
        assert_eq!(FILES_MAX, of_clients(KEPT_BURST));
        assert_eq!(NOTES_MAX, u64::try_from(of_clients(NOTE_BYTES_BURST)).unwrap());
    }

    #[test]
    fn notes_are_lines_of_a_day_and_bounded() {
        let (_directory, store) = store();
        let note = |line: &str| store.note(QUALITY, line, NOON).unwrap();
        assert!(note("a\n") && note("b\n"));
        let file = store.0.join("quality-2025-01-15.jsonl");
        assert_eq!(fs::read_to_string(&file).unwrap(), "a\nb\n");
        let rest = "x".repeat(2560 * 1024 - 4);
        assert!(!note(&format!("{rest}x")) && note(&rest) && !note("x"));
        assert_eq!(fs::metadata(&file).unwrap().len(), NOTES_MAX);
        let tomorrow = NOON.plus(Duration::from_secs(86_400));
        assert!(store.note(QUALITY, "x", tomorrow).unwrap(), "another day");
    }
}
