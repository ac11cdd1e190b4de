//! The program: its lines at start, a bad configuration, exit and shutdown, and that it reveals no secret.

use crate::support::prelude::*;
use crate::support::process::program;

fn messages(log: &str) -> Vec<String> {
    let lines =
        log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
    lines.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn the_lines_at_start_are_json_without_a_terminal() {
    let process =
        Process::start(&[("BANDWIDTH_LIMIT_GB", "2.5"), ("TRUSTED_PROXIES", "10.0.0.0/8,192.0.2.1")]);
    let port = process.port;
    process.signal("-TERM");
    let (log, code) = process.finish();
    let messages = messages(&log);
    for expected in [
        format!("turn-broker listening on port {port}"),
        "Cloudflare TURN not configured".into(),
        "Bandwidth limit: 2.5 GB/month".into(),
        "Budget mode: estimate".into(),
        "Ledger: in memory only, a restart loses this period's usage".into(),
        "Trusted proxies: 10.0.0.0/8, 192.0.2.1/32".into(),
        format!(
            "Credentials: http://127.0.0.1:{port}/api/turn-credentials, the whole API: http://127.0.0.1:{port}/openapi.json"
        ),
        "No signaling: SIGNALING is not set".into(),
        "No dashboard: OPERATOR_TOKEN is not set".into(),
    ] {
        assert!(messages.contains(&expected), "{expected} is missing in {messages:#?}");
    }
    assert!(log.contains(&format!("\"address\":\"127.0.0.1:{port}\"")), "{log}");
    assert_eq!(code, Some(0));
}

#[test]
fn a_hangup_drains_as_sigterm_does() {
    // These tests may run under nohup, which their programs inherit.
    let mut command = Command::new("env");
    command.env_clear().args(["--default-signal=HUP", "HOST=127.0.0.1", "PORT=0"]).arg(program());
    let process = Process::spawn(&mut command);
    process.signal("-HUP");
    let (log, code) = process.finish();
    assert!(log.contains("shutting down: no new connections"), "{log}");
    assert_eq!(code, Some(0));
}

/// Kubernetes gives the group of a volume access at each start. A warning could not be followed, least of all where the volume belongs to another
/// user, who alone may change its permissions.
#[test]
fn the_access_of_an_fs_group_is_no_warning() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let state = StateDir::new();
    let path = std::path::Path::new(state.path());
    let warns = |program: &mut Command, of_directory| {
        for (path, mode) in [(path, of_directory), (&path.join(FILE_NAME), 0o660)] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        let settings = [("HOST", "127.0.0.1"), ("PORT", "0"), ("STATE_DIR", state.path())];
        let process = Process::spawn(program.env_clear().envs(settings));
        process.signal("-TERM");
        process.finish().0.contains("access to")
    };
    drop(Process::start(&[("STATE_DIR", state.path())]));
    let ours = || Command::new(program());
    assert_eq!([0o2770, 0o770, 0o2777].map(|mode| warns(&mut ours(), mode)), [false, true, true]);
    // Only root can give a directory away, and root may change each permission.
    if std::fs::metadata(path).unwrap().uid() == 0 {
        chown(path, Some(12_345), None).unwrap();
        let mut powerless = Command::new("setpriv");
        powerless.arg("--bounding-set=-fowner").arg(program());
        assert_eq!([0o2770, 0o770, 0o2777].map(|mode| warns(&mut powerless, mode)), [false, true, true]);
    }
}

#[test]
fn a_listener_on_all_ipv6_addresses_serves_ipv4_and_the_commands_find_it() {
    let process = Process::start(&[("HOST", "::")]);
    let port = process.port.to_string();
    let settings = [("HOST", "::"), ("PORT", port.as_str())];
    for command in ["healthcheck", "status"] {
        let output = run(&[command], &settings);
        assert!(output.status.success(), "{command}: {output:?}");
    }
}

#[test]
fn text_logs_contain_the_same_messages_with_the_public_addresses() {
    let mut process = Process::start(&[
        ("HOST", "0.0.0.0"),
        ("OPERATOR_TOKEN", OPERATOR),
        ("CLOUDFLARE_TURN_KEY_ID", "k"),
        ("CLOUDFLARE_TURN_API_TOKEN", API_TOKEN),
        ("PUBLIC_URL", "https://turn.example/base"),
        ("SIGNALING", "ayame,peerjs"),
        ("LOG_FORMAT", "text"),
    ]);
    for line in [
        "Cloudflare TURN service configured",
        "Bandwidth limit: 1000 GB/month",
        "the whole API: https://turn.example/base/openapi.json",
        "Signaling: ayame at wss://turn.example/base/signaling, peerjs at https://turn.example/base/peerjs",
        "Dashboard: https://turn.example/base/dashboard",
    ] {
        process.read_until(line);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_logged_with_the_client_and_without_the_token() {
    let mut process = Process::start(&[("OPERATOR_TOKEN", OPERATOR)]);
    assert_eq!(process.get_as("hush-wrong-token", "/metrics").await.status, 401);
    let line = process.read_until("wrong operator token");
    assert!(line.contains("127.0.0.1"), "{line}");
    process.signal("-TERM");
    let (log, _) = process.finish();
    assert!(!log.contains("hush"), "{log}");
}

#[test]
fn the_lines_at_start_name_meters_and_the_alert_host_and_no_secret() {
    let settings = [
        ("ICE_SOURCES", "coturn"),
        ("COTURN_URLS", "turn:127.0.0.1:3478"),
        ("COTURN_SECRET", "hush-coturn-secret"),
        ("COTURN_CLI", "127.0.0.1:1"),
        ("COTURN_CLI_PASSWORD", "hush-cli-password"),
        ("CLOUDFLARE_ACCOUNT_ID", "account"),
        ("CLOUDFLARE_ANALYTICS_TOKEN", "hush-analytics-token"),
        ("CLOUDFLARE_ANALYTICS_BASE", "http://127.0.0.1:1"),
        ("ALERT_WEBHOOK_URL", "http://127.0.0.1:1/hush-webhook-path"),
        ("RUST_LOG", "trace"),
    ];
    let mut process = Process::start(&settings);
    for line in ["coturn's sessions are neither read nor ended", "Cloudflare's analytics were not read"] {
        if !process.seen.contains(line) {
            process.read_until(line);
        }
    }
    process.signal("-TERM");
    let (log, _) = process.finish();
    for expected in [
        "Measured usage: Cloudflare's own count, every 60 s, up to 600 s ago",
        "Measured usage: coturn's sessions at 127.0.0.1:1, which are ended when their grant has expired",
        "Alerts: to 127.0.0.1, not signed",
    ] {
        assert!(messages(&log).iter().any(|message| message == expected), "{expected} in\n{log}");
    }
    assert!(!log.contains("hush"), "{log}");
}

#[test]
fn the_command_line_is_short() {
    let text = |arguments: &[&str]| String::from_utf8(run(arguments, &[]).stdout).unwrap();
    assert!(text(&["--help"]).contains("healthcheck"));
    assert_eq!(text(&["--version"]), format!("turn-broker {}\n", env!("CARGO_PKG_VERSION")));
    for wrong in [&["nonsense"][..], &["--nonsense"], &["serve", "serve"]] {
        assert_eq!(run(wrong, &[]).status.code(), Some(64), "{wrong:?}");
    }
}

#[test]
fn a_port_in_use_is_reported() {
    let process = Process::start(&[]);
    let port = process.port.to_string();
    let output = run(&[], &[("HOST", "127.0.0.1"), ("PORT", &port)]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{text}");
    assert!(text.contains("Set PORT to another port"), "{text}");
}

#[test]
fn the_healthcheck_needs_only_the_program() {
    let process = Process::start(&[]);
    let port = process.port.to_string();
    let check = |port: &str| run(&["healthcheck"], &[("PORT", port)]).status.code();
    assert_eq!(check(&port), Some(0));
    let closed = HeldPort::new();
    assert_eq!(check(&closed.address().port().to_string()), Some(1));
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_requests_in_progress() {
    let cloudflare = FakeCloudflare::start().await;
    cloudflare.always(Fault::Hang);
    let base = cloudflare.base_url();
    let mut process = Process::start(&[
        ("CLOUDFLARE_API_BASE", &base),
        ("CLOUDFLARE_TURN_KEY_ID", "k"),
        ("CLOUDFLARE_TURN_API_TOKEN", API_TOKEN),
    ]);
    let hanging = tokio::spawn(process.request(Method::GET, "/api/turn-credentials").send());
    eventually("the provider is asked", async || cloudflare.history().mints() > 0).await;
    process.signal("-TERM");
    process.read_until("shutting down");
    process.signal("-TERM");
    let (log, code) = process.finish();
    assert!(log.contains("shut down with connections unfinished"), "{log}");
    assert_eq!(code, Some(1));
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn no_log_line_and_no_error_contains_a_secret() {
    let cloudflare = FakeCloudflare::start().await;
    let base = cloudflare.base_url();
    let process = Process::start(&[
        ("CLOUDFLARE_API_BASE", &base),
        ("CLOUDFLARE_TURN_KEY_ID", "k"),
        ("CLOUDFLARE_TURN_API_TOKEN", API_TOKEN),
        ("OPERATOR_TOKEN", OPERATOR),
        ("REPORTER_TOKEN", REPORTER),
        ("RATE_LIMIT_REQUESTS", "20"),
        ("RUST_LOG", "trace"),
    ]);
    let grant = process.grant().await;
    assert_eq!(process.get(&format!("/api/turn-credentials?label={OPERATOR}")).await.status, 200);
    let mut errors = String::new();
    // No credential of this life is ready.
    let mint = async || {
        let request = process.request(Method::GET, "/api/turn-credentials?ttl=601").bearer_auth(&grant);
        Answer::of(request).await.text
    };
    for fault in
        [Fault::Unauthorized401, Fault::Forbidden1010, Fault::ServerErrorHtml(500), Fault::MalformedJson]
    {
        cloudflare.always(fault);
        errors += &mint().await;
    }
    cloudflare.stop().await;
    errors += &mint().await;
    let mut calls = vec![
        (Method::POST, "/api/connections", json!({"connectionId": "c", "token": grant})),
        (Method::POST, "/api/connections/c/heartbeat", json!({"token": grant, "relayed": "no"})),
        (Method::POST, "/api/connections/c/close", json!({"token": grant})),
        (Method::GET, "/api/connections", json!({})),
        (Method::GET, "/metrics", json!({})),
        (Method::GET, "/nope", json!({})),
    ];
    calls.extend((0..20).map(|_| (Method::GET, "/api/turn-credentials", json!({}))));
    for (method, path, body) in calls {
        for token in [OPERATOR, REPORTER, &grant, API_TOKEN] {
            let request = process.request(method.clone(), path).bearer_auth(token).json(&body);
            let answer = Answer::of(request).await;
            if !answer.status.is_success() {
                errors += &answer.text;
            }
        }
    }
    process.signal("-TERM");
    let (log, _) = process.finish();

    assert!(
        log.contains("Cloudflare did not mint") && log.contains("[Bandwidth] Connection c closed."),
        "{log}"
    );
    assert_eq!(log.matches("Cloudflare did not mint").count(), 1, "many failures, one line");
    assert!(log.contains("[token]"), "a secret as a label");
    assert!(errors.contains("INVALID_GRANT") && errors.contains("RATE_LIMITED"), "{errors}");
    let mut secrets = cloudflare.history().minted_secrets();
    assert!(!secrets.is_empty());
    secrets.extend([API_TOKEN, OPERATOR, REPORTER, &grant, Fault::BODY_MARK].map(str::to_owned));
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log");
        assert!(!errors.contains(&secret), "{secret} is in an error's body");
    }
}

#[tokio::test]
async fn closing_a_connection_writes_the_line_of_the_contract() {
    let mut process = Process::start(&[("REPORTER_TOKEN", REPORTER), ("LOG_FORMAT", "text")]);
    assert_eq!(process.open(REPORTER, "call-7").await.status, 201);
    let closed = process.post(REPORTER, "/api/connections/call-7/close", json!({})).await;
    assert_eq!(closed.status, 204);
    process.read_until("[Bandwidth] Connection call-7 closed. Estimated usage: 0.00");
    assert!(process.seen.contains(" GB. Total this month: 0.00 GB"), "{}", process.seen);
}

#[tokio::test]
async fn overrides_in_effect_are_logged_at_start() {
    let state = StateDir::new();
    let settings = [("STATE_DIR", state.path()), ("OPERATOR_TOKEN", OPERATOR), ("LOG_FORMAT", "text")];
    let process = Process::start(&settings);
    assert_eq!(process.set_limit(1500).await.status, 200);
    assert_eq!(process.freeze(true).await.status, 200);
    process.signal("-TERM");
    let (log, _) = process.finish();
    assert!(!log.contains("Overrides in force"), "there were none at the start: {log}");
    let mut process = Process::start(&settings);
    process.read_until("Overrides in force: a limit of 1500 GB instead of 1000; nothing is minted");
}

#[test]
fn others_lose_their_access_to_the_ledger_at_start_with_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let parent = StateDir::new();
    let directory = format!("{}/state", parent.path());
    let file = format!("{directory}/{FILE_NAME}");
    let settings = [("STATE_DIR", directory.as_str()), ("ICE_SOURCES", "stun"), ("LOG_FORMAT", "text")];
    let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let start = || {
        let process = Process::start(&settings);
        process.signal("-TERM");
        let (log, code) = process.finish();
        assert_eq!((code, mode(&directory), mode(&file)), (Some(0), 0o700, 0o600), "{log}");
        log.matches("others had access to").count()
    };
    assert_eq!(start(), 0);
    for (path, loose) in [(&directory, 0o755), (&file, 0o644)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(loose)).unwrap();
    }
    assert_eq!((start(), start()), (2, 0), "once for each");
}

#[test]
fn a_directory_or_a_ledger_that_cannot_be_ours_ends_the_start_with_78() {
    use std::os::unix::fs::{MetadataExt, chown, symlink};
    let state = StateDir::new();
    let elsewhere = tempfile::NamedTempFile::new().unwrap();
    let start = |why: &str| {
        let output = run(&["serve"], &[("STATE_DIR", state.path()), ("PORT", "0")]);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(text.contains("STATE_DIR: ") && text.contains(why), "{text}");
    };
    std::fs::remove_dir(state.path()).unwrap();
    std::fs::write(state.path(), "a file").unwrap();
    start("cannot be used");
    std::fs::remove_file(state.path()).unwrap();
    std::fs::create_dir(state.path()).unwrap();
    symlink(elsewhere.path(), state.file()).unwrap();
    start("it is a link");
    std::fs::remove_file(state.file()).unwrap();
    std::fs::write(state.file(), "x").unwrap();
    // Only root can give a file away.
    if std::fs::metadata(state.file()).unwrap().uid() == 0 {
        chown(state.file(), Some(12_345), None).unwrap();
        start("it belongs to user 12345, and the service runs as user 0");
    }
}
