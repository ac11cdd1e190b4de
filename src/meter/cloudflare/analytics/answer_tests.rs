use proptest::prelude::*;

use super::*;

const EGRESS: Counted = Counted { billed: BilledDirections::Egress, sfu_app: None };
const BOTH: Counted = Counted { billed: BilledDirections::Both, sfu_app: None };

fn parsed(body: &Value, billed: BilledDirections) -> Result<UsageCount, AnalyticsError> {
    let counted =
        parse(StatusCode::OK, body.to_string().as_bytes(), &[], &Counted { billed, sfu_app: None })?;
    Ok(UsageCount { by_key: BTreeMap::new(), ..counted })
}

fn our_key() -> [OwnKey; 1] {
    [OwnKey::of("ours")]
}

fn parsed_with_key(body: &Value) -> Result<UsageCount, AnalyticsError> {
    let counted = parse(StatusCode::OK, body.to_string().as_bytes(), &our_key(), &EGRESS)?;
    Ok(UsageCount { by_key: BTreeMap::new(), ..counted })
}

fn outcome(status: u16, body: &str) -> &'static str {
    let status = StatusCode::from_u16(status).unwrap();
    parse(status, body.as_bytes(), &[], &EGRESS).unwrap_err().outcome()
}

fn account(account: &Value) -> Value {
    json!({ "data": { "viewer": { "accounts": [account] } }, "errors": null })
}

fn groups(sums: &[(u64, u64)]) -> Value {
    let group = |(egress, ingress)| json!({ "sum": { "egressBytes": egress, "ingressBytes": ingress } });
    sums.iter().copied().map(group).collect()
}

fn counted(own: u64, other: u64) -> UsageCount {
    UsageCount { own: ByteCount::new(own), other: ByteCount::new(other), ..UsageCount::default() }
}

fn refused(message: &str) -> String {
    json!({ "data": null, "errors": [{ "message": message, "path": null }] }).to_string()
}

#[test]
fn our_key_counts_as_own_and_the_rest_as_other() {
    let body = account(&json!({
        "callsTurnUsageAdaptiveGroups": groups(&[(1_000, 1)]),
        "callsUsageAdaptiveGroups": groups(&[(20, 2)]),
        "ownKey": groups(&[(600, 3)]),
    }));
    assert_eq!(parsed(&body, BilledDirections::Egress).unwrap(), counted(600, 420));
    assert_eq!(parsed(&body, BilledDirections::Both).unwrap(), counted(603, 420));
}

#[test]
fn each_of_several_keys_has_its_own_count() {
    let group = |key: &str, egress: u64| json!({ "dimensions": { "keyId": key }, "sum": { "egressBytes": egress, "ingressBytes": 1 } });
    let body = account(&json!({
        "callsTurnUsageAdaptiveGroups": groups(&[(1_000, 1)]),
        "ownKey": [group("a", 500), group("b", 70), group("a", 30)],
    }));
    let keys = ["a", "b", "c"].map(OwnKey::of);
    let counted = parse(StatusCode::OK, body.to_string().as_bytes(), &keys, &EGRESS).unwrap();
    assert_eq!((counted.own.get(), counted.other.get()), (600, 400));
    let by_key = ["a", "b", "c"].map(|id| counted.by_key[&IdDigest::of(id)].get());
    assert_eq!(by_key, [530, 70, 0]);
}

#[test]
fn without_a_configured_key_every_turn_key_counts_as_own() {
    let body = account(&json!({
        "callsTurnUsageAdaptiveGroups": groups(&[(1_000, 1)]),
        "callsUsageAdaptiveGroups": groups(&[(20, 2)]),
    }));
    assert_eq!(parsed(&body, BilledDirections::Egress).unwrap(), counted(1_000, 20));
}

#[test]
fn a_response_without_the_count_of_our_key_counts_only_if_no_key_was_used() {
    for own in [json!({}), json!({ "ownKey": null })] {
        let mut selected = own;
        selected["callsUsageAdaptiveGroups"] = groups(&[(20, 2)]);
        for unused in [json!(null), json!([]), groups(&[(0, 0)])] {
            selected["callsTurnUsageAdaptiveGroups"] = unused;
            assert_eq!(parsed_with_key(&account(&selected)).unwrap(), counted(0, 20), "{selected}");
        }
        selected["callsTurnUsageAdaptiveGroups"] = groups(&[(1_000, 1)]);
        let error = parsed_with_key(&account(&selected)).unwrap_err();
        assert!(error.to_string().ends_with("the count of our TURN key is missing"), "{selected}: {error}");
    }
}

#[test]
fn every_group_counts() {
    let body = account(&json!({ "callsTurnUsageAdaptiveGroups": groups(&[(1, 10), (2, 20), (4, 40)]) }));
    assert_eq!(parsed(&body, BilledDirections::Both).unwrap(), counted(77, 0));
}

#[test]
fn every_form_of_nothing_relayed_is_zero() {
    let nothing = [
        json!({}),
        json!({ "callsTurnUsageAdaptiveGroups": [], "callsUsageAdaptiveGroups": [], "ownKey": [] }),
        json!({ "callsTurnUsageAdaptiveGroups": null, "callsUsageAdaptiveGroups": null, "ownKey": null }),
    ];
    for selected in nothing {
        let body = account(&selected);
        assert_eq!(parsed(&body, BilledDirections::Both).unwrap(), UsageCount::default(), "{body}");
    }
}

#[test]
fn with_an_app_of_the_sfu_a_count_without_the_bytes_of_the_sfu_is_an_error() {
    let with_sfu = Counted { sfu_app: Some("app".into()), ..EGRESS };
    let parsed =
        |selected: &Value| parse(StatusCode::OK, account(selected).to_string().as_bytes(), &[], &with_sfu);
    assert!(parsed(&json!({ "callsUsageAdaptiveGroups": [] })).is_ok(), "nothing was relayed");
    for missing in [json!({}), json!({ "callsUsageAdaptiveGroups": null })] {
        let error = parsed(&missing).unwrap_err();
        assert!(error.to_string().ends_with("the count of the SFU is missing"), "{error:?}");
    }
}

#[test]
fn the_bytes_of_our_app_are_those_of_the_sfu_and_other_apps_count_as_other() {
    let counted = Counted { sfu_app: Some("ours".into()), ..EGRESS };
    let parsed = |groups: Value| {
        let body = account(&json!({ "callsUsageAdaptiveGroups": groups })).to_string();
        let UsageCount { sfu, other, .. } = parse(StatusCode::OK, body.as_bytes(), &[], &counted).unwrap();
        (sfu.get(), other.get())
    };
    let group = |app: &str, egress: u64| json!({ "dimensions": { "appId": app }, "sum": { "egressBytes": egress, "ingressBytes": 1 } });
    assert_eq!(parsed(json!([group("ours", 5), group("theirs", 70)])), (5, 70));
    assert_eq!(parsed(json!([group("theirs", 70)])), (0, 70), "another app proves nothing");
    assert_eq!(parsed(groups(&[(9, 1)])), (9, 0), "where apps are not counted apart, all bytes are ours");
}

#[test]
fn our_key_above_all_keys_leaves_the_sfu_untouched() {
    let body = account(&json!({
        "callsTurnUsageAdaptiveGroups": groups(&[(90, 0)]),
        "callsUsageAdaptiveGroups": groups(&[(5, 0)]),
        "ownKey": groups(&[(100, 0)]),
    }));
    assert_eq!(parsed(&body, BilledDirections::Egress).unwrap(), counted(100, 5));
}

#[test]
fn a_count_is_a_whole_number_of_plausible_size() {
    let with = |egress: &str| {
        let sums = format!(r#"[{{"sum":{{"egressBytes":{egress},"ingressBytes":0}}}}]"#);
        let body = account(&json!({ "callsTurnUsageAdaptiveGroups": "here" })).to_string();
        parse(StatusCode::OK, body.replace("\"here\"", &sums).as_bytes(), &[], &EGRESS)
    };
    for (egress, bytes) in [("0", 0), ("1.5e9", 1_500_000_000), ("160040068147.0", 160_040_068_147)] {
        assert_eq!(with(egress).unwrap().own, ByteCount::new(bytes), "{egress}");
    }
    for (egress, bad) in [
        ("-1", "absurdly large"),
        ("0.5", "absurdly large"),
        ("9007199254740994", "absurdly large"),
        ("1e300", "absurdly large"),
        ("null", "another form"),
        ("\"1\"", "another form"),
    ] {
        let error = with(egress).unwrap_err();
        assert!(error.to_string().ends_with(bad), "{egress}: {error}");
    }
}

#[test]
fn a_missing_account_is_an_error_and_not_zero() {
    let body = json!({ "data": { "viewer": { "accounts": [] } }, "errors": null });
    assert_eq!(parsed(&body, BilledDirections::Egress).unwrap_err().outcome(), "no_account");
}

#[test]
fn errors_at_200_are_an_error_even_with_good_data() {
    let mut body = account(&json!({ "callsTurnUsageAdaptiveGroups": groups(&[(7, 7)]) }));
    for (errors, outcome) in [
        (json!([{ "message": "Internal server error" }]), "query_refused"),
        (json!([{ "message": "rate limiter budget depleted" }, { "message": "else" }]), "rate_limited"),
        (json!([null]), "query_refused"),
        (json!("text"), "query_refused"),
        (json!({}), "query_refused"),
    ] {
        body["errors"] = errors;
        assert_eq!(parsed(&body, BilledDirections::Egress).unwrap_err().outcome(), outcome, "{body}");
    }
    for none in [json!(null), json!([])] {
        body["errors"] = none;
        assert_eq!(parsed(&body, BilledDirections::Egress).unwrap(), counted(7, 0), "{body}");
    }
}

#[test]
fn a_message_means_the_same_at_200_and_at_its_documented_status() {
    for (message, status, expected) in [
        ("rate limiter budget depleted, try again after 5 minutes", 429, "rate_limited"),
        ("query consumed excessive resources, please try running smaller queries", 429, "rate_limited"),
        ("Unauthorized", 401, "unauthorized"),
        ("Authentication error", 403, "unauthorized"),
        ("account 'a' does not have access to the path", 403, "unauthorized"),
        ("not authorized for that account", 403, "no_account"),
        ("cannot request a time range wider than 4w2d", 400, "query_refused"),
        ("unknown field \"egressBytes\"", 400, "query_refused"),
        ("limit must be positive number and not greater than 10000", 400, "query_refused"),
    ] {
        assert_eq!(outcome(200, &refused(message)), expected, "{message}");
        assert_eq!(outcome(status, &refused(message)), expected, "{message}");
    }
    let rest =
        r#"{"success":false,"errors":[{"code":6003,"message":"Invalid request headers"}],"result":null}"#;
    assert_eq!(outcome(400, rest), "unauthorized", "the API's response to a malformed token");
}

#[test]
fn a_status_alone_gives_an_outcome() {
    for (status, expected) in [
        (401, "unauthorized"),
        (403, "unauthorized"),
        (429, "rate_limited"),
        (302, "status_other"),
        (400, "status_4xx"),
        (404, "status_4xx"),
        (500, "status_5xx"),
        (503, "status_5xx"),
        (201, "status_other"),
    ] {
        for body in ["", "<html>", "null", "{}"] {
            assert_eq!(outcome(status, body), expected, "{status} {body:?}");
        }
    }
    assert_eq!(outcome(503, &refused("too many queries in progress")), "status_5xx");
}

#[test]
fn a_body_of_another_form_is_a_bad_body() {
    for body in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"data":null,"errors":null}"#,
        r#"{"data":{"viewer":null}}"#,
        r#"{"data":{"viewer":{"accounts":null}}}"#,
        r#"{"data":{"viewer":{"accounts":[null]}}}"#,
        r#"{"data":{"viewer":{"accounts":[{},{}]}}}"#,
        r#"{"data":{"viewer":{"accounts":[{"callsTurnUsageAdaptiveGroups":[{}]}]}}}"#,
        r#"{"data":{"viewer":{"accounts":[{"callsTurnUsageAdaptiveGroups":[{"sum":null}]}]}}}"#,
        r#"{"data":{"viewer":{"accounts":[{"callsTurnUsageAdaptiveGroups":{}}]}}}"#,
    ] {
        assert_eq!(outcome(200, body), "bad_body", "{body}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(status in 100u16..1000, body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let status = StatusCode::from_u16(status).unwrap();
        let parsed = parse(status, &body, &our_key(), &BOTH);
        prop_assert!(parsed.is_err(), "random bytes are never a count");
    }

    #[test]
    fn a_truncated_or_changed_response_never_panics(at in 0usize..300, byte: u8, cut: bool) {
        let mut body = account(&json!({
            "callsTurnUsageAdaptiveGroups": groups(&[(1_000, 1)]),
            "callsUsageAdaptiveGroups": groups(&[(20, 2)]),
            "ownKey": groups(&[(600, 3)]),
        }))
        .to_string()
        .into_bytes();
        let at = at % body.len();
        if cut { body.truncate(at) } else { body[at] = byte }
        let parsed = parse(StatusCode::OK, &body, &our_key(), &BOTH);
        prop_assert!(!cut || parsed.is_err(), "a truncated response is an error");
    }
}
