//! Reports on disk: a file for each one that has a UUID, and a file of short notes for each day. Only the owner may read them.
//! Everything is removed after [`KEPT`], and the number and the size of files are bounded: the oldest ones make room. If one client has
//! more than its share, its own oldest one does. Clients are known since the start only, because files do not name them.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use turn_base::access;
use turn_ledger::{ClientKey, Timestamp};
use turn_limits::{Held, Holder};
use turn_signaling::uuid::is_uuid;

/// How long a report is kept.
pub(crate) const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// The most files. A report has at most 1 MiB.
pub(crate) const FILES_MAX: usize = 256;
/// The most bytes of the notes of one kind and day.
pub(crate) const NOTES_MAX: u64 = 1024 * 1024;
/// The most reports of one client address. An IPv6 /48 has four times as many.
pub(crate) const REPORTS_PER_CLIENT_MAX: usize = FILES_MAX / 16;
/// The most bytes of the notes of one client address, kind and day. An IPv6 /48 has four times as many.
pub(crate) const NOTES_PER_CLIENT_MAX: usize = 64 * 1024;
/// Notes about the quality of a call.
pub(crate) const QUALITY: &str = "quality-";
/// Notes about a page that was loaded again.
pub(crate) const REFRESH: &str = "refresh-";

/// A directory of reports. One thread at a time changes it.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    /// The latest reports since the start with their clients, the oldest first. Some may be removed already.
    reports: VecDeque<(String, ClientKey)>,
    held: Held<usize>,
    /// The latest file of notes of each kind, and how many bytes of it each client has written.
    notes: BTreeMap<&'static str, (PathBuf, Held<usize>)>,
}

impl Store {
    /// Creates the directory, and its parents, for the owner only. Others lose their access to an existing one.
    pub(crate) fn open(directory: PathBuf) -> io::Result<Self> {
        access::make_directory(&directory)?;
        access::tighten_directory(&directory, "REPORTS_DIR")?;
        let (reports, held, notes) = Default::default();
        Ok(Self { directory, reports, held, notes })
    }

    /// Keeps a report under a new UUID.
    pub(crate) fn keep(
        &mut self,
        id: &str,
        json: &[u8],
        client: ClientKey,
        now: Timestamp,
    ) -> io::Result<()> {
        self.make_room_for(client)?;
        self.append(&self.report(id), json, now)?;
        self.reports.push_back((id.to_owned(), client));
        self.held.add(client);
        Ok(())
    }

    /// Removes the oldest reports of a client or its /48 if it has as many as it may.
    fn make_room_for(&mut self, client: ClientKey) -> io::Result<()> {
        while self.reports.len() >= FILES_MAX {
            self.remove_report(0)?;
        }
        let is_full = |count: &usize, factor| *count >= REPORTS_PER_CLIENT_MAX * factor;
        while let Some(full) = self.held.full(client, is_full) {
            let oldest = self.reports.iter().position(|(_, of)| Holder::from(*of).is_in(&full));
            let Some(at) = oldest else { return Ok(()) };
            self.remove_report(at)?;
        }
        Ok(())
    }

    fn remove_report(&mut self, at: usize) -> io::Result<()> {
        let Some((id, client)) = self.reports.remove(at) else { return Ok(()) };
        self.held.remove(client);
        match fs::remove_file(self.report(&id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
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

    /// Adds a line to the notes of the day. `false` if they are full, or those of this client.
    pub(crate) fn note(
        &mut self,
        kind: &'static str,
        line: &str,
        client: ClientKey,
        now: Timestamp,
    ) -> io::Result<bool> {
        let day = now.to_utc().date_naive();
        let path = self.directory.join(format!("{kind}{day}.jsonl"));
        let line = format!("{line}\n");
        let length = fs::metadata(&path).map_or(0, |file| file.len());
        let has_room = length + u64::try_from(line.len()).unwrap_or(NOTES_MAX) <= NOTES_MAX;
        let is_full = |bytes: &usize, factor| bytes + line.len() > NOTES_PER_CLIENT_MAX * factor;
        if !has_room || self.written(kind, &path).full(client, is_full).is_some() {
            return Ok(false);
        }
        self.append(&path, line.as_bytes(), now)?;
        self.written(kind, &path).change(client, |bytes| {
            *bytes += line.len();
            true
        });
        Ok(true)
    }

    /// How many bytes each client has written to this file of notes.
    fn written(&mut self, kind: &'static str, path: &Path) -> &mut Held<usize> {
        let (of, written) = self.notes.entry(kind).or_default();
        if of != path {
            (*of, *written) = (path.to_owned(), Held::default());
        }
        written
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

    fn client(last: u8) -> ClientKey {
        ClientKey::V4([192, 0, 2, last].into())
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
    fn others_lose_their_access_to_a_directory_that_exists_and_no_link_is_followed() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("reports");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        let mut store = Store::open(directory.clone()).unwrap();
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        let elsewhere = parent.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, store.report(&uuid(1))).unwrap();
        assert!(store.keep(&uuid(1), b"{}", client(1), NOON).is_err());
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_report_is_read_with_its_uuid_for_seven_days() {
        let (_directory, mut store) = store();
        store.keep(&uuid(1), b"{}", client(1), NOON).unwrap();
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
        let (_directory, mut store) = store();
        store.keep(&uuid(1), b"{}", client(1), NOON).unwrap();
        store.note(REFRESH, "{}", client(1), NOON).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.directory), 0o700);
        for name in names(&store) {
            assert_eq!(mode(&store.directory.join(name)), 0o600);
        }
    }

    #[test]
    fn the_oldest_files_make_room_and_other_files_stay() {
        let (_directory, mut store) = store();
        let foreign = ["notes.txt", "quality-.txt", "backup.json"];
        for name in foreign {
            fs::write(store.directory.join(name), "mine").unwrap();
        }
        store.note(QUALITY, "first", client(1), NOON).unwrap();
        let at = |n: u64| NOON.plus(Duration::from_secs(n));
        for n in 1..=256 {
            let client = client((n / 16).try_into().unwrap());
            store.keep(&uuid(n.into()), b"{}", client, at(n)).unwrap();
        }
        assert_eq!(names(&store).len(), FILES_MAX + foreign.len());
        let notes = "quality-2025-01-15.jsonl".to_owned();
        assert!(!names(&store).contains(&notes), "the notes were the oldest");
        store.keep(&uuid(999), b"{}", client(99), at(999)).unwrap();
        assert_eq!(store.read(&uuid(1), at(999)).unwrap(), None);
        assert!(store.read(&uuid(2), at(999)).unwrap().is_some());
        store.sweep(NOON.plus(KEPT * 2)).unwrap();
        assert_eq!(names(&store), ["backup.json", "notes.txt", "quality-.txt"]);
    }

    #[test]
    fn notes_are_lines_of_a_day_and_bounded() {
        let (_directory, mut store) = store();
        assert!(store.note(QUALITY, "a", client(1), NOON).unwrap());
        assert!(store.note(QUALITY, "b", client(1), NOON).unwrap());
        assert!(store.note(QUALITY, "c", client(1), NOON.plus(Duration::from_secs(86_400))).unwrap());
        assert!(store.note(REFRESH, "d", client(1), NOON).unwrap());
        assert_eq!(
            names(&store),
            ["quality-2025-01-15.jsonl", "quality-2025-01-16.jsonl", "refresh-2025-01-15.jsonl"]
        );
        let file = store.directory.join("quality-2025-01-15.jsonl");
        assert_eq!(fs::read_to_string(&file).unwrap(), "a\nb\n");
        let share = "x".repeat(NOTES_PER_CLIENT_MAX - 1);
        assert!(!store.note(QUALITY, &format!("{share}x"), client(2), NOON).unwrap());
        for n in 2..17 {
            assert!(store.note(QUALITY, &share, client(n), NOON).unwrap());
            assert!(!store.note(QUALITY, "", client(n), NOON).unwrap(), "its share is full");
        }
        let rest = &share[4..];
        assert!(!store.note(QUALITY, &share, client(18), NOON).unwrap());
        assert!(store.note(QUALITY, rest, client(18), NOON).unwrap());
        assert!(!store.note(QUALITY, "", client(19), NOON).unwrap());
        assert_eq!(fs::metadata(&file).unwrap().len(), NOTES_MAX);
        assert!(store.note(QUALITY, "", client(2), NOON.plus(KEPT)).unwrap(), "another day");
    }

    #[test]
    fn the_oldest_report_of_a_client_that_has_16_makes_room_and_those_of_others_stay() {
        let (_directory, mut store) = store();
        store.keep(&uuid(100), b"{}", client(2), NOON).unwrap();
        let mut keep = |n: u128, client| store.keep(&uuid(n), b"{}", client, NOON).unwrap();
        (1..=17).for_each(|n| keep(n, client(1)));
        let site = |n: u128| ClientKey::of(format!("2001:db8:1:{n}::1").parse().unwrap());
        (201..=265).for_each(|n| keep(n, site((n - 201) / 16)));
        let is_kept = |n: u128| store.read(&uuid(n), NOON).unwrap().is_some();
        assert_eq!([1, 2, 17, 100].map(is_kept), [false, true, true, true]);
        assert_eq!([201, 202, 265].map(is_kept), [false, true, true], "a /48 has 64");
    }
}
