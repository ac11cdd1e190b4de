//! Any order of calls keeps the sums and the bounds, no session takes more than it counts for, and the tables are empty in the end.

use super::*;
use proptest::prelude::*;
use turn_limits::Counts;

/// What the SFU does with a call.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Granted,
    Refused,
    /// Its answer is lost. What it grants comes into effect so many seconds later.
    Lost(u64),
}

#[derive(Clone, Debug)]
enum Op {
    Open { session: usize, room: usize, address: u8 },
    Restore { session: usize, room: usize, address: u8 },
    Reserve { address: u8 },
    Call { session: usize, from: usize, pulls: usize, pushes: usize, outcome: Outcome },
    OpenChannel { session: usize },
    Replies { session: usize, may_reply: bool },
    Close { session: usize, most: usize },
    Look { session: usize },
    LookFails { session: usize },
    Gone { session: usize },
    EndRoom { room: usize },
    Wait { seconds: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let session = || 0..6_usize;
    let of_room = || (session(), 0..3_usize, 0..3_u8);
    let outcome =
        prop_oneof![Just(Outcome::Granted), Just(Outcome::Refused), (0..30_u64).prop_map(Outcome::Lost),];
    prop_oneof![
        1 => of_room().prop_map(|(session, room, address)| Op::Open { session, room, address }),
        1 => of_room().prop_map(|(session, room, address)| Op::Restore { session, room, address }),
        1 => (0..3_u8).prop_map(|address| Op::Reserve { address }),
        4 => (session(), session(), 0..3_usize, 0..2_usize, outcome).prop_map(
            |(session, from, pulls, pushes, outcome)| Op::Call { session, from, pulls, pushes, outcome }
        ),
        1 => session().prop_map(|session| Op::OpenChannel { session }),
        1 => (session(), any::<bool>()).prop_map(|(session, may_reply)| Op::Replies { session, may_reply }),
        1 => (session(), 0..3_usize).prop_map(|(session, most)| Op::Close { session, most }),
        3 => session().prop_map(|session| Op::Look { session }),
        1 => session().prop_map(|session| Op::LookFails { session }),
        1 => session().prop_map(|session| Op::Gone { session }),
        1 => (0..3_usize).prop_map(|room| Op::EndRoom { room }),
        2 => (0..40_u64).prop_map(|seconds| Op::Wait { seconds }),
    ]
}

/// The tracks at the SFU: since when, by session and by mid, and whether the session takes them.
#[derive(Default)]
struct Sfu(BTreeMap<SessionId, BTreeMap<usize, (Duration, bool)>>);

impl Sfu {
    /// Adds tracks, each with the first mid that is free. Returns their mids.
    fn add(
        &mut self,
        session: &SessionId,
        since: Duration,
        is_pulled: impl Iterator<Item = bool>,
    ) -> Vec<usize> {
        let tracks = self.0.entry(session.clone()).or_default();
        let add = |is_pulled| {
            let mid = (0..999).find(|mid| !tracks.contains_key(mid)).unwrap();
            tracks.insert(mid, (since, is_pulled));
            mid
        };
        is_pulled.map(add).collect()
    }

    fn state(&self, session: &SessionId, now: Duration) -> SfuAnswer {
        let tracks = self.0.get(session).into_iter().flatten().filter(|(_, (since, _))| *since <= now);
        answer(tracks.map(|(n, (_, is_pulled))| entry(mid(*n), Some(direction(*is_pulled)))).collect())
    }

    fn pulled(&self, session: &SessionId, now: Duration) -> usize {
        let tracks = self.0.get(session).into_iter().flat_map(BTreeMap::values);
        tracks.filter(|(since, is_pulled)| *since <= now && *is_pulled).count()
    }
}

const fn direction(is_pulled: bool) -> Direction {
    if is_pulled { Direction::Remote } else { Direction::Local }
}

/// What every order of calls keeps.
#[derive(Default)]
struct Invariants {
    /// What a restart would restore.
    remembered: BTreeMap<SessionId, Taken>,
}

impl Invariants {
    fn check(&mut self, table: &mut Table, sfu: &Sfu) {
        for id in std::mem::take(&mut table.sessions.changed).into_keys() {
            match table.row(&id) {
                Some((_, taken)) => self.remembered.insert(id, taken),
                None => self.remembered.remove(&id),
            };
        }
        let Table { sessions, now } = table;
        for (id, taken) in &self.remembered {
            assert_eq!(sessions.rows[id].load().taken, *taken, "the ledger knows what it takes");
        }
        assert_eq!(self.remembered.len(), sessions.count(), "every session is remembered");
        let Addresses { tracks, calls, kbps, sessions: opened, .. } = &sessions.addresses;
        let sum = |of: fn(SessionLoad) -> usize| sessions.rows.values().map(|row| of(row.load())).sum();
        let kbps_of = |load: SessionLoad| usize::try_from(load.taken.kbps).unwrap();
        let sums = [sum(|load| load.tracks), sum(|load| load.calls), sum(kbps_of), sessions.rows.len()];
        assert_eq!([tracks, calls, kbps, opened].map(Counts::all), sums, "the sums of what there is");
        for (id, row) in &sessions.rows {
            assert!(sessions.ends.of(id).is_some(), "every life ends");
            assert!(row.load().tracks == 0 || sessions.looks.of(id).is_some(), "tracks are looked at");
            let takes = u32::try_from(sfu.pulled(id, *now)).unwrap() * VIDEO;
            assert!(takes <= row.load().taken.kbps, "{id:?} takes {takes} of {:?}", row.load());
        }
    }
}

/// A call of a session, and what the SFU does with it.
fn call(table: &mut Table, sfu: &mut Sfu, name: &str, wanted: &RequestedTracks, outcome: Outcome) {
    let Ok(call) = table.ask(name, wanted) else { return };
    for pulled in &wanted.pulled {
        let room = |id: &SessionId| table.sessions.room_of(id);
        assert_eq!(room(&pulled.session), room(&id(name)));
    }
    let kinds = std::iter::repeat_n(false, wanted.pushed.len());
    let kinds = kinds.chain(std::iter::repeat_n(true, wanted.pulled.len()));
    match outcome {
        Outcome::Granted => {
            let mids = sfu.add(&id(name), table.now, kinds.clone());
            let entries =
                mids.iter().zip(kinds).map(|(n, is_pulled)| entry(mid(*n), Some(direction(is_pulled))));
            table.answer(name, call, Some(&answer(entries.collect())));
        }
        Outcome::Refused => {
            table.sessions.answered(&id(name), call, &[], None);
            table.sessions.call_ends(&id(name), call, true, table.now);
        }
        Outcome::Lost(late) => {
            sfu.add(&id(name), table.now + secs(late), kinds);
            table.answer(name, call, None);
        }
    }
}

proptest! {
    #[test]
    fn in_any_order_of_calls_the_sums_are_right_and_the_tables_are_empty_at_the_end(ops in prop::collection::vec(op(), 1..80)) {
        let (mut table, mut sfu, mut invariants) = (Table::default(), Sfu::default(), Invariants::default());
        let mut names = vec!["none".to_owned(); 6];
        let rooms = ["blue", "red"];
        for (opened, op) in ops.into_iter().enumerate() {
            match op {
                Op::Open { session, room, address } => {
                    names[session] = format!("s{opened}");
                    let _ = table.open(&names[session], rooms.get(room).copied(), caller(address));
                }
                Op::Restore { session: nth, room, address } => {
                    names[nth] = format!("s{opened}");
                    let (taken, owner) = (videos(3, 2), caller(address));
                    let room = rooms.get(room).copied().map(Arc::from);
                    let before = OpenedSession { room, owner, ..session(&names[nth], LIFE, taken) };
                    invariants.remembered.insert(before.id.clone(), taken);
                    sfu.add(&before.id, table.now + secs(29), std::iter::repeat_n(true, 3));
                    table.sessions.restore(&before, table.now);
                }
                Op::Reserve { address } => {
                    if table.sessions.reserve(&at(address).into(), table.now).is_ok() {
                        table.sessions.release(&at(address).into());
                    }
                }
                Op::Call { session, from, pulls, pushes, outcome } => {
                    let name = |n| Name::new(&format!("{opened}-{n}"));
                    let pushed = (0..pushes).map(|n| Push { mid: None, name: name(n), kind: MediaKind::Video });
                    let pulled = pull(&vec![names[from].as_str(); pulls]).pulled;
                    let wanted = RequestedTracks { pushed: pushed.collect(), pulled, ..push(0) };
                    // No page uses a session of before a restart.
                    if table.sessions.check_owner(&id(&names[session]), &caller(0), true, |_, _| false).is_ok() {
                        call(&mut table, &mut sfu, &names[session], &wanted, outcome);
                    }
                }
                Op::OpenChannel { session } => {
                    let channel = entry(TrackId::Channel(1), Some(Direction::Local));
                    let channel = Entry { name: Some(name(0)), ..channel };
                    if let Ok(call) = table.ask(&names[session], &RequestedTracks { channel_count: 1, ..push(0) }) {
                        table.answer(&names[session], call, Some(&answer(vec![channel])));
                    }
                }
                Op::Replies { session, may_reply } => {
                    let mut channel = pull(&[names[session].as_str()]).pulled.remove(0);
                    channel.kind = MediaKind::Data;
                    let replies = if may_reply { Replies::Granted } else { Replies::Refused };
                    table.sessions.set_replies(&channel, replies);
                }
                Op::Close { session, most } => {
                    let tracks = sfu.0.entry(id(&names[session])).or_default();
                    for _ in 0..most {
                        tracks.pop_first();
                    }
                    table.sessions.look_now(&id(&names[session]), table.now);
                }
                Op::Look { session } => {
                    let state = sfu.state(&id(&names[session]), table.now);
                    table.see(&names[session], &state);
                }
                Op::LookFails { session } => table.sessions.look_failed(&id(&names[session]), table.now),
                Op::Gone { session } => {
                    sfu.0.remove(&id(&names[session]));
                    table.sessions.remove(&id(&names[session]));
                }
                Op::EndRoom { room } => {
                    table.sessions.end_room(rooms.get(room).copied().unwrap_or_default(), table.now);
                }
                Op::Wait { seconds } => {
                    table.wait(secs(seconds));
                }
            }
            invariants.check(&mut table, &sfu);
        }
        sfu = Sfu::default();
        table.settle();
        for look in table.sessions.take_looks(usize::MAX, table.now) {
            table.see(look.id.as_str(), &SfuAnswer::default());
        }
        invariants.check(&mut table, &sfu);
        table.wait(LIFE);
        table.wait(secs(60));
        invariants.check(&mut table, &sfu);
        let sessions = &table.sessions;
        prop_assert!(sessions.is_empty() && sessions.charged() == 0);
        prop_assert!(sessions.addresses.is_empty());
        prop_assert!(sessions.ends.next().is_none() && sessions.looks.next().is_none());
    }
}
