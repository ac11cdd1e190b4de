//! The state directory and the ledger in it, checked without changing either. The store's own reader reads the ledger;
//! a ledger that a running service holds is in order and is not read.

use std::io;
use std::path::Path;

use super::prelude::*;
use crate::store::file::access::require_modes;
use crate::store::file::inspect::LedgerCopy;
use crate::store::storage::OpenError;

/// With less free space than this, writes of the ledger and the log may soon fail.
const FREE_MIN: u64 = 100_000_000;

/// The verdicts about `STATE_DIR`. `is_served`: a running service answers, and it keeps its ledger on a disk.
pub(super) fn check(directory: Option<&Path>, is_served: bool) -> Vec<Verdict> {
    let Some(directory) = directory else {
        return vec![warn(
            "STATE_DIR is not set: the ledger is in memory, a restart forgets this month's usage and every grant",
            "set STATE_DIR to a directory that outlives the process",
        )];
    };
    // The service creates a missing directory, if its user may write to the nearest directory above.
    let is_there = directory.exists();
    let nearest = if is_there { Some(directory) } else { directory.ancestors().find(|at| at.is_dir()) };
    let nearest = nearest.unwrap_or(Path::new("."));
    let written = tempfile::tempfile_in(nearest);
    let read = LedgerCopy::take(directory).map(|ledger| (ledger.format, ledger.bytes));
    let is_held = matches!(read, Err(OpenError::InUse(_)));
    let mut found = vec![if is_there || is_served {
        judge_ledger(&read, is_served)
    } else {
        ok("does not exist yet; the first start creates it")
    }];
    if let Err(error) = written {
        let seen = format!("this user may not write there: {error}");
        // A running service that holds the ledger can write it.
        found.push(if is_held {
            ok(format!("{seen}; the running service may"))
        } else {
            fail(seen, "make it writable for the service's user (in the image 10001:10001), and run doctor as that user")
        });
    }
    if let Err(error) = require_modes(nearest) {
        found.push(fail(error.to_string(), "move it: in Docker into a named volume, in WSL below /home"));
    }
    if let Ok(stat) = rustix::fs::statvfs(directory) {
        found.push(judge_free_space(stat.f_bavail.saturating_mul(stat.f_frsize)));
    }
    found
}

/// `read`: the format and the length of the ledger, or why it cannot be read.
fn judge_ledger(read: &Result<(i32, u64), OpenError>, is_served: bool) -> Verdict {
    match read {
        Ok((format, bytes)) => ok(format!("the ledger can be read: format {format}, {bytes} bytes")),
        Err(OpenError::Absent(_)) if is_served => fail(
            "no ledger here, but the service runs: its ledger was deleted or moved, or it has another STATE_DIR",
            "move it back; if it was deleted, copy it from /proc/PID/fd of the service under another name, then rename it to ledger.redb",
        ),
        Err(OpenError::Absent(_)) => ok("no ledger yet; the first start creates it"),
        Err(OpenError::InUse(_)) => ok("a running service uses the ledger, as it should; it was not read"),
        Err(OpenError::Directory { error, .. }) if error.kind() == io::ErrorKind::PermissionDenied => {
            warn("this user may not read the ledger", "run doctor as the service's user")
        }
        Err(error) => fail(error.to_string(), "follow docs/OPERATE.md, which says how to restore a backup"),
    }
}

fn judge_free_space(free: u64) -> Verdict {
    let seen = format!("{} MB free", free / 1_000_000);
    if free >= FREE_MIN {
        return ok(seen);
    }
    warn(
        seen,
        "free some space: while the ledger cannot be written, no metered grant is issued (LEDGER_UNAVAILABLE)",
    )
}

#[cfg(test)]
mod tests {
    use super::super::CheckState;
    use super::*;
    use crate::store::file::FileStorage;
    use crate::store::file::ledger_file::FILE_NAME;
    use crate::store::rows::FORMAT;

    #[test]
    fn a_ledger_that_is_absent_in_use_or_readable_is_ok_and_damage_that_makes_the_library_panic_a_failure() {
        let directory = tempfile::tempdir().unwrap();
        let expect = |path: &Path, state, says: &str| {
            let found = check(Some(path), false).remove(0);
            assert!(found.state == state && found.seen.contains(says), "{found:?}");
        };
        let (below, at) = (directory.path().join("a/b"), directory.path());
        expect(&below, CheckState::Ok, "does not exist yet");
        assert!(!below.exists(), "doctor creates nothing");
        expect(at, CheckState::Ok, "no ledger yet");
        let store = FileStorage::open(at).unwrap();
        expect(at, CheckState::Ok, "a running service uses the ledger");
        drop(store);
        expect(at, CheckState::Ok, &format!("the ledger can be read: format {FORMAT}, "));
        let path = at.join(FILE_NAME);
        let mut content = std::fs::read(&path).unwrap();
        // The type byte of the first page after the header.
        content[4_096] ^= 0xff;
        std::fs::write(&path, &content).unwrap();
        expect(at, CheckState::Fail, "its pages are broken");
        expect(&path, CheckState::Fail, "");
        assert_eq!(check(None, false)[0].state, CheckState::Warn);
        for deleted in [below, at.join("c")] {
            let found = check(Some(&deleted), true).remove(0);
            assert!(found.state == CheckState::Fail && found.seen.contains("was deleted"), "{found:?}");
        }
        let other = OpenError::OtherFormat { path, found: FORMAT + 1 };
        assert_eq!(judge_ledger(&Err(other), true).state, CheckState::Fail);
    }

    #[test]
    fn little_free_space_is_a_warning() {
        assert_eq!(judge_free_space(FREE_MIN).state, CheckState::Ok);
        assert_eq!(judge_free_space(FREE_MIN - 1).state, CheckState::Warn);
    }
}
