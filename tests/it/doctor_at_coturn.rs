//! `turn-broker doctor` with a real coturn: datagrams through allocations by UDP, TCP and TLS, a wrong secret, closed ports, an
//! untrusted certificate, denied peers, unreachable relay ports. tests/coturn/run.sh creates the network and runs this.

#![expect(clippy::print_stdout, reason = "what doctor says is read by people")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use secrecy::SecretString;
use serde_json::Value;
use turn_broker::config::CoturnCliConfig;
use turn_broker::meter::coturn::cli::CoturnCli;

use crate::doctor::{Examined, doctor};
use crate::support::eventually;

const SECRET: &str = "real-coturn-secret";
const PASSWORD: &str = "real-coturn-password";
const CLI: &str = "127.0.0.1:5766";

const UDP: &str = "turn:127.0.0.1:3478";
const TCP: &str = "turn:127.0.0.1:3478?transport=tcp";
const TLS: &str = "turns:localhost:5349";

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
        let settings = [
            "listening-ip=127.0.0.1",
            "relay-ip=127.0.0.1",
            "realm=relay.test",
            "fingerprint",
            "no-dtls",
            "use-auth-secret",
            "allow-loopback-peers",
            "verbose",
            "simple-log",
            "log-file=stdout",
            &format!("static-auth-secret={SECRET}"),
            &format!("cli-password={PASSWORD}"),
            &format!("userdb={}", path("coturn.db")),
            &format!("pidfile={}", path("coturn.pid")),
        ];
        fs::write(directory.join("coturn.conf"), [&settings[..], more].concat().join("\n")).unwrap();
        let log = File::create(directory.join("coturn.log")).unwrap();
        let mut command = Command::new("turnserver");
        command.args(["-c", &path("coturn.conf")]).current_dir(directory).stdin(Stdio::null());
        let process = command.stderr(log.try_clone().unwrap()).stdout(log).spawn().unwrap();
        let coturn = Self { directory: directory.to_owned(), process };
        let config = CoturnCliConfig { address: CLI.to_owned(), password: SecretString::from(PASSWORD) };
        let cli = CoturnCli::new(&config);
        eventually("coturn listens", async || coturn.log().contains("UDP listener opened")).await;
        eventually("its command line answers", async || cli.sessions().await.is_ok()).await;
        coturn
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("coturn.log")).unwrap_or_default()
    }
}

/// Runs doctor with coturn as the only source; returns the findings about each `turn:` URL and the network.
async fn examine(urls: &[&str], more: &[(&str, &str)]) -> (Option<i32>, Vec<Value>) {
    let urls = urls.join(",");
    let mut all = vec![
        ("ICE_SOURCES", "coturn"),
        ("COTURN_URLS", urls.as_str()),
        ("COTURN_SECRET", SECRET),
        ("STUN_URLS", "stun:127.0.0.1:3478"),
    ];
    all.retain(|(name, _)| more.iter().all(|(other, _)| name != other));
    all.extend_from_slice(more);
    let Examined { text, .. } = doctor(&[], &all).await;
    println!("{text}");
    let json = doctor(&["--json"], &all).await;
    let document: Value = serde_json::from_str(&json.text).unwrap();
    let is_about_relays = |found: &&Value| ["turn", "network"].contains(&found["check"].as_str().unwrap());
    let found = document["checks"].as_array().unwrap().iter().filter(is_about_relays).cloned().collect();
    (json.exit, found)
}

fn states(found: &[Value]) -> Vec<&str> {
    found.iter().map(|one| one["state"].as_str().unwrap()).collect()
}

fn says(found: &Value, text: &str) -> bool {
    ["seen", "remedy"].iter().any(|field| found[field].as_str().is_some_and(|value| value.contains(text)))
}

/// Creates an authority, and a certificate of it for `localhost`.
fn make_certificates(directory: &Path) {
    let script = "set -e
        new='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
        openssl req -x509 $new -keyout ca.key -out ca.pem -days 2 -subj /CN=doctor-test
        openssl req $new -keyout key.pem -out request.pem -subj /CN=localhost
        echo subjectAltName=DNS:localhost > names
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem";
    let made = Command::new("sh").args(["-c", script]).current_dir(directory).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test]
#[ignore = "needs a coturn: tests/coturn/run.sh"]
async fn real_coturn_is_examined_by_doctor() {
    #[expect(clippy::disallowed_methods, reason = "run.sh says where")]
    let directory = PathBuf::from(std::env::var("WORK_DIR").expect("run by tests/coturn/run.sh"));
    make_certificates(&directory);
    let path = |name: &str| directory.join(name).display().to_string();
    let (cert, key) = (format!("cert={}", path("cert.pem")), format!("pkey={}", path("key.pem")));
    let coturn = RealCoturn::start(&directory, &[&cert, &key]).await;
    let authority = path("ca.pem");
    let trusted = ("CA_FILE", authority.as_str());

    let settings = [("COTURN_CLI", CLI), ("COTURN_CLI_PASSWORD", PASSWORD), trusted];
    let (exit, found) = examine(&[UDP, TCP, TLS], &settings).await;
    assert_eq!((exit, states(&found)), (Some(0), vec!["ok"; 4]), "{found:?}");
    assert!(found[..3].iter().all(|one| says(one, "relays at 127.0.0.1:")), "{found:?}");
    // Two runs with three URLs: every allocation was released.
    let released = coturn.log().matches("REFRESH processed, success").count();
    assert_eq!((coturn.log().matches("ALLOCATE processed, success").count(), released), (6, 6));

    let (exit, found) = examine(&[UDP, TCP], &[("COTURN_SECRET", "another-secret")]).await;
    assert_eq!((exit, states(&found)), (Some(1), vec!["fail"; 3]), "{found:?}");
    assert!(says(&found[0], "401") && says(&found[0], "COTURN_SECRET"), "{found:?}");
    assert!(says(&found[2], "no relay works"), "{found:?}");

    let dead = ["turn:127.0.0.1:9", "turn:127.0.0.1:9?transport=tcp"];
    let (exit, found) = examine(&dead, &[]).await;
    assert_eq!((exit, states(&found)), (Some(1), vec!["fail"; 3]), "{found:?}");
    assert!(says(&found[0], "nothing listens") && says(&found[0], "UDP port 9"), "{found:?}");
    assert!(says(&found[2], "STUN answers"), "{found:?}");

    let (exit, found) = examine(&["turn:127.0.0.1:9", TCP], &[]).await;
    assert_eq!((exit, states(&found)), (Some(0), vec!["warn", "ok", "warn"]), "{found:?}");
    assert!(says(&found[2], "but not by UDP 9"), "{found:?}");

    let (exit, found) = examine(&[UDP, TLS], &[]).await;
    assert_eq!((exit, states(&found)), (Some(1), vec!["ok", "fail", "warn"]), "{found:?}");
    assert!(says(&found[1], "UnknownIssuer"), "{found:?}");

    let (_, found) = examine(&["turns:127.0.0.1:5349"], &[trusted]).await;
    assert!(says(&found[0], "not valid for name"), "{found:?}");

    drop(coturn);
    let denying = RealCoturn::start(&directory, &["denied-peer-ip=127.0.0.0-127.255.255.255"]).await;
    let (exit, found) = examine(&[UDP, TCP], &[]).await;
    assert_eq!((exit, states(&found)), (Some(1), vec!["fail"; 3]), "{found:?}");
    let is_denied =
        |one| says(one, "the permission for a peer was answered with 403") && says(one, "denied-peer-ip");
    assert!(found[..2].iter().all(is_denied) && says(&found[2], "no relay works"), "{found:?}");

    drop(denying);
    // Datagrams to this public address are lost; coturn itself knows that it is its own. Over TCP, the network could be the cause.
    let _unreachable = RealCoturn::start(&directory, &["external-ip=127.0.0.9/127.0.0.1"]).await;
    let (exit, found) = examine(&[UDP, TCP], &[]).await;
    assert_eq!((exit, states(&found)), (Some(1), vec!["fail", "warn", "warn"]), "{found:?}");
    assert!(says(&found[0], "no datagram comes through") && says(&found[0], "min-port"), "{found:?}");
    assert!(says(&found[1], "allow outgoing UDP"), "{found:?}");
}
