//! A report as a card of a chat webhook (`cardsV2`). Strangers write the texts: long ones are cut, because a chat refuses messages of more
//! than about 32 KiB, and their markup is escaped.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use turn_base::error::ApiError;
use turn_base::web_url::parse_web_url;
use url::Url;

/// The longest link, in bytes.
const LINK_MAX: usize = 2_048;
/// The longest description, in characters.
const TEXT_MAX: usize = 4_000;
/// The longest name, id or `User-Agent`, in characters.
const NAME_MAX: usize = 250;

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
    let reporter = info.identity.as_ref().and_then(|identity| identity.name.as_deref()).unwrap_or_default();
    let page = web_link(&info.url);
    let page = page.ok_or_else(|| ApiError::invalid("Set `url` to an http: or https: URL."))?;
    let room = button(given("roomName", Some(&info.room_name))?, page.as_str());
    let mut sections = vec![
        text("Description", &cut(given("description", description)?, TEXT_MAX)),
        text("User Agent", &name(given("User-Agent", agent)?)),
        links("Room", &[room]),
    ];
    sections.extend(history.map(|history| links("Debug info", &[button("Room history", history)])));
    let title = format!("Feedback from {}", name(reporter));
    let subtitle = format!("Environment: {}", name(page.host_str().unwrap_or_default()));
    Ok(card("orange-meets-feedback-card", title.trim_end(), &subtitle, &sections))
}

/// The card of a dead track. `at`: the time, for people.
pub(super) fn of_dead_track(track: &DeadTrack, at: &str) -> Result<String, ApiError> {
    let person =
        |user: &Option<String>| name(user.as_deref().filter(|user| !user.is_empty()).unwrap_or("somebody"));
    let (pulling, pushing) = (person(&track.pulling_user), person(&track.pushing_user));
    let mut sections = vec![text("Track ID", &name(given("trackId", Some(&track.track_id))?))];
    // Without a tracing service, the page sends an empty link.
    let link_to = |whose: String, link| Some(button(&whose, web_link(link)?.as_str()));
    let traces = [
        link_to(format!("{pulling}'s pull trace"), &track.pull_session_trace),
        link_to(format!("{pushing}'s push trace"), &track.pushed_session_trace),
    ];
    let traces: Vec<_> = traces.into_iter().flatten().collect();
    if !traces.is_empty() {
        sections.push(links("Trace links", &traces));
    }
    let meeting = track.meeting_id.as_deref().filter(|meeting| !meeting.is_empty());
    sections.extend(meeting.map(|meeting| text("Meeting", &name(meeting))));
    let title = format!("Dead track: {pulling} had an issue pulling from {pushing}");
    Ok(card("orange-meets-dead-track-card", &title, &format!("Time: {at}"), &sections))
}

/// A text that a report must have.
pub(super) fn given<'a>(field: &str, text: Option<&'a str>) -> Result<&'a str, ApiError> {
    let text = text.filter(|text| !text.is_empty());
    text.ok_or_else(|| ApiError::invalid(format!("Set `{field}` to a text that is not empty.")))
}

/// A name, id or `User-Agent`, cut.
pub(super) fn name(text: &str) -> String {
    cut(text, NAME_MAX)
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

/// `None` for a text that is no link of the web, and for one that is too long.
fn web_link(text: &str) -> Option<Url> {
    parse_web_url(text).filter(|link| link.as_str().len() <= LINK_MAX)
}

fn card(id: &str, title: &str, subtitle: &str, sections: &[Value]) -> String {
    let card = json!({ "header": { "title": title, "subtitle": subtitle }, "sections": sections });
    json!({ "cardsV2": [{ "cardId": id, "card": card }] }).to_string()
}

/// A section with a text. A chat reads markup in it, but not in titles and labels.
fn text(header: &str, text: &str) -> Value {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    json!({ "header": header, "widgets": [{ "textParagraph": { "text": text } }] })
}

/// A section with buttons.
fn links(header: &str, buttons: &[Value]) -> Value {
    json!({ "header": header, "widgets": [{ "buttonList": { "buttons": buttons } }] })
}

fn button(label: &str, link: &str) -> Value {
    json!({ "text": name(label), "onClick": { "openLink": { "url": link } } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_base::body::parse_json;

    #[test]
    fn the_longest_card_fits_into_a_chat() {
        let (long, link) = ("\0".repeat(5_000), format!("https://meet.example/{}", "x".repeat(2_027)));
        let info = json!({ "roomName": long, "identity": { "name": long }, "url": link });
        let info = parse_json(info.to_string().as_bytes()).unwrap();
        let agent = "&".repeat(5_000);
        let card = of_bug(&info, Some(&long), Some(&agent), Some("https://turn.example/1")).unwrap();
        assert!(card.len() <= 32 * 1024, "{} bytes", card.len());
    }
}
