//! Tests of `/api/bandwidth-status`.

use crate::support::manual_clock::timestamp;
use crate::support::{REPORTER, TestBroker, with_cloudflare, with_cloudflare_and};
use serde_json::{Value, json};

fn hint_codes(status: &Value) -> Vec<&str> {
    status["hints"].as_array().unwrap().iter().map(|hint| hint["code"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_page_about_the_budget_explains_every_field_and_every_code_of_the_status() {
    const PAGE: &str = include_str!("../../docs/BUDGET.md");
    const SOURCE: &str = include_str!("../../src/http/bandwidth_status.rs");
    let is_code = |text: &&str| text.len() > 1 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let codes = SOURCE.split('"').filter(is_code).map(str::to_owned);
    let status = TestBroker::start(&[]).await.status().await;
    let fields = status.as_object().unwrap().keys().cloned();
    for name in fields.chain(codes) {
        assert!(PAGE.contains(&format!("`{name}`")), "{name} is missing in docs/BUDGET.md");
    }
}

#[tokio::test]
async fn an_idle_broker_states_every_field_and_the_first_seven_come_first() {
    let broker = TestBroker::start(&[]).await;
    let answer = broker.get("/api/bandwidth-status").await;
    let mut status = answer.json();
    let hints = status["hints"].take();
    assert_eq!(hints.as_array().unwrap().len(), 2);
    let expected = json!({
        "bandwidthUsedGB": "0.00",
        "bandwidthLimitGB": 1000,
        "percentage": 0,
        "remainingGB": "1000.00",
        "resetDate": "2025-02-01T00:00:00.000Z",
        "activeConnections": 0,
        "status": "OK",
        "periodStart": "2025-01-01T00:00:00.000Z",
        "source": "estimate",
        "asOf": null,
        "stale": false,
        "reservedGB": "0.00",
        "overshootBoundGB": "0.00",
        "boundAssumes": "2 Mbps per grant until 7200 s after expiry",
        "boundHolds": true,
        "observedMbpsPerGrant": null,
        "grants": {"issued": 0, "live": 0, "reported": 0},
        "observedTail": null,
        "usedBytes": 0,
        "durable": false,
        "frozen": false,
        "hints": null,
    });
    assert_eq!(status, expected);
    let first_seven = [
        "{\"bandwidthUsedGB\"",
        "\"bandwidthLimitGB\"",
        "\"percentage\"",
        "\"remainingGB\"",
        "\"resetDate\"",
        "\"activeConnections\"",
        "\"status\"",
    ];
    let places: Vec<_> = first_seven.iter().map(|name| answer.text.find(name).unwrap()).collect();
    assert!(places.is_sorted() && places[6] < answer.text.find("periodStart").unwrap());
}

#[tokio::test]
async fn usage_rises_while_a_connection_is_open_and_not_only_when_it_closes() {
    let broker =
        TestBroker::start(&[("ESTIMATED_MBPS_PER_CONNECTION", "80"), ("BANDWIDTH_LIMIT_GB", "1")]).await;
    broker.post(REPORTER, "/api/connections", json!({"connectionId": "c"})).await;
    let mut seen = vec![];
    for _ in 0..3 {
        broker.advance(5);
        let status = broker.status().await;
        assert_eq!(status["activeConnections"], 1);
        seen.push(status["bandwidthUsedGB"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, ["0.05", "0.10", "0.15"]);
    let status = broker.status().await;
    assert_eq!((status["percentage"].as_f64(), status["remainingGB"].as_str()), (Some(15.0), Some("0.85")));
}

#[tokio::test]
async fn at_the_limit_the_status_changes_and_the_remainder_stays_at_zero() {
    let broker =
        TestBroker::start(&[("ESTIMATED_MBPS_PER_CONNECTION", "8000"), ("BANDWIDTH_LIMIT_GB", "2.5")]).await;
    broker.post(REPORTER, "/api/connections", json!({})).await;
    broker.advance(10);
    let status = broker.status().await;
    assert_eq!(status["status"], "LIMIT_EXCEEDED");
    assert_eq!(status["bandwidthUsedGB"], "10.00");
    assert_eq!(status["bandwidthLimitGB"], 2.5);
    assert_eq!(status["percentage"], 400);
    assert_eq!(status["remainingGB"], "0.00");
}

#[tokio::test]
async fn bytes_are_reserved_for_a_credential_until_its_tail_ends() {
    let (_cloudflare, broker) =
        with_cloudflare_and(&[("TURN_TTL_SECONDS", "3600"), ("LIABILITY_MBPS_PER_GRANT", "8")]).await;
    broker.mint().await;
    let status = broker.status().await;
    // A lifetime of 1 h, a tail of 2 h and 4 s for the provider's response, rounded up to whole minutes of 60 MB.
    assert_eq!(status["reservedGB"], "10.86");
    assert_eq!(status["grants"], json!({"issued": 1, "live": 1, "reported": 0}));
    assert_eq!(status["boundAssumes"], "8 Mbps per grant until 7200 s after expiry");
    broker.advance(3_600 + 7_200 + 120);
    let status = broker.status().await;
    assert_eq!(status["grants"], json!({"issued": 1, "live": 0, "reported": 0}));
}

#[tokio::test]
async fn the_overshoot_bound_is_what_live_credentials_can_use_past_the_limit() {
    let settings =
        [("TURN_TTL_SECONDS", "3600"), ("LIABILITY_MBPS_PER_GRANT", "8"), ("BANDWIDTH_LIMIT_GB", "10")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    broker.mint().await;
    broker.mint().await;
    let status = broker.status().await;
    assert_eq!(status["reservedGB"], "21.72");
    assert_eq!(status["overshootBoundGB"], "11.72");
    assert!(hint_codes(&status).contains(&"BOUND_ABOVE_LIMIT"));
}

#[tokio::test]
async fn the_operator_can_configure_the_tail() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("TURN_EXPIRY_TAIL_SECONDS", "0")]).await;
    assert_eq!(broker.status().await["boundAssumes"], "2 Mbps per grant until 0 s after expiry");
}

#[tokio::test]
async fn hints_name_what_makes_the_figures_less_reliable() {
    let (_cloudflare, broker) = with_cloudflare().await;
    assert_eq!(hint_codes(&broker.status().await), ["NO_REPORTS", "NO_ANALYTICS", "NOT_DURABLE"]);
    broker.post(REPORTER, "/api/connections", json!({})).await;
    assert_eq!(hint_codes(&broker.status().await), ["NO_ANALYTICS", "NOT_DURABLE"]);
}

#[tokio::test]
async fn the_billing_day_moves_the_period() {
    let broker = TestBroker::start(&[("BILLING_DAY", "31")]).await;
    broker.advance_to("2025-02-28T00:00:00Z");
    let status = broker.status().await;
    assert_eq!(status["periodStart"], "2025-02-28T00:00:00.000Z");
    assert_eq!(status["resetDate"], "2025-03-31T00:00:00.000Z");
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_lowers_no_figure() {
    let broker = TestBroker::start(&[("ESTIMATED_MBPS_PER_CONNECTION", "8000")]).await;
    broker.post(REPORTER, "/api/connections", json!({})).await;
    broker.advance(10);
    assert_eq!(broker.status().await["bandwidthUsedGB"], "10.00");
    broker.set_wall("2024-12-01T00:00:00Z");
    let status = broker.status().await;
    assert_eq!(
        (status["bandwidthUsedGB"].as_str(), status["periodStart"].as_str()),
        (Some("10.00"), Some("2025-01-01T00:00:00.000Z"))
    );
}

#[tokio::test]
async fn a_grant_that_never_reports_is_charged_once_when_it_ends() {
    let (_cloudflare, broker) =
        with_cloudflare_and(&[("UNREPORTED_GRANT_MB", "50"), ("TURN_TTL_SECONDS", "600")]).await;
    let reporting = broker.mint().await.json();
    broker.mint().await;
    broker.post(reporting["grant"].as_str().unwrap(), "/api/connections", json!({"relayed": false})).await;
    broker.advance(500);
    assert_eq!(broker.status().await["bandwidthUsedGB"], "0.00");
    broker.advance(200);
    assert_eq!(broker.status().await["bandwidthUsedGB"], "0.05");
    broker.advance(86_400);
    assert_eq!(broker.status().await["bandwidthUsedGB"], "0.05");
}

#[tokio::test]
async fn any_origin_may_request_the_status_but_only_allowed_ones_may_read_it() {
    let broker = TestBroker::start(&[]).await;
    let ask = |origin: &'static str| {
        let request = broker.request(reqwest::Method::GET, "/api/bandwidth-status").header("origin", origin);
        crate::support::Answer::of(request)
    };
    let allowed = ask("http://localhost:5173").await;
    assert_eq!(allowed.header("access-control-allow-origin"), Some("http://localhost:5173"));
    let foreign = ask("https://evil.example").await;
    assert_eq!((foreign.status.as_u16(), foreign.header("access-control-allow-origin")), (200, None));
}

#[tokio::test]
async fn while_the_wall_clock_is_behind_usage_continues_and_a_hint_says_so() {
    let settings = [("ESTIMATED_MBPS_PER_CONNECTION", "8000"), ("TURN_TTL_SECONDS", "3600")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    broker.status().await;
    broker.set_wall("2025-01-15T06:00:00Z");
    let grant = broker.mint().await.json()["grant"].as_str().unwrap().to_owned();
    let opened = broker.post(&grant, "/api/connections", json!({})).await;
    assert_eq!(opened.status, 201, "a new grant is not expired");
    broker.advance(10);
    let status = broker.status().await;
    assert_eq!(status["bandwidthUsedGB"], "10.00");
    assert!(hint_codes(&status).contains(&"CLOCK_BEHIND"));
    broker.set_wall("2025-01-15T12:00:20Z");
    assert!(!hint_codes(&broker.status().await).contains(&"CLOCK_BEHIND"), "the wall clock has caught up");
}

#[tokio::test]
async fn a_wall_clock_that_jumps_a_month_ahead_and_back_changes_nothing() {
    let settings = [("ESTIMATED_MBPS_PER_CONNECTION", "8000"), ("HEARTBEAT_SECONDS", "3600")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    broker.post(REPORTER, "/api/connections", json!({})).await;
    broker.advance(10);
    broker.mint().await;
    let before = broker.status().await;
    broker.set_wall("2025-02-15T12:00:10Z");
    broker.advance(60);
    let meanwhile = broker.status().await;
    assert_eq!(meanwhile["periodStart"], before["periodStart"]);
    assert_eq!(meanwhile["bandwidthUsedGB"], "70.00", "usage keeps rising");
    assert!(hint_codes(&meanwhile).contains(&"CLOCK_AHEAD"));
    broker.set_wall("2025-01-15T12:01:10Z");
    let after = broker.status().await;
    assert_eq!((&after["bandwidthUsedGB"], &after["grants"]), (&json!("70.00"), &before["grants"]));
    assert!(!hint_codes(&after).contains(&"CLOCK_AHEAD"));
}

#[tokio::test]
async fn after_a_suspend_the_books_have_the_current_time_at_once() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("TURN_TTL_SECONDS", "3600")]).await;
    broker.mint().await;
    broker.suspend(2 * 3_600);
    broker.mint().await;
    let status = broker.status().await;
    assert!(!hint_codes(&status).contains(&"CLOCK_AHEAD"));
    assert_eq!(status["grants"]["live"], 2, "the first one is in its tail");
    broker.suspend(2 * 3_600);
    assert_eq!(broker.status().await["grants"]["live"], 1);
}

#[tokio::test]
async fn a_clock_set_past_the_reset_is_accepted_with_a_delay_and_the_period_is_kept() {
    let settings = [("ESTIMATED_MBPS_PER_CONNECTION", "8000")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    broker.post(REPORTER, "/api/connections", json!({})).await;
    broker.advance(10);
    broker.set_wall("2025-02-15T12:00:00Z");
    broker.status().await;
    broker.advance(300);
    let status = broker.status().await;
    assert_eq!(
        (&status["periodStart"], &status["bandwidthUsedGB"]),
        (&json!("2025-02-01T00:00:00.000Z"), &json!("0.00"))
    );
    broker.set_wall("2025-01-20T00:00:00Z");
    let status = broker.status().await;
    assert_eq!(status["periodStart"], "2025-02-01T00:00:00.000Z", "the later period is kept");
    assert!(hint_codes(&status).contains(&"CLOCK_BEHIND"));
}

#[tokio::test]
async fn a_jump_that_cloudflares_date_contradicts_is_never_accepted() {
    let (_cloudflare, broker) = with_cloudflare().await;
    // The fake sends the real time.
    broker.mint().await;
    broker.set_wall("2199-02-15T12:00:00Z");
    broker.status().await;
    broker.advance(3_600);
    let status = broker.status().await;
    assert_eq!(status["periodStart"], "2025-01-01T00:00:00.000Z");
    assert!(hint_codes(&status).contains(&"CLOCK_AHEAD"));
}

#[tokio::test]
async fn a_jump_that_cloudflares_date_confirms_is_accepted_at_once() {
    let (_cloudflare, broker) = with_cloudflare().await;
    broker.status().await;
    broker.set_wall("2025-02-15T12:00:00Z");
    assert!(hint_codes(&broker.status().await).contains(&"CLOCK_AHEAD"));
    broker.app.account.hear_date(timestamp("2025-02-15T12:00:01Z"));
    let status = broker.status().await;
    assert_eq!(status["periodStart"], "2025-02-01T00:00:00.000Z");
    assert!(!hint_codes(&status).contains(&"CLOCK_AHEAD"));
}

#[tokio::test]
async fn after_a_clock_was_a_month_ahead_the_bound_does_not_hold() {
    let (_cloudflare, broker) = with_cloudflare_and(&[("BUDGET_MODE", "strict")]).await;
    broker.mint().await;
    assert_eq!(broker.status().await["boundHolds"], true);
    broker.set_wall("2025-02-20T00:00:00Z");
    broker.status().await;
    broker.advance(300);
    broker.status().await;
    broker.set_wall("2025-01-15T12:10:00Z");
    let status = broker.status().await;
    assert_eq!(
        (&status["periodStart"], &status["overshootBoundGB"]),
        (&json!("2025-02-01T00:00:00.000Z"), &json!("0.00"))
    );
    assert_eq!(status["boundHolds"], false, "bytes that January's grants still relay are not counted");
    assert!(hint_codes(&status).contains(&"CLOCK_BEHIND"));
    broker.set_wall("2025-02-20T00:05:00Z");
    broker.advance_to("2025-02-23T00:00:00Z");
    let status = broker.status().await;
    assert_eq!(
        status["boundHolds"], true,
        "the wall clock has reached that month, and the credentials from before the jump have ended"
    );
}

#[tokio::test]
async fn a_connection_that_outlives_its_grants_tail_stays_in_the_bound() {
    let settings = [("TURN_TTL_SECONDS", "60"), ("TURN_EXPIRY_TAIL_SECONDS", "0")];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    let grant = broker.mint().await.json()["grant"].as_str().unwrap().to_owned();
    broker.post(&grant, "/api/connections", json!({"connectionId": "c"})).await;
    for _ in 0..20 {
        broker.advance(30);
        broker.post(&grant, "/api/connections/c/heartbeat", json!({})).await;
    }
    let status = broker.status().await;
    assert_eq!(status["grants"]["live"], 1);
    assert_ne!(status["reservedGB"], "0.00");
}

mod strict {
    use super::*;
    use crate::support::{Answer, OPERATOR};

    /// A grant of 300 s at 2 Mbps without a tail, and 4 s for the provider's response: six minutes, 90 MB.
    const ROOM_FOR_SEVEN: [(&str, &str); 5] = [
        ("BUDGET_MODE", "strict"),
        // All callers of these tests have one address.
        ("RESERVED_PERCENT_PER_CLIENT", "100"),
        ("BANDWIDTH_LIMIT_GB", "0.63"),
        ("TURN_EXPIRY_TAIL_SECONDS", "0"),
        ("RATE_LIMIT_REQUESTS", "10000"),
    ];

    #[tokio::test]
    async fn of_three_hundred_concurrent_callers_only_those_that_fit_are_served() {
        let (cloudflare, broker) = with_cloudflare_and(&ROOM_FOR_SEVEN).await;
        let calls: Vec<_> = (0..300)
            .map(|_| tokio::spawn(Answer::of(broker.request(reqwest::Method::GET, "/api/turn-credentials"))))
            .collect();
        let mut minted = 0;
        for call in calls {
            let answer = call.await.unwrap();
            match answer.status.as_u16() {
                200 => minted += 1,
                _ => assert_eq!(answer.error(), (429, "BUDGET_EXHAUSTED".into())),
            }
        }
        assert_eq!((minted, cloudflare.history().mints()), (7, 7));
        let status = broker.status().await;
        assert_eq!(status["overshootBoundGB"], "0.00");
        assert_eq!((status["status"].as_str(), status["reservedGB"].as_str()), (Some("OK"), Some("0.63")));
    }

    #[tokio::test]
    async fn a_fully_reserved_limit_is_reported_as_such() {
        let (_cloudflare, broker) = with_cloudflare_and(&ROOM_FOR_SEVEN).await;
        for _ in 0..7 {
            assert_eq!(broker.mint().await.json()["ttl"], 300, "the lifetime shrinks to five minutes");
        }
        let answer = broker.mint().await;
        let expected = "Monthly bandwidth limit of 0.63 GB is reserved in full by credentials already issued. Please try again later.";
        assert_eq!(answer.json()["message"], expected);
        assert!(answer.header("retry-after").is_some());
        assert!(hint_codes(&broker.status().await).contains(&"PROMISED_IN_FULL"));
        broker.post(OPERATOR, "/api/budget/limit", json!({"limitGB": 0.72})).await;
        assert!(!hint_codes(&broker.status().await).contains(&"PROMISED_IN_FULL"));
        assert_eq!(broker.mint().await.json()["source"], "cloudflare", "there is room for another grant");
    }

    #[tokio::test]
    async fn no_report_raises_the_bound_above_zero() {
        let (_cloudflare, broker) = with_cloudflare_and(&ROOM_FOR_SEVEN).await;
        let mut grants = vec![];
        for _ in 0..7 {
            grants.push(broker.mint().await.json()["grant"].as_str().unwrap().to_owned());
        }
        for grant in &grants {
            broker.post(grant, "/api/connections", json!({"connectionId": "c"})).await;
        }
        broker.advance(60);
        for grant in &grants {
            broker.post(grant, "/api/connections/c/heartbeat", json!({"bytesReceived": u64::MAX})).await;
        }
        assert_eq!(broker.status().await["overshootBoundGB"], "0.00");
    }

    #[tokio::test]
    async fn a_failed_mint_releases_its_reservation() {
        let (cloudflare, broker) = with_cloudflare_and(&ROOM_FOR_SEVEN).await;
        for _ in 0..3 {
            cloudflare.next(crate::support::Fault::NotFound404);
            assert_eq!(broker.mint().await.json()["reason"], "PROVIDER_UNAVAILABLE");
        }
        for _ in 0..7 {
            assert_eq!(broker.mint().await.json()["source"], "cloudflare");
        }
        assert_eq!(broker.mint().await.status, 429);
    }
}
