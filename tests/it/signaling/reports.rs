//! Reports as Orange's page sends them: lines of a file, and posted.

use reqwest::redirect::Policy;

use crate::support::prelude::*;

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
    post(broker, "/api/bugReport", multipart(&[("info", &info()), ("description", "no sound")])).await
}

fn lines(directory: &StateDir) -> Vec<Value> {
    let text = std::fs::read_to_string(Path::new(directory.path()).join("reports.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn outcome(broker: &TestBroker, name: &str) -> Option<u64> {
    broker.metric(&format!("turn_broker_page_reports_total{{outcome=\"{name}\"}}")).await
}

#[tokio::test]
async fn a_bug_report_is_a_line_that_is_posted_and_found_by_its_id() {
    let (receiver, directory) = (FakeWebhook::start(&[]).await, StateDir::new());
    let settings = [REPORTS, ("REPORTS_DIR", directory.path()), ("FEEDBACK_URL", &receiver.url())];
    let broker = TestBroker::start(&settings).await;
    // As the page may write it.
    let info = info().replace(',', ",\r\n ");
    for form in [multipart, urlencoded] {
        let form = form(&[("info", &info), ("description", "no <b>sound</b> & more")]);
        let answer = post(&broker, "/api/bugReport", form).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({ "status": "ok" })));
    }
    let mut lines = lines(&directory);
    assert_eq!(lines, receiver.history().iter().map(Received::json).collect::<Vec<_>>());
    let ids: Vec<_> = lines.iter_mut().map(|line| line["id"].take().as_str().unwrap().to_owned()).collect();
    assert_eq!((lines.len(), &lines[0]), (2, &lines[1]));
    let report = json!({ "description": "no <b>sound</b> & more", "userAgent": "Firefox",
        "info": serde_json::from_str::<Value>(&info).unwrap() });
    let expected = json!({ "id": null, "at": "2025-01-15T12:00:00.000Z", "kind": "bug", "report": report });
    assert_eq!(lines[0], expected);
    assert_eq!((outcome(&broker, "written").await, outcome(&broker, "posted").await), (Some(2), Some(2)));

    let shown = broker.get(&format!("/api/debugInfo?id={}", ids[1])).await;
    assert_eq!(shown.header("content-type"), Some("application/json"));
    assert_eq!(shown.header("cache-control"), Some("no-store"));
    assert_eq!(shown.json(), json!({ "apiHistory": [{ "sdp": "v=0" }], "userSessions": ["s1"] }));
}

#[tokio::test]
async fn a_dead_track_is_posted_once_whatever_the_receiver_answers() {
    let receiver = FakeWebhook::start(&[Reply::Status(503)]).await;
    let broker = TestBroker::start(&[REPORTS, ("FEEDBACK_URL", &receiver.url())]).await;
    let track = json!({ "pullSessionTrace": "https://trace.example/1", "pushedSessionTrace": "", "trackId": "s/t",
        "pullingUser": "ann", "pushingUser": "", "meetingId": "m1" });
    let as_text = |body: String| ("text/plain;charset=UTF-8".to_owned(), body);
    for _ in 0..2 {
        let answer = post(&broker, "/api/deadTrack", as_text(track.to_string())).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({ "status": "ok" })));
    }
    let posted = receiver.history();
    assert_eq!((posted.len(), &posted[1].json()["kind"]), (2, &json!("deadTrack")));
    assert_eq!(posted[1].json()["report"], track);
    assert_eq!((outcome(&broker, "failed").await, outcome(&broker, "posted").await), (Some(1), Some(1)));
    let empty = r#"{"pullSessionTrace":"","pushedSessionTrace":"","trackId":""}"#;
    for bad in ["{}", empty, r#"["","","t",null,null,null]"#] {
        let answer = post(&broker, "/api/deadTrack", as_text(bad.to_owned())).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{bad}");
    }
    let long = post(&broker, "/api/deadTrack", as_text(" ".repeat(64 * 1024 + 1))).await;
    assert_eq!(long.error(), (413, "PAYLOAD_TOO_LARGE"));
}

#[tokio::test]
async fn the_quality_of_a_call_and_a_refresh_are_lines() {
    let directory = StateDir::new();
    let broker = TestBroker::start(&[REPORTS, ("REPORTS_DIR", directory.path())]).await;
    let form = urlencoded(&[("experiencedIssues", "true"), ("meetingId", "m1")]);
    let answer = post(&broker, "/call-quality-feedback", form).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::FOUND, Some("/")));
    let empty = || (String::new(), String::new());
    assert_eq!(post(&broker, "/api/reportRefresh", empty()).await.status, 201);
    let quality = json!({ "experiencedIssues": 1, "meetingId": "m1", "version": "0.1.0" });
    let kept = lines(&directory);
    let kept: Vec<_> = kept.iter().map(|line| (line["kind"].as_str().unwrap(), &line["report"])).collect();
    assert_eq!(kept, [("quality", &quality), ("refresh", &json!({}))]);
    for bad in [&[("meetingId", "m1")][..], &[("experiencedIssues", "true"), ("meetingId", "")]] {
        let answer = post(&broker, "/call-quality-feedback", urlencoded(bad)).await;
        assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{bad:?}");
    }
}

#[tokio::test]
async fn a_directory_that_fails_loses_notes_and_refuses_bug_reports() {
    let directory = StateDir::new();
    let inside = Path::new(directory.path()).join("reports");
    let broker = TestBroker::start(&[REPORTS, ("REPORTS_DIR", inside.to_str().unwrap())]).await;
    std::fs::remove_dir_all(&inside).unwrap();
    assert_eq!(report_bug(&broker).await.error(), (500, "INTERNAL"));
    let form = urlencoded(&[("experiencedIssues", "false"), ("meetingId", "m1")]);
    assert_eq!(post(&broker, "/call-quality-feedback", form).await.status, 302);
    assert_eq!(post(&broker, "/api/reportRefresh", urlencoded(&[])).await.status, 200);
}

#[tokio::test]
async fn without_a_place_for_reports_there_are_no_routes_for_them() {
    let nowhere = TestBroker::start(&[REPORTS]).await;
    assert_eq!(report_bug(&nowhere).await.status, 404);
    assert_eq!(post(&nowhere, "/api/deadTrack", urlencoded(&[])).await.status, 404);
    for (path, settings) in [
        ("/api/bugReport", "REPORTS_DIR or FEEDBACK_URL"),
        ("/api/deadTrack", "REPORTS_DIR or FEEDBACK_URL"),
        ("/api/debugInfo?id=x", "REPORTS_DIR"),
    ] {
        let off = nowhere.get(path).await;
        let remedy = format!("Set {settings} to serve this path (docs/SIGNALING.md).");
        assert_eq!((off.status.as_u16(), &off.json()["message"]), (404, &json!(remedy)), "{path}");
    }
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
        assert_eq!(refused.error(), (429, "RATE_LIMITED"));
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
        assert_eq!(answer.error(), (400, "INVALID_REQUEST"), "{body}");
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
    assert_eq!(nobody.error(), (400, "INVALID_REQUEST"));

    let path = format!("/api/debugInfo?id={}", lines(&directory)[0]["id"].as_str().unwrap());
    let opened = broker.request(reqwest::Method::GET, &path).header("sec-fetch-site", "cross-site");
    let opened = Answer::of(opened.header("sec-fetch-mode", "navigate")).await;
    assert_eq!((opened.status.as_u16(), opened.header("access-control-allow-origin")), (200, None));
    assert_eq!(broker.get("/api/debugInfo").await.error(), (400, "INVALID_REQUEST"));
    let unknown = "/api/debugInfo?id=00000000-0000-4000-8000-000000000000";
    let part = path.split_at(path.len() - 1).0;
    for path in [unknown, part, "/api/debugInfo?id=..%2Fledger.redb"] {
        assert_eq!(broker.get(path).await.error(), (404, "NOT_FOUND"), "{path}");
    }
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
async fn an_address_fills_a_sixteenth_of_the_file_and_a_full_file_drops_and_counts() {
    let directory = StateDir::new();
    let broker = TestBroker::start(&[REPORTS, ("REPORTS_DIR", directory.path())]).await;
    let long = info().replace("v=0", &"v".repeat(900 * 1024));
    let form = || multipart(&[("info", &long), ("description", "no sound")]);
    let from = async |address: &str| post_from(&broker, address, "/api/bugReport", form()).await;
    assert_eq!(from("192.0.2.1").await.status, 200);
    assert_eq!(from("192.0.2.1").await.error(), (429, "RATE_LIMITED"));
    for n in 2..=18 {
        assert_eq!(from(&format!("192.0.2.{n}")).await.status, 200, "{n}");
    }
    assert_eq!(lines(&directory).len(), 18);
    assert_eq!(from("192.0.2.19").await.status, 200);
    assert_eq!(lines(&directory).len(), 18);
    assert_eq!((outcome(&broker, "written").await, outcome(&broker, "dropped").await), (Some(18), Some(1)));
}
