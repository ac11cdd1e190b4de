//! The client of Cloudflare's analytics, with a fake that counts: own and other bytes, the outcome of each fault, and that
//! nothing leaks.

use std::error::Error;

use turn_base::{HttpClient, Network};
use turn_broker::config::AnalyticsConfig;
use turn_broker::ice::turn_keys::OwnKey;
use turn_broker::meter::cloudflare::analytics::{AnalyticsError, CloudflareAnalytics, Counted, UsageCount};
use turn_ledger::BilledDirections;
use turn_ledger::polls::spans::Span;

use crate::support::prelude::*;

const TOKEN: &str = "analytics-fixture-token";
const ACCOUNT: &str = "account-fixture-id";
const FROM: &str = "2025-01-15T11:00:00Z";
const UNTIL: &str = "2025-01-15T11:10:00Z";

/// Usage of two keys and the SFU, in the span and on both sides of it.
async fn cloudflare() -> FakeCloudflare {
    let cloudflare = FakeCloudflare::start().await;
    let analytics = cloudflare.analytics();
    analytics.require_account(ACCOUNT);
    analytics.require_token(TOKEN);
    analytics.relay("ours", "2025-01-15T10:59:59Z", 1, 1);
    analytics.relay("ours", FROM, 100, 10);
    analytics.relay("ours", "2025-01-15T11:09:59Z", 200, 20);
    analytics.relay("theirs", "2025-01-15T11:05:00Z", 4_000, 400);
    analytics.sfu("an-app", "2025-01-15T11:05:00Z", 50_000, 5_000);
    analytics.relay("theirs", UNTIL, 1, 1);
    analytics.sfu("an-app", UNTIL, 1, 1);
    cloudflare
}

fn reader(cloudflare: &FakeCloudflare) -> CloudflareAnalytics {
    reader_of(cloudflare, None)
}

fn reader_of(cloudflare: &FakeCloudflare, sfu_app: Option<&str>) -> CloudflareAnalytics {
    let config = AnalyticsConfig {
        account_id: ACCOUNT.into(),
        token: TOKEN.into(),
        base: cloudflare.base_url().parse().unwrap(),
        interval: Duration::from_secs(60),
        lag: Duration::ZERO,
    };
    let keys = vec![OwnKey::of("ours")];
    let counted = Counted { billed: BilledDirections::Egress, sfu_app: sfu_app.map(str::to_owned) };
    let client = HttpClient::new(&Network::DIRECT).unwrap();
    CloudflareAnalytics::new(client, &config, keys, counted)
}

async fn ask(reader: &CloudflareAnalytics) -> Result<UsageCount, AnalyticsError> {
    let span = Span { from: timestamp(FROM), until: timestamp(UNTIL), age: Duration::ZERO };
    let counted = reader.count(span).await?;
    Ok(UsageCount { by_key: BTreeMap::new(), ..counted })
}

fn counted(own: u64, other: u64) -> UsageCount {
    UsageCount { own: ByteCount::new(own), other: ByteCount::new(other), ..UsageCount::default() }
}

#[tokio::test]
async fn one_count_is_one_query_with_our_user_agent() {
    let cloudflare = cloudflare().await;
    ask(&reader(&cloudflare)).await.unwrap();
    let [asked] = &cloudflare.analytics().queries()[..] else { panic!("one query") };
    assert_eq!(asked.authorization.as_deref(), Some(&*format!("Bearer {TOKEN}")));
    assert_eq!(asked.content_type.as_deref(), Some("application/json"));
    assert!(asked.user_agent.as_deref().is_some_and(|agent| agent.starts_with("turn-broker/")));
    assert_eq!(asked.body["variables"]["keyId"], "ours");
}

#[tokio::test]
async fn only_bytes_of_our_app_are_those_of_the_sfu_unless_cloudflare_refuses_to_count_by_app() {
    let cloudflare = cloudflare().await;
    let analytics = cloudflare.analytics();
    analytics.sfu("our-app", "2025-01-15T11:06:00Z", 700, 70);
    let reader = reader_of(&cloudflare, Some("our-app"));
    let by_app = UsageCount { sfu: ByteCount::new(700), ..counted(300, 54_000) };
    let together = UsageCount { sfu: ByteCount::new(50_700), ..counted(300, 4_000) };
    // It is not asked again for a day.
    for (is_refused, expected, queries) in [(false, &by_app, 1), (true, &together, 2), (true, &together, 1)] {
        if is_refused {
            analytics.set_grouped_fault(AnalyticsFault::ErrorsAt200);
        }
        let asked = analytics.asked();
        assert_eq!((&ask(&reader).await.unwrap(), analytics.asked() - asked), (expected, queries));
    }
}

#[tokio::test]
async fn each_fault_has_its_outcome_and_leaks_nothing() {
    for (fault, outcome) in [
        (AnalyticsFault::ErrorsAt200, "query_refused"),
        (AnalyticsFault::PartialWithErrors, "query_refused"),
        (AnalyticsFault::RangeTooWide, "query_refused"),
        (AnalyticsFault::BudgetDepletedAt200, "rate_limited"),
        (AnalyticsFault::TooManyRequests, "rate_limited"),
        (AnalyticsFault::Forbidden, "no_account"),
        (AnalyticsFault::NoAccounts, "no_account"),
        (AnalyticsFault::ServerErrorHtml(500), "status_5xx"),
        (AnalyticsFault::ServerErrorHtml(401), "unauthorized"),
        (AnalyticsFault::ServerErrorHtml(403), "unauthorized"),
        (AnalyticsFault::Redirect, "status_other"),
        (AnalyticsFault::NullData, "bad_body"),
        (AnalyticsFault::NotJson, "bad_body"),
        (AnalyticsFault::Huge, "bad_body"),
        (AnalyticsFault::ResetMidBody, "broken"),
        (AnalyticsFault::ResetBeforeAnswer, "broken"),
    ] {
        let cloudflare = cloudflare().await;
        cloudflare.analytics().set_fault(fault);
        let error = ask(&reader(&cloudflare)).await.unwrap_err();
        assert_eq!(error.outcome(), outcome, "{fault:?}");
        assert_says_nothing(&error);
        let asked = if matches!(fault, AnalyticsFault::ResetBeforeAnswer) { 2 } else { 1 };
        // Only a broken connection is worth a second one.
        assert_eq!(cloudflare.analytics().asked(), asked, "{fault:?}");
        assert_eq!(cloudflare.history().redirect_hits(), 0, "{fault:?}");
    }
}

/// Asserts that error, causes and remedy contain no secret, id, URL or text of the provider.
fn assert_says_nothing(error: &AnalyticsError) {
    let mut said = vec![format!("{error} {error:?} {}", error.remedy())];
    let mut cause = error.source();
    while let Some(inner) = cause {
        said.push(format!("{inner} {inner:?}"));
        cause = inner.source();
    }
    let said = said.join(" ");
    for leak in [TOKEN, ACCOUNT, Fault::BODY_MARK, "budget depleted", "4w2d", "ours", "graphql"] {
        assert!(!said.contains(leak), "{leak} in {said}");
    }
}

#[tokio::test]
async fn a_closed_port_gives_no_connection_and_works_again_once_open() {
    let cloudflare = cloudflare().await;
    let reader = reader(&cloudflare);
    cloudflare.stop().await;
    let error = ask(&reader).await.unwrap_err();
    assert_eq!(error.outcome(), "connect");
    assert_says_nothing(&error);
    cloudflare.restart().await;
    assert_eq!(ask(&reader).await.unwrap(), counted(300, 54_000));
}

#[tokio::test]
async fn the_time_limit_of_mints_does_not_apply_to_analytics() {
    let cloudflare = cloudflare().await;
    cloudflare.analytics().set_fault(AnalyticsFault::Latency(Duration::from_secs(3)));
    assert_eq!(ask(&reader(&cloudflare)).await.unwrap(), counted(300, 54_000));
}
