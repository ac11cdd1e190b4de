//! Item 9: what another user of the machine, or a reader of its logs, can find. The ledger has the key that signs grants, so
//! anybody who reads it can forge grants. These attacks use files, not routes.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Attack;
use crate::client::{Client, Cost};
use crate::demo::Demo;
use crate::honest::{Tally, round};
use crate::program;
use crate::support::StateDir;
use crate::support::process::command;
use crate::table::Outcome;

/// How long a start may take until it counts as blocked.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        item: 9,
        name: "reading the ledger as another user",
        allowance: "directory 700, files 600, also when they were looser",
        run: |_| Box::pin(read_ledger()),
    },
    Attack {
        item: 9,
        name: "a FIFO instead of a secret file or .env",
        allowance: "each start ends with an error",
        run: |_| Box::pin(fifo()),
    },
    Attack {
        item: 9,
        name: "the demo's token in its log",
        allowance: "not there",
        run: |_| Box::pin(demo_log()),
    },
];

/// The permission bits of a directory and of the files in it that other users have.
fn open_to_others(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let modes = entries.chain([directory.to_owned()]).map(|path| {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (if path.is_dir() { "the directory".to_owned() } else { name }, mode)
    });
    modes.filter(|(_, mode)| mode & 0o077 != 0).map(|(name, mode)| format!("{name} {mode:o}")).collect()
}

/// Starts it twice: on a new directory, and on one that was opened to everybody in between.
async fn read_ledger() -> Outcome {
    let state = StateDir::new();
    let directory = Path::new(state.path()).join("ledger");
    let settings = [("STATE_DIR", directory.to_str().unwrap()), ("TRUSTED_PROXIES", "127.0.0.1")];
    let (mut found, mut honest, mut cost) = (vec![], Tally::default(), Cost::default());
    for when in ["new", "loosened"] {
        // A directory that an operator made with the usual mask.
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        for entry in fs::read_dir(&directory).unwrap() {
            fs::set_permissions(entry.unwrap().path(), Permissions::from_mode(0o644)).unwrap();
        }
        let process = program::start(&settings);
        let mut client = Client::behind_proxy(program::address(&process), "198.51.100.7");
        client.mint("").await;
        cost = cost.plus(client.cost);
        honest = honest.plus(round(program::address(&process), 1).await);
        let open = open_to_others(&directory);
        if !open.is_empty() {
            found.push(format!("{when}: {}", open.join(", ")));
        }
    }
    let effect = if found.is_empty() { "closed to others".to_owned() } else { found.join("; ") };
    Outcome { attempts: 2, cost, effect, honest, is_within: found.is_empty() }
}

/// Whether the program ends in time. One that opened a FIFO waits until somebody writes to it.
async fn ends(mut command: Command) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..PATIENCE.as_millis() / 50 {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    false
}

async fn fifo() -> Outcome {
    let directory = StateDir::new();
    let path = |name: &str| Path::new(directory.path()).join(name).to_str().unwrap().to_owned();
    for name in ["secret", ".env"] {
        assert!(Command::new("mkfifo").arg(path(name)).status().unwrap().success());
    }
    let port = [("HOST", "127.0.0.1"), ("PORT", "0")];
    let secret = path("secret");
    let mut blocked = vec![];
    for variable in ["OPERATOR_TOKEN_FILE", "COTURN_SECRET_FILE"] {
        if !ends(command(&[port[0], port[1], (variable, &secret)])).await {
            blocked.push(variable);
        }
    }
    let mut with_env = command(&port);
    with_env.current_dir(directory.path());
    if !ends(with_env).await {
        blocked.push(".env");
    }
    let effect = if blocked.is_empty() {
        "all end".to_owned()
    } else {
        format!("blocked forever: {}", blocked.join(", "))
    };
    Outcome {
        attempts: 3,
        cost: Cost::default(),
        effect,
        honest: Tally::default(),
        is_within: blocked.is_empty(),
    }
}

/// A service manager or `nohup` keeps the log. The demo's page must still work for the person who started it.
async fn demo_log() -> Outcome {
    let demo = Demo::start().await;
    let mut client = Client::new(demo.server);
    let page = client.get("/demo", &[]).await.map_or(0, |reply| reply.status);
    let tokens = demo.log().lines().filter(|line| line.contains("token=")).count();
    let mut honest = Tally::default();
    honest.count(page == 200);
    let effect = if tokens == 0 { "not there".to_owned() } else { format!("in {tokens} line(s)") };
    Outcome { attempts: client.cost.requests, cost: client.cost, effect, honest, is_within: tokens == 0 }
}
