//! The parser of coturn's `ps` output. The text is not trusted: coturn prints the ORIGIN attribute of an allocation
//! unchanged, up to 127 bytes of any kind with line breaks, and any holder of a credential can set it. A client cannot
//! change how coturn counts: it numbers the sessions 1, 2, 3 and ends with their total. So a listing is accepted in
//! full only if its numbers and its total agree. Added lines cannot achieve that, because all true lines are still
//! there. Otherwise only the part before the first origin is accepted. Within a session the last line of a kind counts,
//! and coturn prints its own lines after the origin. User names of listed sessions were signed with the shared secret.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::token::GrantId;
use crate::traffic::Traffic;
use crate::units::Timestamp;

/// Most sessions that are read. With more, the listing is not complete.
pub const SESSIONS_MAX: usize = 65_536;
/// Most characters of a user name that are kept. coturn accepts 512 bytes; our names have 33.
const USER_MAX: usize = 64;

/// A session's number in coturn. Numbers start again when coturn restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct SessionId(u64);

impl SessionId {
    /// From its number; `None` for zero.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// From the digits that coturn prints; `None` unless they are a number above zero.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        number(text).and_then(Self::new)
    }
}

impl fmt::Display for SessionId {
    /// As coturn prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:018}", self.0)
    }
}

/// The peers that a session can exchange packets with, by the client's requests.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum Reach {
    /// No peer: nothing is relayed.
    #[default]
    Nobody,
    /// A permission for an address. Browsers request one for each candidate and never use most of them.
    Permitted,
    /// A channel to an address and port. Browsers request it before they send data.
    Bound,
}

/// One authenticated session, which is one allocation. Those without a valid credential are not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session's number.
    pub id: SessionId,
    /// Its user name, cut to 64 characters.
    pub user: String,
    /// The grant in the user name; `None` for names that are not ours.
    pub grant: Option<GrantId>,
    /// When the credential expires, by the user name; `None` for names that are not ours.
    pub expires_at: Option<Timestamp>,
    /// Its age in whole seconds; `None` if coturn does not know it.
    pub age: Option<Duration>,
    /// Packets between the relay and the client in both directions, as of coturn's last update of its figures.
    pub packets: u64,
    /// Bytes between the relay and the client, as of the same update.
    pub traffic: Traffic,
    /// The peers that it can exchange packets with.
    pub reach: Reach,
}

/// The sessions at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The accepted sessions, in no particular order.
    pub sessions: Vec<Session>,
    /// Whether these are all sessions. If not, a missing session may still be alive.
    pub is_complete: bool,
    /// The session that probably forged the listing: the first one with an origin in a listing that does not add up.
    /// Once it is cut, the next listing contains more.
    pub forger: Option<Forger>,
}

/// A session whose origin made a listing unreliable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forger {
    /// The session's number.
    pub id: SessionId,
    /// Its grant; `None` for names that are not ours.
    pub grant: Option<GrantId>,
}

/// The text is not a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the answer of coturn's `ps`")]
pub struct NotAListing;

impl Listing {
    /// Parses the output of `ps`: the raw bytes between the command and the next prompt.
    pub fn parse(answer: &[u8]) -> Result<Self, NotAListing> {
        let mut reader = Reader::default();
        for line in answer.split(|byte| *byte == b'\n') {
            reader.line(&String::from_utf8_lossy(line));
        }
        reader.close()
    }
}

/// A session whose lines are still being read.
struct Draft {
    id: SessionId,
    user: String,
    age: Option<Duration>,
    usage: Option<(u64, Traffic)>,
    reach: Reach,
    has_origin: bool,
    in_peers: bool,
}

#[derive(Default)]
struct Reader {
    drafts: Vec<Draft>,
    /// Sessions beyond [`SESSIONS_MAX`]. They are only counted.
    skipped: u64,
    total: Option<u64>,
    /// Whether a number or a total was not the expected one.
    is_out_of_order: bool,
}

impl Reader {
    fn line(&mut self, raw: &str) {
        let line = raw.trim();
        if let Some((ordinal, id, user)) = header(line) {
            self.begin(ordinal, id, user);
        } else if let Some(total) = line.strip_prefix("Total sessions:").map(str::trim).and_then(number) {
            self.is_out_of_order |= self.total.replace(total).is_some();
        } else if self.skipped == 0
            && let Some(draft) = self.drafts.last_mut()
        {
            draft.line(line);
        }
    }

    fn begin(&mut self, ordinal: u64, id: SessionId, user: &str) {
        self.is_out_of_order |= self.total.is_some() || ordinal != self.count().saturating_add(1);
        if self.drafts.len() >= SESSIONS_MAX {
            self.skipped = self.skipped.saturating_add(1);
            return;
        }
        self.drafts.push(Draft {
            id,
            user: user.chars().take(USER_MAX).collect(),
            age: None,
            usage: None,
            reach: Reach::Nobody,
            has_origin: false,
            in_peers: false,
        });
    }

    fn count(&self) -> u64 {
        u64::try_from(self.drafts.len()).unwrap_or(u64::MAX).saturating_add(self.skipped)
    }

    fn close(mut self) -> Result<Listing, NotAListing> {
        let total = self.total.ok_or(NotAListing)?;
        let is_whole = total == self.count() && self.skipped == 0;
        // The numbers of a shortened listing cannot be compared with its total, so its origins are not trusted either.
        let is_consistent = is_whole && !self.is_out_of_order;
        let first_origin = self.drafts.iter().position(|draft| draft.has_origin);
        let forger = match first_origin {
            Some(place) if !is_consistent => {
                let forger = &self.drafts[place];
                let forger = Forger { id: forger.id, grant: ours(&forger.user).map(|(_, grant)| grant) };
                self.drafts.truncate(place);
                Some(forger)
            }
            _ if self.is_out_of_order || total < self.count() => return Err(NotAListing),
            _ => None,
        };
        let sessions: Option<_> = self.drafts.into_iter().map(Draft::finish).collect();
        Ok(Listing { sessions: sessions.ok_or(NotAListing)?, is_complete: is_consistent, forger })
    }
}

impl Draft {
    fn line(&mut self, line: &str) {
        if self.in_peers
            && let Some(reach) = peer(line)
        {
            self.reach = self.reach.max(reach);
            return;
        }
        self.in_peers = line == "peers:";
        if line.starts_with("origin:") {
            self.has_origin = true;
        } else if let Some(seconds) = between(line, "started ", " secs ago") {
            self.age = number(seconds).map(Duration::from_secs);
        } else if let Some(counts) = line.strip_prefix("usage: ") {
            self.usage = usage(counts);
        }
    }

    fn finish(self) -> Option<Session> {
        let (packets, traffic) = self.usage?;
        let (expires_at, grant) = ours(&self.user).unzip();
        Some(Session {
            id: self.id,
            grant,
            expires_at,
            user: self.user,
            age: self.age,
            packets,
            traffic,
            reach: self.reach,
        })
    }
}

/// `12) id=001000000000000002, user <1795169280:AAAAAAAAAAAAAAAAAAAAAA>:`
fn header(line: &str) -> Option<(u64, SessionId, &str)> {
    let (ordinal, rest) = line.split_once(") id=")?;
    let (id, rest) = rest.split_once(", user <")?;
    Some((number(ordinal)?, SessionId::parse(id)?, rest.strip_suffix(">:")?))
}

/// `rp=7, rb=912, sp=6, sb=536`: packets and bytes, received and sent.
fn usage(counts: &str) -> Option<(u64, Traffic)> {
    let mut counts = counts.split(", ").zip(["rp=", "rb=", "sp=", "sb="]);
    let mut next = || counts.next().and_then(|(count, name)| number(count.strip_prefix(name)?));
    let (packets_in, bytes_in, packets_out, bytes_out) = (next()?, next()?, next()?, next()?);
    Some((packets_in.saturating_add(packets_out), Traffic::new(bytes_in, bytes_out)))
}

/// `192.0.2.1` and `2001:db8::1` are permissions; `192.0.2.1:5000` and `[2001:db8::1]:5000` are channels.
fn peer(line: &str) -> Option<Reach> {
    let permitted = line.parse::<IpAddr>().ok().map(|_| Reach::Permitted);
    permitted.or_else(|| line.parse::<SocketAddr>().ok().map(|_| Reach::Bound))
}

/// Parses our user names: `<expiry>:<grant id>`.
fn ours(user: &str) -> Option<(Timestamp, GrantId)> {
    let (expiry, id) = user.split_once(':')?;
    let expires_at = Timestamp::from_millis(0).plus_millis(number(expiry)?.saturating_mul(1_000));
    Some((expires_at, id.parse().ok()?))
}

fn between<'a>(line: &'a str, start: &str, end: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix(end)
}

/// Parses a text of decimal digits only.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
