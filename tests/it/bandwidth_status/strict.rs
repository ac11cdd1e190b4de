//! The status in strict mode: what is reserved never exceeds the limit.

use crate::support::prelude::*;

use super::hint_codes;

/// A grant of 300 s at 2 Mbps without a tail, 4 s for the provider's response, and two minutes at each end for its clock: ten minutes,
/// 150 MB.
const ROOM_FOR_SEVEN: [(&str, &str); 5] = [
    ("BUDGET_MODE", "strict"),
    // All callers of these tests have one address.
    ("RESERVED_PERCENT_PER_CLIENT", "100"),
    ("BANDWIDTH_LIMIT_GB", "1.05"),
    ("TURN_EXPIRY_TAIL_SECONDS", "0"),
    ("RATE_LIMIT_REQUESTS", "10000"),
];

#[tokio::test]
async fn of_a_hundred_concurrent_callers_only_those_that_fit_are_served() {
    let (cloudflare, broker) = with_cloudflare_and(&ROOM_FOR_SEVEN).await;
    let calls: Vec<_> = (0..100)
        .map(|_| tokio::spawn(Answer::of(broker.request(reqwest::Method::GET, "/api/turn-credentials"))))
        .collect();
    let mut minted = 0;
    for call in calls {
        let answer = call.await.unwrap();
        match answer.status.as_u16() {
            200 => minted += 1,
            _ => assert_eq!(answer.error(), (429, "BUDGET_EXHAUSTED")),
        }
    }
    assert_eq!((minted, cloudflare.history().mints()), (7, 7));
    let status = broker.status().await;
    assert_eq!(status["overshootBoundGB"], "0.00");
    assert_eq!((status["status"].as_str(), status["reservedGB"].as_str()), (Some("OK"), Some("1.05")));
}

#[tokio::test]
async fn a_fully_reserved_limit_is_reported_as_such() {
    let (_cloudflare, broker) = with_cloudflare_and(&ROOM_FOR_SEVEN).await;
    for _ in 0..7 {
        assert_eq!(broker.mint().await.json()["ttl"], 300, "the lifetime shrinks to five minutes");
    }
    let answer = broker.mint().await;
    let expected = "Monthly bandwidth limit of 1.05 GB is reserved in full by credentials already issued. Please try again later.";
    assert_eq!(answer.json()["message"], expected);
    assert!(answer.header("retry-after").is_some());
    broker.set_limit(1.04).await;
    let status = broker.status().await;
    let hints = hint_codes(&status);
    assert!(hints.contains(&"PROMISED_IN_FULL") && hints.contains(&"BOUND_ABOVE_LIMIT"), "{hints:?}");
    assert!(!status["hints"].to_string().contains("TURN_TTL_SECONDS"), "lifetimes are as short as they get");
    broker.set_limit(1.2).await;
    assert!(!broker.has_hint("PROMISED_IN_FULL").await);
    assert_eq!(broker.mint().await.json()["source"], "cloudflare", "there is room for another grant");
}
