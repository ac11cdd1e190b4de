//! The measured processes: the broker, and a bare axum route to compare with. They get no variable of the caller, and write no output.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::response::body;

/// The broker signs the credentials of a coturn itself, so a mint waits for no network.
pub(crate) const COTURN: [(&str, &str); 8] = [
    ("HOST", "127.0.0.1"),
    ("ICE_SOURCES", "coturn"),
    ("COTURN_URLS", "turn:relay.example"),
    ("COTURN_SECRET", "bench-fixture-secret"),
    ("RELAY_PROBE", "off"),
    ("BANDWIDTH_LIMIT_GB", "1000000"),
    ("RATE_LIMIT_REQUESTS", "10000"),
    ("RATE_LIMIT_WINDOW_SECONDS", "1"),
];
/// The client of the provider is built, but no request waits for the provider.
pub(crate) const CLOUDFLARE: [(&str, &str); 4] = [
    ("ICE_SOURCES", "cloudflare"),
    ("CLOUDFLARE_TURN_KEY_ID", "demo"),
    ("CLOUDFLARE_TURN_API_TOKEN", "demo-token"),
    ("TURN_ENABLED", "false"),
];
/// The variable with the length of the body of the bare route of [`crate::floor`].
pub(crate) const BARE_BYTES: &str = "BARE_BYTES";
/// The fields 14 and 15 of `/proc/PID/stat` count in hundredths of a second.
const TICK_MICROS: f64 = 10_000.0;

/// A running server. It ends with this value.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddrV4,
    /// Milliseconds from before the fork to the first response.
    pub(crate) start: f64,
}

/// The program to measure.
pub(crate) fn program() -> String {
    std::env::var("TURN_BROKER_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_turn-broker").to_owned())
}

/// An empty directory on the disk of the build.
pub(crate) fn directory() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

impl Server {
    /// A broker that mints for a coturn, with further settings.
    pub(crate) fn broker(settings: &[(&str, &str)]) -> Self {
        Self::start(&program(), &[&COTURN[..], settings].concat())
    }

    /// A broker with its ledger on disk.
    pub(crate) fn durable(state: &Path) -> Self {
        Self::broker(&[("STATE_DIR", state.to_str().unwrap())])
    }

    /// How long a start of [`Self::durable`] takes. The broker ends in order, so the next start finds a closed file.
    pub(crate) fn start_of(state: &Path) -> f64 {
        let mut server = Self::durable(state);
        server.stop(Signal::TERM);
        server.start
    }

    /// Ends it, and waits for its end.
    pub(crate) fn stop(&mut self, signal: Signal) {
        self.signal(signal);
        self.child.wait().unwrap();
    }

    /// A process of this program, which runs [`crate::floor`].
    pub(crate) fn floor(state: &Path, bytes: usize) -> Self {
        let program = std::env::current_exe().unwrap();
        let settings = [(BARE_BYTES, &*bytes.to_string()), ("STATE_DIR", state.to_str().unwrap())];
        Self::start(program.to_str().unwrap(), &settings)
    }

    fn start(program: &str, settings: &[(&str, &str)]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free);
        let mut command = Command::new(program);
        command.env_clear().env("PORT", free.to_string()).envs(settings.iter().copied());
        command.current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null()).stdout(Stdio::null());
        let begun = Instant::now();
        let mut server = Self { child: command.spawn().unwrap(), address, start: 0.0 };
        while body(address, "/ready").is_err() {
            assert!(server.child.try_wait().unwrap().is_none(), "the server ended at its start");
            std::thread::sleep(Duration::from_micros(100));
        }
        server.start = begun.elapsed().as_secs_f64() * 1e3;
        server
    }

    /// User and system time so far, in microseconds.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after_name = stat.rsplit(") ").next().unwrap();
        let ticks = after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap());
        ticks.sum::<f64>() * TICK_MICROS
    }

    /// Memory of this kind in `/proc/PID/status`, in MB.
    pub(crate) fn memory(&self, kind: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib = status.split(kind).nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
        kib.parse::<f64>().unwrap() * 1024.0 / 1e6
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
