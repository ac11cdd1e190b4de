//! What users of Orange's page report: bugs, tracks without media, the quality of a call. A report is parsed once, with a longest
//! length for each text. Anyone can send one, and it contains addresses: it is kept for a short time, and shown only to those
//! who know its UUID.
//!
//! | where | what |
//! |---|---|
//! | [`card`] | a report as a card in a chat |

pub mod card;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The longest description, in bytes.
const DESCRIPTION_MAX: usize = 16 * 1024;
/// The longest name, id or `User-Agent`, in bytes.
const NAME_MAX: usize = 1_024;
/// The longest link, in bytes.
const LINK_MAX: usize = 2_048;

/// A field that is missing, not of its type, or too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadField(pub &'static str);

/// A bug report. `Debug` shows none of its texts, because they are private.
pub struct BugReport {
    /// The name of the room.
    pub room: String,
    /// The name of the reporter, if the page knows it.
    pub reporter: Option<String>,
    /// The page of the room.
    pub page: Link,
    /// What went wrong.
    pub description: String,
    /// The browser.
    pub user_agent: String,
    /// The page's log of the room. Contains session descriptions.
    pub history: Option<Box<RawValue>>,
}

/// A track from which nothing arrives.
pub struct DeadTrack {
    /// The track.
    pub track: String,
    /// The user who does not receive it.
    pub pulling: Option<String>,
    /// The user who sends it.
    pub pushing: Option<String>,
    /// The call.
    pub meeting: Option<String>,
    /// Where the pulling session can be looked up: a link, or an empty text.
    pub pull_trace: Option<Link>,
    /// The same of the pushing session.
    pub push_trace: Option<Link>,
}

/// The quality of a call, as a user rates it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallQuality {
    /// 1 if there were problems.
    experienced_issues: u8,
    /// The version of the broker.
    version: &'static str,
    /// The call.
    meeting_id: String,
}

/// An http: or https: link.
#[derive(Clone, PartialEq, Eq)]
pub struct Link(String);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BugInfo {
    room_name: String,
    identity: Option<Identity>,
    room_history: Option<Box<RawValue>>,
    url: String,
}

#[derive(Deserialize)]
struct Identity {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeadTrackInfo {
    pull_session_trace: String,
    pushed_session_trace: String,
    track_id: String,
    pulling_user: Option<String>,
    pushing_user: Option<String>,
    meeting_id: Option<String>,
}

impl BugReport {
    /// From the form's fields and the request's header. `info` is JSON.
    pub fn parse(info: &str, description: &str, user_agent: &str) -> Result<Self, BadField> {
        let info: BugInfo = serde_json::from_str(info).map_err(|_| BadField("info"))?;
        let reporter = info.identity.and_then(|identity| identity.name);
        Ok(Self {
            room: required("info.roomName", info.room_name, NAME_MAX)?,
            reporter: optional("info.identity.name", reporter)?,
            page: Link::new(info.url).ok_or(BadField("info.url"))?,
            description: required("description", description.to_owned(), DESCRIPTION_MAX)?,
            user_agent: required("User-Agent", user_agent.to_owned(), NAME_MAX)?,
            history: info.room_history.filter(|history| history.get() != "null"),
        })
    }
}

impl DeadTrack {
    /// From JSON.
    pub fn parse(json: &[u8]) -> Result<Self, BadField> {
        // serde would read an array as the fields in order.
        let is_object = json.trim_ascii_start().starts_with(b"{");
        let info = is_object.then(|| serde_json::from_slice::<DeadTrackInfo>(json).ok()).flatten();
        let info = info.ok_or(BadField("body"))?;
        Ok(Self {
            track: required("trackId", info.track_id, NAME_MAX)?,
            pulling: optional("pullingUser", info.pulling_user)?,
            pushing: optional("pushingUser", info.pushing_user)?,
            meeting: optional("meetingId", info.meeting_id)?,
            pull_trace: trace("pullSessionTrace", info.pull_session_trace)?,
            push_trace: trace("pushedSessionTrace", info.pushed_session_trace)?,
        })
    }
}

impl CallQuality {
    /// From the form's fields.
    pub fn parse(issues: Option<&str>, meeting: Option<&str>) -> Result<Self, BadField> {
        let issues = issues.ok_or(BadField("experiencedIssues"))?;
        let meeting = meeting.ok_or(BadField("meetingId"))?.to_owned();
        Ok(Self {
            experienced_issues: u8::from(issues == "true"),
            version: env!("CARGO_PKG_VERSION"),
            meeting_id: required("meetingId", meeting, NAME_MAX)?,
        })
    }
}

impl Link {
    /// `None` for anything else, and for a text that is too long.
    pub fn new(text: String) -> Option<Self> {
        let has_scheme = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        (has_scheme && is_plain && text.len() <= LINK_MAX).then_some(Self(text))
    }

    /// The link.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, without a user and a port.
    pub fn host(&self) -> &str {
        let authority = self.0.split('/').nth(2).unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let end = host.find(['?', '#', ':']).unwrap_or(host.len());
        host.get(..end).unwrap_or_default()
    }
}

fn required(field: &'static str, text: String, bytes_max: usize) -> Result<String, BadField> {
    if (1..=bytes_max).contains(&text.len()) { Ok(text) } else { Err(BadField(field)) }
}

fn optional(field: &'static str, text: Option<String>) -> Result<Option<String>, BadField> {
    match text {
        Some(text) if text.len() > NAME_MAX => Err(BadField(field)),
        text => Ok(text.filter(|text| !text.is_empty())),
    }
}

/// Without a tracing service, the page sends an empty link.
fn trace(field: &'static str, text: String) -> Result<Option<Link>, BadField> {
    if text.len() > LINK_MAX { Err(BadField(field)) } else { Ok(Link::new(text)) }
}

impl fmt::Debug for BugReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BugReport").finish_non_exhaustive()
    }
}

impl fmt::Debug for DeadTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadTrack").finish_non_exhaustive()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

#[cfg(test)]
mod tests;
