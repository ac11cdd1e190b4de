//! A disk that becomes full while the service runs: no unrecorded grant is issued, and minting resumes when there is space.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use crate::support::prelude::*;

const SETTINGS: [(&str, &str); 8] = [
    ("HOST", "127.0.0.1"),
    ("PORT", "0"),
    COTURN[0],
    COTURN[1],
    COTURN[2],
    ("RATE_LIMIT_REQUESTS", "10000"),
    ("BANDWIDTH_LIMIT_GB", "1000000"),
    ("RUST_LOG", "warn,turn_broker::telemetry::startup=info,turn_broker::store=info"),
];

/// A disk of a few MB that only this test sees: a tmpfs in a mount namespace that lives as long as this value.
struct SmallDisk {
    keeper: Child,
    mounted_at: StateDir,
}

impl SmallDisk {
    /// `None` if this user may not mount anything.
    fn mount() -> Option<Self> {
        let mounted_at = StateDir::new();
        let script = r#"mount -t tmpfs -o size=2m,mode=700 tmpfs "$0" && echo mounted && exec cat"#;
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, mounted_at.path()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut line = String::new();
        BufReader::new(keeper.stdout.take()?).read_line(&mut line).ok()?;
        let disk = Self { keeper, mounted_at };
        (line == "mounted\n").then_some(disk)
    }

    /// A path on the disk, as this process sees it.
    fn path(&self, name: &str) -> PathBuf {
        let root = format!("/proc/{}/root", self.keeper.id());
        Path::new(&root).join(self.mounted_at.path().trim_start_matches('/')).join(name)
    }

    /// The program, with its ledger on the disk.
    fn start(&self) -> Process {
        let mut settings = SETTINGS.to_vec();
        settings.push(("STATE_DIR", self.mounted_at.path()));
        let program = command(&settings);
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id())).arg(program.get_program());
        inside.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Process::spawn(&mut inside)
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut filler = std::fs::File::create(self.path("filler")).unwrap();
        while filler.write_all(&[1; 4_096]).is_ok() {}
        while filler.write_all(&[1]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.path("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// Mints until the disk is full. Returns the number of grants. The first response without a grant must be a refusal.
async fn mint_until_full(process: &Process) -> u64 {
    let mut grants = 0;
    loop {
        let minted = process.mint().await;
        if minted.status != 200 {
            assert_eq!(minted.error(), (503, "LEDGER_UNAVAILABLE"));
            return grants;
        }
        assert!(minted.json()["grant"].is_string(), "{}", minted.text);
        grants += 1;
        assert!(grants < 100_000, "the disk never fills");
    }
}

async fn issued(process: &Process) -> u64 {
    process.status().await["grants"]["issued"].as_u64().unwrap()
}

async fn resumes(process: &Process) {
    eventually("minting resumes", async || process.mint().await.json()["grant"].is_string()).await;
    eventually("it is ready", async || process.get("/ready").await.status == 200).await;
}

#[tokio::test]
async fn on_a_full_disk_no_grant_is_issued_and_minting_resumes_when_there_is_space() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: mounting a tmpfs requires root (unshare, mount)");
        return;
    };
    let process = disk.start();
    assert_eq!(process.mint().await.status, 200);
    disk.fill();
    let mut grants = 1 + mint_until_full(&process).await;
    eventually("/ready returns LEDGER_UNAVAILABLE", async || {
        process.get("/ready").await.error() == (503, "LEDGER_UNAVAILABLE")
    })
    .await;
    assert_eq!(process.get("/health").await.status, 200);
    let hints = process.status().await["hints"].to_string();
    assert!(hints.contains("LEDGER_FAILING"), "{hints}");
    assert_eq!(issued(&process).await, grants, "refused mints are not in the ledger");

    disk.free();
    resumes(&process).await;
    grants += 1;
    process.signal("-KILL");
    process.finish();
    let process = disk.start();
    assert_eq!(issued(&process).await, grants, "the ledger has exactly the issued grants");
    assert_eq!(process.status().await["grants"]["live"], grants);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_size_limit_counts_as_a_full_disk_and_does_not_end_the_process() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let state = StateDir::new();
    let mut settings = SETTINGS.to_vec();
    settings.push(("STATE_DIR", state.path()));
    let process = Process::start(&settings);
    let limit_files_to = |bytes| {
        let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
        prlimit(pid, Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    };
    assert_eq!(process.mint().await.status, 200);
    limit_files_to(Some(4_096));
    let mut grants = 1 + mint_until_full(&process).await;
    assert_eq!(process.get("/health").await.status, 200, "the process still runs");
    assert_eq!(process.get("/ready").await.status, 503);
    limit_files_to(None);
    resumes(&process).await;
    grants += 1;
    process.signal("-KILL");
    process.finish();
    assert_eq!(issued(&Process::start(&settings)).await, grants);
}
