//! Tests of who spends: sums, grants, the limit of a user, revoking and blocking a user.

use crate::support::prelude::*;

async fn broker(settings: &[(&str, &str)]) -> TestBroker {
    TestBroker::start(&[&COTURN[..], &[USERS], settings].concat()).await
}

pub(crate) async fn mint_as(broker: &TestBroker, user: &str, query: &str) -> Answer {
    broker.get_as(&user_token(user), &format!("/api/turn-credentials{query}")).await
}

/// Reports that a call with this grant has received so many bytes.
async fn spend(broker: &TestBroker, grant: &str, bytes: u64) {
    let opened = broker.open(grant, "c").await;
    assert!(opened.status.is_success());
    broker.advance(20);
    let report = json!({"bytesReceived": bytes, "relayed": true});
    assert!(broker.heartbeat(grant, "c", report).await.status.is_success());
    // A list is kept for ten seconds.
    broker.advance(10);
}

fn keys(page: &Value) -> Vec<(Value, u64)> {
    let rows = page["spenders"].as_array().unwrap().iter();
    rows.map(|row| (row["key"].clone(), row["bytes"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn the_sums_name_who_has_spent_most() {
    let broker = broker(&[]).await;
    let page = async |query: &str| broker.operator(&format!("/api/spenders?{query}")).await.json();
    for (user, bytes) in [("ann", 4_000_000), ("bob", 9_000_000)] {
        spend(&broker, &mint_as(&broker, user, "?label=room-1").await.grant(), bytes).await;
    }
    let users = page("").await;
    assert_eq!(keys(&users), [("bob".into(), 9_000_000), ("ann".into(), 4_000_000)]);
    let bob = json!({"key": "bob", "bytes": 9_000_000, "measuredBytes": 0, "claimedBytes": 9_000_000, "evidence": "claimed",
        "grants": 1, "live": 1, "usable": 1, "firstSeen": "2025-01-15T12:00:30.000Z",
        "lastSeen": "2025-01-15T12:00:50.000Z", "blocked": false});
    assert_eq!(users["spenders"][0], bob);
    assert_eq!(json!([users["by"], users["unknownBytes"], users["next"]]), json!(["user", 0, null]));
    assert_eq!(keys(&page("by=label").await), [("room-1".into(), 13_000_000)]);
    assert_eq!(keys(&page("by=call").await), [(Value::Null, 13_000_000)], "bytes of no call");
    for (by, rows) in [("address", 1), ("grant", 2)] {
        assert_eq!(keys(&page(&format!("by={by}")).await).len(), rows, "{by}");
    }
    let first = page("limit=1").await;
    let second = page(&format!("limit=1&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((keys(&second), &second["next"]), (vec![("ann".into(), 4_000_000)], &Value::Null));
    assert_eq!(broker.operator("/api/spenders?by=nobody").await.error(), (400, "INVALID_REQUEST"));
}

#[tokio::test]
async fn a_list_is_not_kept_over_a_reset() {
    let broker = broker(&[]).await;
    broker.advance_to("2025-01-31T23:59:20Z");
    spend(&broker, &mint_as(&broker, "ann", "").await.grant(), 4_000_000).await;
    broker.advance_to("2025-01-31T23:59:57Z");
    let users = async || keys(&broker.operator("/api/spenders").await.json());
    assert_eq!(users().await, [("ann".into(), 4_000_000)]);
    broker.advance_to("2025-02-01T00:00:03Z");
    assert!(users().await.iter().all(|(_, bytes)| *bytes < 4_000_000));
}

#[tokio::test]
async fn the_last_minutes_name_who_spends_now() {
    let broker = broker(&[]).await;
    let page = async |query: &str| broker.operator(&format!("/api/spenders?{query}")).await.json();
    spend(&broker, &mint_as(&broker, "ann", "").await.grant(), 90_000_000).await;
    broker.advance(600);
    spend(&broker, &mint_as(&broker, "bob", "?label=room-1").await.grant(), 9_000_000).await;
    spend(&broker, &mint_as(&broker, "carol", "").await.grant(), 4_000_000).await;
    let now = page("since=5m").await;
    assert_eq!(keys(&now), [("bob".into(), 9_000_000), ("carol".into(), 4_000_000)]);
    assert_eq!(json!([now["since"], now["unknownBytes"]]), json!(["5m", 0]));
    let month = page("since=").await;
    assert_eq!((&keys(&month)[0], &month["since"]), (&("ann".into(), 97_500_000), &Value::Null));
    let first = page("since=5m&limit=1").await;
    let second = page(&format!("since=5m&limit=1&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((keys(&second), &second["next"]), (vec![("carol".into(), 4_000_000)], &Value::Null));
    for bad in ["0m", "16m", "5", "05m", "+5m", "5s", "1h", "300", "5M"] {
        let refused = broker.operator(&format!("/api/spenders?since={bad}")).await;
        assert_eq!(refused.error(), (400, "INVALID_REQUEST"), "{bad}");
    }
}

/// Cells of a CSV whose texts have no comma and no quote of their own.
fn cells(csv: &str) -> Vec<Vec<&str>> {
    csv.lines().map(|line| line.split(',').map(|cell| cell.trim_matches('"')).collect()).collect()
}

#[tokio::test]
async fn who_spent_an_earlier_month_stays_known_and_adds_up_to_what_was_used_and_the_month_keeps_its_prices()
{
    let state = StateDir::new();
    let prices = [("PRICE_PER_GB", "0,coturn=0.05"), ("FREE_GB", "0,coturn=0.1")];
    let settings = [&[("STATE_DIR", state.path())], &prices[..]].concat();
    let first = broker(&settings).await;
    for (user, bytes) in [("ann", 90_000_000), ("=bob", 40_000_000)] {
        spend(&first, &mint_as(&first, user, "?label=room-1").await.grant(), bytes).await;
    }
    spend(&first, &first.mint().await.grant(), 30_000_000).await;
    first.advance_to("2025-02-02T00:00:00Z");
    spend(&first, &mint_as(&first, "eve", "").await.grant(), 20_000_000).await;
    let past = first.operator("/api/usage").await.json()["pastPeriods"][0].clone();
    let used = past["usedBytes"].as_u64().unwrap();
    assert!(used >= 160_000_000, "{past}");
    let check = async |broker: &TestBroker| {
        for by in ["user", "label", "key"] {
            let page = broker.operator(&format!("/api/spenders?by={by}&period=2025-01")).await.json();
            assert_eq!(json!([page["period"], page["usedBytes"]]), json!(["2025-01", used]));
            assert_eq!(keys(&page).iter().map(|(_, bytes)| bytes).sum::<u64>(), used, "{by}: {page}");
        }
        let users = keys(&broker.operator("/api/spenders?period=2025-01").await.json());
        assert_eq!(
            users.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(),
            ["ann".into(), "=bob".into(), Value::Null]
        );
        let now = keys(&broker.operator("/api/spenders?period=2025-02").await.json());
        assert_eq!(now[0].0, "eve", "{now:?}");
        let bearer = format!("Bearer {OPERATOR}");
        let headers = [("authorization", &*bearer), ("accept", "text/csv")];
        let csv = async |path: &str| broker.get_with(path, &headers).await;
        let answer = csv("/api/spenders?by=user&period=2025-01").await;
        assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
        let rows = cells(&answer.text);
        let column = |name: &str| rows[0].iter().position(|cell| *cell == name).unwrap();
        let sum =
            |name: &str| rows[1..].iter().map(|row| row[column(name)].parse::<f64>().unwrap()).sum::<f64>();
        assert_eq!(rows.len(), 4, "{}", answer.text);
        assert_eq!(rows[1][..2], ["2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z"]);
        assert_eq!((rows[1][column("SubAccountId")], rows[2][column("SubAccountId")]), ("ann", "'=bob"));
        assert!((sum("x_Bytes") - f64::from(u32::try_from(used).unwrap())).abs() < 0.5, "{}", answer.text);
        let gb = f64::from(u32::try_from(used).unwrap()) / 1e9;
        assert!((sum("ConsumedQuantity") - gb).abs() < 1e-9, "{}", answer.text);
        // The free GB are shared.
        assert!((sum("BilledCost") - (gb - 0.1) * 0.05).abs() < 2e-6, "{}", answer.text);
        assert_eq!(rows[1][column("BillingCurrency")], "USD");
        let past = broker.operator("/api/usage").await.json()["pastPeriods"][0].clone();
        assert_eq!((&past["currency"], &past["cost"]), (&"USD".into(), &"0.01".into()), "{past}");
        for path in ["/api/spenders?by=grant", "/api/spenders?since=5m"] {
            assert_eq!(csv(path).await.error(), (400, "INVALID_REQUEST"), "{path}");
        }
    };
    check(&first).await;
    first.finish().await;
    let dearer = [("STATE_DIR", state.path()), ("PRICE_PER_GB", "1,coturn=90"), ("CURRENCY", "EUR")];
    let second = TestBroker::start_at(
        &[&COTURN[..], &[USERS], &dearer].concat(),
        std::sync::Arc::new(ManualClock::at("2025-02-02T01:00:00Z")),
    )
    .await;
    check(&second).await;
    assert_eq!(second.operator("/api/overview").await.json()["cost"]["currency"], "EUR");
    for bad in [
        "period=2024-01",
        "period=2025-03",
        "period=2025-13",
        "period=january",
        "period=2025-01&by=origin",
        "period=2025-01&since=5m",
    ] {
        let refused = second.operator(&format!("/api/spenders?{bad}")).await;
        assert_eq!(refused.error(), (400, "INVALID_REQUEST"), "{bad}");
    }
    let unknown = second.operator("/api/spenders?period=2024-01").await.json();
    assert_eq!(unknown["message"], "Set `period` to a month from 2024-02 to 2025-02.");
    let unused = second.operator("/api/spenders?period=2024-02").await.json();
    assert_eq!(json!([unused["usedBytes"], unused["spenders"]]), json!([0, []]), "before the ledger");
    second.order(Method::DELETE, "/api/users/ann").await;
    let removed = second.operator("/api/spenders?period=2025-01").await.json();
    assert!(!removed.to_string().contains("ann") && removed["usedBytes"] == used, "{removed}");
}

#[tokio::test]
async fn grants_are_listed_and_filtered() {
    let broker = broker(&[("CLIENT_URL", "https://app.example")]).await;
    let ann = mint_as(&broker, "ann", "?label=room-1&ttl=600").await.grant();
    mint_as(&broker, "bob", "").await.grant();
    spend(&broker, &ann, 4_000_000).await;
    let carol = format!("Bearer {}", user_token("carol"));
    let page = [("origin", "https://app.example"), ("authorization", &*carol)];
    broker.get_with("/api/turn-credentials", &page).await.grant();
    assert_eq!(broker.operator("/api/grants").await.json()["grants"].as_array().unwrap().len(), 3);
    for (origin, expected) in [("https://app.example", vec!["carol"]), ("https://other.example", vec![])] {
        let of_origin = broker.operator(&format!("/api/grants?origin={origin}")).await.json();
        let users = of_origin["grants"].as_array().unwrap().iter().map(|row| row["user"].clone());
        assert_eq!(users.collect::<Vec<_>>(), expected, "{origin}");
    }
    let of_no_call = broker.operator("/api/grants?call=%C2%89").await.json();
    assert_eq!(of_no_call["grants"], json!([]), "any text may stand for a call");
    let of_ann = broker.operator("/api/grants?user=ann&label=room-1&live=true").await.json();
    assert_eq!(of_ann["grants"].as_array().unwrap().len(), 1);
    let mut row = of_ann["grants"][0].clone();
    assert_eq!(row["id"].take().as_str().map(str::len), Some(22));
    let address = row["address"].take().as_str().unwrap().to_owned();
    let expected = json!({"id": null, "user": "ann", "label": "room-1", "origin": null, "address": null, "call": null,
        "source": "coturn", "issuedAt": "2025-01-15T12:00:00.000Z", "expiresAt": "2025-01-15T12:10:00.000Z",
        "revokedAt": null, "live": true, "bytes": 4_000_000, "measuredBytes": 0, "claimedBytes": 4_000_000,
        "evidence": "claimed"});
    assert_eq!(row, expected);
    let there = broker.operator(&format!("/api/grants?address={address}&limit=1")).await.json();
    let next = there["next"].as_str().unwrap();
    let rest = broker.operator(&format!("/api/grants?address={address}&cursor={next}")).await.json();
    assert_eq!((rest["grants"].as_array().unwrap().len(), &rest["next"]), (2, &Value::Null));

    for bad in ["live=maybe", "limit=0", "limit=1001", "cursor=x", "user=a&user=b", "address=here"] {
        let refused = broker.operator(&format!("/api/grants?{bad}")).await;
        assert_eq!(refused.error(), (400, "INVALID_REQUEST"), "{bad}");
    }
    let all = broker.operator("/api/grants?user=&label=&address=&live=&limit=&cursor=").await.json();
    assert_eq!(all, broker.operator("/api/grants").await.json(), "an empty value is none");
}

#[tokio::test]
async fn no_address_is_kept_if_none_is_wanted() {
    let broker = broker(&[("CLIENT_ADDRESSES", "none")]).await;
    mint_as(&broker, "ann", "").await.grant();
    assert_eq!(keys(&broker.operator("/api/spenders?by=address").await.json()), []);
    assert_eq!(broker.operator("/api/grants").await.json()["grants"][0]["address"], Value::Null);
}

#[tokio::test]
async fn a_user_over_the_limit_is_refused_and_others_are_not() {
    let broker = broker(&[("USER_LIMIT_GB", "0.01"), ("LIMIT_ACTION", "fallback")]).await;
    let ann = mint_as(&broker, "ann", "?ttl=600").await.grant();
    spend(&broker, &ann, 12_000_000).await;
    let refused = mint_as(&broker, "ann", "").await;
    assert_eq!(refused.error(), (429, "USER_LIMIT_REACHED"), "there is no fallback for a user");
    let body = refused.json();
    assert_eq!(
        body["message"],
        "Your monthly bandwidth limit of 0.01 GB has been reached. Please wait until next month."
    );
    assert_eq!(json!([body["bandwidthUsed"], body["bandwidthLimit"]]), json!(["0.01", 0.01]));
    assert_eq!(body["resetDate"], "2025-02-01T00:00:00.000Z");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(wait > 86_400, "until the reset, not {wait}");
    assert_eq!(mint_as(&broker, "bob", "").await.status, 200);
    assert_eq!(broker.metric("turn_broker_user_refusals_total").await, Some(1));
    broker.advance(460);
    let renewal = broker.mint_with(&ann).await;
    assert_eq!(renewal.error(), (429, "USER_LIMIT_REACHED"), "a renewal keeps the user");
}

#[tokio::test]
async fn a_blocked_user_is_refused_also_after_a_restart() {
    let state = StateDir::new();
    let settings = [("STATE_DIR", state.path())];
    let first = broker(&settings).await;
    let ann = mint_as(&first, "ann", "?ttl=600").await.grant();
    let blocked = first.order(Method::POST, "/api/users/ann/block").await;
    let message = "ann is blocked and gets no credentials. Those that were issued work until they are revoked (turn-broker revoke --user). Callers without a token are not stopped: set AUTH_REQUIRED=true to refuse them.";
    assert_eq!(
        blocked.json(),
        json!({"by": "user", "key": "ann", "until": null, "since": "2025-01-15T12:00:00.000Z", "blocked": true, "message": message})
    );
    assert_eq!(mint_as(&first, "ann", "").await.error(), (403, "USER_BLOCKED"));
    let blocked_of = |page: Value| page["spenders"][0].get("blocked").cloned();
    assert_eq!(blocked_of(first.operator("/api/spenders").await.json()), Some(true.into()));
    assert_eq!(blocked_of(first.operator("/api/spenders?by=address").await.json()), Some(false.into()));
    assert_eq!(blocked_of(first.operator("/api/spenders?by=grant").await.json()), None);
    first.advance(460);
    assert_eq!(first.mint_with(&ann).await.error(), (403, "USER_BLOCKED"));
    first.finish().await;
    let second = broker(&settings).await;
    assert_eq!(mint_as(&second, "ann", "").await.error(), (403, "USER_BLOCKED"));
    assert_eq!(mint_as(&second, "bob", "").await.status, 200);
    let unblocked = second.order(Method::DELETE, "/api/users/ann/block").await;
    assert_eq!(unblocked.json()["blocked"], false);
    // An alert about the new process may have listed the spenders already, and a list is kept for ten seconds.
    second.advance(11);
    let page = second.operator("/api/spenders").await.json();
    let blocked = page["spenders"].as_array().unwrap().iter().map(|row| row["blocked"].clone());
    assert_eq!(blocked.collect::<Vec<_>>(), [false, false]);
    assert_eq!(mint_as(&second, "ann", "").await.status, 200);
}

#[tokio::test]
async fn a_blocked_address_is_refused_at_each_format_until_its_time_is_over_also_after_a_restart() {
    let state = StateDir::new();
    let settings = [("STATE_DIR", state.path()), ALL_DOORS];
    let first = broker(&settings).await;
    let grant = mint_as(&first, "ann", "?ttl=600").await.grant();
    let blocked = first.order(Method::POST, "/api/addresses/127.0.0.1/block?for=1h").await.json();
    let message = "127.0.0.1 is blocked until 2025-01-15T13:00:00.000Z and gets no credentials. Those that were issued work until they are revoked (turn-broker revoke --address).";
    let expected = json!({"by": "address", "key": "127.0.0.1", "blocked": true, "until": "2025-01-15T13:00:00.000Z", "since": "2025-01-15T12:00:00.000Z", "message": message});
    assert_eq!(blocked, expected);
    for path in ["/api/turn-credentials", "/turn", "/ice?service=turn", "/link", "/api/v1/turn/credentials"] {
        assert_eq!(first.get_as(&user_token("ann"), path).await.error(), (403, "ADDRESS_BLOCKED"), "{path}");
    }
    first.advance(460);
    assert_eq!(first.mint_with(&grant).await.error(), (403, "ADDRESS_BLOCKED"), "a renewal");
    first.finish().await;
    let second = broker(&settings).await;
    assert_eq!(second.mint().await.error(), (403, "ADDRESS_BLOCKED"));
    let revoked = second.order(Method::POST, "/api/revoke?address=127.0.0.1").await.json();
    let blocked_of = |page: Value| page["spenders"][0].get("blocked").cloned();
    assert_eq!(blocked_of(second.operator("/api/spenders?by=address").await.json()), Some(true.into()));
    assert_eq!(blocked_of(second.operator("/api/spenders?by=label").await.json()), None, "without a label");
    let message = revoked["message"].as_str().unwrap();
    let is_said = message.starts_with("127.0.0.1 is blocked and gets no credentials. Live credentials of")
        && !message.contains("can get new ones");
    assert!(is_said, "{message}");
    let allowed = second.order(Method::DELETE, "/api/addresses/127.0.0.1/block").await.json();
    assert_eq!(json!([allowed["blocked"], allowed["until"]]), json!([false, null]));
    assert_eq!(second.mint().await.status, 200);
    let prefix = second.order(Method::POST, "/api/addresses/2001:db8::7/block").await.json();
    assert_eq!(json!([prefix["key"], prefix["until"]]), json!(["2001:db8::/64", null]));
    let group = second.order(Method::POST, "/api/addresses/2001:db8::%2F48/block?for=365d").await.json();
    assert_eq!(group["key"], "2001:db8::/48");
    for path in ["here/block", "127.0.0.1/block?for=1", "127.0.0.1/block?for=0h", "127.0.0.1/block?for=366d"]
    {
        let refused = second.order(Method::POST, &format!("/api/addresses/{path}")).await;
        assert_eq!(refused.error(), (400, "INVALID_REQUEST"), "{path}");
    }
}

#[tokio::test]
async fn each_kind_of_spender_is_blocked_and_allowed_with_one_route() {
    let broker = broker(&[("CLIENT_URL", "https://a.example"), ("RATE_LIMIT_REQUESTS", "100")]).await;
    let ann = format!("Bearer {}", user_token("ann"));
    let mint = async || mint_as(&broker, "ann", "?label=room-1").await;
    mint().await.grant();
    for (named, code) in [
        ("user=ann", "USER_BLOCKED"),
        ("label=room-1", "BLOCKED"),
        ("address=127.0.0.1", "ADDRESS_BLOCKED"),
        ("origin=https://a.example", "BLOCKED"),
    ] {
        let slash = if named.starts_with("origin") { "/" } else { "" };
        let blocked = broker.order(Method::POST, &format!("/api/block?{named}{slash}&for=1h")).await.json();
        let (by, key) = named.split_once('=').unwrap();
        let until = "2025-01-15T13:00:00.000Z";
        assert_eq!(json!([blocked["by"], blocked["key"], blocked["until"]]), json!([by, key, until]));
        let headers = [("authorization", &*ann), ("origin", "https://a.example")];
        let refused = broker.get_with("/api/turn-credentials?label=room-1", &headers).await;
        assert_eq!(refused.error(), (403, code), "{named}");
        let list = broker.operator("/api/block").await.json();
        assert_eq!(
            list,
            json!({"count": 1, "blocks": [{"by": by, "key": key, "until": until, "since": "2025-01-15T12:00:00.000Z"}]})
        );
        let allowed = broker.order(Method::DELETE, &format!("/api/block?{named}")).await.json();
        assert_eq!(json!([allowed["blocked"], allowed["until"]]), json!([false, null]));
        assert_eq!(mint().await.status, 200, "{named}");
    }
    broker.order(Method::POST, "/api/users/ann/block?for=1h").await;
    assert_eq!(mint().await.error(), (403, "USER_BLOCKED"));
    broker.advance(3_600);
    assert_eq!(mint().await.status, 200, "the time is over");
    for query in ["", "?for=1h", "?user=ann&label=a", "?user=", "?user=ann&for=1", "?user=ann&more=1"] {
        let refused = broker.order(Method::POST, &format!("/api/block{query}")).await;
        assert_eq!(refused.error(), (400, "INVALID_REQUEST"), "{query}");
    }
    let refused = broker.order(Method::DELETE, "/api/block?user=ann&for=1h").await;
    assert_eq!(refused.error(), (400, "INVALID_REQUEST"));
}

#[tokio::test]
async fn blocked_spenders_are_listed_also_if_they_have_spent_nothing() {
    let broker = broker(&[]).await;
    let listed = async |path: &str| broker.operator(path).await.json()["blocked"].clone();
    assert_eq!(listed("/api/spenders").await, json!({"count": 0, "blocks": []}));
    for n in (0..52).rev() {
        broker.order(Method::POST, &format!("/api/users/user-{n:02}/block")).await;
    }
    let first = listed("/api/spenders?by=label&limit=1").await;
    assert_eq!(
        json!([first["count"], first["blocks"][0]["key"], first["blocks"][49]["key"]]),
        json!([52, "user-00", "user-49"])
    );
    assert_eq!(first["blocks"].as_array().unwrap().len(), 50, "the list is bounded");
    broker.order(Method::DELETE, "/api/users/user-07/block").await;
    let then = listed("/api/spenders").await;
    assert_eq!(
        json!([then["count"], then["blocks"][7]["key"], then["blocks"][49]["key"]]),
        json!([51, "user-08", "user-50"])
    );
    assert_eq!(broker.operator("/api/block").await.json()["blocks"].as_array().unwrap().len(), 51, "all");
}

#[tokio::test]
async fn blocked_addresses_are_listed_until_their_block_ends() {
    let broker = broker(&[]).await;
    for path in ["192.0.2.7/block?for=1h", "2001:db8::7/block"] {
        broker.order(Method::POST, &format!("/api/addresses/{path}")).await;
    }
    let listed = async || broker.operator("/api/spenders?by=address").await.json()["blocked"].clone();
    let prefix =
        json!({"by": "address", "key": "2001:db8::/64", "until": null, "since": "2025-01-15T12:00:00.000Z"});
    let short = json!({"by": "address", "key": "192.0.2.7", "until": "2025-01-15T13:00:00.000Z", "since": "2025-01-15T12:00:00.000Z"});
    assert_eq!(listed().await, json!({"count": 2, "blocks": [short, prefix]}));
    broker.advance(3_600);
    assert_eq!(listed().await, json!({"count": 1, "blocks": [prefix]}));
}

#[tokio::test]
async fn a_person_is_removed_from_all_that_is_stored_and_kept_so_over_a_restart() {
    let state = StateDir::new();
    let settings = [("STATE_DIR", state.path()), ("BANDWIDTH_LIMIT_GB", "0.01")];
    let first = broker(&settings).await;
    let ann = mint_as(&first, "ann-7", "?label=room-7").await.grant();
    spend(&first, &ann, 6_000_000).await;
    first.order(Method::POST, "/api/users/ann-7/block").await;
    let everything = async |broker: &TestBroker| {
        let paths = ["spenders?by=user", "spenders?by=label", "grants", "alerts", "overview", "connections"];
        let mut text = String::new();
        for path in paths {
            text += &broker.operator(&format!("/api/{path}")).await.json().to_string();
        }
        text
    };
    first.app.account.evaluate_alerts(facts(&first, true), &first.app.config, false).await;
    let before = everything(&first).await;
    assert!(before.contains("ann-7") && before.contains("room-7"), "{before}");
    let used = first.status().await["bandwidthUsedGB"].clone();
    let (log, _logging) = Log::of_this_thread();
    let removed = first.order(Method::DELETE, "/api/users/ann-7").await.json();
    assert_eq!(json!([removed["rows"], removed["revoked"]]), json!([1, 1]));
    let message = removed["message"].as_str().unwrap();
    assert!(
        message.starts_with("ann-7 is removed from the ledger") && message.contains("all revoked"),
        "{message}"
    );
    assert!(log.text().contains("removed a person") && !log.text().contains("ann-7"), "{}", log.text());
    let report = json!({"bytesReceived": 7_000_000});
    assert_eq!(first.heartbeat(&ann, "c", report).await.error(), (401, "INVALID_GRANT"));
    for wrong in ["/%0A", "", "?label=a", "?user=a&label=a"] {
        let refused = first.order(Method::DELETE, &format!("/api/users{wrong}")).await;
        assert_eq!(refused.error(), (400, "INVALID_REQUEST"), "{wrong}");
    }
    let check = async |broker: &TestBroker| {
        let after = everything(broker).await;
        assert!(!after.contains("ann-7") && !after.contains("room-7"), "{after}");
        assert_eq!(broker.status().await["bandwidthUsedGB"], used, "the bytes stay");
        let address = &broker.operator("/api/grants").await.json()["grants"][0]["address"];
        assert_eq!(address, &Value::Null, "nor does a late report bring the address back");
    };
    check(&first).await;
    first.finish().await;
    let second = broker(&settings).await;
    check(&second).await;
    assert_eq!(mint_as(&second, "ann-7", "").await.status, 200, "the block had the name");
}

#[tokio::test]
async fn a_block_and_a_revocation_say_what_is_left_of_both_in_any_order() {
    let broker = broker(&[]).await;
    let order = async |path: &str| {
        let done = broker.order(Method::POST, path).await;
        done.json()["message"].as_str().unwrap().to_owned()
    };
    mint_as(&broker, "ann", "").await.grant();
    let blocked = order("/api/users/ann/block").await;
    assert!(blocked.contains("Those that were issued work until they are revoked"), "{blocked}");
    let revoked = order("/api/revoke?user=ann").await;
    let expected = "ann is blocked and gets no credentials. Live credentials of ann: 1, all revoked. ";
    assert!(
        revoked.starts_with(expected) && revoked.contains("Callers without a token are not"),
        "{revoked}"
    );
    assert!(!revoked.contains("can get new ones") && !revoked.contains("work until they are"), "{revoked}");
    let again = order("/api/users/ann/block").await;
    assert!(again.contains("There is no live credential that is not revoked."), "{again}");
    assert!(!again.contains("work until they are"), "{again}");
}

#[tokio::test]
async fn all_credentials_of_a_user_are_revoked_at_once() {
    let broker = broker(&[]).await;
    let ann = mint_as(&broker, "ann", "").await.grant();
    mint_as(&broker, "ann", "").await.grant();
    let bob = mint_as(&broker, "bob", "").await.grant();
    for token in [&ann, &bob] {
        assert!(broker.post(token, "/api/connections", json!({})).await.status.is_success());
    }
    let revoked = broker.order(Method::POST, "/api/revoke?user=ann").await;
    // A day, and two hours of tail.
    let until = "2025-01-16T14:01:00.000Z";
    let message = format!(
        "Live credentials of ann: 2, all revoked. Calls with 2 of them may go on until {until} at worst: their source ends them later, or not at all. 2 can open new calls until they expire, because their source has not ended them. ann can get new ones: block ann to refuse them."
    );
    let nobody_ends_them = json!({"revoked": 2, "ended": 0, "left": 0, "cut": 0, "callsUntil": until,
        "message": message});
    assert_eq!(revoked.json(), nobody_ends_them, "a coturn without a command line");
    assert_eq!(broker.post(&ann, "/api/connections", json!({})).await.error(), (401, "INVALID_GRANT"));
    assert!(broker.post(&bob, "/api/connections", json!({})).await.status.is_success());
    let rows = broker.operator("/api/grants?user=ann").await.json();
    let rows = rows["grants"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["revokedAt"] == "2025-01-15T12:00:00.000Z"));
    for (by, expected) in [("user", vec![(2, 0), (1, 1)]), ("address", vec![(3, 1)])] {
        let page = broker.operator(&format!("/api/spenders?by={by}")).await.json();
        let rows = page["spenders"].as_array().unwrap().iter();
        let counts = rows.map(|row| (row["live"].as_u64().unwrap(), row["usable"].as_u64().unwrap()));
        assert_eq!(counts.collect::<Vec<_>>(), expected, "what is revoked stays reserved, but is not usable");
    }
}

#[tokio::test]
async fn all_credentials_of_one_value_are_revoked_and_no_others() {
    let broker = broker(&[]).await;
    let usable = async || {
        let rows = broker.operator("/api/grants").await.json()["grants"].as_array().unwrap().clone();
        rows.iter().filter(|row| row["revokedAt"].is_null()).count()
    };
    let revoke = async |query: &str| broker.order(Method::POST, &format!("/api/revoke?{query}")).await;
    for (user, label) in [("ann", "a"), ("ann", "b"), ("bob", "a"), ("bob", "b"), ("eve", "c")] {
        mint_as(&broker, user, &format!("?label={label}")).await.grant();
    }
    for (query, revoked, left) in
        [("label=nosuch", 0, 5), ("label=b", 2, 3), ("user=ann", 2, 2), ("origin=https://a.example", 0, 2)]
    {
        let body = revoke(query).await.json();
        assert_eq!((body["revoked"].as_u64(), usable().await), (Some(revoked), left), "{query}: {body}");
    }
    let address =
        broker.operator("/api/grants").await.json()["grants"][0]["address"].as_str().unwrap().to_owned();
    let body = revoke(&format!("address={address}")).await.json();
    // Also what was revoked before.
    assert_eq!((body["revoked"].as_u64(), usable().await), (Some(5), 0), "{body}");
    let message = body["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("Live credentials of {address}: 5, all revoked.")), "{message}");
    let last = format!("{address} can get new ones: block {address} to refuse them.");
    assert!(message.ends_with(&last), "{message}");
    for query in [
        "",
        "user=",
        "user=ann&label=a",
        "user=ann&user=bob",
        "who=ann",
        "user=ann&live=true",
        "address=here",
    ] {
        assert_eq!(revoke(query).await.error(), (400, "INVALID_REQUEST"), "{query}");
    }
}

#[tokio::test]
async fn all_credentials_of_a_user_are_ended_at_the_provider_and_each_is_asked_for_once() {
    let state = StateDir::new();
    let settings = [("STATE_DIR", state.path()), USERS, ("RATE_LIMIT_REQUESTS", "500")];
    let (cloudflare, first) = with_cloudflare_and(&settings).await;
    for _ in 0..130 {
        mint_as(&first, "ann", "").await.grant();
    }
    mint_as(&first, "bob", "").await.grant();
    for _ in 0..10 {
        cloudflare.next(Fault::ServerErrorHtml(500));
    }
    cloudflare.next(Fault::NotFound404);
    let (log, _logging) = Log::of_this_thread();
    let revoked = first.order(Method::POST, "/api/revoke?user=ann").await.json();
    assert_eq!(result(&revoked), [130, 119, 10, 0]);
    assert_eq!(log.text().matches("Cloudflare did not revoke").count(), 1, "many failures, one line");
    let asked = || {
        let requests = cloudflare.history().requests();
        requests.iter().filter(|request| request.path.ends_with("/revoke")).count()
    };
    assert_eq!(asked(), 130);
    first.finish().await;
    // The fake is the same provider: the next process asks for the ten again, and for no other.
    let second = broker_at(&cloudflare, &settings).await;
    eventually("they are ended", async || second.overview().await["ending"]["revoked"] == 10).await;
    let again = second.order(Method::POST, "/api/revoke?user=ann").await.json();
    assert_eq!(result(&again), [130, 129, 0, 0]);
    assert_eq!(asked(), 140);
}

/// The counts of a revocation.
fn result(revoked: &Value) -> [u64; 4] {
    ["revoked", "ended", "left", "cut"].map(|count| revoked[count].as_u64().unwrap())
}

#[tokio::test]
async fn an_app_server_opens_no_connection_for_a_blocked_user_and_what_is_open_goes_on() {
    let broker = broker(&[]).await;
    let open = async |id: &str, user: &str| {
        broker.post(REPORTER, "/api/connections", json!({"connectionId": id, "user": user})).await
    };
    assert_eq!(open("r", "ann").await.status, 201);
    broker.order(Method::POST, "/api/users/ann/block").await;
    assert_eq!(open("s", "ann").await.error(), (403, "USER_BLOCKED"));
    assert_eq!(
        (open("r", "ann").await.status, open("s", "bob").await.status),
        (200.try_into().unwrap(), 201.try_into().unwrap())
    );
    let report = json!({"bytesReceived": 7_000_000});
    assert!(broker.heartbeat(REPORTER, "r", report).await.status.is_success());
}

#[tokio::test]
async fn opening_a_connection_again_changes_nobody_it_counts_for() {
    let broker = broker(&[]).await;
    let open = async |user: &str| {
        let body = json!({"connectionId": "r", "user": user});
        broker.post(REPORTER, "/api/connections", body).await.status.as_u16()
    };
    assert_eq!([open("ann").await, open("bob").await], [201, 200]);
    broker.advance(10);
    let report = json!({"bytesReceived": 7_000});
    assert!(broker.heartbeat(REPORTER, "r", report).await.status.is_success());
    let listed = broker.operator("/api/spenders?by=user").await.json();
    let users: Vec<_> = listed["spenders"].as_array().unwrap().iter().map(|row| row["key"].clone()).collect();
    assert!(users.contains(&json!("ann")) && !users.contains(&json!("bob")), "{listed}");
}

#[tokio::test]
async fn an_address_without_a_user_gets_no_more_than_its_limit_of_a_day() {
    let broker = broker(&[("ADDRESS_LIMIT_GB", "0.01"), ("LIMIT_ACTION", "fallback")]).await;
    let grant = broker.get("/api/turn-credentials").await.grant();
    spend(&broker, &grant, 10_000_000).await;
    let refused = broker.get("/api/turn-credentials").await;
    assert_eq!(refused.error(), (429, "ADDRESS_LIMIT_REACHED"));
    assert_eq!(refused.header("retry-after"), Some("43170"), "until midnight");
    assert_eq!(mint_as(&broker, "ann", "").await.status, 200, "a user answers for it");
    assert!(broker.open(&grant, "d").await.status.is_success(), "calls go on");
    assert!(broker.hint("ADDRESS_LIMIT").await.unwrap().contains("127.0.0.1"));
    broker.app.account.evaluate_alerts(facts(&broker, true), &broker.app.config, false).await;
    let alerts = broker.app.account.latest_alerts();
    let what = alerts.iter().find(|kept| kept.alert.kind.name() == "address.limited").unwrap();
    assert!(what.alert.what.contains("127.0.0.1"), "{}", what.alert.what);
    broker.advance_to("2025-01-16T00:00:01Z");
    assert_eq!(broker.get("/api/turn-credentials").await.status, 200);
}
