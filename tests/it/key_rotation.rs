//! `deploy/rotate-turn-key.sh` against the fake Cloudflare, and a broker with the file that it leaves.

use std::fs;

use crate::support::prelude::*;

const API_TOKEN: &str = "rest-fixture-token";
const FIRST: &str = "eu=key-eu:token-of-eu-fixture:0\nkey-20250101=first:token-of-first-fixture:1\n";
const SECOND: &str = "key-20250131=00000000000000000000000000000001:secret-of-created-key-1:1\n";

/// A keys file, and the provider of its keys.
struct Keys {
    cloudflare: FakeCloudflare,
    directory: StateDir,
    file: String,
}

impl Keys {
    async fn start() -> Self {
        let cloudflare = FakeCloudflare::start().await;
        cloudflare.add_key("first", "token-of-first-fixture");
        cloudflare.turn_keys().require_token(API_TOKEN);
        let directory = StateDir::new();
        let file = format!("{}/turn-keys", directory.path());
        fs::write(&file, FIRST).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        Self { cloudflare, directory, file }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).unwrap()
    }

    fn restarts(&self) -> usize {
        fs::read_to_string(format!("{}/restarts", self.directory.path()))
            .map_or(0, |text| text.lines().count())
    }

    async fn rotate(&self, today: &str, token: &str) -> Output {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rotate-turn-key.sh");
        let mut command = Command::new(script);
        command.arg(&self.file).envs([
            ("CLOUDFLARE_ACCOUNT_ID", "account"),
            ("CLOUDFLARE_API_TOKEN", token),
            ("CLOUDFLARE_REST_BASE", &self.cloudflare.base_url()),
            ("CLOUDFLARE_API_BASE", &self.cloudflare.base_url()),
            (
                "RESTART",
                &format!("cd {} && [ ! -e broken ] && echo restarted >>restarts", self.directory.path()),
            ),
            ("TODAY", today),
            ("PAUSE", "0"),
        ]);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn rotated(&self, today: &str) -> String {
        let done = self.rotate(today, API_TOKEN).await;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        self.text()
    }

    /// Whether RESTART fails.
    fn break_restart(&self, is_broken: bool) {
        let path = format!("{}/broken", self.directory.path());
        if is_broken { fs::write(path, "") } else { fs::remove_file(path) }.unwrap();
    }

    fn created(&self) -> Vec<String> {
        self.cloudflare.turn_keys().names().into_values().collect()
    }
}

#[tokio::test]
async fn a_key_is_replaced_after_30_days_deleted_3_days_later_and_forgotten_after_33() {
    let keys = Keys::start().await;
    assert_eq!(keys.rotated("2025-01-30").await, FIRST);
    assert_eq!((keys.restarts(), keys.created().len()), (0, 0));

    let retired = FIRST.replace("fixture:1", "fixture:0");
    assert_eq!(keys.rotated("2025-01-31").await, format!("{retired}{SECOND}"));
    assert_eq!((keys.restarts(), keys.created()), (1, vec!["turn-broker key-20250131".to_owned()]));
    assert_eq!(fs::metadata(&keys.file).unwrap().permissions().mode() & 0o777, 0o640, "as before");
    let base = keys.cloudflare.base_url();
    let settings = [("CLOUDFLARE_API_BASE", base.as_str()), ("CLOUDFLARE_TURN_KEYS_FILE", &keys.file)];
    let broker = TestBroker::start(&settings).await;
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
    let mint = keys.cloudflare.history().requests().pop().unwrap();
    assert_eq!(mint.key_id.as_deref(), Some("00000000000000000000000000000001"));

    keys.rotated("2025-03-02").await;
    assert_eq!(keys.restarts(), 2);
    let text = keys.rotated("2025-03-04").await;
    assert_eq!((text.lines().count(), keys.created().len()), (4, 2), "a credential of the second may live");
    let text = keys.rotated("2025-03-05").await;
    assert_eq!(keys.created(), ["turn-broker key-20250302"]);
    let names: Vec<_> = text.lines().filter_map(|line| line.split('=').next()).collect();
    assert_eq!(names, ["eu", "key-20250131", "key-20250302"], "the period of the first is over");
}

#[tokio::test]
async fn a_call_that_fails_changes_no_file_and_a_key_that_does_not_mint_is_named() {
    let keys = Keys::start().await;
    let refused = keys.rotate("2025-01-31", "another-rest-token").await;
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("403"));
    keys.cloudflare.always(Fault::Unauthorized401);
    let failed = keys.rotate("2025-01-31", API_TOKEN).await;
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(!failed.status.success() && said.contains("000001 does not mint"), "{said}");
    assert!(!said.contains("secret-of") && !said.contains(API_TOKEN), "{said}");
    assert_eq!((keys.text().as_str(), keys.restarts()), (FIRST, 0));
}

#[tokio::test]
async fn a_restart_that_failed_is_repeated_and_until_three_days_after_it_the_old_key_stays() {
    let keys = Keys::start().await;
    keys.rotated("2025-01-31").await;
    keys.break_restart(true);
    for day in ["2025-03-02", "2025-03-03", "2025-03-05"] {
        assert!(!keys.rotate(day, API_TOKEN).await.status.success(), "{day}");
    }
    assert_eq!((keys.restarts(), keys.created().len()), (1, 2), "the running broker mints with the second");
    keys.break_restart(false);
    for (day, left) in [("2025-03-06", 2), ("2025-03-08", 2), ("2025-03-09", 1)] {
        keys.rotated(day).await;
        assert_eq!(keys.created().len(), left, "{day}: a credential of the second may live");
    }
    assert_eq!(keys.created(), ["turn-broker key-20250302"]);
}

#[tokio::test]
async fn a_file_without_a_key_that_is_replaced_is_refused_and_stays_as_it_is() {
    let keys = Keys::start().await;
    for text in ["", "eu=key-eu:token-of-eu-fixture:1\n", "key-20259999=first:token-of-first-fixture:1\n"] {
        fs::write(&keys.file, text).unwrap();
        assert!(!keys.rotate("2025-01-31", API_TOKEN).await.status.success(), "{text}");
        assert_eq!((keys.text().as_str(), keys.restarts(), keys.created().len()), (text, 0, 0));
    }
}
