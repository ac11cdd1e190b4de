//! Reports as Orange's page sends them: kept for a week, and as cards in a chat.

use std::path::Path;

use reqwest::StatusCode;
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use crate::support::fake_webhook::{FakeWebhook, Reply};
use crate::support::test_broker::Answer;
use crate::support::{StateDir, TestBroker, client_builder, eventually, finished};

const REPORTS: (&str, &str) = ("SIGNALING", "reports");

/// A report in a form with parts, as `FormData` sends it.
fn multipart(fields: &[(&str, &str)]) -> (String, String) {
    let parts = fields.iter().map(|(name, value)| {
        format!("--xx\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    });
    ("multipart/form-data; boundary=xx".to_owned(), parts.collect::<String>() + "--xx--\r\n")
}

fn urlencoded(fields: &[(&str, &str)]) -> (String, String) {
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    ("application/x-www-form-urlencoded".to_owned(), form)
}

fn info() -> String {
    let history = json!({ "apiHistory": [{ "sdp": "v=0" }], "userSessions": ["s1"] });
    let url = "https://meet.example:8443/room-1?x=1";
    json!({ "roomName": "room-1", "identity": { "name": "ann <b>" }, "roomHistory": history, "url": url })
        .to_string()
}

/// A section of a card with a text.
fn text(header: &str, text: &str) -> Value {
    json!({ "header": header, "widgets": [{ "textParagraph": { "text": text } }] })
}

/// A section of a card with a button.
fn button(header: &str, label: &str, link: &str) -> Value {
    let button = json!({ "text": label, "onClick": { "openLink": { "url": link } } });
    json!({ "header": header, "widgets": [{ "buttonList": { "buttons": [button] } }] })
}

fn card(id: &str, title: &str, subtitle: &str, sections: &[Value]) -> Value {
    let card = json!({ "header": { "title": title, "subtitle": subtitle }, "sections": sections });
    json!({ "cardsV2": [{ "cardId": id, "card": card }] })
}

async fn post(broker: &TestBroker, path: &str, form: (String, String)) -> Answer {
    post_from(broker, "192.0.2.1", path, form).await
}

/// A POST that the proxy of an address sends.
async fn post_from(broker: &TestBroker, address: &str, path: &str, (kind, body): (String, String)) -> Answer {
    let client = client_builder().redirect(Policy::none()).user_agent("Firefox").build().unwrap();
    let url = format!("http://{}{path}", broker.address);
    let request = client.post(url).header("content-type", kind).header("x-forwarded-for", address);
    Answer::of(request.body(body)).await
}

async fn report_bug(broker: &TestBroker) -> Answer {
    report_bug_from(broker, "192.0.2.1").await
}

async fn report_bug_from(broker: &TestBroker, address: &str) -> Answer {
    let form = multipart(&[("info", &info()), ("description", "no sound")]);
    post_from(broker, address, "/api/bugReport", form).await
}

/// The cards that a chat has received.
fn cards(chat: &FakeWebhook) -> Vec<Value> {
    chat.history().iter().map(|received| serde_json::from_slice(&received.body).unwrap()).collect()
}

/// The files of a directory, by name, with their content.
fn files(directory: &Path) -> Vec<(String, String)> {
    let read = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read_to_string(entry.path()).unwrap())
    };
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| read(entry.unwrap())).collect();
    files.sort_unstable();
    files
}

#[tokio::test]
async fn a_bug_report_becomes_a_card_whose_link_shows_what_the_page_saw() {
    let (chat, directory) = (FakeWebhook::start(&[Reply::Status(503)]).await, StateDir::new());
    let url = chat.url();
    let settings = [
        REPORTS,
        ("REPORTS_DIR", directory.path()),
        ("FEEDBACK_URL", &url),
        ("PUBLIC_URL", "https://turn.example"),
    ];
    let broker = TestBroker::start(&settings).await;
    for form in [multipart, urlencoded] {
        let form = form(&[("info", &info()), ("description", "no <b>sound</b> & more")]);
        let answer = post(&broker, "/api/bugReport", form).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({ "status": "ok" })));
    }
    eventually("both cards", async || chat.history().len() == 3).await;
    let cards = cards(&chat);
    assert_eq!(cards[0], cards[1], "sent again after a 503");
    let sections = cards[0]["cardsV2"][0]["card"]["sections"].as_array().unwrap();
    let link = &sections[3]["widgets"][0]["buttonList"]["buttons"][0]["onClick"]["openLink"]["url"];
    let link = link.as_str().unwrap();
    let expected = [
        text("Description", "no &lt;b&gt;sound&lt;/b&gt; &amp; more"),
        text("User Agent", "Firefox"),
        button("Room", "room-1", "https://meet.example:8443/room-1?x=1"),
        button("Debug info", "Room history", link),
    ];
    let (title, subtitle) = ("Feedback from ann <b>", "Environment: meet.example");
    assert_eq!(cards[0], card("orange-meets-feedback-card", title, subtitle, &expected));
    let path = link.strip_prefix("https://turn.example").unwrap();

    let shown = broker.get(path).await;
    assert_eq!(shown.header("content-type"), Some("application/json"));
    assert_eq!(shown.header("cache-control"), Some("no-store"));
    assert_eq!(shown.json(), json!({ "apiHistory": [{ "sdp": "v=0" }], "userSessions": ["s1"] }));
    let delivered = broker.metric("turn_broker_feedback_cards_total{outcome=\"delivered\"}").await;
    assert_eq!(delivered, Some(2));
    broker.advance(7 * 86_400);
    assert_eq!(broker.get(path).await.status, 404);
}

#[tokio::test]
async fn a_dead_track_becomes_a_card() {
    let chat = FakeWebhook::start(&[]).await;
    let broker = TestBroker::start(&[REPORTS, ("FEEDBACK_URL", &chat.url())]).await;
    let (link, time) = ("https://trace.example/1", "Time: 2025-01-15T12:00:00.000Z");
    let track = json!({ "pullSessionTrace": link, "pushedSessionTrace": "", "trackId": "s/t", "pullingUser": "ann",
        "pushingUser": "", "meetingId": "m1" });
    let as_text = |body: String| ("text/plain;charset=UTF-8".to_owned(), body);
    let answer = post(&broker, "/api/deadTrack", as_text(track.to_string())).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({ "status": "ok" })));
    eventually("the card", async || !chat.history().is_empty()).await;
    let sections =
        [text("Track ID", "s/t"), button("Trace links", "ann's pull trace", link), text("Meeting", "m1")];
    let title = "Dead track: ann had an issue pulling from somebody";
    assert_eq!(cards(&chat), [card("orange-meets-dead-track-card", title, time, &sections)]);
    let empty = r#"{"pullSessionTrace":"","pushedSessionTrace":"","trackId":""}"#;
    for bad in ["{}", empty, r#"["","","t",null,null,null]"#] {
        let answer = post(&broker, "/api/deadTrack", as_text(bad.to_owned())).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST".to_owned()), "{bad}");
    }
    let long = post(&broker, "/api/deadTrack", as_text(" ".repeat(64 * 1024 + 1))).await;
    assert_eq!(long.error(), (413, "PAYLOAD_TOO_LARGE".to_owned()));
}

#[tokio::test]
async fn the_quality_of_a_call_and_a_refresh_are_notes() {
    let directory = StateDir::new();
    let broker = TestBroker::start(&[REPORTS, ("REPORTS_DIR", directory.path())]).await;
    let form = urlencoded(&[("experiencedIssues", "true"), ("meetingId", "m1")]);
    let answer = post(&broker, "/call-quality-feedback", form).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::FOUND, Some("/")));
    let empty = || (String::new(), String::new());
    assert_eq!(post(&broker, "/api/reportRefresh", empty()).await.status, 201);
    let quality =
        r#"{"at":"2025-01-15T12:00:00.000Z","experiencedIssues":1,"meetingId":"m1","version":"0.1.0"}"#;
    let refresh = r#"{"at":"2025-01-15T12:00:00.000Z"}"#;
    let expected = [("quality-2025-01-15.jsonl", quality), ("refresh-2025-01-15.jsonl", refresh)];
    assert_eq!(
        files(Path::new(directory.path())),
        expected.map(|(name, line)| (name.to_owned(), format!("{line}\n")))
    );
    for bad in [&[("meetingId", "m1")][..], &[("experiencedIssues", "true"), ("meetingId", "")]] {
        let answer = post(&broker, "/call-quality-feedback", urlencoded(bad)).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST".to_owned()), "{bad:?}");
    }
}

#[tokio::test]
async fn a_directory_that_fails_loses_notes_and_refuses_bug_reports() {
    let directory = StateDir::new();
    let inside = Path::new(directory.path()).join("reports");
    let broker = TestBroker::start(&[REPORTS, ("REPORTS_DIR", inside.to_str().unwrap())]).await;
    std::fs::remove_dir_all(&inside).unwrap();
    assert_eq!(report_bug(&broker).await.error(), (500, "INTERNAL".to_owned()));
    let form = urlencoded(&[("experiencedIssues", "false"), ("meetingId", "m1")]);
    assert_eq!(post(&broker, "/call-quality-feedback", form).await.status, 302);
    assert_eq!(post(&broker, "/api/reportRefresh", urlencoded(&[])).await.status, 200);
}

#[tokio::test]
async fn without_a_place_for_reports_there_are_no_routes_for_them() {
    let off = TestBroker::start(&[]).await;
    let paths = ["/api/bugReport", "/api/deadTrack", "/call-quality-feedback", "/api/reportRefresh"];
    for path in paths {
        assert_eq!(post(&off, path, urlencoded(&[])).await.status, 404, "{path}");
    }
    let nowhere = TestBroker::start(&[REPORTS]).await;
    assert_eq!(report_bug(&nowhere).await.status, 404);
    assert_eq!(post(&nowhere, "/api/deadTrack", urlencoded(&[])).await.status, 404);
    assert_eq!(nowhere.get("/api/debugInfo?id=x").await.status, 404);
    let form = urlencoded(&[("experiencedIssues", "false"), ("meetingId", "m1")]);
    assert_eq!(post(&nowhere, "/call-quality-feedback", form).await.status, 302);
    assert_eq!(post(&nowhere, "/api/reportRefresh", urlencoded(&[])).await.status, 200);
}

#[tokio::test]
async fn a_client_sends_ten_reports_and_then_one_a_minute_and_another_method_uses_up_none() {
    let broker = TestBroker::start(&[REPORTS]).await;
    assert_eq!(broker.get("/api/reportRefresh").await.status, 405);
    let refresh = async || post(&broker, "/api/reportRefresh", urlencoded(&[])).await;
    for _ in 0..10 {
        assert_eq!(refresh().await.status, 200);
    }
    for (passes, wait) in [(0, "60"), (59, "1")] {
        broker.advance(passes);
        let refused = refresh().await;
        assert_eq!(refused.error(), (429, "RATE_LIMITED".to_owned()));
        assert_eq!(refused.header("retry-after"), Some(wait));
    }
    broker.advance(1);
    assert_eq!(refresh().await.status, 200);
}

#[tokio::test]
async fn a_report_is_a_form_of_at_most_one_mebibyte() {
    let directory = StateDir::new();
    let broker = TestBroker::start(&[REPORTS, ("REPORTS_DIR", directory.path())]).await;
    let fields =
        |pad: usize| [("info", info()), ("description", "no sound".to_owned()), ("pad", "x".repeat(pad))];
    let form = |pad: usize| multipart(&fields(pad).each_ref().map(|(name, value)| (*name, value.as_str())));
    let most = 1_048_576 - form(0).1.len();
    assert_eq!(post(&broker, "/api/bugReport", form(most)).await.status, 200);
    assert_eq!(post(&broker, "/api/bugReport", form(most + 1)).await.error().0, 413);
    let with = |name: &str, value: Value| {
        let mut info: Value = serde_json::from_str(&info()).unwrap();
        info[name] = value;
        urlencoded(&[("info", &info.to_string()), ("description", "no sound")])
    };
    for (kind, body) in [
        ("text/plain".to_owned(), "info=1".to_owned()),
        ("multipart/form-data".to_owned(), "x".to_owned()),
        ("multipart/form-data; boundary=xx".to_owned(), "--xx".to_owned()),
        multipart(&[("info", &info())]),
        with("roomName", "".into()),
        with("url", "javascript:alert(1)".into()),
        with("url", "//meet.example".into()),
    ] {
        let answer = post(&broker, "/api/bugReport", (kind, body.clone())).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST".to_owned()), "{body}");
    }
    broker.advance(600);
    for name in ["identity", "roomHistory"] {
        assert_eq!(post(&broker, "/api/bugReport", with(name, Value::Null)).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn own_pages_send_reports_and_everybody_with_the_uuid_reads_a_kept_one() {
    let directory = StateDir::new();
    let settings = [REPORTS, ("REPORTS_DIR", directory.path()), ("CLIENT_URL", "https://app.example")];
    let broker = TestBroker::start(&settings).await;
    let (kind, body) = multipart(&[("info", &info()), ("description", "no sound")]);
    let from = async |origin: &str| {
        let request = broker.request(reqwest::Method::POST, "/api/bugReport").header("content-type", &kind);
        Answer::of(request.header("origin", origin).header("user-agent", "Firefox").body(body.clone())).await
    };
    assert_eq!(from("https://evil.example").await.status, 403);
    let own = from("https://app.example").await;
    let allowed = own.header("access-control-allow-origin");
    assert_eq!((own.status.as_u16(), allowed), (200, Some("https://app.example")));
    let nobody = broker.request(reqwest::Method::POST, "/api/bugReport").header("content-type", &kind);
    let nobody = Answer::of(nobody.header("user-agent", "").body(body.clone())).await;
    assert_eq!(nobody.error(), (400, "INVALID_REQUEST".to_owned()));

    let (name, _) = files(Path::new(directory.path())).remove(0);
    let path = format!("/api/debugInfo?id={}", name.strip_suffix(".json").unwrap());
    let opened = broker.request(reqwest::Method::GET, &path).header("sec-fetch-site", "cross-site");
    let opened = Answer::of(opened.header("sec-fetch-mode", "navigate")).await;
    assert_eq!((opened.status.as_u16(), opened.header("access-control-allow-origin")), (200, None));
    assert_eq!(broker.get("/api/debugInfo").await.error(), (400, "INVALID_REQUEST".to_owned()));
    let unknown = "/api/debugInfo?id=00000000-0000-4000-8000-000000000000";
    for path in [unknown, "/api/debugInfo?id=..%2Fledger.redb"] {
        assert_eq!(broker.get(path).await.error(), (404, "NOT_FOUND".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn while_a_chat_does_not_answer_80_cards_wait_and_4_of_one_address() {
    let chat = FakeWebhook::start(&[Reply::Hang; 8]).await;
    let broker = TestBroker::start(&[REPORTS, ("FEEDBACK_URL", &chat.url())]).await;
    assert_eq!(report_bug(&broker).await.status, 200);
    eventually("the first card", async || !chat.history().is_empty()).await;
    for n in 0..64 {
        let address = format!("2001:db8:{}:{}::1", n / 16, n / 4);
        assert_eq!(report_bug_from(&broker, &address).await.status, 200);
    }
    assert_eq!(report_bug_from(&broker, "2001:db8:1:99::1").await.error(), (429, "RATE_LIMITED".to_owned()));
    for n in 0..16 {
        let address = format!("192.0.2.{}", n / 4);
        assert_eq!(report_bug_from(&broker, &address).await.status, 200, "four /48s leave room for others");
    }
    let full = report_bug_from(&broker, "192.0.2.99").await;
    assert_eq!(full.error(), (503, "OVERLOADED".to_owned()));
    let share_is_full = report_bug(&broker).await;
    assert_eq!(share_is_full.error(), (429, "RATE_LIMITED".to_owned()));
    assert_eq!(share_is_full.header("retry-after"), Some("60"));
    let dropped = broker.metric("turn_broker_feedback_cards_total{outcome=\"dropped\"}").await;
    assert_eq!(dropped, Some(3));
}

#[tokio::test]
async fn a_chat_that_refuses_a_card_is_not_asked_again() {
    let chat = FakeWebhook::start(&[Reply::Status(404), Reply::Redirect]).await;
    let broker = TestBroker::start(&[REPORTS, ("FEEDBACK_URL", &chat.url())]).await;
    for sent in 1..=3 {
        assert_eq!(report_bug(&broker).await.status, 200);
        eventually("the card", async || chat.history().len() == sent).await;
    }
    let outcome = async |name: &str| {
        let line = format!("turn_broker_feedback_cards_total{{outcome=\"{name}\"}}");
        broker.metric(&line).await
    };
    eventually("all outcomes", async || outcome("delivered").await == Some(1)).await;
    assert_eq!(outcome("failed").await, Some(2));
    finished("the shutdown", broker.finish()).await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_refuses_the_start() {
    let directory = StateDir::new();
    let file = Path::new(directory.path()).join("file");
    std::fs::write(&file, "").unwrap();
    let inside = file.join("reports");
    let error = TestBroker::build_error(&[REPORTS, ("REPORTS_DIR", inside.to_str().unwrap())]);
    assert!(error.starts_with("REPORTS_DIR: "), "{error}");
}

#[tokio::test]
async fn of_the_bug_reports_of_an_address_16_are_kept_and_the_17th_is_a_card_without_a_link() {
    let (chat, directory, other) = (FakeWebhook::start(&[]).await, StateDir::new(), StateDir::new());
    let url = chat.url();
    let [with_chat, without] = [
        &[("REPORTS_DIR", directory.path()), ("FEEDBACK_URL", &url), ("PUBLIC_URL", "https://turn.example")]
            [..],
        &[("REPORTS_DIR", other.path())],
    ]
    .map(|places| [&[REPORTS], places].concat());
    let (broker, alone) = (TestBroker::start(&with_chat).await, TestBroker::start(&without).await);
    for n in 1..=17 {
        assert_eq!(report_bug(&broker).await.status, 200, "{n}");
        eventually("the card", async || chat.history().len() == n).await;
        let without_chat = report_bug(&alone).await;
        assert_eq!(without_chat.status, if n == 17 { 429 } else { 200 }, "{n}");
        assert_eq!(
            without_chat.header("retry-after"),
            (n == 17).then_some("36840"),
            "a sixteenth of a week later"
        );
        broker.advance(60);
        alone.advance(60);
    }
    let kept = |directory: &StateDir| files(directory.path().as_ref()).len();
    assert_eq!((kept(&directory), kept(&other)), (16, 16));
    broker.advance(7 * 86_400 / 16);
    assert_eq!(report_bug(&broker).await.status, 200);
    eventually("the card", async || chat.history().len() == 18).await;
    assert_eq!(kept(&directory), 17);
    let sections = |card: &Value| card["cardsV2"][0]["card"]["sections"].as_array().unwrap().len();
    assert_eq!(cards(&chat).iter().map(sections).collect::<Vec<_>>()[15..], [4, 3, 4]);
}
