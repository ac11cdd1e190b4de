//! What a protocol reports of a call: who joined with which grant, who is connected, who left.

use std::sync::Arc;

use turn_budget::{GrantId, User};

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
