//! What waits in the memory of all sockets: frames in their queues, and messages that are not complete. One bound holds for all of it. Each
//! frame and each message counts for its sender. Beyond the bound, the sender with most loses its sockets, and its frames in the queues of
//! others. So clients that only receive a flood keep their sockets.

use std::sync::Weak;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use turn_limits::{Bounds, MemoryQuota, MemoryUse};
use turn_signaling::Limits;

use super::prelude::*;
use crate::outbox::FRAME_BYTES;
use crate::{Outbox, Sent, ServerBroker};

pub(crate) const WAITING_BYTES_MAX: usize = 64_000_000;

/// What waits, and the sockets. Clones share it.
#[derive(Clone)]
pub(crate) struct Memory(Arc<Shared>);

struct Shared {
    waiting: MemoryQuota,
    /// The open sockets. A socket that has ended is removed when another one opens.
    sockets: Mutex<Vec<Weak<Mailbox>>>,
    broker: Arc<dyn ServerBroker>,
}

/// What waits at one socket.
pub(crate) struct Mailbox {
    /// Who has opened the socket. What waits counts for this holder, even after a user has signed in over the socket. Only the place, and
    /// the rate of what arrives, then count for the user.
    pub(crate) holder: Holder,
    pub(crate) outbox: Outbox,
    pub(crate) inbox: Inbox,
    memory: Memory,
    /// Cancelled once the socket must end, because too much waits and its holder has sent most of it.
    pub(crate) ended: CancellationToken,
}

impl Memory {
    /// Nothing waits. `broker`: counts the sockets that must end.
    pub(crate) fn new(broker: Arc<dyn ServerBroker>) -> Self {
        // No bound here: `make_room` finds the largest sender afterwards. The last bytes are seldom of that sender.
        let waiting = MemoryQuota::new(0, Bounds::NONE);
        Self(Arc::new(Shared { waiting, sockets: Mutex::default(), broker }))
    }

    pub(crate) fn open(&self, holder: &Holder, limits: Limits) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox {
            holder: holder.clone(),
            outbox: Outbox::new(holder.clone(), limits),
            inbox: Inbox::new(self.count(holder, 0), clock::timer_now()),
            memory: self.clone(),
            ended: CancellationToken::new(),
        });
        let mut sockets = self.0.sockets.lock();
        sockets.retain(|socket| socket.strong_count() > 0);
        sockets.push(Arc::downgrade(&mailbox));
        drop(sockets);
        mailbox
    }

    /// Counts bytes for a holder until the result is dropped.
    pub(crate) fn count(&self, holder: &Holder, bytes: usize) -> MemoryUse {
        let mut counted = self.0.waiting.open(holder.clone());
        counted.resize(bytes);
        counted
    }

    /// Counts a text of so many bytes in one queue.
    pub(crate) fn first_copy(&self, sender: &Holder, bytes: usize) -> Sent {
        Sent { text: Arc::new(self.count(sender, bytes + FRAME_BYTES)), _place: None }
    }

    /// Counts a text in one more queue.
    pub(crate) fn further_copy(&self, text: &Arc<MemoryUse>) -> Sent {
        Sent { text: Arc::clone(text), _place: Some(self.count(text.holder(), FRAME_BYTES)) }
    }

    /// If too much waits, ends the sockets of the sender with most. What has arrived at these sockets counts no more, so one search is
    /// enough.
    pub(crate) fn make_room(&self) {
        let Some(largest) = self.0.waiting.largest_above(WAITING_BYTES_MAX) else { return };
        let sockets: Vec<_> = self.0.sockets.lock().iter().filter_map(Weak::upgrade).collect();
        for socket in sockets {
            socket.outbox.drop_from(&largest);
            if socket.holder.is_in(&largest) && !socket.ended.is_cancelled() {
                socket.ended.cancel();
                socket.inbox.complete();
                self.0.broker.count(Counted::Limited("memory"));
            }
        }
    }
}

impl Mailbox {
    /// Counts bytes that have arrived. `false` if the socket must end.
    pub(crate) fn received(&self, bytes: usize, now: Instant) -> bool {
        if self.ended.is_cancelled() {
            return false;
        }
        self.inbox.received(bytes, now);
        self.memory.make_room();
        !self.ended.is_cancelled()
    }

    /// Counts a frame of so many bytes that is being written, until the result is dropped. Its sender no longer pays for it.
    pub(crate) fn writing(&self, bytes: usize) -> MemoryUse {
        let counted = self.memory.count(&self.holder, bytes);
        self.memory.make_room();
        counted
    }
}

// The incomplete message of a socket: its bytes are counted, and its time is bounded. Nothing else would end such a message: a client may
// send its fragments as slowly as it likes, with pings between them.

/// The longest time from the first byte of a message to its last.
pub(crate) const MESSAGE_MAX: Duration = Duration::from_secs(30);
/// The head of a client's control frame, in bytes.
const CONTROL_HEAD: usize = 6;

/// The buffer of one socket, in bytes. An idle socket keeps it, and a longer message makes it grow.
pub(crate) const READ_BUFFER: usize = 1024;

/// The incomplete message of a socket.
#[derive(Debug)]
pub(crate) struct Inbox(Mutex<Incomplete>);

#[derive(Debug)]
struct Incomplete {
    bytes: usize,
    /// Counts the bytes that do not fit in the buffer which each socket has. So a short message costs nothing.
    beyond_buffer: MemoryUse,
    /// When the first byte arrived.
    since: Instant,
}

impl Incomplete {
    fn set(&mut self, bytes: usize) {
        self.bytes = bytes;
        self.beyond_buffer.resize(bytes.saturating_sub(READ_BUFFER));
    }
}

impl Inbox {
    /// An inbox of a new socket. `counted` counts its bytes.
    pub(crate) fn new(counted: MemoryUse, now: Instant) -> Self {
        Self(Mutex::new(Incomplete { bytes: 0, beyond_buffer: counted, since: now }))
    }

    /// Adds bytes that have arrived.
    pub(crate) fn received(&self, bytes: usize, now: Instant) {
        let mut incomplete = self.0.lock();
        if incomplete.bytes == 0 {
            incomplete.since = now;
        }
        let bytes = incomplete.bytes.saturating_add(bytes);
        incomplete.set(bytes);
    }

    /// A message is complete. What has arrived beyond it, a read buffer at most, does not count.
    pub(crate) fn complete(&self) {
        self.0.lock().set(0);
    }

    /// Subtracts a complete control frame with so many bytes of content: it can come inside a message.
    pub(crate) fn control(&self, content: usize) {
        let mut incomplete = self.0.lock();
        let bytes = incomplete.bytes.saturating_sub(CONTROL_HEAD + content);
        incomplete.set(bytes);
    }

    /// Whether a message has been arriving for too long.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        let incomplete = self.0.lock();
        incomplete.bytes > 0 && now.saturating_duration_since(incomplete.since) >= MESSAGE_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::outbox::Frame;
    use crate::testing::FakeBroker;
    use turn_budget::ClientKey;
    use turn_signaling::Closing;

    const MB: usize = 1_000_000;
    const LIMITS: Limits = Limits {
        frame_max: MB,
        queued_frames_max: 1_000,
        queued_bytes_max: 1_000 * MB,
        drops_floods: true,
        too_slow: Closing::POLICY,
    };

    fn holder(n: u8) -> Holder {
        ClientKey::V4(Ipv4Addr::new(192, 0, 2, n)).into()
    }

    struct World {
        memory: Memory,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            Self { memory: Memory::new(Arc::<FakeBroker>::default()), now: clock::timer_now() }
        }

        fn open(&self, n: u8) -> Arc<Mailbox> {
            self.memory.open(&holder(n), LIMITS)
        }

        /// Puts a text of a sender in these queues.
        fn send(&self, from: u8, bytes: usize, to: &[&Mailbox]) {
            let first = self.memory.first_copy(&holder(from), bytes);
            for to in to {
                let sent = self.memory.further_copy(&first.text);
                let frame = Frame::Text("x".repeat(from.into()).into());
                assert_eq!(to.outbox.push(frame, Some(sent), self.now), Ok(0));
            }
            drop(first);
            self.memory.make_room();
        }
    }

    /// The senders of what waits.
    fn waiting(mailbox: &Mailbox) -> Vec<usize> {
        let text = |frame| if let Frame::Text(text) = frame { text.len() } else { 0 };
        std::iter::from_fn(|| mailbox.outbox.pop()).map(text).collect()
    }

    fn has_ended(mailbox: &Mailbox) -> bool {
        mailbox.ended.is_cancelled()
    }

    #[test]
    fn whoever_has_sent_most_loses_its_sockets_and_its_frames_and_those_who_receive_them_go_on() {
        let world = World::new();
        let [flooder, idle, honest, receiver] = [1, 1, 2, 3].map(|n| world.open(n));
        world.send(2, 9 * MB, &[&receiver]);
        for _ in 0..6 {
            world.send(1, 9 * MB, &[&receiver]);
        }
        assert!(!has_ended(&flooder), "63 MB and seven frames");
        world.send(2, MB, &[&receiver]);
        assert!(has_ended(&flooder) && has_ended(&idle) && !has_ended(&honest) && !has_ended(&receiver));
        assert_eq!(waiting(&receiver), [2, 2]);
        world.send(2, 50 * MB, &[&receiver]);
        assert!(!has_ended(&honest), "what was dropped or sent no longer counts");
    }

    #[test]
    fn the_copies_of_a_text_for_many_sockets_count_once() {
        let world = World::new();
        let sockets: Vec<_> = (0..100).map(|_| world.open(3)).collect();
        let sender = world.open(1);
        world.send(1, 10 * MB, &sockets.iter().map(|socket| &**socket).collect::<Vec<_>>());
        assert!(!has_ended(&sender));
        sockets.iter().skip(1).for_each(|socket| assert_eq!(waiting(socket), [1]));
        world.send(2, 55 * MB, &[&sockets[1]]);
        assert_eq!(waiting(&sockets[0]), [1], "it counts until the last copy is sent");
        assert_eq!(waiting(&sockets[1]), [0usize; 0]);
    }

    #[test]
    fn a_message_that_is_not_complete_and_a_frame_that_is_written_count_for_the_holder_of_the_socket() {
        let world = World::new();
        let [arriving, reading, other] = [1, 2, 3].map(|n| world.open(n));
        assert!(arriving.received(33 * MB, world.now) && other.received(20 * MB, world.now));
        let writing = reading.writing(10 * MB);
        assert!(!has_ended(&arriving));
        drop(writing);
        assert!(other.received(11 * MB, world.now), "what is written no longer counts");
        assert!(!arriving.received(MB, world.now), "it has most");
        drop(arriving);
        let _writing = reading.writing(40 * MB);
        assert!(has_ended(&reading) && !has_ended(&other));
    }

    #[test]
    fn a_socket_that_has_ended_is_forgotten() {
        let world = World::new();
        drop(world.open(1));
        let _open = world.open(1);
        assert_eq!(world.memory.0.sockets.lock().len(), 1);
    }
}

#[cfg(test)]
mod inbox_tests {
    use super::*;
    use turn_base::clock;
    use turn_budget::ClientKey;
    use turn_limits::{Bounds, MemoryQuota};

    fn inbox() -> (Inbox, Instant) {
        let quota = MemoryQuota::new(0, Bounds::NONE);
        let now = clock::timer_now();
        (Inbox::new(quota.open(ClientKey::V4([192, 0, 2, 1].into())), now), now)
    }

    #[test]
    fn a_message_that_is_not_finished_is_overdue_and_pings_do_not_help() {
        let (inbox, now) = inbox();
        assert!(!inbox.is_overdue(now + MESSAGE_MAX), "nothing has arrived");
        inbox.received(100, now);
        inbox.received(6 + 5, now + MESSAGE_MAX / 2);
        inbox.control(5);
        assert!(!inbox.is_overdue(now + MESSAGE_MAX.saturating_sub(Duration::from_millis(1))));
        assert!(inbox.is_overdue(now + MESSAGE_MAX));
        inbox.complete();
        assert!(!inbox.is_overdue(now + MESSAGE_MAX));
    }

    #[test]
    fn pings_alone_are_never_overdue() {
        let (inbox, now) = inbox();
        for ping in 0..100 {
            inbox.received(6, now + MESSAGE_MAX * ping);
            inbox.control(0);
            assert!(!inbox.is_overdue(now + MESSAGE_MAX * (ping + 1)));
        }
    }
}
