//! `turn-broker doctor` with a real coturn: a datagram through an allocation, a wrong secret, a closed port, a denied peer,
//! another server that it names.
//! tests/coturn/run.sh creates the network and runs this.

#![expect(clippy::print_stdout, reason = "what doctor says is read by people")]

use std::fs::{self, File};
use std::process::{Child, Stdio};

use secrecy::SecretString;
use turn_broker::meter::coturn::cli::CoturnCli;

use crate::doctor::doctor;
use crate::support::prelude::*;

const SECRET: &str = "real-coturn-secret";
const PASSWORD: &str = "real-coturn-password";
const CLI: &str = "127.0.0.1:5766";

const RELAY: &str = "turn:127.0.0.1:3478";

/// A coturn with its files in a directory. Dropping it ends it.
struct RealCoturn {
    directory: PathBuf,
    process: Child,
}

impl Drop for RealCoturn {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl RealCoturn {
    async fn start(directory: &Path, more: &[&str]) -> Self {
        let path = |name: &str| directory.join(name).display().to_string();
        let fixed = "listening-ip=127.0.0.1 relay-ip=127.0.0.1 realm=relay.test fingerprint cli no-dtls no-tls \
                     use-auth-secret allow-loopback-peers verbose simple-log log-file=stdout";
        let own = [
            format!("static-auth-secret={SECRET}"),
            format!("cli-password={PASSWORD}"),
            format!("userdb={}", path("coturn.db")),
            format!("pidfile={}", path("coturn.pid")),
        ];
        let settings = fixed.split(' ').chain(own.iter().map(String::as_str)).chain(more.iter().copied());
        fs::write(directory.join("coturn.conf"), settings.collect::<Vec<_>>().join("\n")).unwrap();
        let log = File::create(directory.join("coturn.log")).unwrap();
        let mut command = Command::new("turnserver");
        command.args(["-c", &path("coturn.conf")]).current_dir(directory).stdin(Stdio::null());
        let process = command.stderr(log.try_clone().unwrap()).stdout(log).spawn().unwrap();
        let coturn = Self { directory: directory.to_owned(), process };
        let config =
            CoturnCliConfig { host: None, address: CLI.to_owned(), password: SecretString::from(PASSWORD) };
        let cli = CoturnCli(config.clone());
        eventually("coturn listens", async || coturn.log().contains("UDP listener opened")).await;
        eventually("its command line answers", async || cli.sessions().await.is_ok()).await;
        coturn
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("coturn.log")).unwrap_or_default()
    }
}

/// Runs doctor with coturn as the only source; returns its status and the finding about the relay.
async fn examine(url: &str, more: &[(&str, &str)]) -> (Option<i32>, Value) {
    examine_as("turn", url, more).await
}

/// The same with the first finding of this check.
async fn examine_as(check: &str, url: &str, more: &[(&str, &str)]) -> (Option<i32>, Value) {
    let mut all = vec![("ICE_SOURCES", "coturn"), ("COTURN_URLS", url), ("COTURN_SECRET", SECRET)];
    all.retain(|(name, _)| more.iter().all(|(other, _)| name != other));
    all.extend_from_slice(more);
    println!("{}", doctor(&[], &all).await.text);
    let examined = doctor(&["--json"], &all).await;
    (examined.exit, examined.of(check).remove(0))
}

#[track_caller]
fn assert_fails((exit, found): &(Option<i32>, Value), seen: &str, remedy: &str) {
    assert_eq!((*exit, &found["state"]), (Some(1), &"fail".into()), "{found}");
    let has = |field: &str, text| found[field].as_str().is_some_and(|value| value.contains(text));
    assert!(has("seen", seen) && has("remedy", remedy), "{found}");
}

#[tokio::test]
#[ignore = "needs a coturn: tests/coturn/run.sh"]
async fn real_coturn_is_examined_by_doctor() {
    #[expect(clippy::disallowed_methods, reason = "run.sh says where")]
    let directory = PathBuf::from(std::env::var("WORK_DIR").expect("run by tests/coturn/run.sh"));
    let open = RealCoturn::start(&directory, &[]).await;
    let (_, found) = examine_as("tunnel", RELAY, &[]).await;
    assert_fails(&(Some(1), found), "allocations for TCP", "no-tcp-relay");
    drop(open);
    let reports =
        r#"redis-statsdb="ip=127.0.0.1 dbname=0 password=stats-password port=6390 connect_timeout=5""#;
    let closed = [reports, "no-tcp-relay"];
    let coturn = RealCoturn::start(&directory, &closed).await;
    let stats = [("COTURN_STATS_LISTEN", "127.0.0.1:6390"), ("COTURN_STATS_PASSWORD", "stats-password")];
    let settings = [&[("COTURN_CLI", CLI), ("COTURN_CLI_PASSWORD", PASSWORD)][..], &stats].concat();
    let (_, found) = examine_as("tunnel", RELAY, &settings).await;
    assert_eq!(found["state"], "warn", "{found}");
    assert!(found["seen"].as_str().unwrap().contains("the private address 10.0.0.1"), "{found}");
    let (_, found) = examine_as("coturn-stats", RELAY, &settings).await;
    assert_eq!(found["state"], "ok", "{found}");
    drop(coturn);
    let denied = ["denied-peer-ip=10.0.0.0-10.255.255.255", "denied-peer-ip=169.254.0.0-169.254.255.255"];
    let closed = [&closed[..], &denied].concat();
    let coturn = RealCoturn::start(&directory, &closed).await;
    let (_, found) = examine_as("tunnel", RELAY, &settings).await;
    assert_eq!(found["state"], "warn", "{found}");
    assert!(found["remedy"].as_str().unwrap().contains("user-quota"), "{found}");
    drop(coturn);
    let coturn = RealCoturn::start(&directory, &[&closed[..], &["user-quota=4"]].concat()).await;
    let (_, found) = examine_as("tunnel", RELAY, &settings).await;
    assert_eq!(found["state"], "ok", "{found}");
    let (exit, found) = examine(RELAY, &settings).await;
    assert_eq!((exit, &found["state"]), (Some(0), &"ok".into()), "{found}");
    assert!(found["seen"].as_str().unwrap().contains("relays at 127.0.0.1:"), "{found}");
    let allocated = coturn.log().matches("ALLOCATE processed, success").count();
    assert!(
        allocated >= 8 + 4,
        "four runs, in each two allocations, and as many as the quota has: {allocated}"
    );
    let released = async || coturn.log().matches("REFRESH processed, success").count() == allocated;
    eventually("every allocation is released", released).await;

    let wrong_secret = examine(RELAY, &[("COTURN_SECRET", "another-secret")]).await;
    assert_fails(&wrong_secret, "the allocation request was answered with 401", "COTURN_SECRET");
    assert_fails(&examine("turn:127.0.0.1:9", &[]).await, "no answer in time", "UDP port 9");

    drop(coturn);
    let denying = RealCoturn::start(&directory, &["denied-peer-ip=127.0.0.0-127.255.255.255"]).await;
    assert_fails(
        &examine(RELAY, &[]).await,
        "permission for itself as a peer was answered with 403",
        "denied-peer-ip",
    );

    drop(denying);
    let _redirecting = RealCoturn::start(&directory, &["alternate-server=127.0.0.1:9"]).await;
    let seen = "answers 300 (Try Alternate), and the server that it names, 127.0.0.1:9, makes no allocation";
    assert_fails(&examine(RELAY, &[]).await, seen, "alternate-server");
}
