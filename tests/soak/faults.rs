//! The faults, one after the other, from a fixed script: the provider hangs, the disk becomes full, the wall clock steps.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::broker::CLOCK_FILE;
use crate::support::prelude::*;
use crate::support::{FakeCloudflare, Fault};

/// The current fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Now {
    Quiet,
    ProviderHangs,
    DiskFull,
    ClockAhead,
    ClockBehind,
}

/// Each fault, with its duration. The whole script takes six minutes and is repeated.
const SCRIPT: [(Now, u64); 8] = [
    (Now::Quiet, 60),
    (Now::ProviderHangs, 60),
    (Now::Quiet, 60),
    (Now::DiskFull, 30),
    (Now::Quiet, 60),
    (Now::ClockAhead, 20),
    (Now::Quiet, 40),
    (Now::ClockBehind, 30),
];

/// The current fault, shared by all tasks.
#[derive(Debug, Default)]
pub(crate) struct Faults(AtomicU8);

impl Faults {
    pub(crate) fn now(&self) -> Now {
        let all = [Now::Quiet, Now::ProviderHangs, Now::DiskFull, Now::ClockAhead, Now::ClockBehind];
        all[usize::from(self.0.load(Ordering::Relaxed))]
    }

    fn set(&self, now: Now) {
        #[expect(clippy::as_conversions, reason = "a fieldless enum with a repr")]
        self.0.store(now as u8, Ordering::Relaxed);
    }

    /// Ends every fault.
    pub(crate) fn end(&self, cloudflare: &FakeCloudflare, disk: &Path) -> io::Result<()> {
        cloudflare.heal();
        empty(disk)?;
        std::fs::write(disk.join(CLOCK_FILE), "+0")?;
        self.set(Now::Quiet);
        Ok(())
    }
}

/// Runs the script again and again.
pub(crate) async fn play(faults: Arc<Faults>, cloudflare: Arc<FakeCloudflare>, disk: PathBuf) {
    for (now, seconds) in SCRIPT.iter().cycle() {
        let begun = match now {
            Now::Quiet => faults.end(&cloudflare, &disk),
            Now::ProviderHangs => {
                cloudflare.always(Fault::Hang);
                Ok(())
            }
            Now::DiskFull => fill(&disk),
            Now::ClockAhead => std::fs::write(disk.join(CLOCK_FILE), "+7200"),
            Now::ClockBehind => std::fs::write(disk.join(CLOCK_FILE), "-3600"),
        };
        if let Err(error) = begun {
            eprintln!("soak: {now:?} failed: {error}");
        }
        faults.set(*now);
        tokio::time::sleep(Duration::from_secs(*seconds)).await;
    }
}

/// Takes all the space that is left.
fn fill(disk: &Path) -> io::Result<()> {
    let mut filler = std::fs::File::create(disk.join("filler"))?;
    for size in [65_536, 1] {
        while filler.write_all(&vec![1; size]).is_ok() {}
    }
    Ok(())
}

fn empty(disk: &Path) -> io::Result<()> {
    match std::fs::remove_file(disk.join("filler")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
