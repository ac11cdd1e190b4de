//! The messages. A payload is not read, and passes byte for byte.

use crate::prelude::*;

/// The first message to a peer.
pub(super) const OPEN: &str = r#"{"type":"OPEN"}"#;
pub(super) const INCOMPLETE: &str =
    r#"{"type":"ERROR","payload":{"msg":"No id, token, or key supplied to websocket server"}}"#;
pub(super) const WRONG_KEY: &str = r#"{"type":"ERROR","payload":{"msg":"Invalid key provided"}}"#;
/// A text of our own: the reference server takes any id and token.
pub(super) const BAD_ID: &str = r#"{"type":"ERROR","payload":{"msg":"Invalid id or token provided"}}"#;
pub(super) const ID_TAKEN: &str = r#"{"type":"ID-TAKEN","payload":{"msg":"ID is taken"}}"#;

/// The message to a client whose request the service refuses: its socket never reaches the protocol.
pub fn refusal(code: &str) -> String {
    format!(r#"{{"type":"ERROR","payload":{{"msg":"{code}"}}}}"#)
}

/// The type of a message that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::EnumString)]
#[serde(rename_all = "UPPERCASE")]
#[strum(serialize_all = "UPPERCASE")]
pub enum MessageKind {
    Offer,
    Answer,
    Candidate,
    Leave,
    /// Only from us.
    #[strum(disabled)]
    Expire,
}

/// What a peer asks for.
#[derive(Debug)]
pub enum Incoming {
    /// Pass a message on to another peer.
    Forward { kind: MessageKind, dst: String, payload: Option<Box<RawValue>> },
    /// Free the id.
    Leave,
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    dst: Option<String>,
    payload: Option<Box<RawValue>>,
}

/// What a message asks for. `None` for a heartbeat, and for a message that no client sends.
pub(super) fn parse(text: &str) -> Option<Incoming> {
    let Parts { kind, dst, payload } = object::parse(text)?;
    let dst = dst.filter(|dst| !dst.is_empty());
    let kind = kind.parse().ok()?;
    if kind == MessageKind::Leave {
        let Some(dst) = dst else { return Some(Incoming::Leave) };
        return Some(Incoming::Forward { kind, dst, payload: None });
    }
    // The client throws on a payload that is not an object.
    let payload = payload.filter(|payload| object::is_object(payload.get()))?;
    Some(Incoming::Forward { kind, dst: dst?, payload: Some(payload) })
}

#[derive(Serialize)]
struct Forwarded<'a> {
    #[serde(rename = "type")]
    kind: MessageKind,
    src: &'a str,
    dst: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
}

/// A message as its recipient gets it. `src` is the sender's own id, whatever it claims.
pub(super) fn forwarded(kind: MessageKind, src: &str, dst: &str, payload: Option<&RawValue>) -> Text {
    object::json(&Forwarded { kind, src, dst, payload }).into()
}
