//! Analytics responses: computed from the query and the recorded usage, with the faults that a test sets.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::{AnalyticsFault, FakeCloudflare, Fault};
use super::bare_client::{Ask, End, Reply};

const ELEVEN: &str = "2025-01-15T11:00:00Z";
const ALL: &str = "{ viewer { accounts(filter: {accountTag: \"account\"}) {
    callsTurnUsageAdaptiveGroups(limit: 10) { sum { egressBytes ingressBytes } }
    callsUsageAdaptiveGroups(limit: 10) { sum { egressBytes } }
} } }";

fn ask(query: &str, variables: &Value) -> Ask {
    let body = json!({ "query": query, "variables": variables }).to_string();
    Ask { body, ..Ask::path("POST", "/client/v4/graphql") }
}

/// The members of the account in a correct response.
async fn account(fake: &FakeCloudflare, query: &str) -> Value {
    let reply = ask(query, &Value::Null).of(fake).await;
    let answer = reply.json();
    assert_eq!((reply.status, &answer["errors"]), (200, &Value::Null), "{answer}");
    answer["data"]["viewer"]["accounts"][0].clone()
}

async fn relayed() -> FakeCloudflare {
    let fake = FakeCloudflare::start().await;
    fake.analytics().relay("ours", ELEVEN, 100, 1);
    fake.analytics().relay("ours", "2025-01-15T11:01:59.9Z", 200, 2);
    fake.analytics().relay("theirs", "2025-01-15T11:05:00Z", 4_000, 4);
    fake.analytics().sfu("2025-01-15T11:05:00Z", 50_000, 5);
    fake
}

#[tokio::test]
async fn each_dataset_sums_its_own_and_shows_only_what_is_selected() {
    let fake = relayed().await;
    let expected = json!({
        "callsTurnUsageAdaptiveGroups": [{ "sum": { "egressBytes": 4_300, "ingressBytes": 7 } }],
        "callsUsageAdaptiveGroups": [{ "sum": { "egressBytes": 50_000 } }],
    });
    assert_eq!(account(&fake, ALL).await, expected);
}

#[tokio::test]
async fn each_time_filter_includes_its_minutes_only() {
    let fake = relayed().await;
    for (filter, egress) in [
        ("datetimeMinute_gt: \"2025-01-15T11:01:00Z\"", Some(4_000)),
        ("datetimeMinute_geq: \"2025-01-15T11:01:00Z\"", Some(4_200)),
        ("datetimeMinute_lt: \"2025-01-15T11:01:00Z\"", Some(100)),
        ("datetimeMinute_leq: \"2025-01-15T11:01:00Z\"", Some(300)),
        (
            "datetimeMinute_gt: \"2025-01-15T10:59:59Z\", datetimeMinute_lt: \"2025-01-15T11:05:00Z\"",
            Some(300),
        ),
        ("keyId: \"ours\"", Some(300)),
        ("keyId: \"ours\", datetimeMinute_gt: \"2025-01-15T11:00:00Z\"", Some(200)),
        ("keyId: \"nobody's\"", None),
    ] {
        let query = format!(
            "{{ viewer {{ accounts(filter: {{accountTag: \"a\"}}) {{ callsTurnUsageAdaptiveGroups(\
             limit: 1, filter: {{{filter}}}) {{ sum {{ egressBytes }} }} }} }} }}"
        );
        let found = account(&fake, &query).await["callsTurnUsageAdaptiveGroups"].clone();
        let expected = egress.map(|egress| json!({ "sum": { "egressBytes": egress } }));
        assert_eq!(found, json!(Vec::from_iter(expected)), "{filter}");
    }
}

#[tokio::test]
async fn dimensions_make_groups_and_aliases_name_them() {
    let fake = relayed().await;
    let query = "{ viewer { accounts(filter: {accountTag: \"a\"}) { usage: callsTurnUsageAdaptiveGroups(limit: 9) \
                 { of: dimensions { key: keyId } all: sum { out: egressBytes } } } } }";
    let expected = json!({ "usage": [
        { "of": { "key": "ours" }, "all": { "out": 300 } },
        { "of": { "key": "theirs" }, "all": { "out": 4_000 } },
    ] });
    assert_eq!(account(&fake, query).await, expected);
    let first = account(&fake, &query.replace("limit: 9", "limit: 1")).await;
    assert_eq!(first["usage"].as_array().map(Vec::len), Some(1));
}

/// Usage under three identifiers, one of them in two minutes, and without one.
async fn relayed_as() -> FakeCloudflare {
    let fake = FakeCloudflare::start().await;
    let analytics = fake.analytics();
    analytics.relay("ours", ELEVEN, 7, 0);
    for (identifier, egress) in [("c", 1_640), ("a", 120), ("b", 1_550)] {
        analytics.relay_as("ours", identifier, ELEVEN, egress, 1);
    }
    analytics.relay_as("ours", "b", "2025-01-15T11:02:00Z", 1, 0);
    fake
}

/// The groups of a selection with these arguments, each as its dimensions and its egress bytes.
async fn groups(fake: &FakeCloudflare, arguments: &str, dimensions: &str) -> Vec<String> {
    let query = format!(
        "{{ viewer {{ accounts(filter: {{accountTag: \"a\"}}) {{ usage: callsTurnUsageAdaptiveGroups({arguments}) \
         {{ dimensions {{ {dimensions} }} sum {{ egressBytes }} }} }} }} }}"
    );
    let account = account(fake, &query).await;
    let group = |group: &Value| {
        let of = group["dimensions"].as_object().unwrap().values().filter_map(Value::as_str);
        format!("{} {}", of.collect::<Vec<_>>().join(" "), group["sum"]["egressBytes"])
    };
    account["usage"].as_array().unwrap().iter().map(group).collect()
}

#[tokio::test]
async fn groups_by_identifier_are_ordered_and_read_page_by_page() {
    let fake = relayed_as().await;
    let page = async |more: &str| {
        let arguments = format!("limit: 2, orderBy: [customIdentifier_ASC]{more}");
        groups(&fake, &arguments, "customIdentifier").await
    };
    assert_eq!(page("").await, [" 7", "a 120"]);
    assert_eq!(page(", filter: {customIdentifier_gt: \"a\"}").await, ["b 1551", "c 1640"]);
    assert_eq!(page(", filter: {customIdentifier_gt: \"c\"}").await, Vec::<String>::new());
    let last = groups(&fake, "limit: 1, orderBy: [customIdentifier_DESC]", "customIdentifier").await;
    assert_eq!(last, ["c 1640"]);
}

#[tokio::test]
async fn groups_by_identifier_and_minute_are_filtered_by_both() {
    let fake = relayed_as().await;
    let of = async |filter: &str| {
        let arguments = format!("limit: 9, filter: {{{filter}}}");
        groups(&fake, &arguments, "customIdentifier datetimeMinute").await
    };
    let b = ["b 2025-01-15T11:00:00Z 1550", "b 2025-01-15T11:02:00Z 1"];
    assert_eq!(of("customIdentifier: \"b\"").await, b);
    assert_eq!(of("customIdentifier_in: [\"b\", \"x\"]").await, b);
    assert_eq!(of("customIdentifier_in: [\"b\"], datetimeMinute: \"2025-01-15T11:02:00Z\"").await, b[1..]);
}

#[tokio::test]
async fn a_sampled_sum_is_rounded_for_each_group() {
    let fake = relayed_as().await;
    fake.analytics().set_fault(AnalyticsFault::Sampled(1_000));
    let sampled = groups(&fake, "limit: 9", "customIdentifier").await;
    assert_eq!(sampled, [" 0", "a 0", "b 2000", "c 2000"]);
    let all = account(&fake, ALL).await;
    assert_eq!(
        all["callsTurnUsageAdaptiveGroups"][0]["sum"]["egressBytes"], 3_000,
        "not the sum of the groups"
    );
}

#[tokio::test]
async fn a_fault_of_queries_with_dimensions_spares_the_others() {
    let fake = relayed_as().await;
    fake.analytics().set_grouped_fault(AnalyticsFault::ServerErrorHtml(503));
    let grouped = ALL.replacen("{ sum", "{ dimensions { customIdentifier } sum", 1);
    assert_eq!(ask(&grouped, &Value::Null).of(&fake).await.status, 503);
    assert_eq!(ask(ALL, &Value::Null).of(&fake).await.status, 200);
    fake.analytics().heal();
    assert_eq!(ask(&grouped, &Value::Null).of(&fake).await.status, 200);
}

#[tokio::test]
async fn a_list_is_a_variable_with_a_type_of_its_own() {
    let fake = relayed_as().await;
    let query = "query Q($ids: [string!]!) { viewer { accounts(filter: {accountTag: \"a\"}) { \
                 callsTurnUsageAdaptiveGroups(limit: 1, filter: {customIdentifier_in: $ids}) { sum { egressBytes } } } } }";
    let answer = ask(query, &json!({ "ids": ["a", "c"] })).of(&fake).await.json();
    let groups = &answer["data"]["viewer"]["accounts"][0]["callsTurnUsageAdaptiveGroups"];
    assert_eq!(groups[0]["sum"]["egressBytes"], 1_760);
    assert_eq!(ask(query, &json!({ "ids": "a" })).of(&fake).await.status, 400);
}

#[tokio::test]
async fn variables_are_used_and_recorded_in_the_history() {
    let fake = relayed().await;
    let query = "query Q($account: string!, $key: string!) { viewer { accounts(filter: {accountTag: $account}) { \
                 callsTurnUsageAdaptiveGroups(limit: 1, filter: {keyId: $key}) { sum { egressBytes } } } } }";
    let variables = json!({ "account": "a", "key": "theirs" });
    let answer = ask(query, &variables).of(&fake).await.json();
    let groups = &answer["data"]["viewer"]["accounts"][0]["callsTurnUsageAdaptiveGroups"];
    assert_eq!(groups[0]["sum"]["egressBytes"], 4_000);

    let [asked] = &fake.analytics().queries()[..] else { panic!("one query") };
    assert_eq!(asked.body, json!({ "query": query, "variables": variables }));
    assert_eq!(asked.authorization.as_deref(), Some("Bearer token"));
    assert!(fake.history().requests().is_empty(), "a query is not a mint");
}

#[tokio::test]
async fn the_wrong_token_account_and_query_are_refused_in_the_documented_form() {
    let fake = relayed().await;
    let refused = async |ask: Ask| {
        let reply = ask.of(&fake).await;
        let answer = reply.json();
        assert_eq!(answer["data"], Value::Null);
        (reply.status, answer["errors"][0]["message"].as_str().unwrap_or_default().to_owned())
    };
    fake.analytics().require_token("token");
    fake.analytics().require_account("account");
    assert_eq!(ask(ALL, &Value::Null).of(&fake).await.status, 200);
    let wrong = Ask { token: "another", ..ask(ALL, &Value::Null) };
    assert_eq!(refused(wrong).await, (401, "Unauthorized".to_owned()));
    let elsewhere = ask(&ALL.replace("account\"", "other\""), &Value::Null);
    assert_eq!(refused(elsewhere).await, (403, "not authorized for that account".to_owned()));
    for (from, to) in [
        ("egressBytes", "egressGigabytes"),
        ("callsUsage", "zoomUsage"),
        ("limit: 10", "limit: 0"),
        ("limit: 10", "limit: 10001"),
        ("limit: 10", "limit: 10, orderBy: [x]"),
        ("limit: 10", "limit: 10, filter: {customer: \"x\"}"),
        ("limit: 10", "limit: 10, orderBy: [customIdentifier_ASC]"),
        ("limit: 10", "limit: 10, filter: {customIdentifier_in: \"x\"}"),
        ("limit: 10", "limit: 10, filter: {keyId: 5}"),
        ("limit: 10", "limit: 10, filter: {datetimeMinute_gt: \"noon\"}"),
        ("{ egressBytes }", ""),
        ("} } }", "} }"),
    ] {
        assert_eq!(refused(ask(&ALL.replace(from, to), &Value::Null)).await.0, 400, "{to}");
    }
    assert_eq!((fake.analytics().asked(), fake.analytics().queries().len()), (15, 15));
}

async fn reply_with_fault(fault: AnalyticsFault) -> (FakeCloudflare, Reply) {
    let fake = relayed().await;
    fake.analytics().set_fault(fault);
    let reply = ask(ALL, &Value::Null).of(&fake).await;
    (fake, reply)
}

#[tokio::test]
async fn refusals_have_their_status_and_the_mark_of_the_leak_check() {
    for (fault, status) in [
        (AnalyticsFault::ErrorsAt200, 200),
        (AnalyticsFault::BudgetDepletedAt200, 200),
        (AnalyticsFault::TooManyRequests, 429),
        (AnalyticsFault::Forbidden, 403),
        (AnalyticsFault::RangeTooWide, 400),
        (AnalyticsFault::ServerErrorHtml(500), 500),
        (AnalyticsFault::NotJson, 200),
        (AnalyticsFault::Redirect, 302),
    ] {
        let (_fake, reply) = reply_with_fault(fault).await;
        assert_eq!((reply.status, reply.end), (status, End::Closed), "{fault:?}");
        assert!(reply.text().contains(Fault::BODY_MARK), "{fault:?}");
    }
}

#[tokio::test]
async fn incomplete_responses_are_well_formed() {
    let empty =
        |with: Value| json!([{ "callsTurnUsageAdaptiveGroups": with, "callsUsageAdaptiveGroups": with }]);
    for (fault, accounts) in [
        (AnalyticsFault::NoAccounts, json!([])),
        (AnalyticsFault::NoGroups, empty(json!([]))),
        (AnalyticsFault::NullSelections, empty(Value::Null)),
        (AnalyticsFault::NullData, Value::Null),
    ] {
        let (_fake, reply) = reply_with_fault(fault).await;
        let answer = reply.json();
        assert_eq!(answer["data"]["viewer"]["accounts"], accounts, "{fault:?}");
        assert_eq!((reply.status, &answer["errors"]), (200, &Value::Null), "{fault:?}");
    }
    let (_fake, reply) = reply_with_fault(AnalyticsFault::PartialWithErrors).await;
    let (answer, errors) = (reply.json(), reply.json()["errors"].clone());
    assert!(answer["data"]["viewer"]["accounts"][0]["callsUsageAdaptiveGroups"][0]["sum"].is_object());
    assert_eq!(errors.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn falling_and_late_usage_is_lower_until_healed() {
    let (fake, falling) = reply_with_fault(AnalyticsFault::Falling(50)).await;
    let egress = |answer: &Value| {
        let groups = &answer["data"]["viewer"]["accounts"][0]["callsTurnUsageAdaptiveGroups"];
        groups[0]["sum"]["egressBytes"].clone()
    };
    assert_eq!(egress(&falling.json()), 2_150);
    for (late, expected) in [(0, json!(4_300)), (4, json!(300)), (5, json!(100)), (6, Value::Null)] {
        fake.analytics().set_fault(AnalyticsFault::Late(late));
        assert_eq!(egress(&ask(ALL, &Value::Null).of(&fake).await.json()), expected, "{late}");
    }
    fake.analytics().heal();
    assert_eq!(egress(&ask(ALL, &Value::Null).of(&fake).await.json()), 4_300);
}

#[tokio::test]
async fn broken_responses_end_with_half_a_body_or_none() {
    for (fault, status) in [(AnalyticsFault::ResetMidBody, 200), (AnalyticsFault::ResetBeforeAnswer, 0)] {
        let (_fake, reply) = reply_with_fault(fault).await;
        assert_eq!((reply.status, reply.end), (status, End::Reset), "{fault:?}");
    }
    let (_fake, huge) = reply_with_fault(AnalyticsFault::Huge).await;
    assert!(huge.status == 200 && huge.body.len() > 8 << 20);
}

#[tokio::test]
async fn connections_without_a_complete_response_stay_open() {
    let fake = relayed().await;
    for fault in [AnalyticsFault::Hang, AnalyticsFault::Latency(Duration::from_secs(3_600))] {
        fake.analytics().set_fault(fault);
        let reply = ask(ALL, &Value::Null).impatient().of(&fake).await;
        assert_eq!((reply.status, reply.end), (0, End::StillOpen), "{fault:?}");
    }
    fake.analytics().set_fault(AnalyticsFault::SlowDrip);
    let dripping = Ask { enough: 1, ..ask(ALL, &Value::Null) }.of(&fake).await;
    assert!(dripping.status == 200 && dripping.body.len() < 12, "{:?}", dripping.text());
}

#[tokio::test]
async fn faults_of_analytics_and_of_mints_are_independent() {
    let fake = relayed().await;
    fake.analytics().set_fault(AnalyticsFault::TooManyRequests);
    fake.next(Fault::NotFound404);
    assert_eq!(ask(ALL, &Value::Null).of(&fake).await.status, 429);
    assert_eq!(Ask::mint(600).of(&fake).await.status, 404);
    assert_eq!(Ask::mint(600).of(&fake).await.status, 201);
    fake.heal();
    assert_eq!(ask(ALL, &Value::Null).of(&fake).await.status, 429, "healing mints does not heal analytics");
}
