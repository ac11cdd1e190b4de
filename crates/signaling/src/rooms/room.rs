//! One room: its users in the order of their ids, and what each change means for the others. Every change marks the state as
//! changed; the state is sent to all at most every [`STATE_PAUSE`], however many changes there are.

use std::collections::btree_map::Entry;

use turn_limits::Share;

use super::message::{Ai, DirectMessage, Incoming, MuteUser, Outgoing, Profile, Refusal, RoomState, User};
use super::user_cookie::Visitor;
use super::{Out, Settings};
use crate::prelude::*;
use crate::uuid::uuid;

/// The shortest time between two states: 10 a second. A user that speaks changes its state several times a second.
const STATE_PAUSE: Duration = Duration::from_millis(100);
/// The longest `_pk`, in bytes. Orange's is a UUID.
const USER_ID_MAX: usize = 128;
/// The longest name of a room, in bytes.
const ROOM_NAME_MAX: usize = 256;
/// The most sockets of one user. When a client comes back after a lost connection, its old socket is still open here.
const SOCKETS_PER_USER_MAX: usize = 4;

const USER_LEFT: Closing = Closing::normal("User left");
const ROOM_ENDED: Closing = Closing::normal("room ended");
const NO_HEARTBEAT: Closing = Closing { code: 1011, reason: "no heartbeat" };
const TOO_MANY_SOCKETS: Closing = Closing { code: 1008, reason: "too many sockets" };

/// A room.
pub(super) struct Room {
    call: CallName,
    meeting: String,
    users: BTreeMap<Arc<str>, Member>,
    /// The owner of each id. Kept after the user has left, because others may still address the id.
    owners: BTreeMap<Arc<str>, Owner>,
    /// Whether somebody has asked for the AI since it was last turned off.
    is_ai_refused: bool,
    /// Whether two users have media.
    is_connected: bool,
    /// Whether the state has changed since it was last sent.
    pub(super) is_changed: bool,
    /// When the state was last sent. Time since the process started.
    sent_at: Option<Duration>,
}

/// A user of the room.
struct Member {
    id: MemberId,
    name: turn_budget::User,
    profile: Profile,
    /// When its last heartbeat came.
    heartbeat: Duration,
    /// Its open sockets, the oldest first. None while it reconnects.
    sockets: Vec<SocketId>,
}

/// Who has taken an id.
struct Owner {
    /// Who has taken it. Only sockets of the same visitor may use it.
    visitor: Visitor,
    holder: Holder,
}

/// A socket that wants to enter a room.
pub(super) struct Arrival {
    pub(super) socket: SocketId,
    /// The user's id: its `_pk`.
    pub(super) id: Arc<str>,
    visitor: Visitor,
    pub(super) holder: Holder,
    member: MemberId,
}

impl Arrival {
    /// The name of the room, and who arrives. `None` without a user, and if the name of the room or the id is not allowed.
    pub(super) fn of(socket: SocketId, holder: Holder, upgrade: Upgrade) -> Option<(Arc<str>, Self)> {
        let made = uuid(upgrade.random);
        let id = match upgrade.parameter("_pk") {
            None | Some("") => made.as_str(),
            Some(id) => id,
        };
        let is_good = id.len() <= USER_ID_MAX && !id.chars().any(char::is_control);
        let id = is_good.then(|| id.into())?;
        let room = upgrade.room.filter(|room| (1..=ROOM_NAME_MAX).contains(&room.len()))?;
        let visitor = Visitor { user: upgrade.user?, number: upgrade.visitor };
        Some((room, Self { socket, id, visitor, holder, member: MemberId(made.into()) }))
    }
}

impl Room {
    /// A room for its first user. `random` makes the id of the meeting.
    pub(super) fn new(name: Arc<str>, random: u128) -> Self {
        Self {
            call: CallName { protocol: ProtocolName::Rooms, room: name },
            meeting: uuid(random),
            users: BTreeMap::new(),
            owners: BTreeMap::new(),
            is_ai_refused: false,
            is_connected: false,
            is_changed: false,
            sent_at: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// The number of ids whose users have left.
    #[cfg(test)]
    pub(super) fn absent(&self) -> usize {
        self.owners.len() - self.users.len()
    }

    /// Whether somebody has taken this id.
    pub(super) fn has_owner(&self, id: &str) -> bool {
        self.owners.contains_key(id)
    }

    /// Forgets the owners of ids whose users have left: those that count in a share, or all.
    pub(super) fn forget_absent(&mut self, share: Option<&Share>, out: &mut Out) {
        self.owners.retain(|id, owner| {
            let is_kept =
                self.users.contains_key(id) || share.is_some_and(|share| !owner.holder.is_in(share));
            if !is_kept {
                out.forget(&owner.holder);
            }
            is_kept
        });
    }

    /// Forgets the owners of all ids, because the room is over.
    pub(super) fn forget_ids(self, out: &mut Out) {
        self.owners.into_values().for_each(|owner| out.forget(&owner.holder));
    }

    /// Lets a socket enter. A user that is already in the room keeps its profile. Everybody in the room knows the id and the name of a
    /// user, so knowing them proves nothing: another visitor cannot take over an id, even after its user has left. `has_place`: the id is
    /// known in the room, or its client may take one more.
    pub(super) fn enter(
        &mut self,
        arrival: Arrival,
        has_place: bool,
        settings: Settings,
        now: Duration,
        out: &mut Out,
    ) -> Result<(), Refusal> {
        let belongs_to_another =
            self.owners.get(&arrival.id).is_some_and(|owner| owner.visitor != arrival.visitor);
        // Before the sweep, so that a user who comes back in time is not removed.
        if !belongs_to_another && let Some(known) = self.users.get_mut(&arrival.id) {
            known.heartbeat = now;
        }
        self.sweep(settings.sweep, now, out);
        if belongs_to_another {
            return Err(Refusal::UserIdTaken);
        }
        let is_full = !has_place || self.users.len() >= settings.members_max;
        match self.users.get_mut(&arrival.id) {
            Some(known) => known.connect(arrival.socket, out),
            None if is_full => return Err(Refusal::RoomFull),
            None => self.add(arrival, now, out),
        }
        self.is_changed = true;
        Ok(())
    }

    fn add(&mut self, arrival: Arrival, now: Duration, out: &mut Out) {
        let Arrival { socket, id, visitor, holder, member } = arrival;
        let name = visitor.user.clone();
        // The number is 0 only if a token proves the name.
        let user = (visitor.number == 0).then(|| name.clone());
        let (call, member_id) = (self.call.clone(), member.clone());
        out.actions.call(CallEvent::Joined { call, member: member_id, user, grant: None });
        let sockets = vec![socket];
        let profile = Profile::new();
        match self.owners.entry(Arc::clone(&id)) {
            Entry::Occupied(owner) => out.absent.remove(&owner.get().holder, 1),
            Entry::Vacant(id) => {
                out.ids.add(&holder, 1);
                id.insert(Owner { visitor, holder });
            }
        }
        self.users.insert(id, Member { id: member, name, profile, heartbeat: now, sockets });
    }

    /// Forgets a socket of a user. The user stays.
    pub(super) fn disconnect(&mut self, user: &str, socket: SocketId) {
        if let Some(member) = self.users.get_mut(user) {
            member.sockets.retain(|open| *open != socket);
        }
    }

    /// Handles a message that `socket` of `user` has sent. `text`: the whole message as it came.
    pub(super) fn answer(
        &mut self,
        user: &Arc<str>,
        socket: SocketId,
        message: Incoming,
        text: &Text,
        now: Duration,
        out: &mut Out,
    ) {
        let Some(sender) = self.users.get_mut(user) else { return };
        match message {
            Incoming::UserUpdate(profile) => {
                sender.profile = *profile;
                self.is_changed = true;
            }
            Incoming::Heartbeat => sender.heartbeat = now,
            Incoming::UserLeft => {
                self.remove(user, USER_LEFT, out);
            }
            Incoming::DirectMessage(DirectMessage { to, message }) => {
                let text = Outgoing::DirectMessage { from: sender.name.as_str(), message: &message }.text();
                if let Some(target) = self.users.get(&*to) {
                    target.send(&text, out);
                }
            }
            Incoming::MuteUser(_) if !sender.profile.joined => {
                out.actions.send(socket, Refusal::NotJoined.text());
            }
            Incoming::MuteUser(MuteUser { id }) => self.mute(&id, out),
            Incoming::EndToEnd => self.send_to_others(user, text, out),
            Incoming::Ping => out.actions.send(socket, Outgoing::Pong.text()),
            Incoming::Ai { is_wanted } => {
                self.is_ai_refused = is_wanted;
                self.is_changed = true;
            }
            Incoming::ControlAi => self.is_changed = true,
            Incoming::Log => {}
        }
    }

    fn mute(&mut self, id: &str, out: &mut Out) {
        let Some(target) = self.users.get_mut(id) else { return };
        target.profile.mute();
        target.send(&Outgoing::MuteMic.text(), out);
        self.is_changed = true;
    }

    /// Removes the users whose last heartbeat is older than `heartbeat_max`.
    pub(super) fn sweep(&mut self, heartbeat_max: Duration, now: Duration, out: &mut Out) {
        let has_no_heartbeat = |member: &Member| member.heartbeat + heartbeat_max < now;
        let gone = self.users.iter().filter(|(_, member)| has_no_heartbeat(member));
        for id in gone.map(|(id, _)| Arc::clone(id)).collect::<Vec<_>>() {
            self.remove(&id, NO_HEARTBEAT, out);
        }
    }

    /// Removes all users.
    pub(super) fn end(&mut self, out: &mut Out) {
        while let Some((id, member)) = self.users.pop_first() {
            self.end_member(&id, member, ROOM_ENDED, out);
        }
    }

    /// Removes a user, and tells the others.
    fn remove(&mut self, id: &Arc<str>, close: Closing, out: &mut Out) {
        let Some(member) = self.users.remove(id) else { return };
        self.end_member(id, member, close, out);
        self.send_to_others(id, &Outgoing::UserLeftNotification { id }.text(), out);
        self.is_changed = true;
    }

    fn end_member(&self, id: &str, member: Member, close: Closing, out: &mut Out) {
        if let Some(owner) = self.owners.get(id) {
            out.absent.add(&owner.holder, 1);
        }
        member.sockets.iter().for_each(|socket| out.actions.close(*socket, close));
        let (call, media) = (self.call.clone(), MediaAfter::Ends);
        out.actions.call(CallEvent::Left { call, member: member.id, media });
    }

    fn send_to_others(&self, user: &Arc<str>, text: &Text, out: &mut Out) {
        for (_, other) in self.users.iter().filter(|(id, _)| *id != user) {
            other.send(text, out);
        }
    }

    /// Sends the state to all if it has changed. If it is too early for that, returns when the state may be sent.
    pub(super) fn publish(&mut self, now: Duration, out: &mut Out) -> Option<Duration> {
        if !self.is_changed {
            return None;
        }
        self.report_connected(out);
        let due = self.sent_at.map_or(now, |sent_at| sent_at + STATE_PAUSE);
        if due > now {
            return Some(due);
        }
        let text = self.state().text();
        for user in self.users.values() {
            user.send(&text, out);
        }
        self.sent_at = Some(now);
        self.is_changed = false;
        None
    }

    fn state(&self) -> Outgoing<'_> {
        let users = self
            .users
            .iter()
            .map(|(id, user)| User { id, name: &user.name, profile: &user.profile })
            .collect();
        let error = self.is_ai_refused.then_some("AI is not available");
        let ai = Ai { enabled: false, error, connection_pending: error.map(|_| false) };
        Outgoing::RoomState { state: RoomState { meeting_id: &self.meeting, users, ai } }
    }

    /// The call is connected once two users have media: all media go through one SFU.
    fn report_connected(&mut self, out: &mut Out) {
        let with_media = self.users.values().filter(|user| user.profile.has_media()).count();
        let is_connected = with_media >= 2;
        if is_connected && !self.is_connected {
            out.actions.call(CallEvent::Connected { call: self.call.clone() });
        }
        self.is_connected = is_connected;
    }
}

impl Member {
    fn connect(&mut self, socket: SocketId, out: &mut Out) {
        if self.sockets.len() >= SOCKETS_PER_USER_MAX {
            let oldest = self.sockets.remove(0);
            out.actions.dropped(Dropped::OldSocket);
            out.actions.close(oldest, TOO_MANY_SOCKETS);
        }
        self.sockets.push(socket);
    }

    fn send(&self, text: &Text, out: &mut Out) {
        self.sockets.iter().for_each(|socket| out.actions.send(*socket, text.clone()));
    }
}
