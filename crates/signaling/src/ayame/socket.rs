//! One socket: who it is, and how far it has come.

use std::collections::VecDeque;

use super::message::{ForWebhook, Frame, Verdict, WebhookBody};
use crate::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::VariantArray)]
pub(super) enum Timer {
    /// When the socket must have registered.
    Register,
    /// When it must have sent a frame.
    Read,
    /// When it must have sent a `pong`. Not for a standalone socket.
    Pong,
    /// When it gets the next `ping`. Not for a standalone socket.
    Ping,
}

pub(super) struct Socket {
    /// A new id for each socket.
    pub(super) connection: Arc<str>,
    /// The room of its `register`; empty before.
    pub(super) room: Arc<str>,
    /// The client of its `register`, or `connection` if the `register` names none; empty before.
    pub(super) client: Arc<str>,
    /// The rooms that its request names, in the query and in a header. Its `register` must name the same room as each of them.
    pub(super) named_rooms: Vec<Arc<str>>,
    /// Whether its request asked for no TURN servers (`?turn=0`).
    pub(super) is_without_turn: bool,
    /// Whether it leaves once it is connected, while its media go on.
    pub(super) is_standalone: bool,
    /// Its client, and who has signed in.
    pub(super) holder: Holder,
    /// Whether its webhooks were counted against the rate of that holder.
    pub(super) may_call_webhooks: bool,
    /// The headers for the webhooks.
    pub(super) headers: Vec<(String, String)>,
    pub(super) allowance: Bucket,
    pub(super) state: SocketStage,
}

/// How far a socket has come.
pub(super) enum SocketStage {
    /// It has not registered.
    New,
    /// It waits for a reply.
    Registering(Registration),
    /// It is a member of its room.
    Member,
    /// It is being closed.
    Ended,
}

/// A registration that waits for a reply.
#[derive(Default)]
pub(super) struct Registration {
    pub(super) stage: Stage,
    /// The question for the application, until it is asked.
    pub(super) webhook: Option<Webhook>,
    /// What the application has answered. The default if it was not asked; `allowed` is not read again.
    pub(super) verdict: Verdict,
    /// Frames that are handled after the `accept`.
    pub(super) waiting: VecDeque<Frame>,
    pub(super) waiting_bytes: usize,
}

/// What a registration waits for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// The user of its token.
    #[default]
    SigningIn,
    /// The application's verdict.
    Authorizing,
    /// A credential.
    Minting,
}

impl Socket {
    pub(super) fn new(holder: Holder, upgrade: Upgrade) -> Self {
        let in_query = upgrade.parameter("roomId").filter(|room| !room.is_empty()).map(Into::into);
        let in_request = upgrade.room.clone().filter(|room| !room.is_empty());
        Self {
            connection: ulid(upgrade.wall_millis, upgrade.random),
            room: "".into(),
            client: "".into(),
            named_rooms: in_query.into_iter().chain(in_request).collect(),
            is_without_turn: upgrade.parameter("turn").is_some_and(is_off),
            is_standalone: false,
            holder,
            may_call_webhooks: false,
            headers: upgrade.headers,
            allowance: Bucket::default(),
            state: SocketStage::New,
        }
    }

    /// Who has signed in.
    pub(super) fn user(&self) -> Option<User> {
        self.holder.user().cloned()
    }

    /// Its room as a call.
    pub(super) fn call(&self) -> CallName {
        CallName { protocol: ProtocolName::Ayame, room: Arc::clone(&self.room) }
    }

    /// The event that the socket joins its call.
    pub(super) fn joined(&self, grant: Option<GrantId>) -> CallEvent {
        CallEvent::Joined { call: self.call(), member: self.member(), user: self.user(), grant }
    }

    /// The event that the socket leaves its call.
    pub(super) fn left(&self, media: MediaAfter) -> CallEvent {
        CallEvent::Left { call: self.call(), member: self.member(), media }
    }

    /// What a request to the application says of the socket. With `registration`, it asks whether the socket may join. Without, it tells that
    /// the socket has ended. A socket that never registered has an empty room and client.
    pub(super) fn webhook(&self, registration: Option<&ForWebhook>) -> Webhook {
        let (room_id, client_id, connection_id) = (&*self.room, &*self.client, &*self.connection);
        let body = object::json(&WebhookBody { room_id, client_id, connection_id, registration });
        Webhook { body, headers: self.headers.clone() }
    }

    fn member(&self) -> MemberId {
        MemberId(Arc::clone(&self.connection))
    }
}

/// Whether the value of a switch turns it off, by the rules of Ayame's port for Durable Objects.
fn is_off(value: &str) -> bool {
    ["", "0", "false", "f", "no", "n", "off"].iter().any(|off| value.eq_ignore_ascii_case(off))
}

// The id of a connection: a ULID, which is 48 bits of time and 80 random bits in 26 characters of Crockford's base32. Ids
// sort by time.

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHARACTERS: u32 = 26;
const BITS_EACH: u32 = 5;
const RANDOM_BITS: u32 = 80;

/// The id of a connection that opens now.
pub(super) fn ulid(wall_millis: u64, random: u128) -> Arc<str> {
    let random = random & ((1 << RANDOM_BITS) - 1);
    let bits = (u128::from(wall_millis) << RANDOM_BITS) | random;
    let digit = |position: u32| {
        let value = usize::try_from((bits >> (BITS_EACH * position)) & 31).unwrap_or_default();
        char::from(DIGITS[value])
    };
    (0..CHARACTERS).rev().map(digit).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_ulid() {
        // The example of the specification, https://github.com/ulid/spec.
        let random = 0xD676_4C61_EFB9_9302_BD5B_u128;
        assert_eq!(&*ulid(1_469_922_850_259, random), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
        assert_eq!(&*ulid(0, 0), "00000000000000000000000000");
        assert_eq!(&*ulid((1 << 48) - 1, u128::MAX), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    }
}
