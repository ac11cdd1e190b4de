//! A report as a card of a chat webhook (`cardsV2`). Strangers write the texts: each has a longest length, and its markup is
//! escaped. Long texts are cut, because a chat refuses messages of more than about 32 KiB.

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use turn_base::error::ApiError;
use turn_base::web_url::parse_web_url;
use url::Url;

/// The longest description, in bytes.
const DESCRIPTION_MAX: usize = 16 * 1024;
/// The longest name, id or `User-Agent`, in bytes.
pub(super) const NAME_MAX: usize = 1_024;
/// The longest link, in bytes.
const LINK_MAX: usize = 2_048;
/// The longest text of a card, in characters.
const TEXT_MAX: usize = 4_000;
/// The longest title, name or label of a button, in characters.
const LABEL_MAX: usize = 200;

/// What the page knows of a bug.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BugInfo {
    room_name: String,
    identity: Option<Identity>,
    url: String,
    /// The page's log of the room. Contains session descriptions.
    pub(super) room_history: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Identity {
    name: Option<String>,
}

/// A track from which nothing arrives.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeadTrack {
    pull_session_trace: String,
    pushed_session_trace: String,
    track_id: String,
    pulling_user: Option<String>,
    pushing_user: Option<String>,
    meeting_id: Option<String>,
}

/// The card of a bug report. `history`: the link to what the page saw.
pub(super) fn of_bug(
    info: &BugInfo,
    description: Option<&str>,
    agent: Option<&str>,
    history: Option<&str>,
) -> Result<String, ApiError> {
    let reporter = info.identity.as_ref().and_then(|identity| identity.name.as_deref());
    let reporter = bounded("identity.name", reporter, 0..=NAME_MAX)?;
    let room = bounded("roomName", Some(&info.room_name), 1..=NAME_MAX)?;
    let page = web_link("url", &info.url)?;
    let page = page.ok_or_else(|| ApiError::invalid("Set `url` to an http: or https: URL."))?;
    let mut sections = vec![
        text("Description", bounded("description", description, 1..=DESCRIPTION_MAX)?),
        text("User Agent", bounded("User-Agent", agent, 1..=NAME_MAX)?),
        links("Room", &[button(room, page.as_str())]),
    ];
    sections.extend(history.map(|history| links("Debug info", &[button("Room history", history)])));
    let title = format!("Feedback from {}", cut(reporter, LABEL_MAX));
    let subtitle = format!("Environment: {}", cut(page.host_str().unwrap_or_default(), LABEL_MAX));
    Ok(card("orange-meets-feedback-card", title.trim_end(), &subtitle, &sections))
}

/// The card of a dead track. `at`: the time, for people.
pub(super) fn of_dead_track(track: &DeadTrack, at: &str) -> Result<String, ApiError> {
    let person = |field, user: &Option<String>| {
        let user = bounded(field, user.as_deref(), 0..=NAME_MAX)?;
        Ok::<_, ApiError>(cut(if user.is_empty() { "somebody" } else { user }, LABEL_MAX))
    };
    let pulling = person("pullingUser", &track.pulling_user)?;
    let pushing = person("pushingUser", &track.pushing_user)?;
    let meeting = bounded("meetingId", track.meeting_id.as_deref(), 0..=NAME_MAX)?;
    // Without a tracing service, the page sends an empty link.
    let pull = web_link("pullSessionTrace", &track.pull_session_trace)?
        .map(|link| button(&format!("{pulling}'s pull trace"), link.as_str()));
    let push = web_link("pushedSessionTrace", &track.pushed_session_trace)?
        .map(|link| button(&format!("{pushing}'s push trace"), link.as_str()));
    let traces: Vec<_> = pull.into_iter().chain(push).collect();
    let mut sections = vec![text("Track ID", bounded("trackId", Some(&track.track_id), 1..=NAME_MAX)?)];
    if !traces.is_empty() {
        sections.push(links("Trace links", &traces));
    }
    if !meeting.is_empty() {
        sections.push(text("Meeting", meeting));
    }
    let title = format!("Dead track: {pulling} had an issue pulling from {pushing}");
    Ok(card("orange-meets-dead-track-card", &title, &format!("Time: {at}"), &sections))
}

/// A text of a report, if it has one of these lengths. A missing one is empty.
pub(super) fn bounded<'a>(
    field: &str,
    text: Option<&'a str>,
    bytes: RangeInclusive<usize>,
) -> Result<&'a str, ApiError> {
    let text = text.unwrap_or_default();
    if bytes.contains(&text.len()) {
        return Ok(text);
    }
    let (least, most) = bytes.into_inner();
    Err(ApiError::invalid(format!("Set `{field}` to a text of {least} to {most} bytes.")))
}

/// `None` for a text that is no link of the web.
fn web_link(field: &str, text: &str) -> Result<Option<Url>, ApiError> {
    let link = parse_web_url(text);
    bounded(field, Some(link.as_ref().map_or(text, Url::as_str)), 0..=LINK_MAX)?;
    Ok(link)
}

fn card(id: &str, title: &str, subtitle: &str, sections: &[Value]) -> String {
    let card = json!({ "header": { "title": title, "subtitle": subtitle }, "sections": sections });
    json!({ "cardsV2": [{ "cardId": id, "card": card }] }).to_string()
}

/// A section with a text. A chat reads markup in it, but not in titles and labels.
fn text(header: &str, text: &str) -> Value {
    let text = cut(text, TEXT_MAX).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    json!({ "header": header, "widgets": [{ "textParagraph": { "text": text } }] })
}

/// A section with buttons.
fn links(header: &str, buttons: &[Value]) -> Value {
    json!({ "header": header, "widgets": [{ "buttonList": { "buttons": buttons } }] })
}

fn button(label: &str, link: &str) -> Value {
    json!({ "text": cut(label, LABEL_MAX), "onClick": { "openLink": { "url": link } } })
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_base::body::parse_json;

    fn bug(changes: &Value, description: &str, agent: &str) -> Result<Value, ApiError> {
        let mut info = json!({
            "roomName": "room 1", "identity": { "name": "Ann <b>" }, "url": "https://meet.example:8443/room-1?x=1",
        });
        merge(&mut info, changes);
        let info = parse_json(info.to_string().as_bytes())?;
        let card = of_bug(&info, Some(description), Some(agent), Some("https://turn.example/1"))?;
        Ok(serde_json::from_str(&card).unwrap())
    }

    fn dead_track(changes: &Value) -> Result<Value, ApiError> {
        let mut track = json!({ "pullSessionTrace": "https://trace.example/1", "pushedSessionTrace": "", "trackId": "s/t" });
        merge(&mut track, changes);
        let track = parse_json(track.to_string().as_bytes())?;
        Ok(serde_json::from_str(&of_dead_track(&track, "now")?).unwrap())
    }

    fn merge(into: &mut Value, changes: &Value) {
        into.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    }

    fn button_of(label: &str, link: &str) -> Value {
        json!([{ "buttonList": { "buttons": [{ "text": label, "onClick": { "openLink": { "url": link } } }] } }])
    }

    fn text_of(text: &str) -> Value {
        json!([{ "textParagraph": { "text": text } }])
    }

    #[test]
    fn a_bug_report_is_a_card_without_markup_of_its_reporter() {
        let card = bug(&json!({}), "It <b>broke</b> & burned", "Firefox").unwrap();
        let sections = json!([
            { "header": "Description", "widgets": text_of("It &lt;b&gt;broke&lt;/b&gt; &amp; burned") },
            { "header": "User Agent", "widgets": text_of("Firefox") },
            { "header": "Room", "widgets": button_of("room 1", "https://meet.example:8443/room-1?x=1") },
            { "header": "Debug info", "widgets": button_of("Room history", "https://turn.example/1") },
        ]);
        let header = json!({ "title": "Feedback from Ann <b>", "subtitle": "Environment: meet.example" });
        let expected = json!({ "header": header, "sections": sections });
        assert_eq!(card["cardsV2"], json!([{ "cardId": "orange-meets-feedback-card", "card": expected }]));
    }

    #[test]
    fn a_bug_report_needs_its_fields_with_their_lengths() {
        let is_card = |changes: Value| bug(&changes, "broken", "Firefox").is_ok();
        assert!(is_card(json!({ "identity": null, "roomHistory": null })));
        assert!(is_card(json!({ "roomName": "x".repeat(1_024), "roomHistory": { "apiHistory": [] } })));
        for bad in [
            json!({ "roomName": "" }),
            json!({ "roomName": null }),
            json!({ "roomName": "x".repeat(1_025) }),
            json!({ "identity": { "name": "x".repeat(1_025) } }),
            json!({ "url": "javascript:alert(1)" }),
            json!({ "url": "//meet.example" }),
            json!({ "url": format!("https://meet.example/{}", "x".repeat(2_028)) }),
        ] {
            assert!(!is_card(bad.clone()), "{bad}");
        }
        let is_card = |description: &str, agent: &str| bug(&json!({}), description, agent).is_ok();
        assert!(is_card(&"x".repeat(16_384), &"x".repeat(1_024)));
        assert!(!is_card(&"x".repeat(16_385), "Firefox") && !is_card("", "Firefox"));
        assert!(!is_card("broken", &"x".repeat(1_025)) && !is_card("broken", ""));
    }

    #[test]
    fn a_dead_track_is_a_card_with_the_links_that_it_has() {
        let card =
            dead_track(&json!({ "pullingUser": "ann", "pushingUser": "", "meetingId": "m1" })).unwrap();
        let sections = json!([
            { "header": "Track ID", "widgets": text_of("s/t") },
            { "header": "Trace links", "widgets": button_of("ann's pull trace", "https://trace.example/1") },
            { "header": "Meeting", "widgets": text_of("m1") },
        ]);
        let title = "Dead track: ann had an issue pulling from somebody";
        let expected = json!({ "header": { "title": title, "subtitle": "Time: now" }, "sections": sections });
        assert_eq!(card["cardsV2"], json!([{ "cardId": "orange-meets-dead-track-card", "card": expected }]));
        let bare = dead_track(&json!({ "pullSessionTrace": "javascript:alert(1)" })).unwrap();
        assert_eq!(bare["cardsV2"][0]["card"]["sections"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_dead_track_needs_its_fields_with_their_lengths() {
        for bad in [
            json!({ "trackId": "" }),
            json!({ "pullSessionTrace": null }),
            json!({ "pushedSessionTrace": "x".repeat(2_049) }),
            json!({ "pushingUser": "x".repeat(1_025) }),
            json!({ "meetingId": "x".repeat(1_025) }),
        ] {
            assert!(dead_track(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_longest_card_fits_into_a_chat() {
        let (long, link) = ("&".repeat(1_024), format!("https://meet.example/{}", "x".repeat(2_027)));
        let changes = json!({ "roomName": long, "identity": { "name": long }, "url": link });
        let card = bug(&changes, &"&".repeat(16_384), &long).unwrap().to_string();
        assert!(card.len() <= 32 * 1024, "{} bytes", card.len());
    }
}
