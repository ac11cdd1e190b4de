//! `turn-broker demo` as a program: output, routes and access, that other variables have no effect, and its end.

use std::net::TcpListener;

use crate::support::process::{Process, Stream, command, run};
use crate::web::pages::{POLICY, everything};
use serde_json::json;

/// The most bytes that the page and its files may have.
const PAGE_BYTES_MAX: usize = 180_000;

struct Demo {
    process: Process,
    token: String,
}

impl Demo {
    fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command(variables);
        let (process, line) =
            Process::spawn_until(command.arg("demo").args(arguments), Stream::Person, "http://127.0.0.1:");
        let token = line.trim().split_once("#token=").unwrap().1.to_owned();
        Self { process, token }
    }
}

#[tokio::test]
async fn the_page_loads_only_its_own_files() {
    let demo = Demo::start(&["--port", "0"], &[]);
    let loaded = everything(&demo.process, "/demo").await;
    let policy = loaded[0].1.header("content-security-policy").unwrap();
    assert_eq!(policy.split("; ").collect::<Vec<_>>(), POLICY);
    for (path, file) in &loaded {
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(!file.text.contains(&demo.token), "{path}");
    }
    let bytes: usize = loaded.iter().map(|(_, file)| file.text.len()).sum();
    assert!(loaded.len() > 15 && bytes < PAGE_BYTES_MAX, "{} files, {bytes} bytes", loaded.len());
    assert_eq!(demo.process.get("/demo/index.html").await.error(), (404, "NOT_FOUND"));
}

#[tokio::test]
async fn it_mints_for_its_relay_under_a_small_budget_and_its_token_allows_overrides() {
    let demo = Demo::start(&["--port", "0"], &[]);
    let minted = demo.process.get("/api/turn-credentials").await.json();
    assert_eq!((minted["source"].as_str(), minted["ttl"].as_u64()), (Some("relay"), Some(180)));
    let urls = minted["iceServers"].to_string();
    assert!(urls.contains("turn:127.0.0.1:") && !urls.contains("cloudflare"), "{urls}");
    let status = demo.process.get("/api/bandwidth-status").await.json();
    assert_eq!(status["bandwidthLimitGB"], json!(0.25));
    assert_eq!(status["durable"], json!(false));

    let order = json!({"limitGB": 0.5});
    let refused = demo.process.post("not-its-token", "/api/budget/limit", order.clone()).await;
    assert_eq!(refused.error(), (401, "UNAUTHORIZED"));
    let raised = demo.process.post(&demo.token, "/api/budget/limit", order).await.json();
    assert_eq!(raised["bandwidthLimitGB"], json!(0.5));
    for _ in 0..40 {
        assert_eq!(demo.process.get("/api/turn-credentials").await.status, 200, "practically no rate limit");
    }
}

#[tokio::test]
async fn only_its_own_page_may_mint() {
    let demo = Demo::start(&["--port", "0"], &[("CLIENT_URL", "*")]);
    let status = async |origin: String| {
        demo.process.get_with("/api/turn-credentials", &[("origin", &origin)]).await.status.as_u16()
    };
    let port = demo.process.port;
    assert_eq!(status(format!("http://127.0.0.1:{port}")).await, 200);
    assert_eq!(status(format!("http://localhost:{port}")).await, 200);
    assert_eq!(status("http://localhost:5173".into()).await, 403);
}

/// A page whose name resolves to this machine (DNS rebinding) is of the same origin as the demo, so it sends no `Origin`.
#[tokio::test]
async fn only_a_request_to_its_own_address_is_served() {
    let demo = Demo::start(&["--port", "0"], &[]);
    let port = demo.process.port;
    let status = async |path: &str, host: String| {
        demo.process.get_with(path, &[("host", &host)]).await.status.as_u16()
    };
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"] {
        assert_eq!(status("/api/turn-credentials", format!("{host}:{port}")).await, 200, "{host}");
    }
    for host in
        ["evil.example".to_owned(), format!("evil.example:{port}"), "localhost".into(), "localhost:1".into()]
    {
        for path in ["/api/turn-credentials", "/demo", "/api/bandwidth-status"] {
            assert_eq!(status(path, host.clone()).await, 421, "{path} {host}");
        }
    }
}

#[tokio::test]
async fn only_the_documented_variables_have_an_effect() {
    let noise = [
        ("BANDWIDTH_LIMIT_GB", "7"),
        ("ICE_SOURCES", "stun"),
        ("OPERATOR_TOKEN", "somebody-elses-token-0123456789ab"),
        ("STATE_DIR", "/nonexistent/state"),
        ("TURN_TTL_SECONDS", "no number"),
        ("PORT", "0"),
        ("LOG_FORMAT", "json"),
        ("RUST_LOG", "info"),
    ];
    let demo = Demo::start(&[], &noise);
    assert_eq!(demo.process.get("/api/bandwidth-status").await.json()["bandwidthLimitGB"], json!(0.25));
    let refused = demo.process.get_as("somebody-elses-token-0123456789ab", "/api/overview").await;
    assert_eq!(refused.error(), (401, "UNAUTHORIZED"));
    let token = demo.token.clone();
    demo.process.signal("-INT");
    let (greeting, log, code) = demo.process.finish_apart();
    assert_eq!(code, Some(0));
    assert!(log.contains("\"message\":\"Bandwidth limit: 0.25 GB/month\""), "{log}");
    assert_eq!(greeting.matches(&token).count(), 1, "{greeting}");
    assert!(!log.contains(&token), "the log can be redirected to a file without the token:\n{log}");
}

#[test]
fn the_terminal_shows_the_greeting_and_no_log() {
    let mut demo = Demo::start(&["--port", "0"], &[]);
    demo.process.read_until("Press Ctrl-C to stop.");
    demo.process.signal("-INT");
    let (printed, code) = demo.process.finish();
    assert_eq!(code, Some(0));
    for log in ["INFO", "WARN", "ERROR"] {
        assert!(!printed.contains(log), "{printed}");
    }
    assert!(printed.contains("0.25 GB"), "{printed}");
}

#[test]
fn a_requested_port_in_use_is_an_error() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    for (arguments, variables) in
        [(&["demo", "--port", &port][..], &[][..]), (&["demo"][..], &[("PORT", port.as_str())][..])]
    {
        let output = run(arguments, variables);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{text}");
    }
}

#[test]
fn a_wrong_variable_is_a_wrong_configuration() {
    let bad = run(&["demo"], &[("HOST", "localhost")]);
    assert_eq!(bad.status.code(), Some(78));
    assert!(String::from_utf8(bad.stderr).unwrap().contains("HOST: expected an IP address"));
}
