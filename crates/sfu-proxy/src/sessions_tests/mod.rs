//! Tests of the table: what a caller may do, what is counted, and when a session ends.

mod bounds;
mod metering;
mod owners;
mod random;
mod replies;
mod restart;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::looks::{LOOK_AGAIN, LOOK_SOON_MAX, LOOK_SOON_MIN};
use super::*;
use crate::addresses::{NEW_SESSIONS, PER_ADDRESS_MAX};
use crate::answer::ConfirmedTrack;
use crate::name::Name;
use crate::request::Pull;
use crate::request::Push;
use crate::session::look::Look;
use crate::session::{CALLS, ChangedSession, FAILED_LOOKS_MAX};
use crate::taken::{LateTrack, VideoRates};
use crate::track::{AUDIO_KBPS, Direction, MediaKind, TrackId};
use turn_ledger::ClientKey;
use turn_ledger::GrantId;
use turn_signaling::call::{CallName, MediaAfter, MemberId, ProtocolName};

impl Sessions {
    /// Whether a session is known.
    fn knows(&self, id: &SessionId) -> bool {
        self.rows.contains_key(id)
    }

    /// Whether no session is known.
    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The room of a session.
    fn room_of(&self, id: &SessionId) -> Option<Arc<str>> {
        self.rows.get(id)?.room.clone()
    }
}

const LIFE: Duration = Duration::from_secs(3_600);

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn id(text: &str) -> SessionId {
    SessionId::new(text).unwrap()
}

/// The assumed rate of video in these tests, in kbit/s, and the estimated one in most.
const VIDEO: u32 = 2_000;
const LOOK_AFTER_MIN: Duration = Duration::from_secs(15);
const LOOK_AFTER_MAX: Duration = Duration::from_secs(45);
const TERMS: SfuTerms = SfuTerms {
    video: VideoRates { assumed: VIDEO, estimated: VIDEO },
    client_kbps: 1_000_000,
    look_after_max: LOOK_AFTER_MAX,
};

fn name(n: usize) -> Name {
    Name::new(&n.to_string()).unwrap()
}

/// A track that a session sends.
fn sent(n: usize) -> TrackKey {
    TrackKey { id: TrackId::Mid(name(n)), direction: Direction::Local }
}

/// A track that a session takes.
fn taken(n: usize) -> TrackKey {
    TrackKey { direction: Direction::Remote, ..sent(n) }
}

fn at(last: u8) -> ClientKey {
    ClientKey::of(IpAddr::V4(Ipv4Addr::new(203, 0, 113, last)))
}

fn caller(last: u8) -> Caller {
    Caller { user: None, grant: None, address: at(last) }
}

fn pull(from: &[&str]) -> RequestedTracks {
    let pull =
        |from: &&str| Pull { session: id(from), name: Some(name(0)), mid: None, kind: MediaKind::Video };
    RequestedTracks { pulled: from.iter().map(pull).collect(), ..RequestedTracks::default() }
}

fn push(count: usize) -> RequestedTracks {
    let push = |n| Push { mid: Some(name(n)), name: Some(name(n)), kind: MediaKind::Video };
    RequestedTracks { pushed: (0..count).map(push).collect(), ..RequestedTracks::default() }
}

/// An entry of an answer.
fn entry(id: TrackId, direction: Option<Direction>, is_active: bool) -> ConfirmedTrack {
    ConfirmedTrack { id, direction, session: None, name: None, is_active }
}

fn tracks(mids: &[usize]) -> SfuAnswer {
    let track = |n: &usize| entry(sent(*n).id, None, true);
    SfuAnswer { tracks: mids.iter().map(track).collect(), ..SfuAnswer::default() }
}

/// The table with a clock.
struct Table {
    sessions: Sessions,
    now: Duration,
}

/// A session of one caller in the room `r`.
fn session(name: &str, life: Duration, taken: Taken) -> NewSession {
    NewSession { id: id(name), room: Some("r".into()), owner: caller(1), life, taken }
}

impl Default for Table {
    fn default() -> Self {
        Self { sessions: Sessions::new(TERMS, 1), now: Duration::ZERO }
    }
}

impl Table {
    fn open(&mut self, name: &str, room: Option<&str>, owner: Caller) -> Result<(), Fault> {
        self.sessions.reserve(&owner.holder(), self.now)?;
        let session = NewSession {
            id: id(name),
            room: room.map(Arc::from),
            owner,
            life: LIFE,
            taken: Taken::default(),
        };
        self.sessions.begin(session, self.now);
        Ok(())
    }

    /// A table with these sessions in these rooms.
    fn with(sessions: &[(&str, &str)]) -> Self {
        let mut table = Self::default();
        for (name, room) in sessions {
            table.open(name, Some(room), caller(1)).unwrap();
        }
        table
    }

    /// A request that the SFU confirms. What it pulls is active at once.
    fn add(&mut self, name: &str, wanted: &RequestedTracks, mids: &[usize]) {
        let wanted = self.sessions.check_request(&id(name), wanted.clone()).unwrap();
        self.sessions.answered(&id(name), &wanted, &tracks(mids), self.now);
        if !wanted.pulled.is_empty() {
            let active: Vec<_> = mids.iter().map(|n| (*n, true)).collect();
            let look = Look { id: id(name), version: u64::MAX, is_random: false };
            self.sessions.looked(&look, &state(&active), self.now);
        }
    }

    fn wait(&mut self, span: Duration) -> Vec<(SessionId, Vec<TrackKey>)> {
        self.now += span;
        self.sessions.elapse(self.now)
    }

    fn see(&mut self, name: &str, state: &SfuAnswer) {
        let look = self.sessions.look_at(&id(name)).unwrap();
        self.sessions.looked(&look, state, self.now);
    }

    fn closed(&mut self, name: &str, mids: &[usize]) {
        self.sessions.closed(&id(name), &tracks(mids), self.now);
    }

    /// What has happened, as short words.
    fn events(&mut self) -> Vec<String> {
        let events = self.sessions.take_events().into_iter();
        events
            .map(|event| match event {
                CallEvent::Joined { call, member, .. } => format!("{} joins {}", member.0, call.room),
                CallEvent::Connected { call } => format!("{} connects", call.room),
                CallEvent::Left { call, member, media } => {
                    assert_eq!(media, MediaAfter::Ends);
                    format!("{} leaves {}", member.0, call.room)
                }
            })
            .collect()
    }
}

fn state(pulled: &[(usize, bool)]) -> SfuAnswer {
    let track = |(n, is_active): &(usize, bool)| entry(sent(*n).id, Some(Direction::Remote), *is_active);
    SfuAnswer { tracks: pulled.iter().map(track).collect(), ..SfuAnswer::default() }
}

#[test]
fn pulled_tracks_count_until_they_are_closed() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    table.add("a", &push(2), &[0, 1]);
    assert_eq!(table.sessions.pulled(), 0, "what a session sends is not billed");
    table.add("b", &pull(&["a", "a"]), &[0, 1]);
    assert_eq!(table.sessions.pulled(), 2);
    table.closed("b", &[0]);
    assert_eq!(table.sessions.pulled(), 1, "the SFU has confirmed no more");
    table.closed("b", &[1, 9]);
    assert_eq!(table.sessions.pulled(), 0);
}

#[test]
fn a_request_that_pushes_and_pulls_counts_what_the_answer_says() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    let both = RequestedTracks { pushed: push(1).pushed, ..pull(&["a"]) };
    table.add("b", &both, &[0, 1]);
    let keys = |table: &Table| table.sessions.with_tracks(["b"].map(id).into_iter()).remove(0).1;
    assert_eq!(
        keys(&table),
        [sent(0), taken(0), taken(1)],
        "what a look reports counts beside what was pushed"
    );
    table.see("b", &state(&[(1, true)]));
    assert_eq!(table.sessions.pulled(), 1);
    let channel = |id, direction| entry(TrackId::Channel(id), Some(direction), true);
    let tracks = vec![channel(3, Direction::Remote)];
    let channels = SfuAnswer { tracks, ..SfuAnswer::default() };
    table.sessions.answered(&id("b"), &pull(&["a"]), &channels, table.now);
    let own = SfuAnswer { tracks: vec![channel(4, Direction::Local)], ..SfuAnswer::default() };
    let sends = RequestedTracks { channels: 1, ..RequestedTracks::default() };
    table.sessions.answered(&id("b"), &sends, &own, table.now);
    assert_eq!(table.sessions.pulled(), 2, "a data channel counts as a track");
    let closable = table.sessions.with_tracks(["b"].map(id).into_iter());
    let channel = |n, direction| TrackKey { id: TrackId::Channel(n), direction };
    let channels = [channel(3, Direction::Remote), channel(4, Direction::Local)];
    assert_eq!(closable, [(id("b"), [&[taken(1)], &channels[..]].concat())]);
}

#[test]
fn a_session_without_media_leaves_its_call_after_thirty_seconds() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    assert_eq!(table.events(), ["a joins r", "b joins r"]);
    table.add("a", &push(1), &[0]);
    table.wait(secs(29));
    assert!(table.events().is_empty());
    table.wait(secs(1));
    assert_eq!(table.events(), ["b leaves r"], "a has media");
    table.add("b", &pull(&["a"]), &[0]);
    assert_eq!(table.events(), ["b#2 joins r", "r connects"]);
    table.add("b", &pull(&["a"]), &[1]);
    assert!(table.events().is_empty(), "a member joins and connects once");
    table.sessions.gone(&id("b"));
    assert_eq!(table.events(), ["b#2 leaves r"]);
    assert!(!table.sessions.knows(&id("b")) && table.sessions.pulled() == 0);
}

#[test]
fn a_session_with_tracks_is_looked_at_because_no_call_says_that_a_page_was_closed() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    table.add("b", &pull(&["a", "a"]), &[0, 1]);
    assert!(table.sessions.take_looks(9, table.now + secs(1)).is_empty());
    table.now += LOOK_AFTER_MAX;
    let looks = table.sessions.take_looks(9, table.now);
    assert_eq!(looks.iter().map(|look| look.id.as_str()).collect::<Vec<_>>(), ["b"]);
    table.sessions.looked(&looks[0], &state(&[(0, true), (1, false)]), table.now);
    assert_eq!(table.sessions.pulled(), 1, "an inactive track is not charged");
    table.events();
    table.see("b", &state(&[(0, false)]));
    table.wait(LOOK_AFTER_MAX);
    assert!(table.events().contains(&"b leaves r".to_owned()));
    assert_eq!(table.sessions.take_looks(9, table.now).len(), 1, "its track may become active again");
    table.see("b", &state(&[(0, true)]));
    assert_eq!(
        (table.sessions.pulled(), table.events()),
        (1, vec!["b#2 joins r".into(), "r connects".into()])
    );
}

#[test]
fn a_state_older_than_a_change_is_not_believed() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    let look = table.sessions.look_at(&id("b")).unwrap();
    table.add("b", &pull(&["a"]), &[0]);
    table.sessions.looked(&look, &state(&[]), table.now);
    assert_eq!(table.sessions.pulled(), 1);
    let look = table.sessions.look_at(&id("b")).unwrap();
    table.sessions.call_begins(&id("b"), 0, table.now).unwrap();
    table.sessions.looked(&look, &state(&[]), table.now);
    assert_eq!(table.sessions.pulled(), 1, "a call is on its way");
    table.sessions.call_ends(&id("b"), 0, true);
    table.sessions.looked(&look, &state(&[]), table.now);
    assert_eq!(table.sessions.pulled(), 0);
}

#[test]
fn a_session_that_changes_something_all_the_time_is_charged_for_what_it_takes() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    table.add("b", &pull(&["a"]), &[0]);
    table.see("b", &state(&[(0, false)]));
    assert_eq!(table.sessions.pulled(), 0);
    table.sessions.call_begins(&id("b"), 0, table.now).unwrap();
    table.see("b", &state(&[(0, true)]));
    assert_eq!(table.sessions.pulled(), 1, "a call is always on its way");
    table.sessions.call_ends(&id("b"), 0, true);

    let look = table.sessions.look_at(&id("b")).unwrap();
    table.closed("b", &[0]);
    table.sessions.looked(&look, &state(&[(0, true), (1, true), (2, false)]), table.now);
    assert_eq!(table.sessions.pulled(), 2, "what the SFU still sends, it has not closed");
    assert_eq!(table.sessions.take_looks(9, table.now + LOOK_AFTER_MAX).len(), 1, "and it is asked again");
    table.see("b", &state(&[(1, true)]));
    assert_eq!(table.sessions.pulled(), 1);
}

#[test]
fn a_call_whose_result_is_unknown_is_followed_by_a_look() {
    let mut table = Table::with(&[("a", "r")]);
    table.sessions.call_begins(&id("a"), 0, table.now).unwrap();
    table.sessions.call_ends(&id("a"), 0, false);
    assert_eq!(table.sessions.take_looks(9, table.now).len(), 1);
}

#[test]
fn sessions_that_pull_are_listed_with_every_mid() {
    let mut table = Table::with(&[("a", "r"), ("b", "r"), ("c", "r")]);
    table.add("a", &push(1), &[0]);
    table.add("b", &push(1), &[0]);
    table.add("b", &pull(&["a"]), &[1]);
    let closable = |table: &Table| table.sessions.with_tracks(["b", "c", "gone"].map(id).into_iter());
    assert_eq!(closable(&table), [(id("b"), vec![sent(0), taken(1)])]);
    table.closed("b", &[0, 1]);
    assert!(closable(&table).is_empty());
}

#[test]
fn at_the_end_of_its_life_a_session_is_closed_by_force_until_it_has_no_tracks() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    table.add("b", &pull(&["a"]), &[0]);
    assert_eq!(table.wait(LIFE), [(id("b"), vec![taken(0)])]);
    assert!(!table.sessions.knows(&id("a")) && table.sessions.knows(&id("b")));
    assert!(table.wait(secs(4)).is_empty());
    assert_eq!(table.wait(secs(1)).len(), 1, "the SFU did not answer");
    table.closed("b", &[0]);
    table.wait(CLOSE_INTERVAL);
    assert!(table.sessions.is_empty());
}
