//! The status while the wall clock is behind, is ahead or jumps. Hints say so.

use crate::support::prelude::*;

use super::hint_codes;

#[tokio::test]
async fn after_a_suspend_the_books_have_the_current_time_at_once() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("TURN_TTL_SECONDS", "3600")]).await;
    broker.mint().await;
    broker.suspend(2 * 3_600);
    broker.mint().await;
    let status = broker.status().await;
    assert!(!hint_codes(&status).contains(&"CLOCK_WRONG"));
    assert_eq!(status["grants"]["live"], 2, "the first one is in its tail");
    broker.suspend(2 * 3_600);
    assert_eq!(broker.status().await["grants"]["live"], 1);
}

#[tokio::test]
async fn after_a_start_of_the_machine_the_bound_does_not_hold_until_another_clock_or_time_settles_it() {
    for has_reference in [true, false] {
        let state = StateDir::new();
        let settings = [&COTURN[..], &[("STATE_DIR", state.path())]].concat();
        let broker = TestBroker::start(&settings).await;
        let hear = |broker: &TestBroker, date| {
            if has_reference {
                broker.app.account.observe_date(timestamp(date));
            }
        };
        hear(&broker, "2025-01-15T12:00:00Z");
        assert_eq!(broker.mint().await.status, 200);
        let clock = broker.clock();
        broker.finish().await;
        clock.reboot(Duration::from_secs(600));

        let broker = TestBroker::start_at(&settings, clock).await;
        let status = broker.status().await;
        assert_eq!(status["boundHolds"], false);
        assert!(hint_codes(&status).contains(&"CLOCK_DISAGREES"));
        hear(&broker, "2025-01-15T12:10:00Z");
        broker.advance(300);
        let status = broker.status().await;
        assert_eq!(broker.app.account.snapshot().figures.now, timestamp("2025-01-15T12:15:00Z"));
        // Without another clock, the one of before may have been wrong. The sessions of this coturn are not seen in any case.
        assert_eq!(hint_codes(&status).contains(&"CLOCK_DISAGREES"), !has_reference);
        broker.advance(2 * 172_800);
        assert!(!broker.has_hint("CLOCK_DISAGREES").await);
    }
}

/// Cloudflare's clock ten days after the start of the test, and the wall clock.
const LATER: [&str; 2] = ["Sat, 25 Jan 2025 12:00:00 GMT", "2025-01-25T12:00:00Z"];

async fn mints(broker: &TestBroker) -> bool {
    broker.mint().await.json()["source"] == "cloudflare"
}

/// Whether nothing was minted before, or a mint has shown the time of then, nobody needs to mint to learn the time.
#[tokio::test]
async fn after_a_pause_of_ten_days_cloudflares_clock_ends_the_wait_for_the_clock() {
    for mints_before in [false, true] {
        let (cloudflare, broker) = with_cloudflare_and(&[]).await;
        cloudflare.set_date("Wed, 15 Jan 2025 12:00:00 GMT");
        if mints_before {
            assert!(mints(&broker).await);
        }
        // The machine was paused: its time since boot stood still.
        cloudflare.set_date(LATER[0]);
        broker.set_wall(LATER[1]);
        eventually("a credential is minted", async || mints(&broker).await).await;
        assert!(!broker.has_hint("CLOCK_WRONG").await);
    }
}

#[tokio::test]
async fn after_the_machine_was_off_for_three_days_credentials_are_minted_at_once() {
    let (cloudflare, state) = (FakeCloudflare::start().await, StateDir::new());
    let settings = [("STATE_DIR", state.path())];
    cloudflare.set_date("Wed, 15 Jan 2025 12:00:00 GMT");
    let broker = broker_at(&cloudflare, &settings).await;
    assert!(mints(&broker).await);
    let clock = broker.clock();
    broker.finish().await;
    clock.reboot(Duration::from_secs(3 * 86_400));
    cloudflare.set_date("Sat, 18 Jan 2025 12:00:00 GMT");
    let broker = broker_with(&cloudflare, &settings, clock).await;
    eventually("a credential is minted", async || mints(&broker).await).await;
    assert_eq!(broker.status().await["boundHolds"], true, "Cloudflare's clock agreed before and after");
}

#[tokio::test]
async fn the_time_is_asked_for_while_minting_is_stopped_and_mints_nothing() {
    let (cloudflare, broker) = with_cloudflare_and(&[]).await;
    eventually("the key is tested", async || cloudflare.history().probes() == 1).await;
    broker.freeze(true).await;
    cloudflare.set_date(LATER[0]);
    broker.set_wall(LATER[1]);
    eventually("the time is known", async || !broker.has_hint("CLOCK_WRONG").await).await;
    assert_eq!((cloudflare.history().mints(), cloudflare.history().probes()), (0, 1));
}

#[tokio::test]
async fn the_status_says_that_minting_waits_for_a_clock_that_nobody_confirms() {
    let (cloudflare, broker) = with_cloudflare_and(&[]).await;
    cloudflare.stop().await;
    broker.set_wall(LATER[1]);
    let refused = broker.mint().await;
    assert_eq!(refused.error(), (503, "CLOCK_DISAGREES"));
    let stated = broker.status().await["minting"].clone();
    assert_eq!((&stated["on"], &stated["code"]), (&json!(false), &refused.json()["code"]));
    assert_eq!(stated["message"], refused.json()["message"]);
    assert_eq!(broker.operator("/ready").await.json()["minting"], stated);
    let hint = broker.hint("CLOCK_WRONG").await.unwrap();
    assert!(hint.contains("nothing metered is minted"), "{hint}");
    broker.advance(30);
    eventually("an alert says so", async || broker.alert("clock.ahead").await.is_some()).await;
}
