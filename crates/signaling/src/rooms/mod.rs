//! Orange rooms: the room server of Cloudflare's Orange Meets. It tells every user of a room who is there and what each one shares.
//! A user is a `_pk`, not a socket: it outlives its sockets, until it leaves or sends no heartbeat for too long. A `_pk` belongs to the
//! visitor who used it first, until the room ends or a full table forgets it. A room exists while it has users. An open socket
//! belongs to exactly one user, and is closed with it.
//!
//! | where | what |
//! |---|---|
//! | [`room`] | the users of one room: who enters, who leaves, what is sent to whom |
//! | [`message`] | the messages in both directions |
//! | [`user_cookie`] | the name that a visitor has chosen |

mod message;
mod room;
pub mod user_cookie;

use message::{Frame, Incoming, Refusal};
use room::{Arrival, Room};

use crate::prelude::*;

const LIMITS: Limits = Limits {
    // The largest are lines of the client's log, which contain descriptions of whole sessions.
    frame_max: 256 * 1024,
    // Some seconds of a busy room.
    queued_frames_max: 1_024,
    // Several states of the largest room. Waiting states share their bytes.
    queued_bytes_max: 4 * 1024 * 1024,
    drops_floods: true,
    too_slow: Closing { code: 1011, reason: "Failed to broadcast state" },
};
/// How many messages one socket may send. A client logs its calls to the SFU here, several at once when it enters a large room.
const MESSAGES: Rate = Rate::per_second(300, 50);
/// How much of one socket's messages is passed on to others, in KiB. Otherwise one user could fill the queues of all others.
const RELAYED_KIB: Rate = Rate::per_second(1_024, 64);

/// All rooms.
pub struct Rooms {
    settings: Settings,
    by_name: HashMap<Arc<str>, Room>,
    seats: HashMap<SocketId, Seat>,
    timers: Deadlines<Timer>,
    out: Out,
}

/// Where a socket belongs.
struct Seat {
    room: Arc<str>,
    user: Arc<str>,
    messages: Bucket,
    relayed: Bucket,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Timer {
    /// When users of this room without a heartbeat are removed.
    Sweep(Arc<str>),
    /// When the changed state of this room may be sent.
    Publish(Arc<str>),
}

impl Protocol for Rooms {
    type Frame = Frame;

    fn parse(text: Text) -> Frame {
        let message = Incoming::parse(&text);
        Frame { text, message }
    }

    fn step(&mut self, event: Event<Frame>, now: Duration) -> Vec<Action> {
        match event {
            Event::Opened { socket, holder, upgrade } => self.open(socket, holder, upgrade, now),
            Event::Text { socket, frame } => self.receive(socket, frame, now),
            Event::Closed { socket } => self.forget(socket),
            Event::Due => self.wake(now),
            Event::EndRoom { room } => self.end(&room),
            // Nobody leaves because of a drain: users come back to the next process.
            Event::Drain | Event::Binary { .. } | Event::Pong { .. } | Event::Replied { .. } => {}
        }
        let actions = self.out.actions.take();
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
        LIMITS
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
            return self.out.actions.close(socket, Closing::POLICY);
        };
        let user = Arc::clone(&arrival.id);
        let is_known = self.by_name.get(&name).is_some_and(|room| room.has_owner(&arrival.id));
        let has_place = is_known || self.free_ids_for(&arrival.holder);
        let room = self.by_name.entry(Arc::clone(&name)).or_insert_with(|| {
            self.timers.set(Timer::Sweep(Arc::clone(&name)), now + self.settings.sweep);
            Room::new(Arc::clone(&name), random)
        });
        match room.enter(arrival, has_place, self.settings, now, &mut self.out) {
            Ok(()) => {
                let (messages, relayed) = (Bucket::default(), Bucket::default());
                self.seats.insert(socket, Seat { room: Arc::clone(&name), user, messages, relayed });
            }
            Err(refusal) => {
                if refusal == Refusal::RoomFull {
                    self.out.actions.dropped(Dropped::NoPlace);
                }
                self.out.actions.send(socket, refusal.text());
                self.out.actions.close(socket, refusal.close());
            }
        }
        self.remove_or_publish(&name, now);
    }

    /// Frees ids until a holder may take one more. If one of its shares is full, the ids of users in this share who have left are
    /// forgotten. If all ids are taken, the ids of all users who have left are forgotten. `false` if there is no such user.
    fn free_ids_for(&mut self, holder: &Holder) -> bool {
        while !self.out.ids.fits(holder, 1, IDS) {
            let full = self.out.ids.full(holder, 1, IDS);
            // This count saves a walk through all rooms, which every refused socket would cost.
            if self.out.absent.of(full.as_ref()) == 0 {
                return false;
            }
            for room in self.by_name.values_mut() {
                room.forget_absent(full.as_ref(), &mut self.out);
            }
            self.out.actions.dropped(Dropped::Forgotten);
        }
        true
    }

    fn receive(&mut self, socket: SocketId, frame: Frame, now: Duration) {
        let Some(seat) = self.seats.get_mut(&socket) else { return };
        let Some(room) = self.by_name.get_mut(&seat.room) else { return };
        if !seat.messages.take(MESSAGES, now) {
            return self.close_flooder(socket);
        }
        let message = match frame.message {
            Ok(message) => message,
            Err(refusal) => return self.out.actions.send(socket, refusal.text()),
        };
        let kib = u32::try_from(frame.text.len().div_ceil(1_024)).unwrap_or(u32::MAX);
        if message.is_relayed() && seat.relayed.take_several(kib, RELAYED_KIB, now).is_err() {
            return self.close_flooder(socket);
        }
        let name = Arc::clone(&seat.room);
        room.answer(&Arc::clone(&seat.user), socket, message, &frame.text, now, &mut self.out);
        self.remove_or_publish(&name, now);
    }

    fn close_flooder(&mut self, socket: SocketId) {
        self.out.actions.dropped(Dropped::Flood);
        self.out.actions.close(socket, Closing::POLICY);
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
                room.is_changed = true;
                self.timers.set(timer.clone(), now + self.settings.sweep);
            }
            self.remove_or_publish(name, now);
        }
    }

    fn end(&mut self, name: &Arc<str>) {
        if let Some(room) = self.by_name.get_mut(name) {
            room.end(&mut self.out);
        }
        self.remove(name);
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

// What all rooms share.

/// The most ids that one client address, or one signed-in user, has taken in all rooms. A member of a room outlives its socket, and the
/// owner of an id is remembered when its member has left, so the bound on sockets bounds neither. An IPv6 /48 has four times as many.
const IDS_PER_CLIENT_MAX: usize = 1_024;
const IDS: Bounds = Bounds { client_max: IDS_PER_CLIENT_MAX, all_max: SHARES * IDS_PER_CLIENT_MAX };

/// The settings of rooms.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The most users of one room. `ROOM_MEMBERS_MAX`, 2 to 256; 64 when unset.
    pub members_max: usize,
    /// How often users without a heartbeat are removed, and how long a user may go without one. `ROOM_SWEEP_SECONDS`, 1 to 300; 15 when
    /// unset.
    pub sweep: Duration,
}

/// What all rooms share: the actions of a step, and how many ids are taken.
#[derive(Default)]
struct Out {
    actions: Actions,
    /// The ids that users in all rooms have taken.
    ids: Counts,
    /// Those of `ids` whose users have left.
    absent: Counts,
}

impl Out {
    /// Forgets the owner of an id whose user has left.
    fn forget(&mut self, owner: &Holder) {
        self.ids.remove(owner, 1);
        self.absent.remove(owner, 1);
    }
}

#[cfg(test)]
mod tests;
