//! The file of settings: `.env` in the working directory, or that of `--env-file`. What is in force is what was written.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::support::prelude::*;

/// The exit status of the program in this directory, and what it says.
fn run_in(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = command(variables).args(arguments).current_dir(directory).output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

/// Only root can make a file that belongs to another user.
#[test]
fn a_command_in_the_directory_of_another_user_does_not_follow_its_settings() {
    let directory = StateDir::new();
    let file = format!("{}/.env", directory.path());
    std::fs::write(&file, "PORT=1\nOPERATOR_TOKEN=hush-0123456789-0123456789-01234\n").unwrap();
    if std::os::unix::fs::chown(&file, Some(65_534), None).is_err() {
        return;
    }
    let run = |arguments: &[&str]| run_in(directory.path().as_ref(), arguments, &[]);
    let (status, text) = run(&["healthcheck"]);
    assert!(status == Some(78) && text.contains(".env: cannot read it: it belongs to user 65534"), "{text}");
    let (status, text) = run(&["--env-file", &file, "healthcheck"]);
    assert_ne!(status, Some(78), "{text}");
}

#[test]
fn what_would_not_be_in_force_is_refused_by_name_and_line_and_is_not_shown() {
    for (dotenv, name, place) in [
        ("PORT=0\nDATABASE_URL=postgres://a:$Pa$hush@db.example/turn\n", "DATABASE_URL", "line 2"),
        ("ICE_SOURCES=coturn\nCOTURN_URLS=turn:a\nCOTURN_SECRET=k7$hush\n", "COTURN_SECRET", "line 3"),
        (
            "REPORTER_TOKEN=hush-hush-hush-hush\n\nREPORTER_TOKEN=hush-hush-hush\n",
            "REPORTER_TOKEN",
            "lines 1 and 3",
        ),
        ("OPERATOR_TOKEN=example-only-make-your-own-operator-token\n", "OPERATOR_TOKEN", "an example"),
        ("STATE_DIR=~/turn\n", "STATE_DIR", "~"),
        ("OPERATOR_TOKEN=\"'hush-hush-hush-hush'\"\n", "OPERATOR_TOKEN", "without quotes around it"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(".env"), dotenv).unwrap();
        // A health check ends even if the settings are valid.
        let (status, text) = run_in(directory.path(), &["healthcheck"], &[]);
        assert_eq!(status, Some(78), "{text}");
        let line = text.lines().find(|line| line.starts_with(&format!("{name}: ")));
        assert!(line.is_some_and(|line| line.contains(place)), "{name} at {place} is missing in\n{text}");
        assert!(!text.contains("hush"), "{text}");
    }
}

#[test]
fn each_command_that_reads_settings_takes_a_file_in_place_of_dotenv() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(".env"), "PORT=dotenv\n").unwrap();
    std::fs::write(directory.path().join("settings"), "PORT=settings\n").unwrap();
    for arguments in ["", "serve", "healthcheck", "doctor", "ledger show", "status", "freeze"] {
        for (file, expected) in
            [("settings", "found \"settings\""), ("missing", "missing: cannot read it: No such file")]
        {
            let words: Vec<_> = arguments.split_whitespace().chain(["--env-file", file]).collect();
            let (status, text) = run_in(directory.path(), &words, &[]);
            assert_eq!(status, Some(78), "{arguments}: {text}");
            assert!(text.contains(expected), "{arguments}: {text}");
        }
    }
}

#[test]
fn each_command_says_which_file_of_settings_it_has_read() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("settings"), "PORT=1\nHOST=127.0.0.1\n").unwrap();
    for arguments in ["healthcheck", "doctor", "ledger show", "status"] {
        let nothing = format!("the environment alone: there is no .env in {}", directory.path().display());
        for (file, expected) in
            [(&["--env-file", "settings"][..], "settings and the environment"), (&[], &nothing)]
        {
            let words: Vec<_> = arguments.split_whitespace().chain(file.iter().copied()).collect();
            let (_, text) = run_in(directory.path(), &words, &[("PORT", "1")]);
            assert!(text.contains(&format!("settings of {expected}")), "{arguments}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_with_special_characters_signs_as_it_was_written() {
    const SECRET: &str = "k7$Vq2#\\ `\"";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings");
    let settings = format!(
        "\u{feff}HOST=127.0.0.1\r\nPORT=0\r\nICE_SOURCES=coturn\r\nCOTURN_URLS=turn:a.example\r\nCOTURN_SECRET='{SECRET}' # mine\r\n"
    );
    std::fs::write(&file, settings).unwrap();
    let process = Process::spawn(command(&[]).arg("--env-file").arg(&file));
    let minted = process.mint().await.json();
    let [user, password] =
        ["username", "credential"].map(|name| minted["iceServers"][0][name].as_str().unwrap());
    let mut mac = Hmac::<Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(user.as_bytes());
    assert_eq!(password, STANDARD.encode(mac.finalize().into_bytes()));
}
