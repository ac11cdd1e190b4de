//! The messages. The data of a message pass byte for byte. Pages may encrypt them.

use serde::Deserializer;

use super::topics::TOPICS_PER_SOCKET_MAX;
use crate::prelude::*;

pub(super) const PONG: &str = r#"{"type":"pong"}"#;

/// What a client asks for.
#[derive(Debug)]
pub enum Incoming {
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
    Publish(Publish),
    Ping,
}

/// A message for the subscribers of a topic.
#[derive(Debug)]
pub struct Publish {
    pub(super) topic: String,
    pub(super) data: Option<Box<RawValue>>,
    /// Whether it may be an announcement, which other pages answer with an offer. An encrypted message may be one.
    pub(super) may_announce: bool,
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    topics: Option<&'a RawValue>,
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    data: Option<&'a RawValue>,
}

/// Without this function, `null` would be read as a missing member.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// What a message asks for. `None` for a message that no client sends.
pub(super) fn parse(text: &str) -> Option<Incoming> {
    let Parts { kind, topics, topic, data } = object::parse(text)?;
    match kind.as_ref() {
        "subscribe" => with_names(topics?, Incoming::Subscribe),
        "unsubscribe" => with_names(topics?, Incoming::Unsubscribe),
        "publish" => {
            let (topic, may_announce) = (topic?.into_owned(), may_announce(data));
            Some(Incoming::Publish(Publish { topic, data: data.map(ToOwned::to_owned), may_announce }))
        }
        "ping" => Some(Incoming::Ping),
        _ => None,
    }
}

/// The message about the topics that an array names. Elements that are not texts are skipped. Each name costs a lookup later, so only a
/// limited number is read.
fn with_names(array: &RawValue, incoming: fn(Vec<String>) -> Incoming) -> Option<Incoming> {
    let elements: Vec<&RawValue> = serde_json::from_str(array.get()).ok()?;
    // One name beyond the bound is enough for the subscription to be refused.
    let elements = elements.into_iter().take(TOPICS_PER_SOCKET_MAX + 1);
    // For anything else, serde would write an error message that nobody reads.
    let texts = elements.map(RawValue::get).filter(|element| element.starts_with('"'));
    Some(incoming(texts.filter_map(|text| serde_json::from_str(text).ok()).collect()))
}

fn may_announce(data: Option<&RawValue>) -> bool {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
    }
    let Some(data) = data.map(RawValue::get) else { return false };
    data.starts_with('"') || object::parse(data).is_some_and(|Data { kind }| kind == "announce")
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "publish")]
struct Published<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    clients: usize,
}

/// A message as subscribers get it. `clients` is the number of subscribers.
pub(super) fn published(message: &Publish, clients: usize) -> Text {
    let Publish { topic, data, .. } = message;
    object::json(&Published { topic, data: data.as_deref(), clients }).into()
}
