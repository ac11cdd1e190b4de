//! `cargo run --example fake-cloudflare`: a fake provider for people without an account.
//!
//! Invariants: it listens on loopback only. Its credentials work at no relay, and it never prints them.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the integration tests use parts of this code that the binary does not")
)]
#[path = "mod.rs"]
mod fake_cloudflare;

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use fake_cloudflare::{AnalyticsFault, FakeCloudflare, Recorded};
use turn_base::{Clock, SystemClock};
use turn_ledger::{Minute, Timestamp};

const KEY_ID: &str = "demo";
const TOKEN: &str = "demo-token";
const ACCOUNT_ID: &str = "demo-account";
const ANALYTICS_TOKEN: &str = "demo-analytics-token";
/// How far back usage begins, so that a broker that reads only settled minutes sees some at once.
const PAST_MILLIS: i64 = 3_600_000;
/// Number of newest minutes that the analytics do not show yet.
const LATE_MINUTES: u16 = 1;

/// A stand-in for Cloudflare's TURN key API and analytics on 127.0.0.1, for trying the broker without an account.
#[derive(Parser)]
struct Options {
    /// Listen on this port; 0 takes a free one
    #[arg(long, default_value_t = 8787)]
    port: u16,
    /// Take this long for each mint
    #[arg(long, default_value_t = 80)]
    latency_ms: u64,
    /// Megabytes that the analytics count each minute, since an hour before the start; 15 is one call of 2 Mbps
    #[arg(long, default_value_t = 15)]
    relay_mb: u32,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "fake-cloudflare: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> io::Result<()> {
    let fake = FakeCloudflare::start_on((Ipv4Addr::LOCALHOST, options.port).into()).await?;
    fake.require_key(KEY_ID);
    fake.require_token(TOKEN);
    fake.latency(Duration::from_millis(options.latency_ms));
    fake.analytics().require_account(ACCOUNT_ID);
    fake.analytics().require_token(ANALYTICS_TOKEN);
    fake.analytics().set_fault(AnalyticsFault::Late(LATE_MINUTES));
    fake.observe(|request, status| say(&line(request, status)));
    say(&greeting(&fake.base_url()));
    tokio::select! {
        stopped = stop_signal() => stopped?,
        () = relay(&fake, options.relay_mb) => {}
    }
    fake.stop().await;
    let history = fake.history();
    let (mints, minted, queries) = (history.mints(), history.minted(), fake.analytics().asked());
    say(&format!(
        "stopped: {mints} mint requests, {minted} credentials generated, {queries} analytics queries\n"
    ));
    Ok(())
}

/// Adds the same usage to each minute from one hour before the start. The current minute counts in full.
async fn relay(fake: &FakeCloudflare, megabytes: u32) {
    let bytes = u64::from(megabytes) * 1_000_000;
    let mut minute = Minute::of(Timestamp::from_millis(SystemClock.now().as_millis() - PAST_MILLIS)).start();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tick.tick().await;
        while minute <= SystemClock.now() {
            fake.analytics().relay(KEY_ID, &minute.to_string(), bytes, bytes);
            minute = minute.plus(Duration::from_secs(60));
        }
    }
}

fn greeting(base_url: &str) -> String {
    format!(
        "fake Cloudflare on {base_url}\nin another terminal:\n  \
         CLOUDFLARE_API_BASE={base_url} CLOUDFLARE_TURN_KEY_ID={KEY_ID} CLOUDFLARE_TURN_API_TOKEN={TOKEN} cargo run\n\
         to read its analytics too, add before that command:\n  \
         CLOUDFLARE_ANALYTICS_BASE={base_url} CLOUDFLARE_ACCOUNT_ID={ACCOUNT_ID} \
         CLOUDFLARE_ANALYTICS_TOKEN={ANALYTICS_TOKEN}\n"
    )
}

/// The log line of a request, without tokens and credentials. Of a path with a key id it shows only the last
/// segment, because an earlier one can be a username.
fn line(request: &Recorded, status: Option<u16>) -> String {
    let what = match (&request.key_id, request.path.rsplit('/').next()) {
        (Some(key_id), Some(verb)) => format!("{verb} key={key_id:?}"),
        _ => format!("{:?}", request.path),
    };
    let ttl = request.ttl.map(|ttl| format!(" ttl={ttl}")).unwrap_or_default();
    let status = status.map_or_else(|| "no response".to_owned(), |status| status.to_string());
    format!("{} {what}{ttl} -> {status}\n", request.method)
}

#[cfg(unix)]
async fn stop_signal() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn stop_signal() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// Ignores errors: the server continues when the reader has closed the pipe.
fn say(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
