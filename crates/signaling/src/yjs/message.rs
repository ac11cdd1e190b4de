//! The messages. The data of a message pass byte for byte. Pages may encrypt them.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::object;
use crate::protocol::Text;

pub(super) const PONG: &str = r#"{"type":"pong"}"#;

/// What a client asks for.
#[derive(Debug)]
pub(super) enum Incoming<'a> {
    Subscribe(Vec<Cow<'a, str>>),
    Unsubscribe(Vec<Cow<'a, str>>),
    Publish { topic: Cow<'a, str>, data: Option<&'a RawValue> },
    Ping,
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    topics: Option<&'a RawValue>,
    #[serde(borrow)]
    topic: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    data: Option<&'a RawValue>,
}

/// Without it, `null` would be read as a missing member.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// `None` for a message that no client sends.
pub(super) fn parse(text: &str) -> Option<Incoming<'_>> {
    let Parts { kind, topics, topic, data } = object::parse(text)?;
    Some(match kind.as_ref() {
        "subscribe" => Incoming::Subscribe(strings(topics?)?),
        "unsubscribe" => Incoming::Unsubscribe(strings(topics?)?),
        "publish" => Incoming::Publish { topic: string(topic?)?, data },
        "ping" => Incoming::Ping,
        _ => return None,
    })
}

/// The strings of an array. Other elements are skipped.
fn strings(array: &RawValue) -> Option<Vec<Cow<'_, str>>> {
    let elements: Vec<&RawValue> = serde_json::from_str(array.get()).ok()?;
    Some(elements.into_iter().filter_map(string).collect())
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str(value.get()).ok().map(|Borrowed(text)| text)
}

/// Whether a newcomer's first message may be its announcement, which other pages answer with an offer. An encrypted message may
/// be one.
pub(super) fn may_announce(data: Option<&RawValue>) -> bool {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
    }
    let Some(data) = data.map(RawValue::get) else { return false };
    data.starts_with('"') || object::parse(data).is_some_and(|Data { kind }| kind == "announce")
}

#[derive(Serialize)]
struct Published<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    clients: usize,
}

/// A message as subscribers get it. `clients` is the number of subscribers. Never `None`: texts and raw JSON can always be
/// written.
pub(super) fn published(topic: &str, data: Option<&RawValue>, clients: usize) -> Option<Text> {
    serde_json::to_string(&Published { kind: "publish", topic, data, clients }).ok().map(Text::from)
}
