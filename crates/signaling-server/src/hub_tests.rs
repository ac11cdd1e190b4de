//! Tests of a protocol with its sockets.

use std::cell::OnceCell;
use std::net::Ipv4Addr;

use super::*;
use crate::memory::WAITING_BYTES_MAX;
use crate::outbox::FRAME_BYTES;
use crate::testing::FakeBroker;
use turn_budget::ClientKey;
use turn_signaling::{Ayame, AyameSettings, QUEUED_FRAMES_MAX, SignIn};

/// Returns each text to its sender, and asks about `ask`.
#[derive(Debug)]
struct Echo;

thread_local! {
    /// The hub that must not be locked while a frame of this test is parsed.
    static UNLOCKED: OnceCell<Arc<Hub<Echo>>> = const { OnceCell::new() };
}

impl Protocol for Echo {
    type Frame = Text;

    fn parse(text: Text) -> Text {
        UNLOCKED.with(|hub| assert!(hub.get().is_none_or(|hub| hub.state.try_lock().is_some())));
        text
    }

    fn step(&mut self, event: Event<Text>, _: Duration) -> Vec<Action> {
        match event {
            Event::Text { socket, frame } if &*frame == "ask" => {
                vec![Action::Ask { socket, question: Question::Mint { room: "r".into(), user: None } }]
            }
            Event::Text { socket, frame } => {
                vec![Action::Send { to: socket, text: frame }, Action::Ping { to: socket }]
            }
            _ => vec![],
        }
    }

    fn next_due(&self) -> Option<Duration> {
        None
    }

    fn limits(&self) -> Limits {
        Limits {
            frame_max: 100,
            queued_frames_max: 10,
            queued_bytes_max: 100_000,
            drops_floods: true,
            too_slow: Closing::POLICY,
        }
    }
}

fn hub() -> Hub<Echo> {
    hub_of(Arc::default())
}

fn hub_of(broker: Arc<FakeBroker>) -> Hub<Echo> {
    Hub::new(ProtocolName::Yjs, Echo, shared(broker))
}

fn shared(broker: Arc<FakeBroker>) -> Shared {
    let memory = Memory::new(Arc::<FakeBroker>::default());
    Shared { started: clock::timer_now(), broker, memory }
}

fn open<P: Protocol>(hub: &Hub<P>, holder: &Holder, upgrade: Upgrade) -> (SocketId, Arc<Mailbox>) {
    let mailbox = hub.common.shared.memory.open(holder, hub.common.limits);
    let web_client = WebClient { address: Ipv4Addr::LOCALHOST.into(), origin: None };
    let user = upgrade.user.clone();
    let open = OpenSocket { mailbox: Arc::clone(&mailbox), place: Weak::new(), web_client, user };
    let (socket, effects) = hub.open(open, upgrade);
    assert!(effects.is_empty());
    (socket, mailbox)
}

fn holder() -> Holder {
    ClientKey::V4(Ipv4Addr::LOCALHOST).into()
}

fn text(socket: SocketId, text: &'static str) -> Event<Text> {
    Event::Text { socket, frame: text.into() }
}

#[tokio::test]
async fn frames_go_out_in_order_and_a_question_comes_back_with_its_peer() {
    let hub = hub();
    let (a, mailbox) = open(&hub, &holder(), Upgrade::default());
    assert!(hub.take(text(a, "1")).is_empty() && hub.take(text(a, "2")).is_empty());
    let frame = |text: &'static str| Frame::Text(text.into());
    for expected in [frame("1"), Frame::Ping, frame("2"), Frame::Ping] {
        assert_eq!(mailbox.outbox.next().await, expected);
    }
    let effects = hub.take(text(a, "ask"));
    assert!(
        matches!(&*effects, [Asked { socket, web_client, .. }] if *socket == a && web_client.address.is_loopback())
    );
    let _ = hub.take(Event::Closed { socket: a });
    assert!(hub.take(text(a, "ask")).is_empty(), "nobody is there to ask for");
}

fn named(user: &str) -> Upgrade {
    Upgrade { user: User::new(user), ..Upgrade::default() }
}

#[tokio::test]
async fn a_block_closes_the_sockets_of_its_user_and_those_that_open_or_sign_in_later() {
    let broker = Arc::<FakeBroker>::default();
    let hub = hub_of(Arc::clone(&broker));
    let open = |upgrade| open(&hub, &holder(), upgrade);
    let ((_, eve), (ann, of_ann)) = (open(named("eve")), open(named("ann")));
    let (later, signs_in) = open(Upgrade::default());
    let user = User::new("eve").unwrap();
    broker.block(&user);
    hub.close(&|holder| holder.user() == Some(&user), BLOCKED);
    let (_, opens) = open(named("eve"));
    let reply = Reply::SignedIn(Ok(Some(user)));
    let _ = hub.take(Event::Replied { socket: later, reply });
    for closed in [eve, opens, signs_in] {
        assert_eq!(closed.outbox.next().await, Frame::Close(BLOCKED));
    }
    let _ = hub.take(text(ann, "1"));
    assert_eq!(of_ann.outbox.next().await, Frame::Text("1".into()), "another user");
}

#[test]
fn each_client_sends_at_most_8_mib_at_once() {
    let hub = hub();
    let charge_received =
        |client: [u8; 4], bytes| hub.common.charge_received(&ClientKey::of(client.into()).into(), bytes);
    assert!(charge_received([192, 0, 2, 1], 8 << 20));
    assert!(!charge_received([192, 0, 2, 1], 8 << 20), "it takes 16 s until that is back");
    assert!(charge_received([192, 0, 2, 2], 8 << 20), "another client");
}

#[tokio::test]
async fn a_client_of_which_too_much_waits_loses_its_sockets_and_others_go_on() {
    let hub = hub();
    let greedy = Holder::from(ClientKey::V4(Ipv4Addr::new(192, 0, 2, 9)));
    let (_, of_greedy) = open(&hub, &greedy, Upgrade::default());
    let (other, of_other) = open(&hub, &holder(), Upgrade::default());
    let _waiting = hub.common.shared.memory.count(&greedy, WAITING_BYTES_MAX);
    let _ = hub.take(text(other, "1"));
    tokio::select! {
        biased;
        () = of_greedy.ended.cancelled() => {}
        () = std::future::ready(()) => panic!("its socket goes on"),
    }
    assert_eq!(of_other.outbox.next().await, Frame::Text("1".into()));
}

#[tokio::test]
async fn a_text_that_a_socket_causes_counts_for_its_holder_and_any_other_for_its_receiver() {
    let hub = hub();
    let (_, mailbox) = open(&hub, &holder(), Upgrade::default());
    let state = hub.state.lock();
    let sender = Holder::from(ClientKey::V4(Ipv4Addr::new(192, 0, 2, 9)));
    for (sender, expected) in [(Some(sender.clone()), &sender), (None, &mailbox.holder)] {
        let mut sending = Sending { common: &hub.common, sockets: &state.sockets, sender, latest: None };
        let text = Text::from("1".to_owned());
        let [first, copy, other] = [&text, &text.clone(), &"1".to_owned().into()]
            .map(|text| sending.count(text, &mailbox.holder).text);
        assert_eq!((first.holder(), first.bytes()), (expected, 1 + FRAME_BYTES));
        assert_eq!(Arc::ptr_eq(&first, &copy), sending.sender.is_some(), "once for all copies");
        assert!(!Arc::ptr_eq(&first, &other));
    }
}

#[tokio::test]
async fn a_frame_is_parsed_without_the_lock_of_the_protocol() {
    let hub = Arc::new(hub());
    let (socket, mailbox) = open(&hub, &holder(), Upgrade::default());
    UNLOCKED.with(|unlocked| assert!(unlocked.set(Arc::clone(&hub)).is_ok()));
    assert!(hub.take(text(socket, "1")).is_empty());
    assert_eq!(mailbox.outbox.next().await, Frame::Text("1".into()));
}

#[tokio::test]
async fn a_drain_closes_every_socket_and_those_that_open_later() {
    let hub = hub();
    let (_, mailbox) = open(&hub, &holder(), Upgrade::default());
    assert!(hub.drain().is_empty());
    assert_eq!(mailbox.outbox.next().await, Frame::Close(Closing::DRAIN));
    let (_, mailbox) = open(&hub, &holder(), Upgrade::default());
    assert_eq!(mailbox.outbox.next().await, Frame::Close(Closing::DRAIN));
}

fn ayame() -> Hub<Ayame> {
    let settings = AyameSettings {
        has_authn_webhook: false,
        has_disconnect_webhook: false,
        type_message: false,
        ping_interval: Duration::from_secs(5),
        pong_timeout: Duration::from_secs(60),
        read_timeout: Duration::from_secs(90),
        read_limit: 1_048_576,
    };
    Hub::new(ProtocolName::Ayame, Ayame::new(settings, SignIn::Off), shared(Arc::default()))
}

/// A socket of this address that is a member of a room.
fn join(hub: &Hub<Ayame>, address: [u8; 4]) -> (SocketId, Arc<Mailbox>) {
    let query = vec![("turn".to_owned(), "0".to_owned())];
    let holder = ClientKey::V4(address.into()).into();
    let (socket, mailbox) = open(hub, &holder, Upgrade { query, ..Upgrade::default() });
    assert!(hub.take(text(socket, r#"{"type":"register","roomId":"r"}"#)).is_empty());
    assert!(matches!(mailbox.outbox.pop(), Some(Frame::Text(accept)) if accept.contains("accept")));
    (socket, mailbox)
}

#[tokio::test]
async fn a_partner_in_ayame_that_sends_more_than_is_read_ends_the_call_and_no_frame_is_lost() {
    let hub = ayame();
    let ((_, of_reader), (sender, of_sender)) = (join(&hub, [192, 0, 2, 1]), join(&hub, [192, 0, 2, 2]));
    let send = || assert!(hub.take(text(sender, r#"{"type":"candidate"}"#)).is_empty());
    (0..100).for_each(|_| send());
    assert_eq!(std::iter::from_fn(|| of_reader.outbox.pop()).count(), 100);
    (0..=QUEUED_FRAMES_MAX).for_each(|_| send());
    let too_slow = hub.common.limits.too_slow;
    assert_eq!((of_reader.outbox.pop(), of_reader.outbox.pop()), (Some(Frame::Close(too_slow)), None));
    assert_eq!(of_sender.outbox.pop(), None, "until the reader's socket has ended");
}

#[tokio::test]
async fn at_a_drain_each_member_in_ayame_gets_one_bye_and_then_the_close_frame() {
    let hub = ayame();
    let members = [join(&hub, [192, 0, 2, 1]), join(&hub, [192, 0, 2, 2])];
    assert!(hub.drain().is_empty());
    for (socket, _) in &members {
        assert!(hub.take(Event::Closed { socket: *socket }).is_empty());
    }
    for (_, mailbox) in members {
        let received: Vec<_> = std::iter::from_fn(|| mailbox.outbox.pop()).collect();
        assert_eq!(received, [Frame::Text(r#"{"type":"bye"}"#.into()), Frame::Close(Closing::DRAIN)]);
    }
}
