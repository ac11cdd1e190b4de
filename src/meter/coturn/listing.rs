//! The parser of coturn's `ps` output. The text is not trusted: coturn prints the ORIGIN attribute of an allocation
//! unchanged, up to 127 bytes of any kind with line breaks, and any holder of a credential can set it. A client cannot
//! change how coturn counts: it numbers the sessions 1, 2, 3 and ends with their total. So a listing is accepted in
//! full only if its numbers and its total agree. Added lines cannot achieve that, because all true lines are still
//! there. Otherwise only the part before the first origin is accepted. Within a session the last line of a kind counts,
//! and coturn prints its own lines after the origin. User names of listed sessions were signed with the shared secret.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use turn_ledger::{Forger, GrantId, Listing, Reach, SESSIONS_MAX, Session, SessionId, Timestamp, Traffic};

/// Most characters of a user name that are kept. coturn accepts 512 bytes; our names have 33.
const USER_MAX: usize = 64;

/// Parses the output of `ps`: the raw bytes between the command and the next prompt. `None` if it is not a listing.
pub fn parse(answer: &[u8]) -> Option<Listing> {
    let mut reader = Reader::default();
    for line in answer.split(|byte| *byte == b'\n') {
        reader.line(&String::from_utf8_lossy(line));
    }
    reader.close()
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

    fn close(mut self) -> Option<Listing> {
        let total = self.total?;
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
            _ if self.is_out_of_order || total < self.count() => return None,
            _ => None,
        };
        let sessions = self.drafts.into_iter().map(Draft::finish).collect::<Option<_>>()?;
        Some(Listing { sessions, is_complete: is_consistent, forger })
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
        let Self { id, user, age, reach, .. } = self;
        let (expires_at, grant) = ours(&user).unzip();
        Some(Session { id, grant, expires_at, user, age, packets, traffic, reach })
    }
}

/// `12) id=001000000000000002, user <1795169280:AAAAAAAAAAAAAAAAAAAAAA>:`
fn header(line: &str) -> Option<(u64, SessionId, &str)> {
    let (ordinal, rest) = line.split_once(") id=")?;
    let (id, rest) = rest.split_once(", user <")?;
    Some((number(ordinal)?, session_id(id)?, rest.strip_suffix(">:")?))
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

/// The number of a session; `None` unless it is above zero.
fn session_id(text: &str) -> Option<SessionId> {
    number(text).and_then(SessionId::new)
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
