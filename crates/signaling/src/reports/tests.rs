use serde_json::{Value, json};

use super::*;

fn info(changes: &[(&str, Value)]) -> String {
    let mut info = json!({
        "roomName": "room 1", "identity": { "id": "a", "name": "Ann <b>" }, "url": "https://meet.example:8443/room-1?x=1",
        "roomHistory": { "apiHistory": [{ "sdp": "v=0" }], "userSessions": [] },
    });
    for (name, value) in changes {
        info[*name] = value.clone();
    }
    info.to_string()
}

fn bug(changes: &[(&str, Value)]) -> Result<BugReport, BadField> {
    BugReport::parse(&info(changes), "It <b>broke</b> & burned", "Firefox")
}

fn track(changes: &[(&str, Value)]) -> Result<DeadTrack, BadField> {
    let mut track =
        json!({ "pullSessionTrace": "https://trace.example/1", "pushedSessionTrace": "", "trackId": "s/t" });
    for (name, value) in changes {
        track[*name] = value.clone();
    }
    DeadTrack::parse(track.to_string().as_bytes())
}

fn sections(card: &Value) -> Vec<&str> {
    let sections = card["cardsV2"][0]["card"]["sections"].as_array().unwrap();
    sections.iter().map(|section| section["header"].as_str().unwrap()).collect()
}

#[test]
fn a_bug_report_is_a_card_without_markup_of_its_reporter() {
    let report = bug(&[]).unwrap();
    assert_eq!(report.history.as_ref().unwrap().get(), r#"{"apiHistory":[{"sdp":"v=0"}],"userSessions":[]}"#);
    let link = Link::new("https://turn.example/api/debugInfo?id=1".to_owned());
    let card: Value = serde_json::from_str(&card::of_bug(&report, link.as_ref())).unwrap();
    assert_eq!(card["cardsV2"][0]["cardId"], "orange-meets-feedback-card");
    let content = &card["cardsV2"][0]["card"];
    assert_eq!(content["header"]["title"], "Feedback from Ann <b>");
    assert_eq!(content["header"]["subtitle"], "Environment: meet.example");
    assert_eq!(sections(&card), ["Description", "User Agent", "Room", "Debug info"]);
    let text = &content["sections"][0]["widgets"][0]["textParagraph"]["text"];
    assert_eq!(text, "It &lt;b&gt;broke&lt;/b&gt; &amp; burned");
    let room = &content["sections"][2]["widgets"][0]["buttonList"]["buttons"][0];
    assert_eq!(
        (&room["text"], &room["onClick"]["openLink"]["url"]),
        (&json!("room 1"), &json!("https://meet.example:8443/room-1?x=1"))
    );
    let card: Value = serde_json::from_str(&card::of_bug(&report, None)).unwrap();
    assert_eq!(sections(&card), ["Description", "User Agent", "Room"]);
}

#[test]
fn a_bug_report_needs_its_fields() {
    let field = |changes: &[(&str, Value)]| bug(changes).err().map(|BadField(name)| name);
    assert_eq!(field(&[("identity", Value::Null), ("roomHistory", Value::Null)]), None);
    assert_eq!(field(&[("roomName", json!(""))]), Some("info.roomName"));
    assert_eq!(field(&[("roomName", Value::Null)]), Some("info"));
    assert_eq!(field(&[("url", json!("javascript:alert(1)"))]), Some("info.url"));
    assert_eq!(field(&[("identity", json!({ "name": "x".repeat(1_025) }))]), Some("info.identity.name"));
    let with = |description: &str, agent: &str| BugReport::parse(&info(&[]), description, agent).err();
    assert_eq!(with("", "Firefox"), Some(BadField("description")));
    assert_eq!(with(&"x".repeat(16_385), "Firefox"), Some(BadField("description")));
    assert_eq!(with(&"x".repeat(16_384), "Firefox"), None);
    assert_eq!(with("broken", ""), Some(BadField("User-Agent")));
    assert_eq!(BugReport::parse("{", "broken", "Firefox").err(), Some(BadField("info")));
}

#[test]
fn a_dead_track_is_a_card_with_the_links_that_it_has() {
    let report = track(&[("pullingUser", json!("ann")), ("meetingId", json!("m1"))]).unwrap();
    let card: Value = serde_json::from_str(&card::of_dead_track(&report, "2025-01-15T12:00:00Z")).unwrap();
    assert_eq!(card["cardsV2"][0]["cardId"], "orange-meets-dead-track-card");
    let content = &card["cardsV2"][0]["card"];
    assert_eq!(content["header"]["title"], "Dead track: ann had an issue pulling from somebody");
    assert_eq!(content["header"]["subtitle"], "Time: 2025-01-15T12:00:00Z");
    assert_eq!(sections(&card), ["Track ID", "Trace links", "Meeting"]);
    assert_eq!(content["sections"][1]["widgets"][0]["buttonList"]["buttons"].as_array().unwrap().len(), 1);
    let bare = track(&[("pullSessionTrace", json!("javascript:alert(1)"))]).unwrap();
    let card: Value = serde_json::from_str(&card::of_dead_track(&bare, "now")).unwrap();
    assert_eq!(sections(&card), ["Track ID"]);
}

#[test]
fn a_dead_track_needs_its_fields() {
    assert_eq!(track(&[("trackId", json!(""))]).err(), Some(BadField("trackId")));
    assert_eq!(track(&[("pullSessionTrace", Value::Null)]).err(), Some(BadField("body")));
    assert_eq!(track(&[("meetingId", json!("x".repeat(1_025)))]).err(), Some(BadField("meetingId")));
    assert_eq!(DeadTrack::parse(br#"["","","t",null,null,null]"#).err(), Some(BadField("body")));
}

#[test]
fn the_longest_card_fits_into_a_chat() {
    let (long, text) = ("&".repeat(1_024), "&".repeat(16_384));
    let link = format!("https://meet.example/{}", "x".repeat(2_027));
    let changes = [("roomName", json!(long)), ("identity", json!({ "name": long })), ("url", json!(link))];
    let report = BugReport::parse(&info(&changes), &text, &long).unwrap();
    let card = card::of_bug(&report, Some(&report.page));
    assert!(card.len() <= 32 * 1024, "{} bytes", card.len());
}

#[test]
fn the_quality_of_a_call_is_a_number() {
    let stored =
        |issues| serde_json::to_value(CallQuality::parse(Some(issues), Some("m1")).unwrap()).unwrap();
    assert_eq!(stored("true")["experiencedIssues"], 1);
    assert_eq!(stored("false"), json!({ "experiencedIssues": 0, "version": "0.1.0", "meetingId": "m1" }));
    assert_eq!(CallQuality::parse(None, Some("m1")), Err(BadField("experiencedIssues")));
    assert_eq!(CallQuality::parse(Some("true"), None), Err(BadField("meetingId")));
    assert_eq!(CallQuality::parse(Some("true"), Some("")), Err(BadField("meetingId")));
}

#[test]
fn a_link_is_of_the_web() {
    let host = |text: &str| Link::new(text.to_owned()).map(|link| link.host().to_owned());
    assert_eq!(host("https://a.example/x").as_deref(), Some("a.example"));
    assert_eq!(host("http://user@a.example:8080?x").as_deref(), Some("a.example"));
    assert_eq!(host("https://a.example#x").as_deref(), Some("a.example"));
    for bad in ["", "ftp://a.example", "https://a.example/ x", "https://a.example/\n", "//a.example"] {
        assert_eq!(host(bad), None, "{bad}");
    }
}
