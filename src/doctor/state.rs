//! The directory of the ledger, and the ledger in it, looked at and left as they are: nothing is made, repaired or brought
//! to another format. What a running service holds is well, and not read.

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, StorageBackend, TableDefinition};

use super::finding::{Check, Finding, Remedy};
use crate::journal::store::{FILE_NAME, FORMAT, catch_panic};

/// Under this much room a ledger and a log can soon not be written.
const FREE_MIN: u64 = 100_000_000;
/// A larger ledger is not read through: 10 years of a busy service have less.
const READ_MAX: u64 = 256 << 20;
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// What was seen of the ledger's file.
#[derive(Debug)]
enum Ledger {
    /// There is none yet.
    Absent,
    /// A process has it.
    Held,
    /// It can be read.
    Readable { format: u32, bytes: u64 },
    /// It is too large to be read through here.
    Large(u64),
    /// This user may not read it.
    Forbidden,
    /// It is none, or broken.
    Damaged(String),
}

/// All that is to be said of `STATE_DIR`.
pub(super) fn check(directory: Option<&Path>) -> Vec<Finding> {
    let Some(directory) = directory else { return vec![in_memory()] };
    let shown = directory.display().to_string();
    if !directory.is_dir() {
        return vec![missing(directory, &shown)];
    }
    let ledger = match look(&directory.join(FILE_NAME)) {
        Ok(ledger) => ledger,
        Err(error) => Ledger::Damaged(error.to_string()),
    };
    let is_held = matches!(ledger, Ledger::Held);
    let mut findings = vec![judge(&shown, &ledger)];
    findings.extend(writable(directory, &shown, is_held));
    findings.extend(room(directory, &shown));
    findings
}

fn in_memory() -> Finding {
    Finding::warn(
        Check::State,
        "",
        "STATE_DIR is not set: the ledger is in memory, a restart forgets this month's usage and every grant",
        "set STATE_DIR to a directory that outlives the process",
    )
}

/// The service makes it, if it may.
fn missing(directory: &Path, shown: &str) -> Finding {
    let nearest =
        directory.ancestors().skip(1).find(|parent| parent.is_dir() || parent.as_os_str().is_empty());
    let nearest = nearest.map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    match nearest.map(try_write) {
        Some(Ok(())) if !directory.exists() => {
            Finding::ok(Check::State, shown, "is not there yet; it can be made, and is at the first start")
        }
        _ => Finding::fail(
            Check::State,
            shown,
            "is no directory, and cannot be made by this user",
            "make it a directory that the service's user may write to",
        ),
    }
}

fn judge(shown: &str, ledger: &Ledger) -> Finding {
    let ok = |seen: String| Finding::ok(Check::State, shown, seen);
    match ledger {
        Ledger::Absent => ok("no ledger yet; it is made at the first start".into()),
        Ledger::Held => {
            ok("the ledger is in use by a running service, as it should be; it was not read".into())
        }
        Ledger::Readable { format, bytes } if *format == FORMAT => {
            ok(format!("the ledger can be read: format {format}, {bytes} bytes"))
        }
        Ledger::Readable { format, .. } if *format < FORMAT => {
            ok(format!("the ledger has format {format}; the next start brings it to {FORMAT}"))
        }
        Ledger::Readable { format, .. } => Finding::fail(
            Check::State,
            shown,
            format!("the ledger has format {format}, this version reads up to {FORMAT}"),
            "run the version that wrote it, or a later one",
        ),
        Ledger::Large(bytes) => Finding::warn(
            Check::State,
            shown,
            format!("the ledger has {bytes} bytes, more than any that is known, and was not read"),
            "look for what fills it",
        ),
        Ledger::Forbidden => Finding::warn(
            Check::State,
            shown,
            "this user may not read the ledger",
            "run doctor as the service's user, or it cannot see what the service sees",
        ),
        Ledger::Damaged(what) => Finding::fail(
            Check::State,
            shown,
            format!("the ledger cannot be read: {what}"),
            Remedy::sure(format!(
                "restore {FILE_NAME} from a backup, or move it away to start with an empty ledger"
            )),
        ),
    }
}

/// Looks at the file under a shared lock. A copy in memory is opened, so that one that was not closed in order is put in
/// order there.
fn look(path: &Path) -> io::Result<Ledger> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ledger::Absent),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(Ledger::Forbidden),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Ledger::Held),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let bytes = file.metadata()?.len();
    if bytes == 0 {
        return Ok(Ledger::Damaged("it is empty".into()));
    }
    if bytes > READ_MAX {
        return Ok(Ledger::Large(bytes));
    }
    let mut content = Vec::new();
    file.take(READ_MAX).read_to_end(&mut content)?;
    let memory = InMemoryBackend::new();
    memory.set_len(bytes)?;
    memory.write(0, &content)?;
    Ok(match catch_panic(|| format_of(memory)) {
        Ok(Ok(Some(format))) => Ledger::Readable { format, bytes },
        Ok(Ok(None)) => Ledger::Damaged("it says no format".into()),
        Ok(Err(error)) => Ledger::Damaged(error.to_string()),
        Err(broken) => Ledger::Damaged(broken.to_string()),
    })
}

fn format_of(memory: InMemoryBackend) -> Result<Option<u32>, redb::Error> {
    let database = Database::builder().create_with_backend(memory)?;
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let format = meta.get("format")?;
    Ok(format.and_then(|bytes| bytes.value().try_into().ok()).map(u32::from_be_bytes))
}

/// A user who may not write may still be another one than the service's, whose lock says that it can.
fn writable(directory: &Path, shown: &str, is_held: bool) -> Option<Finding> {
    let error = try_write(directory).err()?;
    let seen = format!("this user may not write there: {error}");
    if is_held {
        return Some(Finding::ok(Check::State, shown, format!("{seen}; the service does")));
    }
    Some(Finding::fail(
        Check::State,
        shown,
        seen,
        "make it writable for the service's user (in the image 10001:10001), and run doctor as that user",
    ))
}

/// Makes a file and takes it away.
fn try_write(directory: &Path) -> io::Result<()> {
    let path: PathBuf = directory.join(format!(".turn-broker-doctor-{}", std::process::id()));
    File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)
}

fn room(directory: &Path, shown: &str) -> Option<Finding> {
    let stat = rustix::fs::statvfs(directory).ok()?;
    Some(judge_room(shown, stat.f_bavail.saturating_mul(stat.f_frsize)))
}

fn judge_room(shown: &str, free: u64) -> Finding {
    let seen = format!("{} MB free", free / 1_000_000);
    if free >= FREE_MIN {
        return Finding::ok(Check::State, shown, seen);
    }
    Finding::warn(
        Check::State,
        shown,
        seen,
        "make room: while the ledger cannot be written no metered grant is handed out (LEDGER_UNAVAILABLE)",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::finding::State;
    use super::*;
    use crate::journal::Storage;
    use crate::journal::store::Store;

    /// A directory of the test's own; it goes with the test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name =
                format!("turn-broker-doctor-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn first(&self) -> Finding {
            check(Some(&self.0)).remove(0)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_ledger_that_a_service_holds_is_well_and_one_that_nobody_holds_is_read() {
        let scratch = Scratch::new();
        assert!(scratch.first().seen.starts_with("no ledger yet"));
        let store = Store::open(&scratch.0).unwrap();
        let held = scratch.first();
        assert_eq!((held.state, held.seen.contains("in use by a running service")), (State::Ok, true));
        drop(store);
        let read = scratch.first();
        assert_eq!(read.state, State::Ok);
        assert!(
            read.seen.starts_with(&format!("the ledger can be read: format {FORMAT}, ")),
            "{}",
            read.seen
        );
    }

    #[test]
    fn what_is_no_ledger_is_a_failure_and_is_left_as_it_is() {
        for content in [&b""[..], b"not a ledger at all"] {
            let scratch = Scratch::new();
            let path = scratch.0.join(FILE_NAME);
            std::fs::write(&path, content).unwrap();
            assert_eq!(scratch.first().state, State::Fail);
            assert_eq!(std::fs::read(&path).unwrap(), content);
        }
    }

    #[test]
    fn damage_that_the_library_panics_at_is_a_failure_like_any_other() {
        let scratch = Scratch::new();
        drop(Store::open(&scratch.0).unwrap());
        let path = scratch.0.join(FILE_NAME);
        let mut content = std::fs::read(&path).unwrap();
        // The first page behind the header, which says what kind of page it is.
        content[4_096] ^= 0xff;
        std::fs::write(&path, &content).unwrap();
        let found = scratch.first();
        assert_eq!(found.state, State::Fail);
        assert!(found.seen.contains("its pages are broken"), "{}", found.seen);
    }

    #[test]
    fn formats_of_other_versions_are_told_apart() {
        let of = |format| judge("dir", &Ledger::Readable { format, bytes: 1 });
        assert_eq!(
            (of(FORMAT - 1).state, of(FORMAT).state, of(FORMAT + 1).state),
            (State::Ok, State::Ok, State::Fail)
        );
    }

    #[test]
    fn a_directory_that_is_not_there_is_made_by_the_service_and_a_file_in_its_place_is_a_failure() {
        let scratch = Scratch::new();
        let below = scratch.0.join("a/b");
        let found = check(Some(&below)).remove(0);
        assert_eq!(found.state, State::Ok, "{found:?}");
        assert!(!below.exists(), "doctor makes nothing");
        let file = scratch.0.join("file");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(check(Some(&file)).remove(0).state, State::Fail);
        assert_eq!(check(None).remove(0).state, State::Warn);
    }

    #[test]
    fn little_room_is_a_warning() {
        assert_eq!(judge_room("dir", FREE_MIN).state, State::Ok);
        assert_eq!(judge_room("dir", FREE_MIN - 1).state, State::Warn);
    }

    #[test]
    fn nothing_is_left_behind() {
        let scratch = Scratch::new();
        let _ = check(Some(&scratch.0));
        assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 0);
    }
}
