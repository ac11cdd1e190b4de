//! Any order of calls keeps the sums and the bounds, and the tables are empty in the end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Open { session: usize, room: usize, address: u8 },
    Restore { session: usize, room: usize, address: u8 },
    Reserve { address: u8 },
    Ask { session: usize, more: usize },
    Refused { session: usize, more: usize },
    Add { session: usize, wanted: usize, from: usize, mids: Vec<usize> },
    OpenChannel { session: usize },
    Replies { session: usize, may_reply: bool },
    Close { session: usize, mids: Vec<usize> },
    Call { session: usize, is_known: bool },
    Look { session: usize, state: SfuAnswer },
    Gone { session: usize },
    EndRoom { room: usize },
    Wait { seconds: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let session = 0..6_usize;
    let mids = || prop::collection::vec(0..5_usize, 0..4);
    let state = prop::collection::vec((0..5_usize, any::<bool>()), 0..4).prop_map(|tracks| state(&tracks));
    prop_oneof![
        (session.clone(), 0..3_usize, 0..3_u8).prop_map(|(session, room, address)| Op::Open {
            session,
            room,
            address
        }),
        (session.clone(), 0..3_usize, 0..3_u8).prop_map(|(session, room, address)| Op::Restore {
            session,
            room,
            address
        }),
        (0..3_u8).prop_map(|address| Op::Reserve { address }),
        (session.clone(), 0..3_usize).prop_map(|(session, more)| Op::Ask { session, more }),
        (session.clone(), 0..3_usize).prop_map(|(session, more)| Op::Refused { session, more }),
        (session.clone(), 0..3_usize, 0..6_usize, mids()).prop_map(|(session, wanted, from, mids)| Op::Add {
            session,
            wanted,
            from,
            mids
        }),
        session.clone().prop_map(|session| Op::OpenChannel { session }),
        (session.clone(), any::<bool>()).prop_map(|(session, may_reply)| Op::Replies { session, may_reply }),
        (session.clone(), mids()).prop_map(|(session, mids)| Op::Close { session, mids }),
        (session.clone(), any::<bool>()).prop_map(|(session, is_known)| Op::Call { session, is_known }),
        (session.clone(), state).prop_map(|(session, state)| Op::Look { session, state }),
        session.prop_map(|session| Op::Gone { session }),
        (0..3_usize).prop_map(|room| Op::EndRoom { room }),
        (0..60_u64).prop_map(|seconds| Op::Wait { seconds }),
    ]
}

fn demand(tracks: usize) -> Demand {
    Demand { tracks, kbps: VIDEO * u32::try_from(tracks).unwrap() }
}

/// What every order of calls keeps.
#[derive(Default)]
struct Invariants {
    /// Members by their call, and all that ever were.
    present: BTreeMap<MemberId, CallName>,
    past: BTreeSet<MemberId>,
    /// What a restart would restore.
    remembered: BTreeMap<SessionId, Taken>,
}

impl Invariants {
    fn check(&mut self, sessions: &mut Sessions, now: Duration) {
        for ChangedSession { id, now, .. } in sessions.take_changed(now) {
            match now {
                Some(session) => self.remembered.insert(id, session.taken),
                None => self.remembered.remove(&id),
            };
        }
        for (id, taken) in &self.remembered {
            assert_eq!(sessions.rows[id].taken(), *taken, "the ledger knows what it takes");
        }
        assert_eq!(self.remembered.len(), sessions.count(), "every session is remembered");
        let pulled: usize = sessions.rows.values().map(Session::active).sum();
        assert_eq!(sessions.pulled, pulled, "the sum of what is pulled");
        let places: usize = sessions.rows.values().map(Session::places).sum();
        assert_eq!(sessions.places, places, "the sum of what there is and what is coming");
        for id in sessions.rows.keys() {
            assert!(sessions.ends.of(id).is_some(), "every life ends");
            let row = &sessions.rows[id];
            assert_eq!(sessions.since.of(id).is_none(), row.has_media(), "who has no media may give way");
            assert!(row.size() == 0 || sessions.looks.of(id).is_some(), "tracks are looked at");
        }
        for event in sessions.take_events() {
            match event {
                CallEvent::Joined { call, member, grant, .. } => {
                    assert_eq!((call.protocol, grant), (ProtocolName::Sfu, None), "no byte is charged twice");
                    assert!(self.past.insert(member.clone()), "a member's id is used once");
                    self.present.insert(member, call);
                }
                CallEvent::Connected { call } => assert!(self.present.values().any(|joined| *joined == call)),
                CallEvent::Left { call, member, .. } => assert_eq!(self.present.remove(&member), Some(call)),
            }
        }
    }
}

proptest! {
    #[test]
    fn any_order_of_calls_keeps_the_sums_and_the_tables_empty_in_the_end(ops in prop::collection::vec(op(), 1..80)) {
        let (mut table, mut invariants) = (Table::default(), Invariants::default());
        let mut opened = 0;
        let mut names = vec!["none".to_owned(); 6];
        let rooms = ["blue", "red"];
        let mut calls = VecDeque::new();
        for op in ops {
            match op {
                Op::Open { session, room, address } => {
                    opened += 1;
                    names[session] = format!("s{opened}");
                    let _ = table.open(&names[session], rooms.get(room).copied(), caller(address));
                }
                Op::Restore { session, room, address } => {
                    opened += 1;
                    names[session] = format!("s{opened}");
                    let (id, room) = (id(&names[session]), rooms.get(room).copied().map(Arc::from));
                    invariants.remembered.insert(id.clone(), Taken { kbps: 3 * VIDEO, active_kbps: 2 * VIDEO });
                    let taken = Taken { kbps: 3 * VIDEO, active_kbps: 2 * VIDEO };
                    let session = NewSession { id, room, owner: caller(address), life: LIFE, taken };
                    table.sessions.restore(session, table.now);
                }
                Op::Reserve { address } => {
                    if table.sessions.reserve(&at(address).into(), table.now).is_ok() {
                        table.sessions.release(&at(address).into());
                    }
                }
                Op::Ask { session, more } => table.sessions.ask(&id(&names[session]), demand(more), table.now),
                Op::Refused { session, more } => {
                    table.sessions.refused(&id(&names[session]), demand(more), table.now);
                }
                Op::Add { session, wanted, from, mids } => {
                    let pulled = if wanted == 1 { vec![] } else { vec![names[from].as_str()] };
                    let wanted = RequestedTracks { pushed: push(wanted.min(1)).pushed, ..pull(&pulled) };
                    let name = id(&names[session]);
                    if let Ok(wanted) = table.sessions.check_request(&name, wanted) {
                        for pulled in &wanted.pulled {
                            let room = table.sessions.room_of(&pulled.session);
                            assert_eq!(room, table.sessions.room_of(&name));
                        }
                        table.sessions.answered(&name, &wanted, &tracks(&mids), table.now);
                    }
                }
                Op::OpenChannel { session } => {
                    let channel = entry(TrackId::Channel(1), Some(Direction::Local), true);
                    let channel = ConfirmedTrack { name: Some(name(0)), ..channel };
                    let opened = SfuAnswer { tracks: vec![channel], ..SfuAnswer::default() };
                    let wanted = RequestedTracks { channels: 1, ..RequestedTracks::default() };
                    table.sessions.answered(&id(&names[session]), &wanted, &opened, table.now);
                }
                Op::Replies { session, may_reply } => {
                    let mut channel = pull(&[names[session].as_str()]).pulled.remove(0);
                    channel.kind = MediaKind::Data;
                    table.sessions.set_replies(&channel, may_reply, table.now);
                }
                Op::Close { session, mids } => {
                    table.closed(&names[session], &mids);
                }
                Op::Call { session, is_known } => {
                    let session = id(&names[session]);
                    if table.sessions.call_begins(&session, 2, table.now).is_ok() {
                        calls.push_back((session, is_known));
                    }
                    if calls.len() > 2 && let Some((session, is_known)) = calls.pop_front() {
                        table.sessions.call_ends(&session, 2, is_known);
                    }
                }
                Op::Look { session, state } => {
                    if let Some(look) = table.sessions.look_at(&id(&names[session])) {
                        table.sessions.looked(&look, &state, table.now);
                    }
                }
                Op::Gone { session } => table.sessions.gone(&id(&names[session])),
                Op::EndRoom { room } => {
                    table.sessions.end_room(rooms.get(room).copied().unwrap_or_default(), table.now);
                }
                Op::Wait { seconds } => {
                    table.wait(secs(seconds));
                }
            }
            invariants.check(&mut table.sessions, table.now);
        }
        for (session, is_known) in calls {
            table.sessions.call_ends(&session, 2, is_known);
        }
        for look in table.sessions.take_looks(usize::MAX, table.now.saturating_add(LOOK_AFTER_MAX)) {
            table.sessions.looked(&look, &state(&[]), table.now);
        }
        let overdue = table.wait(LIFE);
        for (id, mids) in overdue {
            let closed = mids.into_iter().map(|key| entry(key.id, None, true));
            let closed = SfuAnswer { tracks: closed.collect(), ..SfuAnswer::default() };
            table.sessions.closed(&id, &closed, table.now);
        }
        table.wait(secs(60));
        invariants.check(&mut table.sessions, table.now);
        let sessions = &table.sessions;
        prop_assert!(sessions.is_empty() && sessions.pulled() == 0 && sessions.places == 0);
        prop_assert!(sessions.addresses.is_empty() && sessions.idle.next().is_none());
        prop_assert!(sessions.since.next().is_none() && sessions.looks.next().is_none());
        prop_assert!(invariants.present.is_empty(), "every member has left");
    }
}
