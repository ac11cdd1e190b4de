//! The close frames. Clients ignore the reasons; they are for people who debug.

use crate::prelude::*;

pub(super) const INVALID_JSON: Closing = Closing::normal("invalid JSON");
pub(super) const UNKNOWN_TYPE: Closing = Closing::normal("unknown type");
pub(super) const BINARY: Closing = Closing::normal("binary not allowed");
pub(super) const MESSAGE_DISABLED: Closing = Closing::normal("message type disabled");
pub(super) const NOT_REGISTERED: Closing = Closing::normal("must register first");
pub(super) const REGISTERED_ALREADY: Closing = Closing::normal("registered already");
pub(super) const NO_ROOM_ID: Closing = Closing::normal("roomId missing");
pub(super) const ID_TOO_LONG: Closing = Closing::normal("roomId or clientId too long");
pub(super) const REGISTRATION_TOO_LONG: Closing = Closing { code: 1009, reason: "register too long" };
pub(super) const ROOM_MISMATCH: Closing = Closing { code: 1008, reason: "roomId mismatch" };

/// The reason is the code of the broker's error.
pub(super) const NOT_SIGNED_IN: Closing = Closing { code: 1008, reason: "UNAUTHORIZED" };
/// The key is a token of another user than the request's.
pub(super) const OTHER_USER: Closing = Closing { code: 1008, reason: "INVALID_TOKEN" };
pub(super) const ROOM_FULL: Closing = Closing::normal("room full");
pub(super) const TOO_MANY_WEBHOOKS: Closing = Closing::normal("too many registrations");
pub(super) const WEBHOOK_FAILED: Closing = Closing::normal("auth webhook error");
pub(super) const WEBHOOK_MALFORMED: Closing = Closing::normal("auth webhook malformed");
pub(super) const WEBHOOK_DENIED: Closing = Closing::normal("auth webhook denied");

pub(super) const REGISTER_TIMEOUT: Closing = Closing::normal("register timeout");
pub(super) const READ_TIMEOUT: Closing = Closing::normal("read timeout");
pub(super) const PONG_TIMEOUT: Closing = Closing::normal("pong timeout");
pub(super) const TOO_MANY_WAITING: Closing = Closing::normal("too many messages before accept");
pub(super) const TOO_MANY_FRAMES: Closing = Closing::normal("too many messages");
pub(super) const TOO_SLOW: Closing = Closing::normal("too slow");

pub(super) const CONNECTED: Closing = Closing::normal("connected");
pub(super) const PEER_CLOSING: Closing = Closing::normal("peer closing");
/// The operator has ended the room.
pub(super) const ROOM_ENDED: Closing = Closing::normal("closing");
