//! The table of requests: methods, media types, origins and headers. What a browser sees of them is tested in `tests/it/signaling/p2pcf.rs`.

use super::*;

#[test]
fn a_preflight_has_an_origin_a_method_and_headers() {
    let preflight = Request {
        content_type: None,
        preflight_method: Some("POST"),
        preflight_headers: Some("content-type,x-worker-method"),
        ..request("OPTIONS", "")
    };
    let allow_headers = "content-type,x-worker-method".to_owned();
    assert_eq!(Broker::new().answer(&preflight), P2pcfResponse::Preflight { allow_headers });
    for incomplete in [
        Request { origin: Origin::Unnamed, ..preflight.clone() },
        Request { preflight_method: None, ..preflight.clone() },
        Request { preflight_headers: None, ..preflight.clone() },
    ] {
        assert_eq!(Broker::new().answer(&incomplete), P2pcfResponse::Options);
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
    let seen = Broker::new().ask(&Request { content_type: None, ..request("PUT", "{}") });
    assert_eq!(seen.status, 400, "that is checked before the method");
}

#[test]
fn a_delete_is_a_method_or_a_post_with_a_header() {
    let missing = Seen { status: 400, text: "Missing delete key".to_owned() };
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
        assert_eq!(broker.ask(&others(method)).status, 401, "{method}");
    }
    broker.p2pcf.quota = OriginQuota::new(3);
    assert_eq!(["GET", "OPTIONS", "PUT"].map(|method| broker.ask(&others(method)).status), [200, 200, 405]);
    assert_eq!(broker.ask(&others("GET")).status, 429);
    for origin in [Origin::Listed, Origin::Unnamed] {
        assert_eq!(broker.ask(&Request { origin, ..others("GET") }).status, 200);
    }
}
