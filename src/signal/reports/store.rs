//! Reports on disk: a file for each one that has a UUID, and a file of short notes for each day. Only the owner may read them.
//! Everything is removed after [`KEPT`], and the number and the size of files are bounded: the oldest ones make room.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use turn_ledger::Timestamp;
use turn_signaling::uuid::is_uuid;

/// How long a report is kept.
pub const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// The most files. A report has at most 1 MiB.
pub const FILES_MAX: usize = 256;
/// The most bytes of the notes of one kind and day.
pub const NOTES_MAX: u64 = 1024 * 1024;
/// Notes about the quality of a call.
pub const QUALITY: &str = "quality-";
/// Notes about a page that was loaded again.
pub const REFRESH: &str = "refresh-";

/// A directory of reports. One thread at a time changes it.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// Creates the directory, and its parents, for the owner only. An existing one stays as it is.
    pub fn open(directory: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        Ok(Self { directory })
    }

    /// Keeps a report under a new UUID.
    pub fn keep(&self, id: &str, json: &[u8], now: Timestamp) -> io::Result<()> {
        self.append(&self.report(id), json, now)
    }

    /// A kept report. `None` if there is none with this UUID, or it is too old.
    pub fn read(&self, id: &str, now: Timestamp) -> io::Result<Option<Vec<u8>>> {
        let path = self.report(id);
        // Only a UUID names a file in this directory.
        if !is_uuid(id) || !path.exists() || modified(&path)? <= oldest(now) {
            return Ok(None);
        }
        fs::read(path).map(Some)
    }

    /// Adds a line to the notes of the day. `false` if they are full.
    pub fn note(&self, kind: &str, line: &str, now: Timestamp) -> io::Result<bool> {
        let day = now.to_utc().date_naive();
        let path = self.directory.join(format!("{kind}{day}.jsonl"));
        let line = format!("{line}\n");
        let length = fs::metadata(&path).map_or(0, |file| file.len());
        let has_room = length + u64::try_from(line.len()).unwrap_or(NOTES_MAX) <= NOTES_MAX;
        if has_room {
            self.append(&path, line.as_bytes(), now)?;
        }
        Ok(has_room)
    }

    /// Removes what is too old.
    pub fn sweep(&self, now: Timestamp) -> io::Result<()> {
        self.make_room(FILES_MAX, now)
    }

    /// Appends to a file, and sets the file's time to that of the service. A failure leaves nothing behind.
    fn append(&self, path: &Path, bytes: &[u8], now: Timestamp) -> io::Result<()> {
        self.make_room(FILES_MAX - usize::from(!path.exists()), now)?;
        let mut file = File::options().append(true).create(true).mode(0o600).open(path)?;
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
        for entry in fs::read_dir(&self.directory)? {
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
        self.directory.join(format!("{id}.json"))
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
        let mut names: Vec<_> = fs::read_dir(&store.directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_report_is_read_with_its_uuid_for_seven_days() {
        let (_directory, store) = store();
        store.keep(&uuid(1), b"{}", NOON).unwrap();
        let last = NOON.plus(KEPT.saturating_sub(Duration::from_millis(1)));
        assert_eq!(store.read(&uuid(1), last).unwrap().as_deref(), Some(&b"{}"[..]));
        assert_eq!(store.read(&uuid(1), NOON.plus(KEPT)).unwrap(), None);
        assert_eq!(store.read(&uuid(2), NOON).unwrap(), None);
        assert_eq!(store.read("../reports", NOON).unwrap(), None);
        store.sweep(last).unwrap();
        assert_eq!(names(&store).len(), 1);
        store.sweep(NOON.plus(KEPT)).unwrap();
        assert_eq!(names(&store).len(), 0);
    }

    #[test]
    fn only_the_owner_may_read() {
        let (_directory, store) = store();
        store.keep(&uuid(1), b"{}", NOON).unwrap();
        store.note(REFRESH, "{}", NOON).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.directory), 0o700);
        for name in names(&store) {
            assert_eq!(mode(&store.directory.join(name)), 0o600);
        }
    }

    #[test]
    fn the_oldest_files_make_room_and_other_files_stay() {
        let (_directory, store) = store();
        let foreign = ["notes.txt", "quality-.txt", "backup.json"];
        for name in foreign {
            fs::write(store.directory.join(name), "mine").unwrap();
        }
        store.note(QUALITY, "first", NOON).unwrap();
        let at = |n: u64| NOON.plus(Duration::from_secs(n));
        for n in 1..=256 {
            store.keep(&uuid(n.into()), b"{}", at(n)).unwrap();
        }
        assert_eq!(names(&store).len(), FILES_MAX + foreign.len());
        let notes = "quality-2025-01-15.jsonl".to_owned();
        assert!(!names(&store).contains(&notes), "the notes were the oldest");
        store.keep(&uuid(999), b"{}", at(999)).unwrap();
        assert_eq!(store.read(&uuid(1), at(999)).unwrap(), None);
        assert!(store.read(&uuid(2), at(999)).unwrap().is_some());
        store.sweep(NOON.plus(KEPT * 2)).unwrap();
        assert_eq!(names(&store), ["backup.json", "notes.txt", "quality-.txt"]);
    }

    #[test]
    fn notes_are_lines_of_a_day_and_bounded() {
        let (_directory, store) = store();
        assert!(store.note(QUALITY, "a", NOON).unwrap());
        assert!(store.note(QUALITY, "b", NOON).unwrap());
        assert!(store.note(QUALITY, "c", NOON.plus(Duration::from_secs(86_400))).unwrap());
        assert!(store.note(REFRESH, "d", NOON).unwrap());
        assert_eq!(
            names(&store),
            ["quality-2025-01-15.jsonl", "quality-2025-01-16.jsonl", "refresh-2025-01-15.jsonl"]
        );
        let file = store.directory.join("quality-2025-01-15.jsonl");
        assert_eq!(fs::read_to_string(&file).unwrap(), "a\nb\n");
        let rest = "x".repeat(1_048_576 - 5);
        assert!(!store.note(QUALITY, &format!("{rest}x"), NOON).unwrap());
        assert!(store.note(QUALITY, &rest, NOON).unwrap());
        assert!(!store.note(QUALITY, "", NOON).unwrap());
        assert_eq!(fs::metadata(&file).unwrap().len(), NOTES_MAX);
    }
}
