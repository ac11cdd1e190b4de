//! Tests of a protocol with its sockets.

use std::cell::OnceCell;
use std::net::Ipv4Addr;

use super::*;
use crate::backlog::{CLIENT_BYTES_MAX, OWN_BYTES, backlog};
use crate::testing::FakeBroker;
use turn_ledger::ClientKey;

/// Returns each text to its sender, asks about `ask`, and closes a socket on drain.
#[derive(Debug, Default)]
struct Echo(Vec<SocketId>);

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
            Event::Opened { socket, .. } => {
                self.0.push(socket);
                vec![]
            }
            Event::Text { socket, frame } if frame.as_str() == "ask" => {
                vec![Action::Ask { socket, question: Question::Mint { room: "r".into(), user: None } }]
            }
            Event::Text { socket, frame } => {
                vec![Action::Send { to: socket, text: frame }, Action::Ping { to: socket }]
            }
            Event::Drain => {
                let close = |socket| Action::Close { socket, close: Closing::DRAIN };
                self.0.drain(..).map(close).collect()
            }
            _ => vec![],
        }
    }

    fn next_due(&self) -> Option<Duration> {
        None
    }

    fn limits(&self) -> Limits {
        let too_slow = Closing::POLICY;
        Limits { frame_max: 100, queued_frames_max: 10, queued_bytes_max: 100_000, sender_share: 4, too_slow }
    }
}

fn hub() -> Hub<Echo> {
    hub_with(backlog())
}

fn hub_with(backlog: MemoryQuota) -> Hub<Echo> {
    hub_of(Arc::default(), backlog)
}

fn hub_of(broker: Arc<FakeBroker>, backlog: MemoryQuota) -> Hub<Echo> {
    let shared = Shared { started: clock::deadline(Duration::ZERO), broker, backlog };
    Hub::new(ProtocolName::Yjs, Echo::default(), shared)
}

fn requester() -> Requester {
    Requester { address: Ipv4Addr::LOCALHOST.into(), origin: None }
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
    let (a, outbox, effects) = hub.open(requester(), holder(), Upgrade::default());
    assert!(effects.is_empty());
    assert!(hub.take(text(a, "1")).is_empty() && hub.take(text(a, "2")).is_empty());
    let frame = |text: &'static str| Frame::Text(text.into());
    for expected in [frame("1"), Frame::Ping, frame("2"), Frame::Ping] {
        assert_eq!(outbox.next().await, expected);
    }
    let effects = hub.take(text(a, "ask"));
    assert!(
        matches!(&*effects, [Effect::Ask { socket, requester, .. }] if *socket == a && requester.address.is_loopback())
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
    let hub = hub_of(Arc::clone(&broker), backlog());
    let open = |upgrade| hub.open(requester(), holder(), upgrade);
    let ((_, eve, _), (ann, of_ann, _)) = (open(named("eve")), open(named("ann")));
    let (later, signs_in, _) = open(Upgrade::default());
    let user = User::new("eve").unwrap();
    broker.block(&user);
    hub.close(Some(&user), BLOCKED);
    let (_, opens, _) = open(named("eve"));
    let reply = Reply::SignedIn(Ok(Some(user)));
    let _ = hub.take(Event::Replied { socket: later, reply });
    for closed in [eve, opens, signs_in] {
        assert_eq!(closed.next().await, Frame::Close(BLOCKED));
    }
    let _ = hub.take(text(ann, "1"));
    assert_eq!(of_ann.next().await, Frame::Text("1".into()), "another user");
}

#[test]
fn each_client_sends_8_mib_at_once() {
    let hub = hub();
    let charge_received =
        |client: [u8; 4], bytes| hub.common.charge_received(&ClientKey::of(client.into()).into(), bytes);
    assert!(charge_received([192, 0, 2, 1], 8 << 20));
    assert!(!charge_received([192, 0, 2, 1], 8 << 20), "it takes 16 s until that is back");
    assert!(charge_received([192, 0, 2, 2], 8 << 20), "another client");
}

#[tokio::test]
async fn a_client_that_keeps_too_much_loses_its_own_sockets() {
    let backlog = backlog();
    let greedy = Holder::from(ClientKey::V4(Ipv4Addr::new(192, 0, 2, 9)));
    let mut kept = backlog.open(&greedy);
    assert!(kept.try_resize(OWN_BYTES + CLIENT_BYTES_MAX));
    let hub = hub_with(backlog);
    let long = || Text::from("x".repeat(OWN_BYTES + 1));
    let expected = [(greedy, Frame::Close(Closing::POLICY)), (holder(), Frame::Text(long()))];
    for (holder, frame) in expected {
        let (socket, outbox, _) = hub.open(requester(), holder, Upgrade::default());
        let _ = hub.take(Event::Text { socket, frame: long() });
        assert_eq!(outbox.next().await, frame);
    }
}

#[tokio::test]
async fn a_frame_is_parsed_without_the_lock_of_the_protocol() {
    let hub = Arc::new(hub());
    let (socket, outbox, _) = hub.open(requester(), holder(), Upgrade::default());
    UNLOCKED.with(|unlocked| assert!(unlocked.set(Arc::clone(&hub)).is_ok()));
    assert!(hub.take(text(socket, "1")).is_empty());
    assert_eq!(outbox.next().await, Frame::Text("1".into()));
}

#[tokio::test]
async fn a_drain_closes_every_socket_and_those_that_open_later() {
    let hub = hub();
    let (_, outbox, _) = hub.open(requester(), holder(), Upgrade::default());
    assert!(hub.take(Event::Drain).is_empty());
    assert_eq!(outbox.next().await, Frame::Close(Closing::DRAIN));
    let (_, outbox, _) = hub.open(requester(), holder(), Upgrade::default());
    assert_eq!(outbox.next().await, Frame::Close(Closing::DRAIN));
}
