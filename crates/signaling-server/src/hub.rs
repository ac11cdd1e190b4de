//! One protocol with its sockets. Each event is handled under one lock, and its actions are carried out in order: frames go to
//! the outboxes, events of calls to the ledger. So no two events of a protocol overlap, and each socket gets its frames in the
//! order in which the protocol sent them. What takes time is returned as [`Asked`]. Each protocol has frames of its own, and the
//! rest of this package sees every hub through [`AnyHub`].

use std::collections::HashMap;
use std::sync::Weak;

use tokio::sync::Notify;
use tokio::time::Instant;
use turn_base::WebClient;
use turn_budget::SpenderKind;
use turn_limits::{MemoryUse, PerHolder, Rate};
use turn_signaling::{Action, Dropped, Limits, Protocol, Question, Reply, SocketId, Upgrade};

use super::prelude::*;
use crate::occupancy::Place;
use crate::outbox::Frame;
use crate::{Mailbox, Memory, Sent, ServerBroker, TooSlow};

/// The close frame for a blocked user. Its reason is the code of the error that a request gets.
pub(crate) const BLOCKED: Closing = Closing { code: 1008, reason: "USER_BLOCKED" };
/// The same for a blocked address.
const ADDRESS_BLOCKED: Closing = Closing { reason: "ADDRESS_BLOCKED", ..BLOCKED };

/// Bytes that the broker receives from the sockets of one client address or user in one protocol. Enough for 64 pages that enter a call at
/// once with 128 KiB each, and then for 8 KiB a second of each. An IPv6 /48 may send four times as much. So one address cannot fill the
/// queues of others as fast as its line allows.
const RECEIVED_BYTES: Rate = Rate::per_second(8 << 20, 512 << 10);
/// Clients with such a rate of their own, half for each address family.
const CLIENTS_MAX: usize = 8_192;

/// A protocol with its sockets, whatever its frames are.
pub(crate) trait AnyHub: Send + Sync {
    /// What needs no lock.
    fn common(&self) -> &Common;

    /// Opens a socket. Returns its number, and what the protocol asks.
    fn open(&self, open: OpenSocket, upgrade: Upgrade) -> (SocketId, Vec<Asked>);

    /// Handles an event, and carries out the actions that follow from it.
    fn take(&self, event: Event<Text>) -> Vec<Asked>;

    /// Closes the sockets of the holders that `is_meant` accepts.
    fn close(&self, is_meant: &dyn Fn(&Holder) -> bool, close: Closing);

    /// Closes every socket, because the process stops. From now on each new socket is closed as soon as it opens.
    fn drain(&self) -> Vec<Asked>;

    /// How long until [`Event::Due`] must come. `None` while no timer runs.
    fn until_due(&self) -> Option<Duration>;
}

/// A protocol with its sockets.
pub(crate) struct Hub<P> {
    common: Common,
    state: Mutex<HubState<P>>,
}

/// What a hub has beside its protocol and its sockets.
pub(crate) struct Common {
    pub(crate) name: ProtocolName,
    pub(crate) limits: Limits,
    /// [`AnyHub::until_due`] may have changed.
    pub(crate) rescheduled: Notify,
    received: Mutex<PerHolder>,
    shared: Shared,
}

#[derive(Clone)]
pub(crate) struct Shared {
    /// When the time of the protocols starts. It is the runtime's time: it only limits how long sockets wait, and no figure depends
    /// on it.
    pub(crate) started: Instant,
    /// It knows who is blocked, counts what is refused, and learns who joins and leaves calls.
    pub(crate) broker: Arc<dyn ServerBroker>,
    /// What waits at the sockets of all protocols.
    pub(crate) memory: Memory,
}

struct HubState<P> {
    protocol: P,
    sockets: HashMap<SocketId, OpenSocket>,
    next_socket: u64,
    is_draining: bool,
}

pub(crate) struct OpenSocket {
    /// What waits at it.
    pub(crate) mailbox: Arc<Mailbox>,
    /// Its place, until it has ended.
    pub(crate) place: Weak<Place>,
    pub(crate) web_client: WebClient,
    /// Who has signed in, or the name that the visitor has.
    pub(crate) user: Option<User>,
}

/// A question of a socket. Its reply, if any, comes as [`Event::Replied`].
#[must_use]
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) socket: SocketId,
    /// The client of the socket, for a sign-in or a mint.
    pub(crate) web_client: WebClient,
    /// The place of the socket, until the socket has ended.
    pub(crate) place: Weak<Place>,
    /// What to find out.
    pub(crate) question: Question,
}

impl<P: Protocol> Hub<P> {
    /// A protocol without sockets.
    pub(crate) fn new(name: ProtocolName, protocol: P, shared: Shared) -> Self {
        let common = Common {
            name,
            limits: protocol.limits(),
            rescheduled: Notify::new(),
            received: Mutex::new(PerHolder::new(RECEIVED_BYTES, CLIENTS_MAX)),
            shared,
        };
        let state = HubState { protocol, sockets: HashMap::new(), next_socket: 0, is_draining: false };
        Self { common, state: Mutex::new(state) }
    }

    fn step(&self, state: &mut HubState<P>, event: Event<P::Frame>) -> Vec<Asked> {
        let before = state.protocol.next_due();
        let sender = event.socket().and_then(|socket| state.sockets.get(&socket));
        let sender = sender.map(|open| open.mailbox.holder.clone());
        let mut closed = None;
        match &event {
            Event::Closed { socket } => closed = Some(*socket),
            Event::Replied { socket, reply: Reply::SignedIn(Ok(Some(user))) } => {
                if let Some(open) = state.sockets.get_mut(socket) {
                    open.user = Some(user.clone());
                    self.common.close_if_blocked(open);
                }
            }
            _ => {}
        }
        let actions = state.protocol.step(event, self.common.now());
        let mut sending = Sending { common: &self.common, sockets: &state.sockets, sender, latest: None };
        let asked = actions.into_iter().filter_map(|action| sending.carry_out(action)).collect();
        drop(sending);
        // The socket is removed only now, because its end may raise a question, which needs its row.
        if let Some(closed) = closed {
            state.sockets.remove(&closed);
        }
        self.common.shared.memory.make_room();
        if state.protocol.next_due() != before {
            self.common.rescheduled.notify_one();
        }
        asked
    }
}

impl<P: Protocol> AnyHub for Hub<P> {
    fn common(&self) -> &Common {
        &self.common
    }

    fn open(&self, open: OpenSocket, upgrade: Upgrade) -> (SocketId, Vec<Asked>) {
        let holder = open.mailbox.holder.clone();
        let mut state = self.state.lock();
        let socket = SocketId(state.next_socket);
        state.next_socket += 1;
        self.common.close_if_blocked(&open);
        if state.is_draining {
            open.close(Closing::DRAIN);
        }
        state.sockets.insert(socket, open);
        (socket, self.step(&mut state, Event::Opened { socket, holder, upgrade }))
    }

    fn take(&self, event: Event<Text>) -> Vec<Asked> {
        // Parsed before the lock, so that a long frame delays no other socket.
        let event = event.parse(P::parse);
        self.step(&mut self.state.lock(), event)
    }

    fn close(&self, is_meant: &dyn Fn(&Holder) -> bool, close: Closing) {
        for open in self.state.lock().sockets.values() {
            if is_meant(&open.holder()) {
                open.close(close);
            }
        }
    }

    fn drain(&self) -> Vec<Asked> {
        let mut state = self.state.lock();
        state.is_draining = true;
        let asked = self.step(&mut state, Event::Drain);
        state.sockets.values().for_each(|open| open.close(Closing::DRAIN));
        asked
    }

    fn until_due(&self) -> Option<Duration> {
        let due = self.state.lock().protocol.next_due()?;
        Some(due.saturating_sub(self.common.now()))
    }
}

impl Common {
    /// Charges the rate of a holder for bytes that it has sent. Returns `false` if that is too much: then its socket must end.
    pub(crate) fn charge_received(&self, holder: &Holder, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let is_within = self.received.lock().take(holder.clone(), bytes, self.now()).is_ok();
        if !is_within {
            self.dropped(Dropped::Flood);
        }
        is_within
    }

    /// Forgets the holders that have sent nothing for a while.
    pub(crate) fn sweep(&self) {
        self.received.lock().sweep(self.now());
    }

    /// Counts something that a bound dropped.
    pub(crate) fn dropped(&self, why: Dropped) {
        self.shared.broker.count(Counted::Dropped(self.name, why));
    }

    /// Closes a socket whose user or address is blocked: that may have happened since the token was verified.
    fn close_if_blocked(&self, open: &OpenSocket) {
        let holder = open.holder();
        if let Some(kind) = self.shared.broker.block_of(holder.client(), holder.user()) {
            open.close(if kind == SpenderKind::Address { ADDRESS_BLOCKED } else { BLOCKED });
        }
    }

    fn now(&self) -> Duration {
        clock::timer_now().saturating_duration_since(self.shared.started)
    }
}

impl OpenSocket {
    /// Its address, with the user of the socket.
    fn holder(&self) -> Holder {
        Holder::new(self.mailbox.holder.client(), self.user.clone())
    }

    fn close(&self, close: Closing) {
        let _ = self.mailbox.outbox.push(Frame::Close(close), None, clock::timer_now());
    }
}

/// Carries out the actions that follow from one event.
struct Sending<'a> {
    common: &'a Common,
    sockets: &'a HashMap<SocketId, OpenSocket>,
    /// Whose socket has caused the event.
    sender: Option<Holder>,
    /// The latest text of the sender, and what counts the text in memory.
    latest: Option<(Text, Arc<MemoryUse>)>,
}

impl Sending<'_> {
    fn carry_out(&mut self, action: Action) -> Option<Asked> {
        match action {
            Action::Send { to, text } => {
                let open = self.sockets.get(&to)?;
                let sent = self.count(&text, &open.mailbox.holder);
                self.push(open, Frame::Text(text), Some(sent));
            }
            Action::Ping { to } => self.push(self.sockets.get(&to)?, Frame::Ping, None),
            Action::Close { socket, close } => {
                self.push(self.sockets.get(&socket)?, Frame::Close(close), None);
            }
            Action::Ask { socket, question } => {
                let open = self.sockets.get(&socket)?;
                let (web_client, place) = (open.web_client.clone(), Weak::clone(&open.place));
                return Some(Asked { socket, web_client, place, question });
            }
            Action::Call(event) => self.common.shared.broker.call(event),
            Action::Dropped(why) => self.common.dropped(why),
        }
        None
    }

    /// Counts a text for its sender, once for all its copies. A text that no socket has caused counts for its receiver.
    fn count(&mut self, text: &Text, to: &Holder) -> Sent {
        let memory = &self.common.shared.memory;
        let Some(sender) = &self.sender else { return memory.first_copy(to, text.len()) };
        if let Some((_, counted)) = self.latest.as_ref().filter(|(latest, _)| latest.is_clone_of(text)) {
            return memory.further_copy(counted);
        }
        let sent = memory.first_copy(sender, text.len());
        self.latest = Some((text.clone(), Arc::clone(&sent.text)));
        sent
    }

    fn push(&self, to: &OpenSocket, frame: Frame, sent: Option<Sent>) {
        match to.mailbox.outbox.push(frame, sent, clock::timer_now()) {
            Ok(dropped) => (0..dropped).for_each(|_| self.common.dropped(Dropped::FanOut)),
            Err(TooSlow) => self.common.shared.broker.count(Counted::Limited("too_slow")),
        }
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
