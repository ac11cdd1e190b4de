//! The table of requests: methods, media types, origins and headers.

use super::*;

#[test]
fn a_get_has_a_greeting() {
    for method in ["GET", "HEAD"] {
        let answer = Broker::new().answer(&Request { content_type: None, ..request(method, "") });
        assert_eq!((answer.status(), answer.content_type()), (200, Some("text/html; charset=utf-8")));
        assert!(answer.into_body().as_str().contains("Hello from P2PCF"));
    }
}

#[test]
fn a_preflight_gets_the_headers_that_it_asks_for() {
    let preflight = Request {
        content_type: None,
        preflight_method: Some("POST"),
        preflight_headers: Some("content-type,x-worker-method"),
        ..request("OPTIONS", "")
    };
    let answer = Broker::new().answer(&preflight);
    assert_eq!(answer.header(), Some(("access-control-allow-headers", "content-type,x-worker-method")));
    assert_eq!((answer.status(), answer.content_type()), (200, None));
    assert!(answer.into_body().is_empty());
    for incomplete in [
        Request { origin: Origin::Unnamed, ..preflight.clone() },
        Request { preflight_method: None, ..preflight.clone() },
        Request { preflight_headers: None, ..preflight.clone() },
    ] {
        let answer = Broker::new().answer(&incomplete);
        assert_eq!(answer, P2pcfResponse::Options);
        assert_eq!((answer.status(), answer.header()), (200, Some(("allow", "GET, POST, DELETE, OPTIONS"))));
    }
}

#[test]
fn only_the_media_type_must_be_json() {
    let body = json!({"r": ROOM}).to_string();
    for (content_type, status) in [
        (Some("application/json"), 200),
        (Some("application/json "), 200),
        (Some("Application/JSON; charset=utf-8"), 200),
        (Some("text/plain"), 400),
        (Some("application/jsonx"), 400),
        (Some(""), 400),
        (None, 400),
    ] {
        let seen = Broker::new().ask(&Request { content_type, ..request("POST", &body) });
        assert_eq!(seen.status, status, "{content_type:?}");
        if status == 400 {
            assert_eq!(seen.text, "Expected content-type application/json");
        }
    }
}

#[test]
fn other_methods_are_refused_after_the_media_type() {
    let put = request("PUT", "{}");
    let answer = Broker::new().answer(&put);
    assert_eq!((answer.status(), answer.header()), (405, Some(("allow", "GET, POST, DELETE, OPTIONS"))));
    assert_eq!(answer.into_body().as_str(), "Method not allowed");
    let seen = Broker::new().ask(&Request { content_type: None, ..put });
    assert_eq!(seen.status, 400);
}

#[test]
fn a_delete_is_a_method_or_a_post_with_a_header() {
    let text = "Missing delete key".to_owned();
    let missing = Seen { status: 400, text };
    assert_eq!(Broker::new().ask(&request("DELETE", "{}")), missing);
    let post = request("POST", "{}");
    assert_eq!(Broker::new().ask(&Request { worker_method: Some("DELETE"), ..post.clone() }), missing);
    let seen = Broker::new().ask(&Request { worker_method: Some("delete"), ..post });
    assert_eq!(seen.text, "Bad room idundefined", "an ordinary POST");
}

#[test]
fn origins_that_are_not_listed_are_refused_or_counted_before_anything_else() {
    let mut broker = Broker::new();
    let others = |method| Request { origin: Origin::Other("https://other.example"), ..request(method, "") };
    for method in ["GET", "OPTIONS", "POST", "PUT"] {
        let text = "Unauthorized".to_owned();
        assert_eq!(broker.ask(&others(method)), Seen { status: 401, text }, "{method}");
    }
    broker.p2pcf.quota = OriginQuota::new(3);
    assert_eq!(["GET", "OPTIONS", "PUT"].map(|method| broker.ask(&others(method)).status), [200, 200, 405]);
    let text = "Over quota".to_owned();
    assert_eq!(broker.ask(&others("GET")), Seen { status: 429, text });
    assert_eq!(broker.dropped, [Dropped::Quota]);
    for origin in [Origin::Listed, Origin::Unnamed] {
        assert_eq!(broker.ask(&Request { origin, ..others("GET") }).status, 200);
    }
}

#[test]
fn refusals_are_text_and_results_are_json() {
    let mut broker = Broker::new();
    let refused = broker.answer(&request("POST", "{}"));
    assert_eq!(refused.content_type(), Some("text/plain; charset=utf-8"));
    let listing = broker.answer(&request("POST", &json!({"r": ROOM}).to_string()));
    assert_eq!(listing.content_type(), Some("application/json"));
    assert_eq!(P2pcfResponse::Deleted.content_type(), Some("application/json"));
}

#[test]
fn nothing_that_could_reach_the_log_has_a_context_id_or_a_delete_key() {
    let mut broker = Broker::new();
    let page = page("secret");
    let body = page.publish(&json!([])).to_string();
    let answer = broker.answer(&request("POST", &body));
    let shown = format!("{answer:?} {:?} {:?}", broker.p2pcf, broker.calls);
    let key = broker.p2pcf.keys.key(ROOM, &page.context);
    assert!(!shown.contains(&page.context) && !shown.contains(&key), "{shown}");
}
