//! P2PCF: pages find each other by polling over HTTP. A page publishes an entry in a room and reads the entries of the
//! other pages, with their packages for it. There are no sockets, so an entry lives until it expires, and one function answers
//! every request: [`P2pcf::answer`]. Nobody learns the context id or the delete key of another page.
//!
//! | where | what |
//! |---|---|
//! | `answer` | the answer to a request, as a value |
//! | `body` | the body of a POST, checked in the order of the reference server |
//! | `rooms` | the entries, from publish to expiry |
//! | `quota` | how many requests a month the pages of an origin may send |
//! | `delete_key` | delete keys, which need no storage |

mod answer;
mod body;
mod delete_key;
mod quota;
mod rooms;

use std::time::Duration;

use turn_budget::Timestamp;
use turn_limits::Holder;

use crate::{Action, Dropped, object};
pub use answer::{P2pcfAnswer, P2pcfResponse, Refusal};
pub use body::Operation;
pub use delete_key::DeleteKeys;
pub use quota::Origin;
use quota::OriginQuota;
use rooms::{Listing, P2pcfRooms};

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

#[cfg(test)]
mod tests;
