//! The parser of coturn's `ps` output. The text is not trusted: coturn prints the ORIGIN attribute of an allocation unchanged, up to 127
//! bytes of any kind with line breaks, and any holder of a credential can set it. So no line that may still belong to the longest origin
//! counts as the start of a session or as the total. No true line is lost by that, because coturn's own lines between the origin and the
//! next session have more bytes than the longest origin. Within a session the last line of a kind counts (of peers the one with the
//! furthest reach), and coturn prints its own lines after the origin. User names of listed sessions were signed with the shared secret.
//! coturn numbers the sessions 1, 2, 3 and ends with their total: a text whose numbers disagree is not a listing.

use std::net::{IpAddr, SocketAddr};

use crate::meter::prelude::*;
use turn_ledger::{Listing, Reach, Session, SessionId};

/// Most characters of a user name that are kept. coturn accepts 512 bytes; our names have 33.
const USER_MAX: usize = 64;

/// The most that the broker's own sessions relay together: a few datagrams each. If they have relayed more, somebody else has their name.
const PROBE_BYTES_MAX: ByteCount = ByteCount::new(100_000);

/// Most bytes of an origin as printed: coturn puts a carriage return before a line feed, and doubles some other bytes. coturn's own lines
/// between the origin and the next session have at least 276 bytes.
const ORIGIN_MAX: usize = 2 * 127;

/// Parses the output of `ps`: the raw bytes between the command and the next prompt. `None` if it is not a listing.
pub fn parse(answer: &[u8]) -> Option<Listing> {
    let mut reader = Reader::default();
    for line in answer.split(|byte| *byte == b'\n') {
        reader.line(line);
    }
    reader.close()
}

/// A session whose lines are still being read.
struct Draft {
    session: Session,
    /// Whether the line of its figures was read.
    has_usage: bool,
    /// Whether the next line can be a peer.
    in_peers: bool,
}

#[derive(Default)]
struct Reader {
    drafts: Vec<Draft>,
    /// Sessions beyond [`SESSIONS_MAX`]. They are only counted.
    skipped: u64,
    total: Option<u64>,
    /// How many of the next bytes can still belong to this session's origin. `None` before the first line of the origin.
    origin_left: Option<usize>,
    /// Whether a number or a total was not the expected one.
    is_out_of_order: bool,
}

impl Reader {
    fn line(&mut self, raw: &[u8]) {
        let text = String::from_utf8_lossy(raw);
        let line = text.trim();
        let may_be_forged = self.origin_left.is_some_and(|left| left > 0);
        if !may_be_forged && let Some((ordinal, id, user)) = header(line) {
            self.begin(ordinal, id, user);
        } else if !may_be_forged && let Some(total) = total(line) {
            self.is_out_of_order |= self.total.replace(total).is_some();
        // After a skipped session, lines are not those of the last draft.
        } else if self.skipped == 0
            && let Some(draft) = self.drafts.last_mut()
        {
            draft.line(line);
        }
        self.origin_left = match self.origin_left {
            Some(left) => Some(left.saturating_sub(raw.len().saturating_add(1))),
            None => line.starts_with("origin:").then_some(ORIGIN_MAX),
        };
    }

    fn begin(&mut self, ordinal: u64, id: SessionId, user: &str) {
        self.origin_left = None;
        self.is_out_of_order |= self.total.is_some() || ordinal != self.count().saturating_add(1);
        if self.drafts.len() >= SESSIONS_MAX {
            self.skipped = self.skipped.saturating_add(1);
            return;
        }
        let session = session(id, user, Default::default());
        self.drafts.push(Draft { session, has_usage: false, in_peers: false });
    }

    fn count(&self) -> u64 {
        u64::try_from(self.drafts.len()).unwrap_or(u64::MAX).saturating_add(self.skipped)
    }

    /// The listing; `None` if its total is missing, its numbers disagree, or a session lacks its figures.
    fn close(self) -> Option<Listing> {
        let (total, count) = (self.total?, self.count());
        if self.is_out_of_order || total < count {
            return None;
        }
        let is_complete = total == count && self.skipped == 0;
        if !self.drafts.iter().all(|draft| draft.has_usage) {
            return None;
        }
        let sessions = own_sessions_removed(self.drafts.into_iter().map(|draft| draft.session));
        Some(Listing { sessions, is_complete, ..Listing::default() })
    }
}

impl Draft {
    fn line(&mut self, line: &str) {
        if self.in_peers
            && let Some(reach) = peer(line)
        {
            self.session.reach = self.session.reach.max(reach);
            return;
        }
        self.in_peers = line == "peers:";
        if let Some(time) = line.strip_prefix("started ")
            && let Some(seconds) = time.strip_suffix(" secs ago")
        {
            self.session.age = number(seconds).map(Duration::from_secs);
        } else if let Some(counts) = line.strip_prefix("usage: ") {
            let usage = usage(counts, ["rp=", "rb=", "sp=", "sb="]);
            self.has_usage = usage.is_some();
            (self.session.packets, self.session.traffic) = usage.unwrap_or_default();
        }
    }
}

/// `12) id=001000000000000002, user <1795169280:AAAAAAAAAAAAAAAAAAAAAA>:`
fn header(line: &str) -> Option<(u64, SessionId, &str)> {
    let (ordinal, rest) = line.split_once(") id=")?;
    let (id, rest) = rest.split_once(", user <")?;
    Some((number(ordinal)?, session_id(id)?, rest.strip_suffix(">:")?))
}

/// `Total sessions: 3`
fn total(line: &str) -> Option<u64> {
    number(line.strip_prefix("Total sessions:")?.trim())
}

/// `rp=7, rb=912, sp=6, sb=536`: packets and bytes, received and sent, with these names.
pub(super) fn usage(counts: &str, names: [&str; 4]) -> Option<(u64, Traffic)> {
    let mut counts = counts.split(", ").zip(names);
    let mut next = || counts.next().and_then(|(count, name)| number(count.strip_prefix(name)?));
    let (packets_in, bytes_in, packets_out, bytes_out) = (next()?, next()?, next()?, next()?);
    Some((packets_in.saturating_add(packets_out), Traffic::new(bytes_in, bytes_out)))
}

/// `192.0.2.1` and `2001:db8::1` are permissions; `192.0.2.1:5000` and `[2001:db8::1]:5000` are channels.
fn peer(line: &str) -> Option<Reach> {
    if line.parse::<IpAddr>().is_ok() {
        return Some(Reach::Permitted);
    }
    line.parse::<SocketAddr>().ok().map(|_| Reach::Bound)
}

/// The number of a session; `None` unless it is above zero.
pub(super) fn session_id(text: &str) -> Option<SessionId> {
    number(text).and_then(SessionId::new)
}

/// The session with this user name and these packets and bytes. Its age and peers are not known.
pub(super) fn session(id: SessionId, user: &str, (packets, traffic): (u64, Traffic)) -> Session {
    let (expires_at, grant) = expiry_and_grant(user);
    let user = user.chars().take(USER_MAX).collect();
    Session { id, grant, expires_at, user, age: None, packets, traffic, reach: Reach::Nobody }
}

/// The sessions without those of the broker itself, unless these have relayed more than a few datagrams.
pub(super) fn own_sessions_removed(sessions: impl IntoIterator<Item = Session>) -> Vec<Session> {
    let (own, mut sessions): (Vec<_>, Vec<_>) = sessions.into_iter().partition(has_own_name);
    let relayed = own.iter().map(|session| session.traffic.received.plus(session.traffic.sent));
    if relayed.fold(ByteCount::ZERO, ByteCount::plus) > PROBE_BYTES_MAX {
        sessions.extend(own);
    }
    sessions
}

/// Whether a session has the name of one of the broker's own or of `doctor`, so that no client is charged for it.
fn has_own_name(session: &Session) -> bool {
    session.user.split_once(':').is_some_and(|(_, name)| name.starts_with(OWN_IDENTIFIERS))
}

/// The expiry and the grant in a user name. Ours are `<expiry>:<grant id>`.
fn expiry_and_grant(user: &str) -> (Option<Timestamp>, GrantId) {
    let timed = user.split_once(':').and_then(|(expiry, name)| Some((number(expiry)?, name)));
    let expires_at =
        timed.map(|(expiry, _)| Timestamp::from_millis(0).plus_millis(expiry.saturating_mul(1_000)));
    let grant = timed.and_then(|(_, name)| name.parse().ok());
    (expires_at, grant.unwrap_or_else(|| GrantId::of_foreign(user)))
}

/// Parses a text of decimal digits only.
fn number(text: &str) -> Option<u64> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal { text.parse().ok() } else { None }
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
