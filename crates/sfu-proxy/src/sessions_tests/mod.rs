//! Tests of the table: what a caller may do, what is counted, and when a session ends.

mod bounds;
mod metering;
mod owners;
mod random;
mod replies;
mod restart;

use std::net::{IpAddr, Ipv4Addr};

use super::Look;
use super::*;
use crate::addresses::{CALLS_PER_ADDRESS_MAX, NEW_SESSIONS};
use crate::answer::Entry;
use crate::name::Name;
use crate::session::{CALLS, FAILED_LOOKS_MAX};
use crate::track::AUDIO_KBPS;

impl Sessions {
    fn knows(&self, id: &SessionId) -> bool {
        self.rows.contains_key(id)
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn room_of(&self, id: &SessionId) -> Option<Arc<str>> {
        self.rows.get(id)?.opened.room.clone()
    }

    fn taken_by(&self, name: &str) -> Taken {
        self.rows[&id(name)].load().taken
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
const LOOK_INTERVAL: Duration = Duration::from_secs(30);
const TERMS: SfuTerms = SfuTerms {
    video: VideoRates { assumed: VIDEO, estimated: VIDEO },
    client_kbps: 1_000_000,
    look_interval: LOOK_INTERVAL,
};

fn name(n: usize) -> Name {
    Name::new(&n.to_string()).unwrap()
}

fn mid(n: usize) -> TrackId {
    TrackId::Mid(name(n))
}

/// So many tracks with video, of which the SFU has confirmed some.
const fn videos(asked: u32, confirmed: u32) -> Taken {
    Taken { kbps: asked * VIDEO, charged_kbps: confirmed * VIDEO }
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

fn entry(id: TrackId, direction: Option<Direction>) -> Entry {
    let is_channel = matches!(id, TrackId::Channel(_));
    let (session, name, is_refused, is_inactive) = (None, None, false, false);
    Entry { id: Some(id), is_channel, direction, session, name, is_refused, is_inactive }
}

fn answer(entries: Vec<Entry>) -> SfuAnswer {
    SfuAnswer { entries, ..SfuAnswer::default() }
}

/// The answer that grants what was asked for, in order.
fn tracks(mids: &[usize]) -> SfuAnswer {
    answer(mids.iter().map(|n| entry(mid(*n), None)).collect())
}

/// The state of a session that takes these tracks.
fn state(pulled: &[usize]) -> SfuAnswer {
    answer(pulled.iter().map(|n| entry(mid(*n), Some(Direction::Remote))).collect())
}

/// How long a session may live, and what it takes.
type LifeAndTaken = (Duration, Taken);

/// The table with a clock.
struct Table {
    sessions: Sessions,
    now: Duration,
}

/// A session of one caller in the room `r`.
fn session(name: &str, life: Duration, taken: Taken) -> OpenedSession {
    OpenedSession { id: id(name), room: Some("r".into()), owner: caller(1), spender: None, life, taken }
}

impl Default for Table {
    fn default() -> Self {
        Self { sessions: Sessions::new(TERMS), now: Duration::ZERO }
    }
}

impl Table {
    fn open(&mut self, name: &str, room: Option<&str>, owner: Caller) -> Result<(), SfuFault> {
        self.sessions.reserve(&owner.holder(), self.now)?;
        let new = OpenedSession { room: room.map(Arc::from), owner, ..session(name, LIFE, Taken::default()) };
        self.sessions.begin(&new, self.now);
        Ok(())
    }

    fn with(sessions: &[(&str, &str)]) -> Self {
        let mut table = Self::default();
        for (name, room) in sessions {
            table.open(name, Some(room), caller(1)).unwrap();
        }
        table
    }

    /// A request on its way to the SFU. Returns the number of the call.
    fn ask(&mut self, name: &str, wanted: &RequestedTracks) -> Result<u64, SfuFault> {
        let wanted = self.sessions.check_request(&id(name), wanted.clone())?;
        self.sessions.call_begins(&id(name), self.now)?;
        Ok(self.sessions.ask(&id(name), &wanted, self.now))
    }

    /// The SFU answers it; `None`: nobody knows what.
    fn answer(&mut self, name: &str, call: u64, answer: Option<&SfuAnswer>) {
        if let Some(answer) = answer {
            self.sessions.answered(&id(name), call, &[], Some(answer));
        }
        self.sessions.call_ends(&id(name), call, answer.is_some(), self.now);
    }

    /// A request that the SFU grants.
    fn add(&mut self, name: &str, wanted: &RequestedTracks, mids: &[usize]) {
        let call = self.ask(name, wanted).unwrap();
        self.answer(name, call, Some(&tracks(mids)));
    }

    /// The ids of the sessions that are due for a look.
    fn due(&mut self) -> Vec<SessionId> {
        self.sessions.take_looks(9, self.now).into_iter().map(|look| look.id).collect()
    }

    /// What the SFU has been asked for has come into effect.
    fn settle(&mut self) {
        self.now += LOOK_INTERVAL;
    }

    fn wait(&mut self, span: Duration) -> Vec<SessionId> {
        self.now += span;
        self.sessions.elapse(self.now)
    }

    /// The life of a session and what it takes, as its row says.
    fn row(&self, id: &SessionId) -> Option<LifeAndTaken> {
        let SfuSession { ends_at, kbps, charged_kbps, .. } =
            self.sessions.row(id, self.now, Timestamp::default())?;
        Some((ends_at.since(Timestamp::default()), Taken { kbps, charged_kbps }))
    }

    fn see(&mut self, name: &str, state: &SfuAnswer) {
        self.sessions.looked(&Look { id: id(name), began: self.now }, state, self.now);
    }

    /// A look that finds nothing, some time later.
    fn see_nothing(&mut self, name: &str) {
        self.settle();
        self.see(name, &SfuAnswer::default());
    }

    /// The calls: room, whether its members are connected, and the members.
    fn calls(&self) -> Vec<String> {
        let calls = self.sessions.calls(self.now, Timestamp::default()).into_iter();
        calls
            .map(|(name, call)| {
                let is_connected = if call.is_connected { " is connected" } else { "" };
                let members: Vec<_> = call.members.keys().map(|member| &*member.0).collect();
                format!("{}{is_connected}: {}", name.room, members.join(" "))
            })
            .collect()
    }
}

#[test]
fn pulled_tracks_count_from_the_request_until_a_look_does_not_find_them() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    table.add("a", &push(2), &[0, 1]);
    assert_eq!(table.sessions.taken_by("a"), videos(0, 0), "what a session sends is not billed");
    let call = table.ask("b", &pull(&["a", "a"])).unwrap();
    assert_eq!(table.sessions.taken_by("b"), videos(2, 0));
    table.answer("b", call, Some(&tracks(&[0, 1])));
    assert_eq!((table.sessions.taken_by("b"), table.sessions.charged()), (videos(2, 2), 2));
    table.settle();
    table.see("b", &state(&[1]));
    assert_eq!(table.sessions.taken_by("b"), videos(1, 1));
    table.see("b", &SfuAnswer::default());
    assert_eq!(table.sessions.taken_by("b"), videos(0, 0));
}

#[test]
fn what_the_sfu_refuses_counts_no_more() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    let call = table.ask("b", &pull(&["a"; 3])).unwrap();
    let mid_of = mid;
    let named = |mid: Option<usize>, is_refused| Entry {
        id: mid.map(mid_of),
        session: Some(id("a")),
        name: Some(name(0)),
        is_refused,
        ..entry(mid_of(0), Some(Direction::Remote))
    };
    let some = answer(vec![named(Some(4), false), named(None, true), named(Some(5), false)]);
    table.answer("b", call, Some(&some));
    assert_eq!(table.sessions.taken_by("b"), videos(2, 2));
    let call = table.ask("b", &pull(&["a"; 3])).unwrap();
    assert_eq!(table.sessions.taken_by("b"), videos(5, 2));
    table.sessions.answered(&id("b"), call, &[], None);
    assert_eq!(table.sessions.taken_by("b"), videos(2, 2), "all of it");
}

#[test]
fn a_pull_whose_answer_is_lost_counts_until_a_look_that_is_late_enough() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    let call = table.ask("b", &pull(&["a", "a"])).unwrap();
    table.settle();
    table.see("b", &SfuAnswer::default());
    assert_eq!(table.sessions.taken_by("b"), videos(2, 0), "the call is on its way");
    table.due();
    table.answer("b", call, None);
    assert_eq!(table.due(), [id("b")], "at once");
    table.now += secs(29);
    table.see("b", &SfuAnswer::default());
    assert_eq!(table.sessions.taken_by("b"), videos(2, 0), "it may come into effect late");
    let seen = Entry { session: Some(id("a")), ..state(&[3]).entries.remove(0) };
    table.see("b", &answer(vec![seen]));
    assert_eq!(table.sessions.taken_by("b"), videos(2, 1));
    table.now += secs(1);
    table.see("b", &state(&[3]));
    assert_eq!(table.sessions.taken_by("b"), videos(1, 1));
}

#[test]
fn a_mid_that_is_used_again_is_the_new_track() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    table.add("b", &pull(&["a"]), &[0]);
    let other = |n| {
        let of_a = Entry { session: Some(id("a")), name: Some(name(n)), ..state(&[0]).entries.remove(0) };
        answer(vec![of_a])
    };
    let mut wanted = pull(&["a"]);
    wanted.pulled[0].name = Some(name(1));
    let call = table.ask("b", &wanted).unwrap();
    table.answer("b", call, Some(&other(1)));
    assert_eq!(table.sessions.taken_by("b"), videos(1, 1));
    table.see("b", &other(1));
    assert_eq!(table.sessions.taken_by("b"), videos(1, 1));
    let call = table.ask("b", &pull(&["a"])).unwrap();
    table.see("b", &other(1));
    assert_eq!(table.sessions.taken_by("b"), videos(2, 1), "what is asked for is not what was there");
    table.answer("b", call, Some(&tracks(&[1])));
    assert_eq!(table.sessions.taken_by("b"), videos(2, 2));
}

#[test]
fn a_request_that_pushes_and_pulls_counts_what_it_pulls() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    let both = RequestedTracks { pushed: push(1).pushed, ..pull(&["a"]) };
    table.add("b", &both, &[0, 1]);
    assert_eq!(table.sessions.taken_by("b"), videos(1, 1));
    let closable = |table: &Table| table.sessions.closable(["b", "gone"].map(id).into_iter());
    assert_eq!(closable(&table), [(id("b"), vec![mid(0), mid(1)])]);
    let channel = Pull { kind: MediaKind::Data, ..pull(&["a"]).pulled.remove(0) };
    let call =
        table.ask("b", &RequestedTracks { pulled: vec![channel], channel_count: 1, ..push(0) }).unwrap();
    let channel = |n, direction| entry(TrackId::Channel(n), Some(direction));
    let both = answer(vec![channel(3, Direction::Remote), channel(4, Direction::Local)]);
    table.answer("b", call, Some(&both));
    assert_eq!(table.sessions.taken_by("b"), videos(2, 2), "a data channel counts as a track");
    assert_eq!(closable(&table)[0].1[2..], [TrackId::Channel(3), TrackId::Channel(4)]);
}

#[test]
fn a_session_without_tracks_leaves_its_call_at_a_look() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    assert_eq!(table.calls(), ["r: a b"]);
    table.add("a", &push(1), &[0]);
    assert_eq!(table.due(), []);
    table.settle();
    assert_eq!(table.due(), [id("a"), id("b")]);
    table.see("a", &tracks(&[0]));
    table.see("b", &SfuAnswer::default());
    assert_eq!(table.calls(), ["r: a"], "b has no tracks");
    table.settle();
    assert_eq!(table.due(), [id("a")], "what has nothing is not looked at");
    table.add("b", &pull(&["a"]), &[0]);
    assert_eq!(table.calls(), ["r is connected: a b"]);
    table.sessions.remove(&id("b"));
    assert_eq!(table.calls(), ["r: a"]);
    table.sessions.remove(&id("a"));
    assert!(table.calls().is_empty());
}

#[test]
fn after_a_close_the_session_is_looked_at_at_once() {
    let mut table = Table::with(&[("a", "r")]);
    table.add("a", &push(1), &[0]);
    table.sessions.look_now(&id("a"), table.now);
    table.sessions.look_now(&id("unknown"), table.now);
    assert_eq!(table.due(), [id("a")]);
    table.settle();
    assert_eq!(table.due(), [id("a")], "and again after a while");
}

#[test]
fn at_the_end_of_its_life_a_session_is_closed_by_force_until_a_look_finds_no_track() {
    let mut table = Table::with(&[("a", "r"), ("b", "r")]);
    table.add("b", &pull(&["a"]), &[0]);
    assert_eq!(table.wait(LIFE), [id("b")]);
    assert!(!table.sessions.knows(&id("a")) && table.sessions.knows(&id("b")));
    assert!(table.wait(secs(4)).is_empty());
    assert_eq!(table.wait(secs(1)), [id("b")], "the SFU did not answer");
    table.see("b", &SfuAnswer::default());
    table.wait(CLOSE_INTERVAL);
    assert!(table.sessions.is_empty());
}

#[test]
fn a_session_is_closed_after_three_failed_looks_in_a_row() {
    let mut table = Table::with(&[("a", "r")]);
    table.add("a", &push(1), &[0]);
    for n in 1..FAILED_LOOKS_MAX {
        table.sessions.look_failed(&id("a"), table.now);
        assert_eq!(table.wait(Duration::ZERO), [], "look {n}");
    }
    table.see("a", &tracks(&[0]));
    for _ in 0..FAILED_LOOKS_MAX {
        assert_eq!(table.wait(Duration::ZERO), [], "an answer in between counts");
        table.sessions.look_failed(&id("a"), table.now);
    }
    assert_eq!(table.wait(Duration::ZERO), [id("a")]);
}

/// A page that was closed sends nothing and takes nothing.
#[test]
fn a_session_on_whose_tracks_nothing_flows_at_three_looks_is_closed() {
    let mut table = Table::with(&[("a", "r")]);
    table.add("a", &push(2), &[0, 1]);
    let seen = |is_inactive: [bool; 2]| {
        let entries = tracks(&[0, 1]).entries.into_iter().zip(is_inactive);
        answer(entries.map(|(entry, is_inactive)| Entry { is_inactive, ..entry }).collect())
    };
    for silent in [[true, true], [true, true], [true, false], [true, true], [true, true]] {
        table.see("a", &seen(silent));
        assert_eq!(table.wait(Duration::ZERO), []);
    }
    table.see("a", &seen([true, true]));
    assert_eq!(table.wait(Duration::ZERO), [id("a")]);
}
