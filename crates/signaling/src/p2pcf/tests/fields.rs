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

fn assert_accepted(bodies: impl IntoIterator<Item = Value>) {
    for body in bodies {
        assert_eq!(refusal(&body), None, "{body}");
    }
}

fn assert_refused(text: &str, bodies: impl IntoIterator<Item = Value>) {
    for body in bodies {
        assert_eq!(refusal(&body).as_deref(), Some(text), "{body}");
    }
}

#[test]
fn a_body_is_a_json_object() {
    for body in ["", "{", "[]", "null", "\"r\"", "{\"r\":\"\\ud800\"}", &"[".repeat(200)] {
        let text = "Bad JSON".to_owned();
        assert_eq!(Broker::new().ask(&request("POST", body)), Seen { status: 400, text }, "{body}");
    }
    assert_eq!(
        Broker::new().ask(&Request { body: b"{\"r\":\"\xff\"}", ..request("POST", "") }).text,
        "Bad JSON"
    );
}

#[test]
fn a_room_id_has_4_to_64_plain_characters() {
    assert_accepted(["abcd", "AZaz09_-", &"r".repeat(64)].map(|r| with("r", json!(r))));
    for r in ["", "abc", &"r".repeat(65), "abc d", "abcdé", "a/bcd"] {
        assert_refused(&format!("Bad room id{r}"), [with("r", json!(r))]);
    }
    assert_refused("Bad room id17000", [with("r", json!(17_000))]);
    assert_refused("Bad room idnull", [with("r", json!(null))]);
    assert_refused("Bad room idundefined", [json!({})]);
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
fn a_lifetime_has_1_second_to_1_day() {
    assert_accepted([json!(1_000), json!(1_500.5), json!(86_400_000)].map(|x| with("x", x)));
    let bad = [json!(0), json!(-1), json!(999), json!(86_400_001), json!(1e300), json!("9000"), json!(null)];
    assert_refused("Bad expiration", bad.map(|x| with("x", x)));
}

#[test]
fn a_pages_clock_is_at_most_ten_minutes_off() {
    let ms = START_MS;
    assert_accepted(
        [json!(ms - 600_000), json!(ms + 600_000), json!(1_736_942_400_000.5)].map(|t| with("t", t)),
    );
    let bad = [
        json!(ms - 600_001),
        json!(ms + 600_001),
        json!(0),
        json!(-ms),
        json!(1e300),
        json!("now"),
        json!(null),
    ];
    assert_refused("Bad timestamp", bad.map(|t| with("t", t)));
}

#[test]
fn ids_have_1_to_64_code_units() {
    let (longest, too_long) = ("+/".repeat(32), "🦀".repeat(33));
    let bad = || [json!(""), json!(too_long), json!(12), json!(["a"]), json!(null)];
    assert_accepted([with("k", json!(longest)), with("k", json!("🦀".repeat(32)))]);
    assert_refused("Bad context id", bad().map(|k| with("k", k)));
    assert_accepted([with_data(0, json!(longest)), with_data(1, json!(longest))]);
    assert_refused("Bad session id", bad().map(|id| with_data(0, id)));
    assert_refused("Bad client id", bad().map(|id| with_data(1, id)));
}

#[test]
fn data_has_six_values() {
    let five = json!(["s", "c", false, DTLS, 1]);
    let seven = json!(["s", "c", false, DTLS, 1, [], 2]);
    assert_refused(
        "Bad data length",
        [five, seven, json!([]), json!({}), json!("sixsix"), json!(0)].map(|d| with("d", d)),
    );
}

#[test]
fn the_other_values_of_the_data_have_their_types() {
    assert_accepted([json!(true)].map(|value| with_data(2, value)));
    assert_refused(
        "Bad is symmetric",
        [json!(0), json!("true"), json!(null)].map(|value| with_data(2, value)),
    );
    assert_refused(
        "Bad dtls",
        [json!(&DTLS[1..]), json!("é".repeat(22)), json!(44)].map(|value| with_data(3, value)),
    );
    assert_refused("Bad base64 encoding", [json!("!".repeat(44))].map(|value| with_data(3, value)));
    assert_refused(
        "Bad joined at timestamp",
        [json!(0), json!("1"), json!(null)].map(|value| with_data(4, value)),
    );
    assert_accepted(
        [json!([]), json!(["2001:db8::1", "192.0.2.1"]), json!(vec!["::1"; 16])]
            .map(|value| with_data(5, value)),
    );
    let bad = [
        json!(["999.1.1.1"]),
        json!(["x::1"]),
        json!([1]),
        json!(vec!["::1"; 17]),
        json!("::1"),
        json!({}),
        json!(null),
    ];
    assert_refused("Bad reflexive IPs", bad.map(|value| with_data(5, value)));
}

#[test]
fn packages_name_their_receiver_and_their_sender() {
    let (a, b) = (page("a"), page("b"));
    let package = a.package_to(&b);
    assert_accepted([json!([]), json!([package]), json!([[b.session, a.session]])].map(|p| with("p", p)));
    let bad = [
        json!({}),
        json!("p"),
        json!([7]),
        json!([[b.session]]),
        json!([[b.session, 7]]),
        json!([[null, a.session]]),
        json!([["", a.session]]),
        json!([b.package_to(&a)]),
        json!(vec![package.clone(); 65]),
    ];
    assert_refused("Bad packages", bad.map(|p| with("p", p)));
}

#[test]
fn one_page_gets_at_most_32_kib_of_packages_from_another() {
    let (a, b) = (page("a"), page("b"));
    let frame = json!([b.session, a.session, ""]).to_string().len();
    let package = |bytes: usize| json!([b.session, a.session, "x".repeat(bytes - frame)]);
    assert_accepted([json!([package(16 * 1024), package(16 * 1024)])].map(|p| with("p", p)));
    assert_refused(
        "Bad packages",
        [json!([package(16 * 1024), package(16 * 1024 + 1)])].map(|p| with("p", p)),
    );
    let to_others = (0..8).map(|n| json!([format!("session-{n}"), a.session, "x".repeat(30_000)]));
    assert_accepted([with("p", Value::Array(to_others.collect()))]);
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
        assert_refused(text, [body.clone()]);
        *body.pointer_mut(pointer).unwrap() = value;
    }
    assert_refused("Bad base64 encoding", [body.clone()]);
    body["d"][3] = json!(DTLS);
    assert_refused("Bad packages", [body.clone()]);
    body["p"] = json!([]);
    assert_accepted([body]);
}

#[test]
fn a_delete_needs_a_key_then_valid_fields_with_data() {
    let mut broker = Broker::new();
    let mut refusal = |body: &Value| broker.ask(&request("DELETE", &body.to_string()));
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
