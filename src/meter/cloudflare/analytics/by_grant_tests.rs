use super::*;
use crate::config::AnalyticsConfig;
use crate::meter::cloudflare::analytics::Counted;
use turn_base::http_client::Network;

/// 2025-01-15T12:00:00Z
const NOON: Timestamp = Timestamp::from_millis(1_736_942_400_000);
const HOUR: Span =
    Span { from: NOON, until: Timestamp::from_millis(1_736_946_000_000), age: Duration::from_secs(600) };

fn keys(ids: &[&str]) -> Vec<OwnKey> {
    ids.iter().map(|id| OwnKey::of(id)).collect()
}

fn api(ids: &[&str]) -> CloudflareAnalytics {
    let config = AnalyticsConfig {
        account_id: "account".into(),
        token: "analytics-fixture-token".into(),
        base: "https://api.example".parse().unwrap(),
        lag: Duration::ZERO,
        interval: Duration::from_secs(60),
    };
    let client = HttpClient::new(&Network::DIRECT).unwrap();
    let counted = Counted { billed: BilledDirections::Egress, sfu_app: None };
    CloudflareAnalytics::new(client, &config, keys(ids), counted)
}

fn rows(body: &Value) -> Vec<UsageRow> {
    serde_json::from_value(body.clone()).unwrap()
}

fn row(identifier: impl Into<Value>, egress: u64) -> Value {
    let sum = json!({ "egressBytes": egress, "ingressBytes": 1 });
    json!({ "dimensions": { "customIdentifier": identifier.into() }, "sum": sum })
}

#[test]
fn a_page_is_a_query_with_the_cursor_as_a_variable() {
    let nasty = r#""}) { x } #"#;
    let next = api(&["key"]).page_question(HOUR, 5, Some(nasty));
    let expected = json!({
        "accountTag": "account",
        "keyId": "key",
        "after": "2025-01-15T11:59:59Z",
        "before": "2025-01-15T13:00:00Z",
        "cursor": nasty,
    });
    assert_eq!(next["variables"], expected);
    let query = next["query"].as_str().unwrap();
    assert!(query.contains("limit: 5, orderBy: [customIdentifier_ASC]"), "{query}");
    assert!(query.contains("keyId: $keyId, customIdentifier_gt: $cursor"), "{query}");
    let first = api(&[]).page_question(HOUR, 5, None).to_string();
    assert!(!first.contains("cursor") && !first.contains("keyId"), "{first}");
    let several = api(&["a", "b"]).page_question(HOUR, 5, None);
    assert_eq!(several["variables"]["keyIds"], json!(["a", "b"]));
    assert!(several.to_string().contains("keyId_in: $keyIds"), "{several}");
}

#[test]
fn identifiers_that_are_no_grant_ids_are_added_up() {
    let grant = GrantId::new([7; 16]);
    let others = [row(Value::Null, 1), row("", 2), row(grant.to_string(), 30), row("a user", 400)];
    let page = Value::from([&others[..], &[row(format!("{OWN_IDENTIFIERS}a"), 5_000)]].concat());
    let (mut counts, mut own) = (GrantCounts::default(), Traffic::new(1, 1));
    let last = add_page(rows(&page), None, &mut counts, &mut own);
    // Of all pages.
    assert_eq!((last, own), (Ok(Some(format!("{OWN_IDENTIFIERS}a"))), Traffic::new(2, 5_001)));
    assert_eq!(counts.by_grant, BTreeMap::from([(grant, Traffic::new(1, 30))]));
    assert_eq!(counts.other, Traffic::new(3, 403));
}

#[test]
fn a_page_that_repeats_an_identifier_is_an_error() {
    let [one, two] = [1, 2].map(|byte| GrantId::new([byte; 16]).to_string());
    let page = |identifiers: &[&str]| rows(&identifiers.iter().map(|text| row(*text, 1)).collect());
    let mut counts = GrantCounts::default();
    let cursor = add_page(page(&[&one, &two]), None, &mut counts, &mut Traffic::default()).unwrap();
    assert_eq!(cursor, Some(two.clone()));
    for repeated in [&[&*one][..], &[&two]] {
        assert_eq!(
            add_page(page(repeated), cursor.clone(), &mut counts.clone(), &mut Traffic::default()),
            Err(unusable("its pages overlap"))
        );
    }
    assert_eq!(add_page(Vec::new(), cursor.clone(), &mut counts, &mut Traffic::default()), Ok(cursor));
}

#[test]
fn identifiers_in_another_order_may_leave_one_out() {
    let page = |identifiers: &[&str]| rows(&identifiers.iter().map(|text| row(*text, 1)).collect());
    for (identifiers, cursor, is_last, expected) in [
        (&["B", "C", "a"][..], None, false, true),
        (&["a", "B", "C"], None, false, false), // a collation without case
        (&["C", "B"], None, false, false),
        (&["C", "B"], None, true, true), // nothing comes after it
        (&["C", "B"], Some("A"), true, true),
        (&["b", "A"], Some("a"), true, false), // `A` was to be before `a`
        (&[], Some("a"), true, true),
    ] {
        let is_ordered = is_ordered(&page(identifiers), cursor, is_last);
        assert_eq!(is_ordered, expected, "{identifiers:?} after {cursor:?}");
    }
    let missing = rows(&json!([row("A", 1), row(Value::Null, 1)]));
    assert!(!is_ordered(&missing, None, false), "without an identifier it is the first");
}

#[test]
fn a_row_without_a_whole_number_or_a_dimension_is_an_error() {
    let fraction = json!([{ "dimensions": {}, "sum": { "egressBytes": 0.5, "ingressBytes": 1 } }]);
    assert!(add_page(rows(&fraction), None, &mut GrantCounts::default(), &mut Traffic::default()).is_err());
    assert!(
        serde_json::from_value::<Vec<UsageRow>>(json!([{ "sum": { "egressBytes": 0, "ingressBytes": 1 } }]))
            .is_err()
    );
}
