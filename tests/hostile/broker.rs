//! A broker as a child process, which ends with this value.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

/// A broker under attack.
pub(crate) struct Broker {
    child: Child,
    pub(crate) port: u16,
}

impl Broker {
    /// The service with these settings, on a free port of loopback.
    pub(crate) fn start(binary: &Path, settings: &[(&str, &str)]) -> io::Result<Self> {
        Self::spawn(binary, &[], settings, "listening on port ")
    }

    /// The demo, on a free port.
    pub(crate) fn start_demo(binary: &Path) -> io::Result<Self> {
        Self::spawn(binary, &["demo"], &[], "http://127.0.0.1:")
    }

    /// Waits for the output that ends with the port.
    fn spawn(binary: &Path, arguments: &[&str], settings: &[(&str, &str)], before: &str) -> io::Result<Self> {
        let mut command = Command::new(binary);
        command.args(arguments).env_clear().envs([("HOST", "127.0.0.1"), ("PORT", "0")]);
        command.envs(settings.iter().copied()).current_dir(std::env::temp_dir());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut broker = Self { child, port: 0 };
        let mut lines = BufReader::new(output).lines();
        for line in lines.by_ref() {
            if let Some((_, rest)) = line?.split_once(before) {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                broker.port = digits.parse().map_err(io::Error::other)?;
                // A full pipe would stop the broker.
                thread::spawn(move || lines.for_each(drop));
                return Ok(broker);
            }
        }
        Err(io::Error::other("the broker ended before it listened"))
    }

    /// Resident memory now, and the most so far. MB.
    pub(crate) fn memory_mb(&self) -> io::Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default()
        };
        Ok((kib("VmRSS:") * 1_024 / 1_000_000, kib("VmHWM:") * 1_024 / 1_000_000))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
