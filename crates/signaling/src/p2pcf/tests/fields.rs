//! The fields of a POST: each rule, with its text, in the order of the reference server.

use super::*;

/// A publish in which one field has another value.
fn with(field: &str, value: Value) -> Value {
    let mut body = page("a").publish(&json!([]));
    body[field] = value;
    body
}

/// A publish in which one value of `d` is another one.
fn with_data(at: usize, value: Value) -> Value {
    let mut data = page("a").data();
    data[at] = value;
    with("d", data)
}

/// The text of the refusal; `None` if there was none.
fn refusal(body: &Value) -> Option<String> {
    let Seen { status, text } = Broker::new().post(body);
    assert!(matches!(status, 200 | 400), "{status} {text}");
    (status == 400).then_some(text)
}

#[test]
fn a_body_is_a_json_object() {
    for body in ["", "{", "[]", "null", "\"r\"", "{\"r\":\"\\ud800\"}", &"[".repeat(200)] {
        let text = "Bad JSON".to_owned();
        assert_eq!(Broker::new().ask(post_request(body)), Seen { status: 400, text }, "{body}");
    }
    let seen = Broker::new().ask(post_request(b"{\"r\":\"\xff\"}"));
    assert_eq!(seen.text, "Bad JSON");
}

#[test]
fn a_read_needs_only_a_room() {
    for body in [
        json!({"r": ROOM}),
        json!({"r": ROOM, "k": "", "x": -1, "t": "never", "p": 7}),
        json!({"r": ROOM, "k": 1}),
    ] {
        assert_eq!(Broker::new().listing(&body), json!({"ps": [], "pk": []}), "{body}");
    }
}

#[test]
fn null_counts_as_absent() {
    let mut broker = Broker::new();
    assert_eq!(broker.listing(&json!({"r": ROOM, "d": null})), json!({"ps": [], "pk": []}));
    assert_eq!(broker.listing(&with("p", json!(null))), json!({"ps": [], "pk": []}), "a poll");
    assert_eq!(broker.sessions(), [""; 0]);
}

#[test]
fn each_field_has_a_rule() {
    let (a, b) = (page("a"), page("b"));
    let (longest, crabs) = ("+/".repeat(32), "🦀".repeat(32));
    let package = |to: &str, bytes: usize| {
        let frame = json!([to, a.session, ""]).to_string().len();
        json!([to, a.session, "x".repeat(bytes - frame)])
    };
    let fields = [
        ("r", vec![json!("abcd"), json!("AZaz09_-"), json!("r".repeat(64))]),
        ("x", vec![json!(1_000), json!(1_500.5), json!(86_400_000)]),
        ("t", vec![json!(START_MS - 600_000), json!(START_MS + 600_000), json!(1_736_942_400_000.5)]),
        ("k", vec![json!(longest), json!(crabs)]),
        ("p", vec![json!([]), json!([a.package_to(&b)]), json!([[b.session, a.session]])]),
        ("p", vec![json!([package(&b.session, 16 * 1024), package(&b.session, 16 * 1024)])]),
        ("p", vec![(0..8).map(|n| package(&format!("session-{n}"), 30_000)).collect()]),
    ];
    for (field, values) in fields {
        for value in values {
            assert_eq!(refusal(&with(field, value)), None, "{field}");
        }
    }
    let data = [
        (0, vec![json!(longest)]),
        (1, vec![json!(longest)]),
        (2, vec![json!(true)]),
        (5, vec![json!([]), json!(["2001:db8::1", "192.0.2.1"]), json!(vec!["::1"; 16])]),
    ];
    for (at, values) in data {
        for value in values {
            assert_eq!(refusal(&with_data(at, value)), None, "{at}");
        }
    }
}

#[test]
fn what_breaks_a_rule_has_the_text_of_the_reference_server() {
    let (a, b) = (page("a"), page("b"));
    let assert_refused =
        |text: &str, body: &Value| assert_eq!(refusal(body).as_deref(), Some(text), "{body}");
    for r in ["", "abc", &"r".repeat(65), "abc d", "abcdé", "a/bcd"] {
        assert_refused(&format!("Bad room id{r}"), &with("r", json!(r)));
    }
    assert_refused("Bad room id17000", &with("r", json!(17_000)));
    assert_refused("Bad room idnull", &with("r", json!(null)));
    assert_refused("Bad room idundefined", &json!({}));
    let no_id = || vec![json!(""), json!("🦀".repeat(33)), json!(12), json!(["a"]), json!(null)];
    let no_lifetime = [0.0, -1.0, 999.0, 86_400_001.0, 1e300].map(|x| json!(x));
    let no_time = [START_MS - 600_001, START_MS + 600_001, 0, -START_MS].map(|t| json!(t));
    let six = json!(["s", "c", false, DTLS, 1, []]);
    let seven = json!(["s", "c", false, DTLS, 1, [], 2]);
    let too_much = "x".repeat(16 * 1024);
    let no_packages = vec![
        json!({}),
        json!("p"),
        json!([7]),
        json!([[b.session]]),
        json!([[b.session, 7]]),
        json!([[null, a.session]]),
        json!([["", a.session]]),
        json!([b.package_to(&a)]),
        json!(vec![a.package_to(&b); 65]),
        json!([[b.session, a.session, too_much], [b.session, a.session, too_much]]),
    ];
    for (text, field, values) in [
        ("Bad expiration", "x", [&no_lifetime[..], &[json!("9000"), json!(null)]].concat()),
        ("Bad timestamp", "t", [&no_time[..], &[json!(1e300), json!("now"), json!(null)]].concat()),
        ("Bad context id", "k", no_id()),
        ("Bad data length", "d", vec![seven, json!([]), json!({}), json!("sixsix"), json!(0), json!([six])]),
        ("Bad packages", "p", no_packages),
    ] {
        for value in values {
            assert_refused(text, &with(field, value));
        }
    }
    let no_ips = || vec![json!(["999.1.1.1"]), json!(["x::1"]), json!([1]), json!(vec!["::1"; 17])];
    for (text, at, values) in [
        ("Bad session id", 0, no_id()),
        ("Bad client id", 1, no_id()),
        ("Bad is symmetric", 2, vec![json!(0), json!("true"), json!(null)]),
        ("Bad dtls", 3, vec![json!(&DTLS[1..]), json!("é".repeat(22)), json!(44)]),
        ("Bad base64 encoding", 3, vec![json!("!".repeat(44))]),
        ("Bad joined at timestamp", 4, vec![json!(0), json!("1"), json!(null)]),
        ("Bad reflexive IPs", 5, [no_ips(), vec![json!("::1"), json!({}), json!(null)]].concat()),
    ] {
        for value in values {
            assert_refused(text, &with_data(at, value));
        }
    }
}

#[test]
fn the_first_mistake_in_the_order_of_the_reference_server_counts() {
    let mut body = json!({"r": "", "x": 0, "t": 0, "k": "", "d": ["", "", 0, "", 0, 0], "p": 0});
    let repairs: [(&str, Value, &str); 10] = [
        ("/r", json!(ROOM), "Bad room id"),
        ("/x", json!(120_000), "Bad expiration"),
        ("/t", json!(START_MS), "Bad timestamp"),
        ("/k", json!("context"), "Bad context id"),
        ("/d/0", json!("session-a"), "Bad session id"),
        ("/d/1", json!("client"), "Bad client id"),
        ("/d/2", json!(false), "Bad is symmetric"),
        ("/d/3", json!("=".repeat(44)), "Bad dtls"),
        ("/d/4", json!(1), "Bad joined at timestamp"),
        ("/d/5", json!([]), "Bad reflexive IPs"),
    ];
    for (pointer, value, text) in repairs {
        assert_eq!(refusal(&body).as_deref(), Some(text));
        *body.pointer_mut(pointer).unwrap() = value;
    }
    assert_eq!(refusal(&body).as_deref(), Some("Bad base64 encoding"));
    body["d"][3] = json!(DTLS);
    assert_eq!(refusal(&body).as_deref(), Some("Bad packages"));
    body["p"] = json!([]);
    assert_eq!(refusal(&body), None);
}

#[test]
fn a_delete_needs_a_key_then_valid_fields_with_data() {
    let mut broker = Broker::new();
    let mut refusal = |body: &Value| broker.ask(delete_request(body));
    let bad = |text: &str| Seen { status: 400, text: text.to_owned() };
    for dk in [json!(null), json!(""), json!(7)] {
        assert_eq!(refusal(&json!({"r": "", "dk": dk})), bad("Missing delete key"));
    }
    assert_eq!(refusal(&json!({"r": "", "dk": "key"})), bad("Bad room id"));
    assert_eq!(refusal(&json!({"r": ROOM, "dk": "key"})), bad("Bad data length"));
    let mut body = page("a").delete("key");
    body["x"] = json!(0);
    assert_eq!(refusal(&body), bad("Bad expiration"));
    assert_eq!(refusal(&json!([])), bad("Bad JSON"));
}
