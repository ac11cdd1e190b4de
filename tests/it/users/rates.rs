//! Whose allowance a request counts against: that of its user and of its address, or that of anonymous callers.

use crate::support::prelude::*;

use super::claims;

#[tokio::test]
async fn the_rate_counts_for_each_user_and_a_thousand_light_users_of_an_address_are_served() {
    let settings = [USERS, ("RATE_LIMIT_REQUESTS", "1"), ("RATE_LIMIT_WINDOW_SECONDS", "86400")];
    let broker = TestBroker::start(&settings).await;
    let first = broker.mint_with(&user_token("user-0")).await;
    assert_eq!((first.status.as_u16(), first.header("ratelimit-limit")), (200, Some("1")));
    assert_eq!(broker.mint_with(&user_token("user-0")).await.error(), (429, "RATE_LIMITED"));
    for user in 1..1_000 {
        assert_eq!(broker.mint_with(&user_token(&format!("user-{user}"))).await.status, 200, "{user}");
    }
    let over = broker.mint_with(&user_token("user-1000")).await;
    assert_eq!((over.error().0, over.header("ratelimit-limit")), (429, Some("1000")), "the address");
    for (user, status) in [("user-1001", 200), ("user-0", 429)] {
        let bearer = format!("Bearer {}", user_token(user));
        let headers = [("x-forwarded-for", "203.0.113.9"), ("authorization", bearer.as_str())];
        let elsewhere = broker.get_with("/api/turn-credentials", &headers).await;
        assert_eq!(elsewhere.status, status, "a user is one everywhere");
    }
    assert_eq!(broker.mint().await.status, 200, "callers without a user have an allowance of their own");
}

/// Half of four mints is beside what all users of the address have together.
#[tokio::test]
async fn ten_users_of_an_address_may_use_their_allowance_up_and_the_others_half_of_theirs() {
    let settings = [USERS, ("RATE_LIMIT_REQUESTS", "4"), ("RATE_LIMIT_WINDOW_SECONDS", "86400")];
    let broker = TestBroker::start(&settings).await;
    let tokens: Vec<_> = (0..21).map(|user| user_token(&format!("user-{user}"))).collect();
    for token in &tokens[..20] {
        for _ in 0..4 {
            assert_eq!(broker.mint_with(token).await.status, 200, "20 users take 40 beyond their halves");
        }
    }
    for _ in 0..2 {
        assert_eq!(broker.mint_with(&tokens[20]).await.status, 200, "half of its own");
    }
    let over = broker.mint_with(&tokens[20]).await;
    assert_eq!((over.error().0, over.header("ratelimit-limit")), (429, Some("40")), "ten times four");
}

#[tokio::test]
async fn bad_tokens_count_against_the_allowance_of_anonymous_callers_at_their_address() {
    let settings = [USERS, ("RATE_LIMIT_REQUESTS", "2"), ("RATE_LIMIT_WINDOW_SECONDS", "86400")];
    let broker = TestBroker::start(&settings).await;
    let bad = Signer::hs256("another-secret-of-at-least-32-characters").sign(None, &claims("ann"));
    for status in [401, 401, 429] {
        assert_eq!(broker.mint_with(&bad).await.status, status);
    }
    assert_eq!(broker.mint_with(&user_token("ann")).await.status, 200, "users are served");
}

#[tokio::test]
async fn renewals_of_a_user_count_against_the_users_renewals() {
    let settings = [
        USERS,
        ("RATE_LIMIT_REQUESTS", "3"),
        ("RATE_LIMIT_RENEWALS", "1"),
        ("TURN_TTL_SECONDS", "3600"),
        ("RATE_LIMIT_WINDOW_SECONDS", "86400"),
    ];
    let (_cloudflare, broker) = with_cloudflare_and(&settings).await;
    let mut grants = vec![];
    for user in ["ann", "ann", "bob"] {
        grants.push(broker.mint_with(&user_token(user)).await.grant());
    }
    broker.advance(2_700);
    for (grant, status) in grants.iter().zip([200, 429, 200]) {
        assert_eq!(broker.mint_with(grant).await.status, status);
    }
}
