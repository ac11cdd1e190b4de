//! P2PCF: pages find each other by polling over HTTP. A page publishes an entry in a room and reads the entries of the
//! other pages, with their packages for it. There are no sockets, so an entry lives until it expires, and one function answers
//! every request: [`P2pcf::answer`]. Nobody learns the context id or the delete key of another page.
//!
//! | where | what |
//! |---|---|
//! | `body` | the body of a POST, checked in the order of the reference server |
//! | `rooms` | the entries, from publish to expiry |
//! | `quota` | how many requests a month the pages of an origin may send |

mod body;
mod quota;
mod rooms;

use std::fmt::Display;

use subtle::ConstantTimeEq;

use quota::OriginQuota;
use rooms::{Listing, P2pcfRooms};

use crate::prelude::*;

pub use body::Operation;
pub use quota::Origin;

/// For how long after the start a poll restores the entry of its page. Within this time every page publishes again, also one in the
/// background. An entry that is still unknown after that was deleted, so a poll does not restore it.
const RELEARN_FOR: Duration = Duration::from_secs(150);

/// The longest body, in bytes. 64 ordinary packages need half of it.
pub const BODY_MAX: usize = 256 * 1024;

/// A request whose body has been parsed, which needs no lock.
pub struct Request<'a> {
    /// Where the page comes from.
    pub origin: Origin<'a>,
    /// The client, and the user whose token the request has.
    pub holder: Holder,
    /// When it came, by the wall clock.
    pub wall: Timestamp,
    /// `None` if its answer depends on no room.
    pub operation: Result<Option<Operation>, Refusal>,
}

/// The protocol with all its rooms.
pub struct P2pcf {
    rooms: P2pcfRooms,
    quota: OriginQuota,
    keys: DeleteKeys,
}

impl P2pcf {
    /// No rooms. `origin_quota`: requests a month of each origin that is not listed.
    pub fn new(origin_quota: u64, keys: DeleteKeys) -> Self {
        Self { rooms: P2pcfRooms::default(), quota: OriginQuota::new(origin_quota), keys }
    }

    /// Answers a request. The actions are events of calls, and what bounds have dropped. `now` is the time since the process started; it
    /// never decreases.
    pub fn answer(&mut self, request: Request<'_>, now: Duration) -> (P2pcfAnswer, Vec<Action>) {
        self.rooms.expire(now);
        let answer = self.decide(request, now);
        let answer = answer.inspect_err(|refusal| self.count_dropped(refusal));
        (answer, self.rooms.actions.take())
    }

    /// Removes expired entries.
    pub fn expire(&mut self, now: Duration) -> Vec<Action> {
        self.rooms.expire(now);
        self.rooms.actions.take()
    }

    fn decide(&mut self, request: Request<'_>, now: Duration) -> P2pcfAnswer {
        self.quota.spend(request.origin, request.wall, &mut self.rooms.actions)?;
        let Some(operation) = request.operation? else { return Ok(P2pcfResponse::Admitted) };
        match operation {
            Operation::Poll { own } | Operation::Publish { own, .. }
                if self.rooms.has_session_of_another(&own) =>
            {
                Err(Refusal::invalid("Bad session id"))
            }
            Operation::Read { room, context } => Ok(self.listing(&room, context.as_deref(), None, None)),
            Operation::Poll { own } => {
                // The page did not ask for this, so its poll does not fail when a bound refuses the entry.
                if now < RELEARN_FOR
                    && let Err(refusal) = self.rooms.store(own.clone(), None, request.holder, now)
                {
                    self.count_dropped(&refusal);
                }
                Ok(self.listing(&own.room, Some(&own.context), Some(&own.session), None))
            }
            Operation::Publish { own, packages } => {
                self.rooms.store(own.clone(), Some(packages), request.holder, now)?;
                let key = self.keys.key(&own.room, &own.context);
                Ok(self.listing(&own.room, Some(&own.context), Some(&own.session), Some(key)))
            }
            Operation::Delete { own, key } => {
                let is_removed = self.keys.matches(&own.room, &own.context, &key) && self.rooms.delete(&own);
                if is_removed { Ok(P2pcfResponse::Deleted) } else { Err(Refusal::NoDeleteKey) }
            }
        }
    }

    fn listing(
        &mut self,
        room: &str,
        context: Option<&str>,
        session: Option<&str>,
        dk: Option<String>,
    ) -> P2pcfResponse {
        let listing = Listing { dk, ..self.rooms.list(room, context, session) };
        let (text, left_out) = (object::json(&listing), listing.left_out);
        (0..left_out).for_each(|_| self.rooms.actions.dropped(Dropped::FanOut));
        P2pcfResponse::Listing(text.into())
    }

    /// Counts a refusal, if a bound is the reason.
    fn count_dropped(&mut self, refusal: &Refusal) {
        match refusal {
            Refusal::RoomFull | Refusal::TooManyEntries => self.rooms.actions.dropped(Dropped::NoPlace),
            Refusal::OverQuota => self.rooms.actions.dropped(Dropped::Quota),
            _ => {}
        }
    }
}

// Delete keys. The key of an entry is computed from its room and its context id, which only its page knows. So the key is the
// same after each publish and after a restart, and it is not stored.

/// The length of a key, in characters.
const KEY_CHARS: usize = 24;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Separates these keys from everything else that is derived from the same secret.
const PURPOSE: &[u8] = b"delete keys of p2pcf";

/// Computes delete keys.
#[derive(Debug)]
pub struct DeleteKeys(SigningKey);

impl DeleteKeys {
    /// Delete keys that depend only on this secret.
    pub fn derived_from(secret: &[u8; 64]) -> Self {
        Self(SigningKey::derived(secret, PURPOSE))
    }

    fn key(&self, room: &str, context: &str) -> String {
        // A room's name contains no zero, so two entries never have the same input.
        let input = [room.as_bytes(), b"\0", context.as_bytes()].concat();
        let bytes = self.0.code(&input);
        let character = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
        bytes.iter().take(KEY_CHARS).map(character).collect()
    }

    /// Whether `text` is the key of this entry. The time that this takes says nothing about the key.
    fn matches(&self, room: &str, context: &str, text: &str) -> bool {
        self.key(room, context).as_bytes().ct_eq(text.as_bytes()).into()
    }
}

// The answer to a request, or its refusal, as a value. Refusals have the texts of the reference server where it has any.

/// The answer to a request that is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum P2pcfResponse {
    /// The request concerns no room, and is not refused. The caller makes the answer.
    Admitted,
    /// The entries of the room and the packages for the page, as JSON.
    Listing(Text),
    /// The entry is deleted.
    Deleted,
}

/// The answer to a request, or why nothing was done.
pub type P2pcfAnswer = Result<P2pcfResponse, Refusal>;

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Pages of this origin are not served.
    #[error("Unauthorized")]
    Origin,
    /// The pages of this origin have sent as many requests as they may in this month.
    #[error("Over quota")]
    OverQuota,
    /// The body is not JSON.
    #[error("Expected content-type application/json")]
    MediaType,
    /// No such method.
    #[error("Method not allowed")]
    Method,
    /// No entry has this context, session and delete key.
    #[error("No delete key")]
    NoDeleteKey,
    /// The page's clock is wrong.
    #[error("Bad timestamp")]
    Timestamp,
    /// The request does not have the form that the protocol needs, as this text says.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// The room has as many entries as it may.
    #[error("Room is full")]
    RoomFull,
    /// The client, or all clients together, have stored as much as they may.
    #[error("Too many entries")]
    TooManyEntries,
}

impl Refusal {
    const fn invalid(why: &'static str) -> Self {
        Self::Invalid(Cow::Borrowed(why))
    }

    fn bad_room(room: &dyn Display) -> Self {
        Self::Invalid(format!("Bad room id{room}").into())
    }

    /// The status of the response.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Origin => 401,
            Self::NoDeleteKey => 404,
            Self::Method => 405,
            Self::OverQuota | Self::RoomFull | Self::TooManyEntries => 429,
            Self::MediaType | Self::Timestamp | Self::Invalid(_) => 400,
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod delete_key_tests {
    use super::*;

    #[test]
    fn a_key_belongs_to_one_room_and_context_and_depends_on_the_secret() {
        let keys = DeleteKeys::derived_from(&[7; 64]);
        let key = keys.key("room", "context");
        assert_eq!(key.len(), KEY_CHARS);
        assert!(key.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert!(keys.matches("room", "context", &key));
        assert_eq!(DeleteKeys::derived_from(&[7; 64]).key("room", "context"), key);
        for (room, context) in [("roo", "mcontext"), ("room", "contexu"), ("room", "")] {
            assert!(!keys.matches(room, context, &key), "{room} {context}");
        }
        assert!(!keys.matches("room", "context", &key[..23]) && !keys.matches("room", "context", ""));
        assert!(!DeleteKeys::derived_from(&[8; 64]).matches("room", "context", &key));
        assert_eq!(format!("{keys:?}"), "DeleteKeys(SigningKey([redacted]))");
    }
}
