//! Reports on disk: a file for each one that has a UUID, and a file of short notes for each day. Only the owner may read them.
//! Everything is removed after [`KEPT`], and the number and the size of files are bounded: the oldest ones make room.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use turn_ledger::Timestamp;
use turn_signaling::uuid::is_uuid;

/// How long a report is kept.
pub const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// The most files. A report has at most 1 MiB.
pub const FILES_MAX: usize = 256;
/// The most bytes of the notes of one kind and day.
pub const NOTES_MAX: u64 = 1024 * 1024;

const REPORT: &str = ".json";
const NOTES: &str = ".jsonl";

/// The kind of a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The quality of a call.
    Quality,
    /// A page has been loaded again.
    Refresh,
}

impl Note {
    const ALL: [Self; 2] = [Self::Quality, Self::Refresh];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Quality => "quality-",
            Self::Refresh => "refresh-",
        }
    }
}

/// A directory of reports.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    /// Held while files are made or removed, so that the bounds hold. Its holder waits for the disk, never for a task.
    changing: Mutex<()>,
}

impl Store {
    /// Creates the directory, and its parents, for the owner only. An existing one stays as it is.
    pub fn open(directory: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        Ok(Self { directory, changing: Mutex::new(()) })
    }

    /// Keeps a report under a new UUID.
    pub fn keep(&self, id: &str, json: &[u8], now: Timestamp) -> io::Result<()> {
        let path = self.report(id).ok_or(ErrorKind::InvalidInput)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.make_room(FILES_MAX - 1, now)?;
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        let written = write(&file, json, now);
        if written.is_err() {
            let _ = fs::remove_file(&path);
        }
        written
    }

    /// A kept report. `None` if there is none with this UUID, or it is too old.
    pub fn read(&self, id: &str, now: Timestamp) -> io::Result<Option<Vec<u8>>> {
        let Some(path) = self.report(id) else { return Ok(None) };
        let is_kept = |path: &Path| Ok::<_, io::Error>(fs::metadata(path)?.modified()? > oldest(now));
        match is_kept(&path).and_then(|is_kept| is_kept.then(|| fs::read(&path)).transpose()) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => read,
        }
    }

    /// Adds a line to the notes of the day. `false` if they are full.
    pub fn note(&self, note: Note, line: &str, now: Timestamp) -> io::Result<bool> {
        let day = now.to_utc().date_naive();
        let path = self.directory.join(format!("{}{day}{NOTES}", note.prefix()));
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if !path.exists() {
            self.make_room(FILES_MAX - 1, now)?;
        }
        let file = File::options().append(true).create(true).mode(0o600).open(&path)?;
        let line = format!("{line}\n");
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if file.metadata()?.len().saturating_add(length) > NOTES_MAX {
            return Ok(false);
        }
        write(&file, line.as_bytes(), now)?;
        Ok(true)
    }

    /// Removes what is too old.
    pub fn sweep(&self, now: Timestamp) -> io::Result<()> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.make_room(FILES_MAX, now)
    }

    /// Removes what is too old, and then the oldest files until there are at most `most`.
    fn make_room(&self, most: usize, now: Timestamp) -> io::Result<()> {
        let mut files = self.files()?;
        files.sort_unstable();
        let excess = files.len().saturating_sub(most);
        let oldest = oldest(now);
        for (_, path) in files
            .iter()
            .enumerate()
            .filter(|(at, (age, _))| *at < excess || *age <= oldest)
            .map(|(_, file)| file)
        {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// The files that this module has made, by the time of their last change.
    fn files(&self) -> io::Result<Vec<(SystemTime, PathBuf)>> {
        let mut files = vec![];
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_ours) {
                files.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        Ok(files)
    }

    fn report(&self, id: &str) -> Option<PathBuf> {
        is_uuid(id).then(|| self.directory.join(format!("{id}{REPORT}")))
    }
}

fn is_ours(name: &str) -> bool {
    let is_note = |name: &str| Note::ALL.iter().any(|note| name.starts_with(note.prefix()));
    name.strip_suffix(REPORT).is_some_and(is_uuid) || name.strip_suffix(NOTES).is_some_and(is_note)
}

/// Writes, and sets the file's time to that of the service.
fn write(mut file: &File, bytes: &[u8], now: Timestamp) -> io::Result<()> {
    file.write_all(bytes)?;
    file.set_modified(system(now))
}

/// What was changed at this time or before is too old.
fn oldest(now: Timestamp) -> SystemTime {
    let now = system(now);
    now.checked_sub(KEPT).unwrap_or(UNIX_EPOCH)
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
        assert!(store.keep("../x", b"{}", NOON).is_err());
        assert!(store.keep(&uuid(1), b"{}", NOON).is_err(), "a UUID is used once");
        store.sweep(last).unwrap();
        assert_eq!(names(&store).len(), 1);
        store.sweep(NOON.plus(KEPT)).unwrap();
        assert_eq!(names(&store).len(), 0);
    }

    #[test]
    fn only_the_owner_may_read() {
        let (_directory, store) = store();
        store.keep(&uuid(1), b"{}", NOON).unwrap();
        store.note(Note::Refresh, "{}", NOON).unwrap();
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
        store.note(Note::Quality, "first", NOON).unwrap();
        let at = |n: u64| NOON.plus(Duration::from_secs(n));
        for n in 1..=256 {
            store.keep(&uuid(n.into()), b"{}", at(n)).unwrap();
        }
        assert_eq!(names(&store).len(), FILES_MAX + foreign.len());
        assert!(!names(&store).iter().any(|name| name.ends_with(NOTES)), "the notes were the oldest");
        store.keep(&uuid(999), b"{}", at(999)).unwrap();
        assert_eq!(store.read(&uuid(1), at(999)).unwrap(), None);
        assert!(store.read(&uuid(2), at(999)).unwrap().is_some());
        store.sweep(NOON.plus(KEPT * 2)).unwrap();
        assert_eq!(names(&store), ["backup.json", "notes.txt", "quality-.txt"]);
    }

    #[test]
    fn notes_are_lines_of_a_day_and_bounded() {
        let (_directory, store) = store();
        assert!(store.note(Note::Quality, "a", NOON).unwrap());
        assert!(store.note(Note::Quality, "b", NOON).unwrap());
        assert!(store.note(Note::Quality, "c", NOON.plus(Duration::from_secs(86_400))).unwrap());
        assert!(store.note(Note::Refresh, "d", NOON).unwrap());
        assert_eq!(
            names(&store),
            ["quality-2025-01-15.jsonl", "quality-2025-01-16.jsonl", "refresh-2025-01-15.jsonl"]
        );
        let file = store.directory.join("quality-2025-01-15.jsonl");
        assert_eq!(fs::read_to_string(&file).unwrap(), "a\nb\n");
        let rest = "x".repeat(1_048_576 - 5);
        assert!(!store.note(Note::Quality, &format!("{rest}x"), NOON).unwrap());
        assert!(store.note(Note::Quality, &rest, NOON).unwrap());
        assert!(!store.note(Note::Quality, "", NOON).unwrap());
        assert_eq!(fs::metadata(&file).unwrap().len(), NOTES_MAX);
    }
}
