use super::*;
use crate::alert::{AlertCost, AlertKind, BudgetFigures, Forecast, SpenderNow, Spending, TopSpender};
use crate::config::{Config, Environment};
use crate::rate::PresentRate;
use serde_json::{Value, json};
use turn_ledger::{BitRate, Block, ByteCount, Money, SpenderKind};

/// The body that docs/REFERENCE.md shows as an example.
const EXAMPLE: &str = include_str!("webhook_example.json");

/// 95 % of 1,000 GB.
fn alert() -> Alert {
    let gb = |gb: u64| ByteCount::new(gb * 1_000_000_000);
    let money = |units| Money::from_units(units).unwrap();
    let top = [("auth0|507f1f77", 431), ("ann@example.com", 88), ("bob", 13)];
    let top = top.map(|(key, bytes)| TopSpender {
        key: Some(key.into()),
        bytes: gb(bytes),
        block: None,
        usable: 1,
    });
    let cost = AlertCost {
        currency: "USD".into(),
        so_far: money(0.0),
        forecast: Some(Forecast { used: gb(1_840), cost: money(42.0) }),
    };
    Alert {
        id: "2025-01-01/budget-used-95/1000000000000".into(),
        kind: AlertKind::Used(95),
        at: Timestamp::from_millis(1_737_000_000_000),
        what: "95 % of the bandwidth limit is used: 951.20 of 1000 GB, and the period ends at 2025-02-01T00:00Z."
            .into(),
        callers: "Credentials are still issued; at the limit, new callers get none for a metered relay.".into(),
        budget: BudgetFigures {
            used: ByteCount::new(951_200_000_000),
            limit: gb(1_000),
            overshoot_bound: ByteCount::new(23_400_000_001),
            uncut_overshoot: ByteCount::new(23_400_000_001),
            likely_overshoot: Some(ByteCount::new(1_204_000_000)),
            reset: Timestamp::from_millis(1_738_368_000_000),
        },
        spending: Spending {
            by: Some(SpenderKind::User),
            top: top.into(),
            now: Some(SpenderNow {
                by: SpenderKind::User,
                spender: TopSpender { key: Some("bob".into()), bytes: ByteCount::new(1_280_000_000), block: None, usable: 1 },
                all: ByteCount::new(1_545_000_000),
                minutes: 5,
            counted_until: None,
            }),
            cost: Some(cost),
        },
        ends: None,
        rate: Some(PresentRate {
            rate: BitRate::new(41_200_000),
            until: Timestamp::from_millis(1_737_000_000_000),
            limit_at: Some(Timestamp::from_millis(1_737_009_475_000)),
        }),
    }
}

fn body(alert: &Alert, public_url: Option<&str>) -> Value {
    let public_url = public_url.map(|text| PublicUrl::parse(text).unwrap());
    body::of(alert, public_url.as_ref(), Form::Common)
}

#[test]
fn each_chat_gets_the_form_that_it_reads() {
    let (alert, text) = (alert(), alert().text(None));
    let of = |path| body::of(&alert, None, Form::of(path));
    assert_eq!(of("/v1/spaces/AAAA/messages"), json!({ "text": text }));
    for path in [
        "/workflows/0f/triggers/manual/paths/invoke",
        "/powerautomate/automations/direct/workflows/0f/triggers/manual/paths/invoke",
    ] {
        let card = &of(path)["attachments"][0];
        assert_eq!(card["contentType"], "application/vnd.microsoft.card.adaptive", "{path}");
        assert_eq!(card["content"]["body"][0]["text"], text, "{path}");
    }
    assert_eq!(of("/services/T0/B0/x")["event"], "budget.used_95");
}

fn key(secret: &str) -> Hmac<Sha256> {
    let settings = [("ALERT_WEBHOOK_URL", "https://hooks.example/hush"), ("ALERT_WEBHOOK_SECRET", secret)];
    let config = Config::from_env(&Environment::from_pairs(settings)).unwrap().alert.unwrap();
    mac(config.signing_key.unwrap().expose_secret())
}

#[test]
fn the_signature_equals_that_of_the_reference_libraries_and_openssl() {
    // KEY=$(printf MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw | base64 -d | xxd -p)
    // printf '%s' 'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}' |
    //   openssl dgst -sha256 -mac HMAC -macopt hexkey:$KEY -binary | base64
    let at = Timestamp::from_millis(1_614_265_330_999);
    let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let made = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, r#"{"test": 2432232314}"#);
    assert_eq!(made, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn the_body_is_the_example() {
    let made = body(&alert(), Some("https://turn.example.com"));
    let shown: Value = serde_json::from_str(EXAMPLE).unwrap();
    assert_eq!(shown, made, "the example should be\n{made:#}");
}

#[test]
fn without_a_url_spenders_and_cost_the_fields_are_null_or_empty() {
    let made = body(&Alert { spending: Spending::default(), callers: String::new(), ..alert() }, None);
    for (name, expected) in [
        ("link", json!(null)),
        ("spendersBy", json!(null)),
        ("spenders", json!([])),
        ("spenderNow", json!(null)),
        ("cost", json!(null)),
    ] {
        assert_eq!(made[name], expected, "{name}");
    }
}

#[test]
fn the_largest_body_is_small() {
    let spender = TopSpender {
        key: Some("\u{1d4d0}".repeat(255)),
        bytes: ByteCount::new(u64::MAX),
        block: Some(Block::default()),
        usable: 1,
    };
    let mut alert = alert();
    alert.spending.top = vec![spender; 3];
    let url = format!("https://turn.example.com/{}/", "p".repeat(174));
    assert!(body(&alert, Some(&url)).to_string().len() < 8_000);
}

#[test]
fn no_remedy_promises_a_retry_because_doctor_makes_none() {
    // `doctor --send-test-alert` shows it too, and sends once.
    let temporary = CallError::of_status(503);
    assert!(temporary.is_temporary() && !remedy(&temporary).contains("retries"));
}
