//! The running calls: members, their grants, and whether they are connected. A call exists while it has members. Its events become
//! actions for the ledger: a connected member has a connection on its grant. When the media of a member end, its grant is revoked.

use crate::prelude::*;

/// The calls by name.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    calls: BTreeMap<CallName, Call>,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When its first member joined.
    pub started: Timestamp,
    /// Whether its members are connected to each other, as far as the protocol can see.
    pub is_connected: bool,
    /// Its members.
    pub members: BTreeMap<MemberId, Member>,
}

/// A member of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// When it joined.
    pub joined: Timestamp,
    /// Who it is, if known.
    pub user: Option<User>,
    /// The grant that was minted for it.
    pub grant: Option<GrantId>,
}

/// What the ledger must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallAction {
    /// The member has a connection on its grant.
    Open(MemberId, GrantId),
    /// The member's connection has ended.
    Close(MemberId, GrantId),
    /// Revoke this grant: nothing may be relayed with it any longer.
    Cut(GrantId),
}

impl Calls {
    /// Takes one event. `Connected` of an unknown call, and `Left` of an unknown member, are ignored.
    pub fn step(&mut self, event: CallEvent, now: Timestamp) -> Vec<CallAction> {
        match event {
            CallEvent::Joined { call, member, user, grant } => {
                let new = || Call { started: now, is_connected: false, members: BTreeMap::new() };
                let call = self.calls.entry(call).or_insert_with(new);
                call.members.insert(member, Member { joined: now, user, grant });
                vec![]
            }
            CallEvent::Connected { call } => {
                let Some(call) = self.calls.get_mut(&call) else { return vec![] };
                call.is_connected = true;
                // To open a connection again only keeps it alive, so members that are connected already need no check.
                call.connections().collect()
            }
            CallEvent::Left { call: name, member, media } => {
                let Some(call) = self.calls.get_mut(&name) else { return vec![] };
                let Some(gone) = call.members.remove(&member) else { return vec![] };
                let was_connected = call.is_connected;
                if call.members.is_empty() {
                    self.calls.remove(&name);
                }
                let Some(grant) = gone.grant else { return vec![] };
                let close = was_connected.then_some(CallAction::Close(member, grant));
                let cut = (media == MediaAfter::Ends).then_some(CallAction::Cut(grant));
                close.into_iter().chain(cut).collect()
            }
            CallEvent::Unused { grant } => vec![CallAction::Cut(grant)],
        }
    }

    /// The connections of all calls, each as the action that keeps it alive.
    pub fn connections(&self) -> impl Iterator<Item = CallAction> + '_ {
        self.calls.values().filter(|call| call.is_connected).flat_map(Call::connections)
    }

    /// The calls in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&CallName, &Call)> {
        self.calls.iter()
    }
}

impl Call {
    fn connections(&self) -> impl Iterator<Item = CallAction> + '_ {
        let with_grant =
            |(id, member): (&MemberId, &Member)| Some(CallAction::Open(id.clone(), member.grant?));
        self.members.iter().filter_map(with_grant)
    }
}

// What a protocol reports of a call: who joined with which grant, who is connected, who left.

/// A signaling protocol, by its entry in `SIGNALING`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ProtocolName {
    /// Ayame: two members a room.
    Ayame,
    /// P2PCF: polling over HTTP.
    P2pcf,
    /// Orange rooms.
    Rooms,
    /// The SFU proxy for partytracks.
    Sfu,
    /// `PeerJS`.
    Peerjs,
    /// y-webrtc.
    Yjs,
}

impl ProtocolName {
    /// All protocols.
    pub const ALL: [Self; 6] = [Self::Ayame, Self::P2pcf, Self::Rooms, Self::Sfu, Self::Peerjs, Self::Yjs];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A call: a room of a protocol while it has members.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallName {
    /// The protocol.
    pub protocol: ProtocolName,
    /// The room, as its clients name it.
    pub room: Arc<str>,
}

/// A member of a call, by an id that the protocol made and never uses again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub Arc<str>);

/// Something that happened in a call. Events of a member come in this order: `Joined`, then any number of `Connected`, then
/// `Left`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEvent {
    /// A member has joined.
    Joined {
        /// The call, which begins with its first member.
        call: CallName,
        /// The new member.
        member: MemberId,
        /// Who it is, if known.
        user: Option<User>,
        /// The grant that was minted for it.
        grant: Option<GrantId>,
    },
    /// The members of the call are connected to each other, as far as the protocol can see.
    Connected {
        /// The call.
        call: CallName,
    },
    /// A member has left.
    Left {
        /// The call, which ends with its last member.
        call: CallName,
        /// The member.
        member: MemberId,
        /// Whether its media end too.
        media: MediaAfter,
    },
    /// A credential was minted for a client that had gone before the credential came.
    Unused {
        /// Its grant, which nobody has received.
        grant: GrantId,
    },
}

/// Whether a member's media end when it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaAfter {
    /// The media end too: its connection is closed and its grant is revoked.
    Ends,
    /// The media may go on without signaling, so the grant stays valid until it expires.
    MayContinue,
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;

    use super::*;

    const A: GrantId = GrantId::new([1; 16]);
    const B: GrantId = GrantId::new([2; 16]);

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1_000)
    }

    fn call(room: &str) -> CallName {
        CallName { protocol: ProtocolName::Ayame, room: room.into() }
    }

    fn member(id: &str) -> MemberId {
        MemberId(id.into())
    }

    fn joined(id: &str, grant: Option<GrantId>) -> CallEvent {
        CallEvent::Joined { call: call("r"), member: member(id), user: None, grant }
    }

    fn left(id: &str, media: MediaAfter) -> CallEvent {
        CallEvent::Left { call: call("r"), member: member(id), media }
    }

    #[test]
    fn a_connected_member_has_a_connection_until_it_leaves() {
        let mut calls = Calls::default();
        assert_eq!(calls.step(joined("a", Some(A)), at(1)), []);
        assert_eq!(calls.step(joined("b", Some(B)), at(2)), []);
        let open = [CallAction::Open(member("a"), A), CallAction::Open(member("b"), B)];
        assert_eq!(calls.step(CallEvent::Connected { call: call("r") }, at(3)), open);
        assert_eq!(calls.connections().collect::<Vec<_>>(), open);
        assert_eq!(
            calls.iter().next().map(|(_, call)| (call.started, call.is_connected)),
            Some((at(1), true))
        );
        let ends = [CallAction::Close(member("a"), A), CallAction::Cut(A)];
        assert_eq!(calls.step(left("a", MediaAfter::Ends), at(4)), ends);
        let ends = [CallAction::Close(member("b"), B)];
        assert_eq!(calls.step(left("b", MediaAfter::MayContinue), at(5)), ends);
        assert_eq!(calls.step(CallEvent::Unused { grant: B }, at(6)), [CallAction::Cut(B)]);
        assert_eq!(calls.iter().count(), 0);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Join {
            room: usize,
            has_grant: bool,
        },
        Connect {
            room: usize,
        },
        /// Also of members that are not there.
        Leave {
            room: usize,
            member: u8,
            media: MediaAfter,
        },
        KeepAlive,
    }

    const ROOMS: [&str; 2] = ["r", "s"];

    fn an_op() -> impl Strategy<Value = Op> {
        let (room, media) =
            (0..ROOMS.len(), prop_oneof![Just(MediaAfter::Ends), Just(MediaAfter::MayContinue)]);
        prop_oneof![
            4 => (room.clone(), prop::bool::weighted(0.8)).prop_map(|(room, has_grant)| Op::Join { room, has_grant }),
            2 => room.clone().prop_map(|room| Op::Connect { room }),
            4 => (room, 0..20_u8, media).prop_map(|(room, member, media)| Op::Leave { room, member, media }),
            1 => Just(Op::KeepAlive),
        ]
    }

    /// What the ledger knows.
    #[derive(Default)]
    struct Reported {
        open: BTreeSet<(MemberId, GrantId)>,
        cut: BTreeSet<GrantId>,
    }

    impl Reported {
        fn take(&mut self, actions: impl IntoIterator<Item = CallAction>) {
            for action in actions {
                match action {
                    CallAction::Open(member, grant) => {
                        assert!(!self.cut.contains(&grant), "{grant:?} is cut");
                        self.open.insert((member, grant));
                    }
                    CallAction::Close(member, grant) => {
                        self.open.remove(&(member, grant));
                    }
                    CallAction::Cut(grant) => {
                        assert!(self.cut.insert(grant), "{grant:?} is cut once");
                        assert!(
                            self.open.iter().all(|(_, open)| *open != grant),
                            "{grant:?} is closed first"
                        );
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn each_open_has_a_close_and_each_grant_whose_media_end_is_cut(ops in prop::collection::vec(an_op(), 1..80)) {
            let (mut calls, mut reported) = (Calls::default(), Reported::default());
            let (mut members, mut ended) = (vec![], BTreeSet::new());
            let call = |room: usize| call(ROOMS[room]);
            let everybody_leaves = (0..=u8::MAX).flat_map(|member| {
                (0..ROOMS.len()).map(move |room| Op::Leave { room, member, media: MediaAfter::Ends })
            });
            for (n, op) in ops.into_iter().chain(everybody_leaves).enumerate() {
                let now = at(i64::try_from(n).unwrap());
                match op {
                    Op::Join { room, has_grant } => {
                        let id = u8::try_from(members.len()).unwrap();
                        let (member, grant) = (member(&id.to_string()), has_grant.then(|| GrantId::new([id; 16])));
                        members.push(Some((room, grant)));
                        reported.take(calls.step(CallEvent::Joined { call: call(room), member, user: None, grant }, now));
                    }
                    Op::Connect { room } => reported.take(calls.step(CallEvent::Connected { call: call(room) }, now)),
                    Op::Leave { room, member: id, media } => {
                        let gone = members.get_mut(usize::from(id)).and_then(|row| row.take_if(|(of, _)| *of == room));
                        if let (Some((_, Some(grant))), MediaAfter::Ends) = (gone, media) {
                            ended.insert(grant);
                        }
                        let member = member(&id.to_string());
                        reported.take(calls.step(CallEvent::Left { call: call(room), member, media }, now));
                    }
                    Op::KeepAlive => reported.take(calls.connections().collect::<Vec<_>>()),
                }
                prop_assert_eq!(&reported.cut, &ended);
            }
            prop_assert!(reported.open.is_empty(), "{:?}", reported.open);
            prop_assert_eq!(calls.iter().count(), 0);
        }
    }
}
