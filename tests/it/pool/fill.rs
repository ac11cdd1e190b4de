//! Filling the pool: a few calls at a time, independent of callers, and less than half of them wasted.

use turn_broker::ice::breaker::{FAILURES_TO_OPEN, OPEN_MAX};
use turn_broker::mint::provider::{Filled, Provider};

use super::{AHEAD, CALLERS, steady_callers, steady_callers_of};
use crate::support::prelude::*;

/// A provider, and a frozen broker with this demand. The freeze stops the periodic refill, so a test calls `fill` itself.
async fn frozen_with(
    callers: usize,
    settings: &[(&str, &str)],
) -> (FakeCloudflare, TestBroker, Arc<Provider>) {
    let (cloudflare, broker) = with_cloudflare_and(settings).await;
    steady_callers_of(&broker, callers).await;
    broker.freeze(true).await;
    broker.advance(60);
    let provider = Arc::clone(broker.app.mint.provider().unwrap());
    (cloudflare, broker, provider)
}

/// The result of a fill without failures.
fn minted(minted: u64) -> Filled {
    Filled { minted, failed: 0 }
}

#[tokio::test]
async fn it_is_filled_in_small_steps_so_that_a_freeze_takes_effect_soon() {
    const MANY: usize = 40;
    let (cloudflare, _broker, provider) = frozen_with(MANY, &[]).await;
    for count in [16, 4, 0] {
        assert_eq!(provider.fill().await, minted(count));
    }
    assert_eq!(cloudflare.history().minted(), 3 * MANY + 20);
}

#[tokio::test]
async fn in_strict_mode_none_is_minted_ahead_that_would_live_shorter_than_a_quarter_of_the_tail() {
    let settings =
        [("BUDGET_MODE", "strict"), ("RESERVED_PERCENT_PER_CLIENT", "100"), ("TURN_TTL_SECONDS", "1800")];
    let (_cloudflare, _broker, provider) = frozen_with(CALLERS, &settings).await;
    assert_eq!(provider.fill().await, minted(0));
}

#[tokio::test]
async fn abandoned_calls_do_not_prevent_later_ones() {
    let (cloudflare, _broker, provider) = frozen_with(CALLERS, &[]).await;
    cloudflare.always(Fault::Hang);
    let asked = async || cloudflare.history().mints() == 3 * CALLERS + 10;
    tokio::select! {
        _ = provider.fill() => panic!("the provider hangs"),
        () = eventually("the provider is called", asked) => {}
    }
    cloudflare.heal();
    eventually("the provider is called again", async || provider.fill().await == minted(AHEAD)).await;
    assert_eq!(provider.pool_counts().ready, AHEAD);
}

#[tokio::test]
async fn while_the_breaker_is_open_only_a_caller_tries_the_provider() {
    let (cloudflare, broker, provider) = frozen_with(CALLERS, &[]).await;
    let call = async || provider.mint(Duration::from_secs(600), &"a caller", None).await;
    cloudflare.always(Fault::Forbidden1010);
    for _ in 0..FAILURES_TO_OPEN {
        assert!(call().await.is_none());
    }
    cloudflare.heal();
    broker.advance(OPEN_MAX.as_secs());
    let asked = cloudflare.history().mints();
    assert_eq!(provider.fill().await, Filled::default());
    assert_eq!(cloudflare.history().mints(), asked);
    assert!(call().await.is_some());
    assert_eq!(provider.fill().await, minted(AHEAD));
}

#[tokio::test]
async fn a_fill_between_two_failures_of_callers_shows_that_the_provider_works() {
    let (cloudflare, broker, provider) = frozen_with(CALLERS, &[]).await;
    let fails = async || {
        cloudflare.always(Fault::Forbidden1010);
        assert!(provider.mint(Duration::from_secs(600), &"a caller", None).await.is_none());
        cloudflare.heal();
    };
    fails().await;
    assert_eq!(provider.fill().await, minted(AHEAD));
    broker.advance(60);
    fails().await;
    assert_eq!(broker.metric("turn_broker_breaker_state").await, Some(0));
    broker.advance(60);
    fails().await;
    assert_eq!(broker.metric("turn_broker_breaker_state").await, Some(2));
}

#[tokio::test]
async fn one_failed_call_of_many_counts_and_the_others_are_pooled() {
    let (cloudflare, _broker, provider) = frozen_with(CALLERS, &[]).await;
    cloudflare.next(Fault::Forbidden1010);
    assert_eq!(provider.fill().await, Filled { minted: AHEAD - 1, failed: 1 });
    assert_eq!(provider.pool_counts().ready, AHEAD - 1);
    assert_eq!(provider.fill().await, minted(1));
}

#[tokio::test]
async fn shutdown_does_not_wait_for_a_refill() {
    let (cloudflare, broker) = with_cloudflare().await;
    steady_callers(&broker).await;
    cloudflare.always(Fault::Hang);
    broker.advance(60);
    let asked = async || cloudflare.history().mints() > 3 * CALLERS;
    eventually("the refill calls the provider", asked).await;
    finished("the shutdown", broker.finish()).await;
}
