//! What coturn's sessions carry from listing to listing. Tests: below.
//! Listings in close succession show all relayed bytes. After a gap, sessions may have begun and ended between the listings.

use std::fmt;

use super::{SessionDelta, Sessions};
use crate::coturn::SessionRow;
use crate::prelude::*;

/// Two listings that are further apart than this have a gap between them. The service asks two seconds after an answer, which takes five
/// seconds at most.
const LISTING_GAP: Duration = Duration::from_secs(8);

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct CoturnUsage {
    pub(crate) sessions: Sessions,
    /// The time of the last listing that showed all sessions; 1970 before the first.
    pub(crate) complete_at: Timestamp,
    /// What the relay carries now. Not stored.
    pub(crate) load: RelayLoad,
    /// The sessions whose end coturn has reported since the last complete listing. At most [`SESSIONS_MAX`].
    ended: Vec<Session>,
    /// Whether some time since the last complete listing was not observed.
    is_after_gap: bool,
}

/// What a relay carries now, for our sessions and for those of other programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayLoad {
    /// Sessions in the last complete listing.
    pub sessions: usize,
    /// Billed bytes a second, over about the last four listings: coturn shows bytes in steps.
    pub bytes_per_second: u64,
}

/// What sessions have carried since the last complete listing.
#[derive(Clone, Debug, Default)]
pub struct ListedBytes {
    /// All of it.
    pub(crate) carried: Carried,
    /// The billed bytes of each grant in this period, also under credentials of other programs.
    pub(crate) by_grant: BTreeMap<GrantId, ByteCount>,
}

impl RelayLoad {
    /// The load after a listing of so many sessions, which have carried so many bytes in the `millis` since the listing before. The rate in
    /// this time counts for a quarter, and the load before for three quarters.
    fn next(self, sessions: usize, bytes: ByteCount, millis: u64) -> Self {
        let latest = bytes.get().saturating_mul(1_000).checked_div(millis).unwrap_or(0);
        let four_times = self.bytes_per_second.saturating_mul(3).saturating_add(latest);
        Self { sessions, bytes_per_second: four_times / 4 }
    }
}

impl CoturnUsage {
    /// The usage as stored. From here on, changes are recorded.
    pub fn restore(complete_at: Timestamp, sessions: BTreeMap<SessionId, SessionRow>) -> Self {
        Self { sessions: Sessions::restore(complete_at, sessions), complete_at, ..Self::default() }
    }

    /// Keeps the ends that the listing at `now` reports until [`Self::take`]. Returns whether the listing follows a gap.
    pub(crate) fn collect(&mut self, listing: &Listing, now: Timestamp) -> bool {
        let room = SESSIONS_MAX.saturating_sub(self.ended.len());
        self.ended.extend(listing.ended.iter().take(room).cloned());
        let has_gap = now.since(self.complete_at) > LISTING_GAP;
        self.is_after_gap |= listing.is_after_gap || has_gap || listing.ended.len() > room;
        self.is_after_gap
    }

    /// Takes the listing at `now`, which was [collected](Self::collect). `rate`: what is assumed of a grant. `reset`: when this period began.
    /// `None`: the listing is not complete, and is ignored. The next complete one shows its bytes, too.
    pub fn take(
        &mut self,
        listing: &Listing,
        now: Timestamp,
        billed: BilledDirections,
        rate: BitRate,
        reset: Timestamp,
    ) -> Option<ListedBytes> {
        if !listing.is_complete {
            return None;
        }
        let is_after_gap = std::mem::take(&mut self.is_after_gap);
        let ended = std::mem::take(&mut self.ended);
        // A short span over a reset is not divided: all its bytes are of the new period.
        let divided_at = Some(reset).filter(|reset| is_after_gap && self.complete_at < *reset);
        let SessionDelta { added, before, lost, .. } =
            self.sessions.take([&listing.sessions, &ended], now, rate, divided_at);
        let millis = now.millis_since(std::mem::replace(&mut self.complete_at, now));
        let [before, lost, hidden] =
            [before, lost, self.sessions.hidden(now, rate)].map(|traffic| traffic.billed(billed));
        let mut carried =
            Carried { as_of: now, is_shown: true, is_after_gap, before, lost, hidden, ..Carried::default() };
        let mut by_grant = BTreeMap::new();
        for (grant, traffic) in added {
            let bytes = traffic.billed(billed);
            let sum = if grant.is_foreign() { &mut carried.other } else { &mut carried.granted };
            *sum = sum.plus(bytes);
            by_grant.insert(grant, bytes);
        }
        let bytes = carried.granted.plus(carried.other);
        self.load = self.load.next(listing.sessions.len(), bytes, millis);
        Some(ListedBytes { carried, by_grant })
    }
}

// One listing of coturn's sessions, as typed values. Tests: `src/coturn/sessions_tests.rs`.

/// Most sessions that are read. A listing with more is not complete.
pub const SESSIONS_MAX: usize = 65_536;

/// A session's number in coturn. Numbers start again when coturn restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct SessionId(u64);

impl SessionId {
    /// From its number; `None` for zero.
    pub fn new(number: u64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// Its number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SessionId {
    /// As coturn prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:018}", self.0)
    }
}

/// The peers that a session can exchange packets with, by the client's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[derive(serde::Serialize, serde::Deserialize)]
pub enum Reach {
    /// No peer: nothing is relayed.
    #[default]
    Nobody,
    /// A permission for an address. Browsers request one for each candidate and never use most of them.
    Permitted,
    /// A channel to an address and port. Browsers request it before they send data.
    Bound,
}

/// One authenticated session, which is one allocation. Sessions without a valid credential are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session's number.
    pub id: SessionId,
    /// Its user name. A long one is shortened.
    pub user: String,
    /// The grant in the user name. A name that is not ours has an id of its own, which [is foreign](GrantId::is_foreign).
    pub grant: GrantId,
    /// When the credential expires, by the user name; `None` for a name that does not say it.
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
    /// The authenticated sessions, in no particular order.
    pub sessions: Vec<Session>,
    /// The sessions whose end coturn has reported since the last listing, with their exact totals. Also one that no listing has shown.
    pub ended: Vec<Session>,
    /// Whether these are all sessions. If not, a missing session may still be alive.
    pub is_complete: bool,
    /// Whether reports of ends may have been lost since the last complete listing.
    pub is_after_gap: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coturn::{Reach, Session};
    use turn_budget::Traffic;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_738_364_400_000).plus_millis(seconds * 1_000)
    }

    fn read(
        book: &mut CoturnUsage,
        seconds: u64,
        is_complete: bool,
        sessions: &[(u64, bool, u64)],
    ) -> Option<(u64, u64, bool)> {
        let session = |&(id, is_ours, sent): &(u64, bool, u64)| Session {
            id: SessionId::new(id).unwrap(),
            user: format!("user-{id}"),
            expires_at: None,
            grant: if is_ours { GrantId::new([7; 16]) } else { GrantId::of_foreign("carol") },
            age: Some(Duration::from_secs(seconds)),
            packets: 1,
            traffic: Traffic::new(0, sent),
            reach: Reach::Nobody,
        };
        let listing =
            Listing { sessions: sessions.iter().map(session).collect(), is_complete, ..Listing::default() };
        book.collect(&listing, at(seconds));
        let ListedBytes { carried, .. } = book.take(
            &listing,
            at(seconds),
            BilledDirections::Egress,
            BitRate::new(2_000_000),
            Timestamp::default(),
        )?;
        assert_eq!(carried.as_of, at(seconds));
        Some((carried.granted.get(), carried.other.get(), carried.is_after_gap))
    }

    #[test]
    fn each_listing_says_what_our_sessions_and_others_carried_since_the_last_one() {
        let mut book = CoturnUsage::default();
        assert_eq!(read(&mut book, 10, true, &[(1, true, 500), (2, false, 70)]), Some((500, 70, true)));
        assert_eq!(read(&mut book, 12, true, &[(1, true, 900), (3, true, 5)]), Some((405, 0, false)));
        assert_eq!(read(&mut book, 73, true, &[(1, true, 900)]), Some((0, 0, true)), "after 61 s");
    }

    #[test]
    fn the_load_is_that_of_the_last_listings() {
        let mut book = CoturnUsage::default();
        read(&mut book, 10, true, &[(1, true, 0)]);
        for (seconds, sent, expected) in [(12, 8_000, 1_000), (14, 16_000, 1_750), (16, 16_000, 1_312)] {
            read(&mut book, seconds, true, &[(1, true, sent), (2, false, 0)]);
            assert_eq!(book.load, RelayLoad { sessions: 2, bytes_per_second: expected }, "{seconds}");
        }
    }

    #[test]
    fn what_an_incomplete_listing_shows_counts_with_the_next_complete_one() {
        let mut book = CoturnUsage::default();
        let mut rows = BTreeMap::new();
        book.sessions = Sessions::restore(Timestamp::default(), rows.clone());
        assert_eq!(read(&mut book, 10, true, &[(1, true, 500)]), Some((500, 0, true)));
        assert_eq!(read(&mut book, 12, false, &[(1, true, 600)]), None);
        assert_eq!(read(&mut book, 13, false, &[]), None, "it says of no session that it has ended");
        rows.extend(book.sessions.take_changes().into_iter().filter_map(|(id, row)| Some((id, row?))));
        let mut book = CoturnUsage::restore(book.complete_at, rows);
        assert_eq!(read(&mut book, 14, true, &[(1, true, 700)]), Some((200, 0, false)));
    }
}
