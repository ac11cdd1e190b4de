//! A report as a card of a chat webhook (`cardsV2`). Strangers write the texts, so their markup is escaped. Long texts are cut,
//! because a chat refuses messages of more than about 32 KiB.

use serde_json::{Value, json};

use super::{BugReport, DeadTrack, Link};

/// The longest text of a card, in characters.
const TEXT_MAX: usize = 4_000;
/// The longest title, name or label of a button, in characters.
const LABEL_MAX: usize = 200;

/// The card of a bug report. `history`: the link to what the page saw.
pub fn of_bug(report: &BugReport, history: Option<&Link>) -> String {
    let reporter = label(report.reporter.as_deref().unwrap_or_default());
    let room = button(&report.room, &report.page);
    let mut sections = vec![
        section("Description", &paragraph(&report.description)),
        section("User Agent", &paragraph(&report.user_agent)),
        section("Room", &json!({ "buttonList": { "buttons": [room] } })),
    ];
    if let Some(history) = history {
        let shown = button("Room history", history);
        sections.push(section("Debug info", &json!({ "buttonList": { "buttons": [shown] } })));
    }
    let header = json!({
        "title": format!("Feedback from {reporter}").trim_end(),
        "subtitle": format!("Environment: {}", label(report.page.host())),
    });
    card("orange-meets-feedback-card", &header, &sections)
}

/// The card of a dead track. `at`: the time, for people.
pub fn of_dead_track(report: &DeadTrack, at: &str) -> String {
    let name = |user: &Option<String>| label(user.as_deref().unwrap_or("somebody"));
    let (pulling, pushing) = (name(&report.pulling), name(&report.pushing));
    let pull = report.pull_trace.as_ref().map(|link| button(&format!("{pulling}'s pull trace"), link));
    let push = report.push_trace.as_ref().map(|link| button(&format!("{pushing}'s push trace"), link));
    let traces: Vec<_> = pull.into_iter().chain(push).collect();
    let mut sections = vec![section("Track ID", &paragraph(&report.track))];
    if !traces.is_empty() {
        sections.push(section("Trace links", &json!({ "buttonList": { "buttons": traces } })));
    }
    if let Some(meeting) = &report.meeting {
        sections.push(section("Meeting", &paragraph(meeting)));
    }
    let header = json!({
        "title": format!("Dead track: {pulling} had an issue pulling from {pushing}"),
        "subtitle": format!("Time: {at}"),
    });
    card("orange-meets-dead-track-card", &header, &sections)
}

fn card(id: &str, header: &Value, sections: &[Value]) -> String {
    let card = json!({ "header": header, "sections": sections });
    json!({ "cardsV2": [{ "cardId": id, "card": card }] }).to_string()
}

fn section(header: &str, widget: &Value) -> Value {
    json!({ "header": header, "widgets": [widget] })
}

fn paragraph(text: &str) -> Value {
    json!({ "textParagraph": { "text": escaped(text, TEXT_MAX) } })
}

fn button(text: &str, link: &Link) -> Value {
    json!({ "text": label(text), "onClick": { "openLink": { "url": link.as_str() } } })
}

/// Plain text: no markup is read in it.
fn label(text: &str) -> String {
    text.chars().take(LABEL_MAX).collect()
}

/// A text with its markup escaped.
fn escaped(text: &str, chars_max: usize) -> String {
    let cut: String = text.chars().take(chars_max).collect();
    cut.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
