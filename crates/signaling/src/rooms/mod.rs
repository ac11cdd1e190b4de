//! Orange rooms: the room server of Cloudflare's Orange Meets. It tells every user of a room who is there and what each one shares.
//! A user is a `_pk`, not a socket: it outlives its sockets, until it leaves or is silent for too long. A `_pk` belongs to the
//! visitor who used it first, until the room ends or a full table forgets it. A room exists while it has users. An open socket
//! belongs to exactly one user, and is closed with it.
//!
//! | where | what |
//! |---|---|
//! | [`room`] | the users of one room: who enters, who leaves, what is sent to whom |
//! | [`shared`] | what all rooms share |
//! | [`message`] | the messages in both directions |
//! | [`profile`] | what a user says about itself |
//! | [`user_cookie`] | the name that a visitor has chosen |

mod message;
mod profile;
mod room;
mod shared;
pub mod user_cookie;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use turn_limits::{Bucket, Holder, Rate, SHARES};

use crate::call::MediaAfter;
use crate::deadlines::Deadlines;
use crate::dropped::Dropped;
use crate::protocol::{Action, Closing, Event, Limits, Protocol, SocketId, Text, Upgrade};
use message::{Frame, Incoming, Refusal};
use room::{Arrival, Entry, Room};
use shared::Out;
pub use shared::Settings;

/// The longest frame, in bytes. The largest are lines of the client's log, which contain descriptions of whole sessions.
const FRAME_MAX: usize = 256 * 1024;
/// The most frames that wait for a client: some seconds of a busy room.
const QUEUED_FRAMES_MAX: usize = 1_024;
/// The most bytes that wait for a client: several states of the largest room. Waiting states share their bytes.
const QUEUED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most users of all rooms. A user outlives its socket, so the bound on sockets does not bound users.
const USERS_MAX: usize = SHARES * USERS_PER_CLIENT_MAX;
/// The most ids of users whose owners are remembered, in all rooms.
const IDS_MAX: usize = SHARES * IDS_PER_CLIENT_MAX;
/// The most of them that one client address or one who has signed in has taken: more than it may have users. An IPv6 /48 has four times as many.
const IDS_PER_CLIENT_MAX: usize = 1_024;
/// The most users of one client address, or of one who has signed in. An IPv6 /48 has four times as many.
const USERS_PER_CLIENT_MAX: usize = 512;
/// How many messages one socket may send. A client logs its calls to the SFU here, several at once when it enters a large room.
const MESSAGES: Rate = Rate::per_second(300, 50);
/// How much of one socket's messages is passed on to others, in KiB. Otherwise one user could fill the queues of all others.
const RELAYED_KIB: Rate = Rate::per_second(1_024, 64);

/// All rooms.
#[derive(Debug)]
pub struct Rooms {
    settings: Settings,
    by_name: HashMap<Arc<str>, Room>,
    seats: HashMap<SocketId, Seat>,
    timers: Deadlines<Timer>,
    out: Out,
}

/// Where a socket belongs.
#[derive(Debug)]
struct Seat {
    room: Arc<str>,
    user: Arc<str>,
    messages: Bucket,
    relayed: Bucket,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    /// Silent users of this room are removed.
    Sweep(Arc<str>),
    /// The state of this room has changed, and may be sent.
    Publish(Arc<str>),
}

impl Protocol for Rooms {
    type Frame = Frame;

    fn parse(text: Text) -> Frame {
        let message = Incoming::parse(text.as_str());
        Frame { text, message }
    }

    fn step(&mut self, event: Event<Frame>, now: Duration) -> Vec<Action> {
        match event {
            Event::Opened { socket, holder, upgrade } => self.open(socket, holder, upgrade, now),
            Event::Text { socket, frame } => self.receive(socket, frame, now),
            Event::Closed { socket } => self.forget(socket),
            Event::Due => self.wake(now),
            Event::EndRoom { room } => self.end(&room),
            Event::Drain => self.drain(),
            Event::Binary { .. } | Event::Pong { .. } | Event::Replied { .. } => {}
        }
        let actions = std::mem::take(&mut self.out.actions);
        for action in &actions {
            if let Action::Close { socket, .. } = action {
                self.forget(*socket);
            }
        }
        actions
    }

    fn next_due(&self) -> Option<Duration> {
        self.timers.next()
    }

    fn limits(&self) -> Limits {
        Limits {
            frame_max: FRAME_MAX,
            queued_frames_max: QUEUED_FRAMES_MAX,
            queued_bytes_max: QUEUED_BYTES_MAX,
            too_slow: Closing { code: 1011, reason: "Failed to broadcast state" },
        }
    }
}

impl Rooms {
    /// No rooms yet.
    pub fn new(settings: Settings) -> Self {
        let (by_name, seats, timers) = (HashMap::new(), HashMap::new(), Deadlines::default());
        Self { settings, by_name, seats, timers, out: Out::default() }
    }

    fn open(&mut self, socket: SocketId, holder: Holder, upgrade: Upgrade, now: Duration) {
        let random = upgrade.random;
        let Some((name, arrival)) = Arrival::of(socket, holder, upgrade) else {
            self.out.push(Action::Close { socket, close: Closing::POLICY });
            return;
        };
        let users: usize = self.by_name.values().map(Room::len).sum();
        let has_place = users < USERS_MAX && !self.out.users.is_full(&arrival.holder, USERS_PER_CLIENT_MAX);
        let user = Arc::clone(&arrival.id);
        if !self.by_name.get(&name).is_some_and(|room| room.has_owner(&arrival.id)) {
            self.free_ids_for(&arrival.holder, &name);
        }
        let room = self.by_name.entry(Arc::clone(&name)).or_insert_with(|| {
            self.timers.set(Timer::Sweep(Arc::clone(&name)), now + self.settings.sweep);
            Room::new(Arc::clone(&name), random)
        });
        match room.enter(arrival, has_place, self.settings, now, &mut self.out) {
            Entry::Entered => {
                let (messages, relayed) = (Bucket::default(), Bucket::default());
                self.seats.insert(socket, Seat { room: Arc::clone(&name), user, messages, relayed });
            }
            Entry::Refused(refusal, close) => {
                if refusal == Refusal::RoomFull {
                    self.out.push(Action::Dropped(Dropped::NoPlace));
                }
                self.out.push(Action::Send { to: socket, text: refusal.text() });
                self.out.push(Action::Close { socket, close });
            }
        }
        self.remove_or_publish(&name, now);
    }

    /// Makes room for one more id of a holder. If one of its shares has as many as it may, those of its users who have left are forgotten.
    /// If all ids are taken, those of users who have left the room are.
    fn free_ids_for(&mut self, holder: &Holder, name: &Arc<str>) {
        let is_full = |ids: &usize, factor: usize| *ids >= IDS_PER_CLIENT_MAX * factor;
        let before = self.out.ids_of_all;
        if let Some(full) = self.out.ids.full(holder, is_full) {
            for room in self.by_name.values_mut() {
                room.forget_absent(Some(&full), &mut self.out);
            }
        } else if before >= IDS_MAX
            && let Some(room) = self.by_name.get_mut(name)
        {
            room.forget_absent(None, &mut self.out);
        }
        if self.out.ids_of_all < before {
            self.out.push(Action::Dropped(Dropped::Forgotten));
        }
    }

    fn receive(&mut self, socket: SocketId, frame: Frame, now: Duration) {
        let Some(seat) = self.seats.get_mut(&socket) else { return };
        let Some(room) = self.by_name.get_mut(&seat.room) else { return };
        if !seat.messages.take(MESSAGES, now) {
            self.out.push(Action::Dropped(Dropped::Flood));
            self.out.push(Action::Close { socket, close: Closing::POLICY });
            return;
        }
        let message = match frame.message {
            Ok(message) => message,
            Err(refusal) => {
                self.out.push(Action::Send { to: socket, text: refusal.text() });
                return;
            }
        };
        if message.is_relayed() && !seat.take_relayed(frame.text.len(), now) {
            self.out.push(Action::Dropped(Dropped::Flood));
            self.out.push(Action::Close { socket, close: Closing::POLICY });
            return;
        }
        let name = Arc::clone(&seat.room);
        room.answer(&Arc::clone(&seat.user), socket, message, (&frame.text, now), &mut self.out);
        self.remove_or_publish(&name, now);
    }

    /// Forgets a socket. Its user stays.
    fn forget(&mut self, socket: SocketId) {
        let Some(seat) = self.seats.remove(&socket) else { return };
        if let Some(room) = self.by_name.get_mut(&seat.room) {
            room.disconnect(&seat.user, socket);
        }
    }

    fn wake(&mut self, now: Duration) {
        while let Some(timer) = self.timers.pop(now) {
            let (Timer::Sweep(name) | Timer::Publish(name)) = &timer;
            if matches!(timer, Timer::Sweep(_)) {
                let Some(room) = self.by_name.get_mut(name) else { continue };
                room.sweep(self.settings.sweep, now, &mut self.out);
                room.mark_changed();
                self.timers.set(timer.clone(), now + self.settings.sweep);
            }
            self.remove_or_publish(name, now);
        }
    }

    fn end(&mut self, name: &Arc<str>) {
        if let Some(room) = self.by_name.get_mut(name) {
            room.end(Closing::normal("room ended"), MediaAfter::Ends, &mut self.out);
        }
        self.remove(name);
    }

    /// Closes every socket. Users come back to the next process, so their media are not ended.
    fn drain(&mut self) {
        for room in self.by_name.values_mut() {
            room.end(Closing::DRAIN, MediaAfter::MayContinue, &mut self.out);
        }
        self.by_name.clear();
        (self.out.ids, self.out.ids_of_all) = Default::default();
        self.timers = Deadlines::default();
    }

    /// Removes a room without users. Otherwise sends its state if that has changed, now or as soon as it may be sent.
    fn remove_or_publish(&mut self, name: &Arc<str>, now: Duration) {
        let Some(room) = self.by_name.get_mut(name) else { return };
        if room.len() == 0 {
            self.remove(name);
            return;
        }
        let timer = Timer::Publish(Arc::clone(name));
        match room.publish(now, &mut self.out) {
            Some(at) => self.timers.set(timer, at),
            None => self.timers.clear(&timer),
        }
    }

    fn remove(&mut self, name: &Arc<str>) {
        if let Some(room) = self.by_name.remove(name) {
            room.forget_ids(&mut self.out);
        }
        self.timers.clear(&Timer::Sweep(Arc::clone(name)));
        self.timers.clear(&Timer::Publish(Arc::clone(name)));
    }
}

impl Seat {
    /// Charges a message of this many bytes. `false` if it exceeds the rate; part of it may be charged then, but the socket is
    /// closed.
    fn take_relayed(&mut self, bytes: usize, now: Duration) -> bool {
        (0..bytes.div_ceil(1_024)).all(|_| self.relayed.take(RELAYED_KIB, now))
    }
}

#[cfg(test)]
mod tests;
