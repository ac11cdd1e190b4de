//! The shipped program as a child process. Its wall clock is set through a file (libfaketime), its ledger is on a small disk.

use std::io;
use std::path::Path;

use crate::support::OPERATOR;
use crate::support::process::{Process, run};

/// The file with the wall clock's deviation, on the disk.
pub(crate) const CLOCK_FILE: &str = "clock";

/// Starts the program, and waits until it listens.
pub(crate) fn start(disk: &Path, provider: &str) -> io::Result<Process> {
    let (state, clock) = (disk.join("state"), disk.join(CLOCK_FILE));
    std::fs::create_dir_all(&state)?;
    std::fs::write(&clock, "+0")?;
    Ok(Process::start(&[
        // Nobody reads the log.
        ("RUST_LOG", "error,turn_broker::telemetry::startup=info"),
        ("CLIENT_URL", "*"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("CLOUDFLARE_API_BASE", provider),
        ("CLOUDFLARE_TURN_KEY_ID", "soak"),
        ("CLOUDFLARE_TURN_API_TOKEN", "soak-fixture-token"),
        ("CLOUDFLARE_ANALYTICS_BASE", provider),
        ("CLOUDFLARE_ACCOUNT_ID", "soak"),
        ("CLOUDFLARE_ANALYTICS_TOKEN", "soak-fixture-analytics"),
        ("BUDGET_MODE", "strict"),
        ("BANDWIDTH_LIMIT_GB", "100000"),
        // Short, so that as many grants end as begin after a few minutes.
        ("TURN_TTL_SECONDS", "120"),
        ("TURN_EXPIRY_TAIL_SECONDS", "60"),
        ("STATE_DIR", state.to_str().unwrap()),
        ("OPERATOR_TOKEN", OPERATOR),
        ("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_CACHE_DURATION", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]))
}

/// Ends the program like a container engine. Returns the output of `ledger verify`, or why it failed.
pub(crate) fn stop_and_verify(broker: Process, disk: &Path) -> Result<String, String> {
    broker.signal("-TERM");
    let (_, code) = broker.finish();
    if code != Some(0) {
        return Err(format!("the broker ended with {code:?}"));
    }
    let state = disk.join("state");
    let output = run(&["ledger", "verify"], &[("STATE_DIR", state.to_str().unwrap())]);
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() { Ok(text) } else { Err(text) }
}
