//! What coturn's `ps` prints, read. The text is not to be trusted: the ORIGIN attribute of an allocation is printed as it
//! came, 127 bytes of any kind, line ends among them, and whoever holds a credential chooses it. What cannot be chosen is
//! how coturn counts: it numbers the sessions 1, 2, 3 and closes with their total. So a listing is believed when its
//! numbers and its total agree, which no added line can bring about, since the true ones are all still there; of one that
//! disagrees, only what stands before the first origin is believed. Within a session the last line of a kind counts,
//! and coturn prints its own after the origin. User names come from outside too, but those of listed sessions were
//! signed by us or by whoever shares the secret.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::token::GrantId;
use crate::traffic::Traffic;
use crate::units::Timestamp;

/// Sessions that are read at most. With more, the listing is not complete.
pub const SESSIONS_MAX: usize = 65_536;
/// Characters of a user name that are kept; coturn takes 512 bytes, ours have 33.
const USER_MAX: usize = 64;

/// A session's number in coturn. They begin again when coturn does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct SessionId(u64);

impl SessionId {
    /// From its number, which is above zero.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// From the digits that coturn prints: a number above zero, by which alone a session is named to coturn.
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

/// Whom a session can exchange packets with, as far as the client has asked for it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum Reach {
    /// No peer: nothing is relayed.
    #[default]
    Nobody,
    /// A permission for an address. Browsers ask for one for each candidate, and for most nothing follows.
    Permitted,
    /// A channel to an address and port. Browsers ask for it when they have something to send.
    Bound,
}

/// One authenticated session, which is one allocation. Those without a valid credential are not listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Which session.
    pub id: SessionId,
    /// Its user name, cut to 64 characters.
    pub user: String,
    /// The grant in the user name; `None` for names that we did not give.
    pub grant: Option<GrantId>,
    /// When the credential expires, by the user name, where it is one of ours.
    pub expires_at: Option<Timestamp>,
    /// How long it has been there, in whole seconds; `None` when coturn does not know.
    pub age: Option<Duration>,
    /// Packets of the client leg in both directions, as of the last time that coturn updated its figures.
    pub packets: u64,
    /// Bytes of the client leg, as of the same time.
    pub traffic: Traffic,
    /// Whom it can reach.
    pub reach: Reach,
}

/// The sessions at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Those that can be believed, in coturn's order, which is none.
    pub sessions: Vec<Session>,
    /// Whether these are all. When not, a session that is missing may well be alive.
    pub is_complete: bool,
    /// Who made the listing unbelievable from itself on, most likely: the first session that has an origin. Without a
    /// figure, since none can be trusted. Once it is cut, the next listing tells more.
    pub forger: Option<Forger>,
}

/// A session whose origin is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forger {
    /// Which session.
    pub id: SessionId,
    /// Its grant.
    pub grant: Option<GrantId>,
}

/// A text that is no listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the answer of coturn's `ps`")]
pub struct NotAListing;

impl Listing {
    /// Reads the answer to `ps`, from behind the command to before the next prompt, as it came over the wire.
    pub fn parse(answer: &[u8]) -> Result<Self, NotAListing> {
        let mut reader = Reader::default();
        for line in answer.split(|byte| *byte == b'\n') {
            reader.line(&String::from_utf8_lossy(line));
        }
        reader.close()
    }
}

/// A session of which not all lines were read yet.
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
    /// Sessions beyond the bound, which were counted only.
    skipped: u64,
    total: Option<u64>,
    /// A number, a total or a place that cannot be.
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
        // What is cut short has no total to be held against, so origins are not believed there either.
        let is_believed = is_whole && !self.is_out_of_order;
        let first_origin = self.drafts.iter().position(|draft| draft.has_origin);
        let forger = match first_origin {
            Some(place) if !is_believed => {
                let forger = &self.drafts[place];
                let forger = Forger { id: forger.id, grant: ours(&forger.user).map(|(_, grant)| grant) };
                self.drafts.truncate(place);
                Some(forger)
            }
            _ if self.is_out_of_order || total < self.count() => return Err(NotAListing),
            _ => None,
        };
        let sessions: Option<_> = self.drafts.into_iter().map(Draft::finish).collect();
        Ok(Listing { sessions: sessions.ok_or(NotAListing)?, is_complete: is_believed, forger })
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

/// `192.0.2.1` and `2001:db8::1` are permissions, `192.0.2.1:5000` and `[2001:db8::1]:5000` channels.
fn peer(line: &str) -> Option<Reach> {
    let permitted = line.parse::<IpAddr>().ok().map(|_| Reach::Permitted);
    permitted.or_else(|| line.parse::<SocketAddr>().ok().map(|_| Reach::Bound))
}

/// Our user names are `<expiry>:<grant id>`.
fn ours(user: &str) -> Option<(Timestamp, GrantId)> {
    let (expiry, id) = user.split_once(':')?;
    let expires_at = Timestamp::from_millis(0).plus_millis(number(expiry)?.saturating_mul(1_000));
    Some((expires_at, id.parse().ok()?))
}

fn between<'a>(line: &'a str, start: &str, end: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix(end)
}

/// Decimal digits and nothing else.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
