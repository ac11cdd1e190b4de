//! The shipped program as a child process. Its wall clock is set through a file (libfaketime), its ledger is on a small disk.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The operator's token.
pub(crate) const OPERATOR: &str = "soak-fixture-operator";
/// The file with the wall clock's deviation, on the disk.
pub(crate) const CLOCK_FILE: &str = "clock";

pub(crate) struct Broker {
    child: Child,
    address: SocketAddr,
    client: reqwest::Client,
    state: PathBuf,
}

impl Broker {
    /// Starts the program, and waits until it listens.
    pub(crate) fn start(program: &Path, disk: &Path, provider: &str) -> Result<Self, Box<dyn Error>> {
        let (state, clock) = (disk.join("state"), disk.join(CLOCK_FILE));
        std::fs::create_dir_all(&state)?;
        std::fs::write(&clock, "+0")?;
        let mut child = Command::new(program)
            .env_clear()
            .env("HOST", "127.0.0.1")
            .env("PORT", "0")
            .env("CLIENT_URL", "*")
            .env("TRUSTED_PROXIES", "127.0.0.1")
            .env("CLOUDFLARE_API_BASE", provider)
            .env("CLOUDFLARE_TURN_KEY_ID", "soak")
            .env("CLOUDFLARE_TURN_API_TOKEN", "soak-fixture-token")
            .env("CLOUDFLARE_ANALYTICS_BASE", provider)
            .env("CLOUDFLARE_ACCOUNT_ID", "soak")
            .env("CLOUDFLARE_ANALYTICS_TOKEN", "soak-fixture-analytics")
            .env("BUDGET_MODE", "strict")
            .env("BANDWIDTH_LIMIT_GB", "100000")
            // Short, so that as many grants end as begin after a few minutes.
            .env("TURN_TTL_SECONDS", "120")
            .env("TURN_EXPIRY_TAIL_SECONDS", "60")
            .env("STATE_DIR", &state)
            .env("OPERATOR_TOKEN", OPERATOR)
            .env("LOG_FORMAT", "text")
            .env("RUST_LOG", "warn,turn_broker::telemetry::startup=info")
            .env("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .current_dir(disk)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let port = loop {
            let line = lines.next().ok_or("the broker did not start")??;
            if let Some((_, rest)) = line.split_once("listening on port ") {
                break rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u16>()?;
            }
        };
        // The rest of the log is read and discarded, so that it does not block the broker.
        std::thread::spawn(move || lines.for_each(drop));
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)), client, state })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long `/health` takes.
    pub(crate) async fn health(&self) -> Result<Duration, Box<dyn Error>> {
        let begin = Instant::now();
        let response = self.client.get(format!("http://{}/health", self.address)).send().await?;
        response.error_for_status()?.bytes().await?;
        Ok(begin.elapsed())
    }

    /// The used GB, according to the status.
    pub(crate) async fn used_gb(&self) -> Result<f64, Box<dyn Error>> {
        let response =
            self.client.get(format!("http://{}/api/bandwidth-status", self.address)).send().await?;
        let status: serde_json::Value = response.json().await?;
        Ok(status["bandwidthUsedGB"].as_str().ok_or("no figure")?.parse()?)
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the program like a container engine. Returns the output of `ledger verify`, or why it failed.
    pub(crate) fn stop_and_verify(
        &mut self,
        program: &Path,
    ) -> Result<Result<String, String>, Box<dyn Error>> {
        Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status()?;
        let status = self.child.wait()?;
        if !status.success() {
            return Ok(Err(format!("the broker ended with {status}")));
        }
        let output = Command::new(program)
            .args(["ledger", "verify"])
            .env_clear()
            .env("STATE_DIR", &self.state)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(if output.status.success() { Ok(text) } else { Err(text) })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
