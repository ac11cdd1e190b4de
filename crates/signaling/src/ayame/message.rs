//! The messages. Of a message that is passed on, only the `type` is read, because its bytes must not change.

use serde::de::DeserializeOwned;

use super::closing::{ID_TOO_LONG, INVALID_JSON, NO_ROOM_ID, REGISTRATION_TOO_LONG, UNKNOWN_TYPE};
use super::ice::IceServers;
use crate::prelude::*;
use turn_budget::is_dots;

/// The longest room id and client id, in bytes.
pub(super) const ID_MAX: usize = 255;
/// The longest `register`, in bytes. Its metadata is kept until the webhook has answered.
pub(super) const REGISTRATION_BYTES_MAX: usize = 64 * 1024;

pub(super) const PING: &str = r#"{"type":"ping"}"#;
pub(super) const BYE: &str = r#"{"type":"bye"}"#;

/// A frame of a client.
pub struct Frame {
    /// Passed on unchanged.
    pub(super) text: Text,
    /// What it says, or how to close the socket that has sent it.
    pub(super) message: Result<Message, Closing>,
}

/// A message of a client.
pub(super) enum Message {
    Register(Box<Register>),
    Offer,
    Answer,
    Candidate,
    /// A message of the application: its type is `message`.
    Custom,
    Pong,
    Connected,
}

/// The content of `register`. `null` counts as absent.
pub(super) struct Register {
    /// 1 to [`ID_MAX`] bytes.
    pub(super) room: Arc<str>,
    /// 1 to [`ID_MAX`] bytes.
    pub(super) client: Option<Arc<str>>,
    pub(super) is_standalone: bool,
    pub(super) for_webhook: ForWebhook,
}

/// What is passed to the application's webhook unread.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ForWebhook {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signaling_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) authn_metadata: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ayame_client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) libwebrtc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) environment: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WebhookBody<'a> {
    pub(super) room_id: &'a str,
    pub(super) client_id: &'a str,
    pub(super) connection_id: &'a str,
    #[serde(flatten)]
    pub(super) registration: Option<&'a ForWebhook>,
}

impl Message {
    pub(super) fn parse(text: &str) -> Result<Self, Closing> {
        let fields: Fields<'_> = serde_json::from_str(text).map_err(|_| INVALID_JSON)?;
        let kind: Option<String> = fields.read(&Name::Type).map_err(|_| UNKNOWN_TYPE)?;
        Ok(match kind.as_deref() {
            Some("register") if text.len() > REGISTRATION_BYTES_MAX => return Err(REGISTRATION_TOO_LONG),
            Some("register") => Self::Register(Box::new(Register::parse(&fields)?)),
            Some("offer") => Self::Offer,
            Some("answer") => Self::Answer,
            Some("candidate") => Self::Candidate,
            Some("message") => Self::Custom,
            Some("pong") => Self::Pong,
            Some("connected") => Self::Connected,
            _ => return Err(UNKNOWN_TYPE),
        })
    }
}

impl Register {
    fn parse(fields: &Fields<'_>) -> Result<Self, Closing> {
        let room: Option<String> = fields.read(&Name::RoomId)?;
        let client: Option<String> = fields.read(&Name::ClientId)?;
        // `key` is the old name of `signalingKey`. The web SDK sends only the old name.
        let (key, old_key) = (fields.read(&Name::SignalingKey)?, fields.read(&Name::Key)?);
        let for_webhook = ForWebhook {
            signaling_key: key.or(old_key),
            authn_metadata: fields.read(&Name::AuthnMetadata)?,
            ayame_client: fields.read(&Name::AyameClient)?,
            libwebrtc: fields.read(&Name::Libwebrtc)?,
            environment: fields.read(&Name::Environment)?,
        };
        let is_standalone: Option<bool> = fields.read(&Name::Standalone)?;
        let room = room.filter(|room| !room.is_empty() && !is_dots(room)).ok_or(NO_ROOM_ID)?;
        let client = client.filter(|client| !client.is_empty());
        if room.len() > ID_MAX || client.as_ref().is_some_and(|client| client.len() > ID_MAX) {
            return Err(ID_TOO_LONG);
        }
        Ok(Self {
            room: room.into(),
            client: client.map(Into::into),
            is_standalone: is_standalone.unwrap_or(false),
            for_webhook,
        })
    }
}

/// The fields that have a meaning here. All others share one name, so that a frame of many takes no memory.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Name {
    Type,
    RoomId,
    ClientId,
    SignalingKey,
    Key,
    AuthnMetadata,
    AyameClient,
    Libwebrtc,
    Environment,
    Standalone,
    #[serde(other)]
    Other,
}

/// The fields of an object. The last one of a name counts, as in the reference server. A struct would refuse a name that occurs twice.
#[derive(Deserialize)]
struct Fields<'a>(#[serde(borrow)] BTreeMap<Name, &'a RawValue>);

impl Fields<'_> {
    fn read<T: DeserializeOwned>(&self, name: &Name) -> Result<Option<T>, Closing> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        serde_json::from_str(value.get()).map_err(|_| INVALID_JSON)
    }
}

/// The message that admits a client.
#[derive(Serialize)]
#[serde(tag = "type", rename = "accept", rename_all = "camelCase")]
pub(super) struct Accept<'a> {
    pub(super) connection_id: &'a str,
    /// Whether it is the second member. The second member makes the offer.
    pub(super) is_exist_client: bool,
    /// The same as `is_exist_client`.
    pub(super) is_exist_user: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) authz_metadata: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ice_servers: Vec<Box<RawValue>>,
}
/// What the application answers when it is asked whether a socket may join.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Verdict {
    pub(super) allowed: bool,
    /// Why not.
    pub(super) reason: Option<String>,
    /// For the client.
    pub(super) authz_metadata: Option<Box<RawValue>>,
    /// Servers that the client gets before ours.
    pub(super) ice_servers: Option<IceServers>,
}
