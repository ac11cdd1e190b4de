//! The commands for a running broker, as an operator runs them beside it.

use crate::support::prelude::*;

fn start(settings: &[(&str, &str)]) -> Process {
    Process::start(&[&COTURN[..], &[("OPERATOR_TOKEN", OPERATOR)], settings].concat())
}

/// Runs a command with the configuration that names the port of `broker`.
fn command_at(broker: &Process, arguments: &[&str], token: &str) -> Output {
    let port = broker.port.to_string();
    run(arguments, &[("HOST", "127.0.0.1"), ("PORT", &port), ("OPERATOR_TOKEN", token)])
}

/// Standard output of a command that succeeds.
fn output_of(broker: &Process, arguments: &[&str]) -> String {
    let output = command_at(broker, arguments, OPERATOR);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", error_of(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What a command that succeeds prints begins so.
#[track_caller]
fn assert_prints(broker: &Process, arguments: &[&str], begin: &str) {
    let printed = output_of(broker, arguments);
    assert!(printed.starts_with(begin), "{printed}");
}

fn error_of(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn assert_fails(output: &Output, code: i32, said: &str) {
    let error = error_of(output);
    assert!(output.status.code() == Some(code) && error.contains(said), "{}: {error}", output.status);
}

#[test]
fn status_freeze_and_limit_act_on_the_running_broker() {
    let broker = start(&[("BANDWIDTH_LIMIT_GB", "500")]);
    let status = output_of(&broker, &["status"]);
    assert!(status.contains("Minting      on\n") && status.contains("0.00 of 500 GB"), "{status}");
    assert!(output_of(&broker, &["freeze"]).contains("Minting      off, FROZEN: Minting is stopped"));
    assert!(output_of(&broker, &["unfreeze"]).contains("Minting      on"));
    assert!(output_of(&broker, &["limit", "250.5"]).contains("of 250.5 GB"));
    assert!(output_of(&broker, &["limit", "default"]).contains("of 500 GB"));
    let json: Value = serde_json::from_str(&output_of(&broker, &["status", "--json"])).unwrap();
    assert_eq!(json!([json["bandwidthLimitGB"], json["frozen"]]), json!([500, false]));
}

/// The commands have the settings of the service.
#[test]
fn a_service_that_allows_other_hosts_is_reached_at_its_own_address() {
    let hosts = ("ALLOWED_HOSTS", "turn.example");
    let broker = start(&[hosts]);
    let port = broker.port.to_string();
    let settings = [("HOST", "127.0.0.1"), ("PORT", &*port), ("OPERATOR_TOKEN", OPERATOR), hosts];
    let output = run(&["freeze"], &settings);
    assert_eq!(output.status.code(), Some(0), "{}", error_of(&output));
    let output = run(&["status", "--url", &format!("http://localhost:{port}")], &settings);
    assert!(error_of(&output).contains("421"), "{}", error_of(&output));
}

/// The service asks the provider for as long as its own calls may take, and again every 10 s.
#[tokio::test]
async fn a_revocation_that_the_provider_does_not_answer_is_a_success_that_says_what_follows() {
    let (cloudflare, broker) = with_cloudflare().await;
    let grant = broker.grant().await;
    cloudflare.always(Fault::Hang);
    let port = broker.address.port().to_string();
    let revoked = tokio::task::spawn_blocking(move || {
        run(&["revoke", &grant], &[("HOST", "127.0.0.1"), ("PORT", &port), ("OPERATOR_TOKEN", OPERATOR)])
    });
    let output = revoked.await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", error_of(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(" is revoked. ") && text.contains("The source is asked again"), "{text}");
}

#[test]
fn spenders_are_listed() {
    let broker = start(&[]);
    let table = output_of(&broker, &["spenders", "label"]);
    assert!(
        table.starts_with("Spent in the period that began in 20")
            && table.contains(" by label, as of")
            && table.contains("No usage is known."),
        "{table}"
    );
    assert_prints(&broker, &["spenders", "--since", "5m"], "Spent in the last 5m by user");
    let csv = output_of(&broker, &["spenders", "key", "--csv"]);
    assert!(csv.starts_with("BillingPeriodStart,") && csv.trim_end().ends_with(",x_Grants"), "{csv}");
    let unknown = command_at(&broker, &["spenders", "--period", "1999-01"], OPERATOR);
    assert!(error_of(&unknown).contains("Set `period` to a month from 20"), "{}", error_of(&unknown));
    let help = output_of(&broker, &["spenders", "--help"]);
    assert!(help.contains("with `BILLING_DAY=15`, 2030-10 is 15 October to 15 November"), "{help}");
    assert!(help.contains("its first columns are some of FOCUS 1.2"), "{help}");
    let json: Value = serde_json::from_str(&output_of(&broker, &["spenders", "--json"])).unwrap();
    assert_eq!((&json["by"], &json["spenders"]), (&"user".into(), &serde_json::json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_blocked_allowed_and_revoked() {
    let broker = start(&[USERS]);
    // A user's name may have a slash.
    let token = user_token("team/ann");
    let mint = || broker.mint_with(&token);
    assert!(output_of(&broker, &["grants"]).contains("No credential is live"));
    for _ in 0..2 {
        assert_eq!(mint().await.status, 200);
    }
    let listed: Value = serde_json::from_str(&output_of(&broker, &["grants", "--json"])).unwrap();
    let id = listed["grants"][0]["id"].as_str().unwrap();
    let table = output_of(&broker, &["grants", "--user", "team/ann"]);
    assert!(table.contains(id) && table.contains("user team/ann"), "{table}");
    assert!(output_of(&broker, &["grants", "--user", "ben"]).contains("No credential is live"));

    assert_prints(&broker, &["revoke", id], &format!("{id} is revoked."));
    assert!(output_of(&broker, &["grants"]).contains("revoked 20"), "the state is in the list");
    assert_prints(&broker, &["block", "team/ann"], "team/ann is blocked");
    assert_eq!(mint().await.error(), (403, "USER_BLOCKED"));
    assert!(output_of(&broker, &["spenders"]).contains("Blocked (1): user team/ann"));
    let goes_on = "team/ann is blocked and gets no credentials. Live credentials of team/ann: 2, all revoked. Calls with 2 of them may go on until 20";
    assert_prints(&broker, &["revoke", "--user", "team/ann"], goes_on);
    let removed = "team/ann is removed from the ledger. Rows that had the name: 2;";
    assert_prints(&broker, &["forget", "team/ann"], removed);
    assert!(!output_of(&broker, &["spenders"]).contains("team/ann"));
    let unknown = "team/an is removed from the ledger, but no credential had this name: check its";
    assert_prints(&broker, &["forget", "team/an"], unknown);
    output_of(&broker, &["block", "team/ann"]);
    for (option, value) in
        [("--label", "room-1"), ("--address", "192.0.2.1"), ("--origin", "https://a.example")]
    {
        assert_prints(&broker, &["revoke", option, value], &format!("{value} has no live credential."));
    }
    assert_prints(&broker, &["allow", "team/ann"], "team/ann is not blocked");
    let for_an_hour = ["block", "--address", "127.0.0.1", "--for", "1h"];
    assert_prints(&broker, &for_an_hour, "127.0.0.1 is blocked until 20");
    assert_eq!(mint().await.error(), (403, "ADDRESS_BLOCKED"));
    assert_prints(&broker, &["allow", "--address", "127.0.0.1"], "127.0.0.1 is not blocked");
    let nobody = "nosuch is blocked and gets no credentials. No credential of this name is known in this period: compare it with turn-broker spenders. Callers without a token are not stopped: set AUTH_REQUIRED=true";
    assert_prints(&broker, &["block", "nosuch"], nobody);
    assert_eq!(mint().await.status, 200);
}

#[test]
fn what_a_server_key_minted_is_revoked() {
    let broker = start(&[("SERVER_KEYS", "app=app-fixture-key-0123456789-0123456789")]);
    let none = "app has no live credential. app can get new ones: block app to refuse them.";
    assert_prints(&broker, &["revoke", "--key", "app"], none);
    for arguments in [&["revoke"][..], &["revoke", "--key", "app", "--user", "ann"]] {
        assert_eq!(run(arguments, &[]).status.code(), Some(64), "{arguments:?}");
    }
}

#[test]
fn the_address_can_be_given() {
    let broker = start(&[]);
    let url = broker.url("/");
    let output = run(&["status", "--url", &url], &[]);
    assert_eq!(output.status.code(), Some(0), "status needs no token: {}", error_of(&output));
    for arguments in [&["freeze", "--url", &url], &["--url", &url, "unfreeze"]] {
        let output = run(arguments, &[("OPERATOR_TOKEN", OPERATOR)]);
        assert_eq!(output.status.code(), Some(0), "{}", error_of(&output));
    }
    let output = run(&["--json", "--url", &url, "status"], &[]);
    assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok(), "{}", error_of(&output));
}

#[test]
fn every_failure_has_its_exit_status_and_a_remedy() {
    let broker = start(&[]);
    let url = broker.url("/");
    let token = ("OPERATOR_TOKEN", OPERATOR);
    for (arguments, variables, code, remedy) in [
        (&["freeze", "--url", &url][..], &[][..], 78, "Set it to the token"),
        (
            &["freeze", "--url", &url],
            &[("OPERATOR_TOKEN", "a-wrong-operator-token-0123456789")],
            1,
            "Set OPERATOR_TOKEN",
        ),
        (&["freeze", "--url", "http://127.0.0.1:1"], &[token], 1, "Start the service, or give its address"),
        (&["backup", "/nowhere/b.redb", "--url", &url], &[token], 1, "Set STATE_DIR"),
        (&["revoke", "unknown", "--url", &url], &[token], 1, "404 NOT_FOUND"),
        (&["block"], &[token], 64, "turn-broker block <USER|--address"),
        (&["block", "ann", "--key", "app"], &[token], 64, "turn-broker block <USER|--address"),
        (&["status"], &[("PORT", "abc")], 78, "PORT: expected"),
        (&["limit", "much"], &[token], 64, "--help"),
        (&["spenders", "--since", "16m"], &[token], 64, "--help"),
        (&["backup"], &[token], 64, "turn-broker backup <FILE>"),
        (&["--url", &url, "serve"], &[token], 64, "give --url only to a command for a running broker"),
        (&["--url", &url], &[token], 64, "a command for a running broker"),
    ] {
        let output = run(arguments, variables);
        let error = error_of(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(remedy), "{arguments:?}: {error}");
        assert!(output.stdout.is_empty() && !error.contains(OPERATOR), "{arguments:?}: {error}");
    }
}

#[test]
fn a_backup_is_a_private_file_that_verify_accepts() {
    let (state, copy) = (StateDir::new(), StateDir::new());
    let broker = start(&[("STATE_DIR", state.path())]);
    output_of(&broker, &["limit", "123"]);
    let file = copy.file();
    let name = file.to_str().unwrap();
    let said = output_of(&broker, &["backup", name]);
    assert!(said.starts_with(name), "{said}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    let ledger = |what: &str| run(&["ledger", what], &[("STATE_DIR", copy.path())]);
    let verified = ledger("verify");
    assert_eq!(verified.status.code(), Some(0), "{}", String::from_utf8_lossy(&verified.stdout));
    let shown = String::from_utf8(ledger("show").stdout).unwrap();
    assert!(shown.contains("Limit        123 GB"), "{shown}");
    let restored = start(&[("STATE_DIR", copy.path())]);
    let status = output_of(&restored, &["status"]);
    assert!(status.contains("which is not certain now: see the hints"), "{status}");
    assert!(status.contains("This is so until 20"), "{status}");
    restored.signal("-TERM");
    let (log, _) = restored.finish();
    let warns = |line: &str| {
        line.contains("WARN") && line.contains("ledger.incomplete") && line.contains("replace the TURN key")
    };
    assert_eq!(log.lines().filter(|line| warns(line)).count(), 1, "{log}");

    let before = std::fs::read(&file).unwrap();
    let again = command_at(&broker, &["backup", name], OPERATOR);
    assert_fails(&again, 1, "a backup overwrites nothing");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let state = StateDir::new();
    let broker = start(&[("STATE_DIR", state.path())]);
    let output = command_at(&broker, &["backup", "/nowhere/b.redb"], OPERATOR);
    assert_fails(&output, 1, "/nowhere/b.redb cannot be written");
}

const SERVER_KEYS: (&str, &str) =
    ("SERVER_KEYS", "app=app-fixture-key-0123456789-0123456789,files=files-fixture-key-0123456789-01234567");

/// Runs `ice` with the keys of the service.
fn ice_at(broker: &Process, arguments: &[&str]) -> Output {
    let port = broker.port.to_string();
    run(&[&["ice"], arguments].concat(), &[("HOST", "127.0.0.1"), ("PORT", &port), SERVER_KEYS])
}

#[test]
fn ice_writes_a_file_for_a_program_and_a_refusal_leaves_it_as_it_is() {
    let broker = start(&[SERVER_KEYS]);
    let directory = StateDir::new();
    let [file, done] = ["ice.json", "done"].map(|name| format!("{}/{name}", directory.path()));
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let then = format!("cp {file} {done}");
    let arguments = ["--write", &file, "--key", "files", "--user", "sfu-1", "--then", &then];
    let output = ice_at(&broker, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", error_of(&output));
    let written = std::fs::read_to_string(&file).unwrap();
    let json: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(json["iceServers"][0]["urls"][0], COTURN[1].1);
    let username = json["iceServers"][0]["username"].as_str().unwrap();
    assert!(username.ends_with(|last: char| last.is_ascii_alphanumeric()));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_to_string(&done).unwrap(), written, "the command runs after the write");
    let grants = output_of(&broker, &["grants", "--json"]);
    let grants: Value = serde_json::from_str(&grants).unwrap();
    assert_eq!(json!([grants["grants"][0]["user"], grants["grants"][0]["label"]]), json!(["sfu-1", "files"]));
    output_of(&broker, &["limit", "0"]);
    assert_fails(&ice_at(&broker, &arguments), 1, "Bandwidth limit");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), written);
    output_of(&broker, &["limit", "default"]);
    assert_fails(&ice_at(&broker, &["--write", &file, "--then", "exit 3"]), 1, "exit status: 3");
    assert_fails(&ice_at(&broker, &["--write", &file, "--key", "nobody"]), 78, "--key");
}

#[tokio::test(flavor = "multi_thread")]
async fn ice_writes_anew_within_a_minute_after_its_credential_is_revoked() {
    let broker = start(&[SERVER_KEYS]);
    let (directory, port) = (StateDir::new(), broker.port.to_string());
    let file = format!("{}/ice.json", directory.path());
    let mut ice = command(&[("HOST", "127.0.0.1"), ("PORT", &port), SERVER_KEYS]);
    ice.args(["ice", "--write", &file, "--every", "1h", "--ttl", "600"]);
    let _ice = tokio::process::Command::from(ice).kill_on_drop(true).spawn().unwrap();
    let written = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("the file is written", async || !written().is_empty()).await;
    let first = written();
    let minted = || serde_json::from_str::<Value>(&output_of(&broker, &["status", "--json"])).unwrap();
    output_of(&broker, &["revoke", "--key", "app"]);
    eventually("the file has another credential", async || written() != first).await;
    assert_eq!(minted()["grants"]["issued"], 2);
    let grants: Value = serde_json::from_str(&output_of(&broker, &["grants", "--json"])).unwrap();
    let seconds = |grant: &Value, name: &str| grant[name].as_str().unwrap().parse::<Timestamp>().unwrap();
    let grant = &grants["grants"][0];
    assert_eq!(seconds(grant, "expiresAt").since(seconds(grant, "issuedAt")).as_secs(), 600);
}

#[test]
fn a_broker_without_a_relay_leaves_the_file_of_ice_as_it_is() {
    let broker = start(&[("ICE_SOURCES", "stun"), SERVER_KEYS]);
    let directory = StateDir::new();
    let file = format!("{}/ice.json", directory.path());
    assert_fails(&ice_at(&broker, &["--write", &file]), 1, "no relay");
    assert!(!std::path::Path::new(&file).exists());
}
