use super::*;
use crate::config::{Config, Environment};
use serde_json::{Value, json};
use turn_ledger::alert::{AlertKind, BudgetFigures};
use turn_ledger::units::ByteCount;

/// The longest message of Discord; Slack allows more.
const TEXT_MAX: usize = 2_000;

fn alert(kind: AlertKind) -> Alert {
    Alert {
        id: "2025-01-01/budget-used-80/1000000000000".into(),
        kind,
        at: Timestamp::from_millis(1_737_000_000_000),
        what: "80 % is used.".into(),
        budget: BudgetFigures {
            used: ByteCount::new(812_344_000_000),
            limit: ByteCount::new(1_000_000_000_000),
            overshoot_bound: ByteCount::new(23_400_000_001),
            reset: Timestamp::from_millis(1_738_368_000_000),
        },
    }
}

fn key(secret: &str) -> Hmac<Sha256> {
    let settings = [("ALERT_WEBHOOK_URL", "https://hooks.example/hush"), ("ALERT_WEBHOOK_SECRET", secret)];
    let config = Config::from_env(&Environment::from_pairs(settings)).unwrap().alert.unwrap();
    mac(config.signing_key.unwrap().expose_secret())
}

fn headers(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())])
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
fn the_body_suits_slack_discord_and_programs() {
    let alert = alert(AlertKind::Used80);
    let body: Value = serde_json::from_str(&body_of(&alert)).unwrap();
    let text = alert.text();
    assert_eq!(
        body,
        json!({
            "text": text, "content": text, "allowed_mentions": {"parse": []},
            "event": "budget.used_80", "id": "2025-01-01/budget-used-80/1000000000000",
            "at": "2025-01-16T04:00:00.000Z", "severity": "warning", "service": "turn-broker",
            "usedGB": "812.34", "limitGB": 1000, "percentage": 81.23, "overshootBoundGB": "23.41",
            "resetDate": "2025-02-01T00:00:00.000Z"
        })
    );
}

#[test]
fn every_text_fits_in_half_a_message() {
    for kind in AlertKind::ALL {
        let length = alert(kind).text().len();
        assert!(length < TEXT_MAX / 2, "{}: {length}", kind.name());
    }
}

#[test]
fn temporary_errors_are_retried_and_refusals_are_not() {
    let of = |status| judge(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
    for status in [200, 202, 204] {
        assert!(of(status).is_ok(), "{status}");
    }
    for status in [408, 425, 429, 500, 502, 503, 504] {
        assert!(of(status).unwrap_err().is_worth_a_retry(), "{status}");
    }
    for status in [301, 302, 307, 308, 400, 401, 403, 404, 405, 410, 413, 422] {
        assert!(!of(status).unwrap_err().is_worth_a_retry(), "{status}");
    }
}

#[test]
fn retry_after_is_honoured_up_to_five_minutes() {
    let asked = |text| retry_after(&headers(text)).map(|wait| wait.as_secs());
    assert_eq!(asked("0"), Some(0));
    assert_eq!(asked(" 30 "), Some(30));
    assert_eq!(asked("300"), Some(300));
    for long in ["301", "99999999999999999999999"] {
        assert_eq!(asked(long), Some(300), "{long}");
    }
    for other in ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1.5", ""] {
        assert_eq!(asked(other), None, "{other}");
    }
    let error = judge(StatusCode::TOO_MANY_REQUESTS, &headers("7")).unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}
