//! Tests that every issued grant is on disk: the program is killed under load, again and again.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::prelude::*;

/// How often the program is killed. Set `CRASHES=50` for a longer run.
fn crashes() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a setting of this test")]
    std::env::var("CRASHES").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

#[tokio::test]
async fn every_issued_grant_survives_a_kill_under_load() {
    const CALLERS: u64 = 8;
    let state = StateDir::new();
    let settings = [
        ("STATE_DIR", state.path()),
        ("RATE_LIMIT_REQUESTS", "10000"),
        ("BANDWIDTH_LIMIT_GB", "1000000"),
        ("RUST_LOG", "warn,turn_broker::telemetry::startup=info"),
    ];
    let client = http_client();
    let mut answered = 0;
    for crash in 0..crashes() {
        let process = Process::start(&[&COTURN[..], &settings].concat());
        let status = process.status().await;
        let issued = status["grants"]["issued"].as_u64().unwrap();
        assert!(issued >= answered, "answered {answered}, found {issued} after {crash} crashes");
        assert!(
            issued <= answered + CALLERS,
            "answered {answered}, found {issued}: more than {CALLERS} were in progress"
        );
        assert_eq!(status["grants"]["live"], issued);
        answered = issued;

        let minted = Arc::new(AtomicU64::new(0));
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (client, url, minted) =
                    (client.clone(), process.url("/api/turn-credentials"), minted.clone());
                tokio::spawn(async move {
                    while let Ok(response) = client.get(&url).send().await {
                        let Ok(body) = response.text().await else { return };
                        assert!(body.contains("grant"), "{body}");
                        minted.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        eventually("a mint", async || minted.load(Ordering::Relaxed) > 0).await;
        // Each run is killed at a different moment.
        tokio::time::sleep(Duration::from_millis(crash * 37 % 150)).await;
        process.signal("-KILL");
        for caller in callers {
            caller.await.unwrap();
        }
        answered += minted.load(Ordering::Relaxed);
    }
}
