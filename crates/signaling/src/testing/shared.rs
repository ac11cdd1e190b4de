//! What is true of each protocol with sockets.

use proptest::prelude::*;

use super::{World, ayame_settings, register};
use crate::prelude::*;
use crate::rooms::Settings;
use crate::{ayame, peerjs, yjs};

/// What a test does with each protocol.
trait Check {
    /// `world` has the open sockets 1 and 2 in one room.
    fn check<P: Protocol>(&self, world: World<P>, of: &Expected);
}

/// What differs from protocol to protocol.
struct Expected {
    name: &'static str,
    /// A frame that changes nothing, how many the sockets of `world` may still send at once and how many after a second, and the close
    /// frame for more.
    idle_frame: &'static str,
    frames_at_once: u32,
    frames_per_second: u32,
    too_many: &'static str,
    /// What a binary frame causes.
    binary: Option<&'static str>,
    /// The time between two control pings, and until a socket from which nothing comes is closed so.
    pings: Option<(Duration, Duration, &'static str)>,
}

fn per_second(rate: Rate) -> u32 {
    u32::try_from(Duration::from_secs(1).as_nanos() / rate.each.as_nanos()).unwrap()
}

fn each_protocol(check: &impl Check) {
    let mut world = World::of(Ayame::new(ayame_settings(), SignIn::Off));
    for socket in [1, 2] {
        world.open_with(socket, Upgrade { query: vec![("turn".into(), "0".into())], ..Upgrade::default() });
        world.send(socket, &register("r"));
    }
    let expected = Expected {
        name: "ayame",
        idle_frame: r#"{"type":"pong"}"#,
        frames_at_once: ayame::FRAME_RATE.burst - 1,
        frames_per_second: per_second(ayame::FRAME_RATE),
        too_many: "close 1000 too many messages",
        binary: Some("close 1000 binary not allowed"),
        pings: None,
    };
    check.check(world, &expected);

    let mut world = World::of(Peerjs::new("peerjs".into()));
    for socket in [1, 2] {
        let query = ["key=peerjs".to_owned(), format!("id=p{socket}"), "token=t".into()];
        let query = query.map(|pair| pair.split_once('=').map(|(name, value)| (name.into(), value.into())));
        world.open_with(
            socket,
            Upgrade { query: query.into_iter().flatten().collect(), ..Upgrade::default() },
        );
    }
    let expected = Expected {
        name: "peerjs",
        idle_frame: r#"{"type":"HEARTBEAT"}"#,
        frames_at_once: peerjs::FRAME_RATE.burst,
        frames_per_second: per_second(peerjs::FRAME_RATE),
        too_many: "close 1008 policy violation",
        binary: None,
        pings: Some((peerjs::PING_INTERVAL, peerjs::SILENCE_MAX, "close 1008 no heartbeat")),
    };
    check.check(world, &expected);

    let mut world = World::of(Yjs::default());
    for socket in [1, 2] {
        world.open_with(socket, Upgrade::default());
        world.send(socket, r#"{"type":"subscribe","topics":["r"]}"#);
    }
    let expected = Expected {
        name: "yjs",
        idle_frame: "no message",
        frames_at_once: yjs::FRAME_RATE.burst - 1,
        frames_per_second: per_second(yjs::FRAME_RATE),
        too_many: "close 1008 policy violation",
        binary: None,
        pings: Some((yjs::PING_INTERVAL, yjs::SILENCE_MAX, "close 1008 no pong")),
    };
    check.check(world, &expected);

    let settings = Settings { members_max: 64, sweep: Duration::from_secs(300) };
    let mut world = World::of(Rooms::new(settings));
    for socket in [1, 2] {
        let user = User::new(&format!("user {socket}"));
        world.open_with(socket, Upgrade { room: Some("r".into()), user, ..Upgrade::default() });
    }
    let expected = Expected {
        name: "rooms",
        idle_frame: r#"{"type":"heartbeat"}"#,
        frames_at_once: 300,
        frames_per_second: 50,
        too_many: "close 1008 policy violation",
        binary: None,
        pings: None,
    };
    check.check(world, &expected);
}

fn clear<P: Protocol>(world: &mut World<P>) {
    world.advance(Duration::from_secs(1));
    world.received.clear();
}

#[test]
fn a_socket_that_sends_too_many_frames_is_closed() {
    struct Flooded;
    impl Check for Flooded {
        fn check<P: Protocol>(&self, mut world: World<P>, of: &Expected) {
            world.received.clear();
            (0..of.frames_at_once).for_each(|_| world.send(1, of.idle_frame));
            clear(&mut world);
            (0..of.frames_per_second).for_each(|_| world.send(1, of.idle_frame));
            assert!(world.closed.is_empty(), "{}", of.name);
            world.send(1, of.idle_frame);
            assert_eq!(world.take(1), [of.too_many], "{}", of.name);
            assert_eq!(world.dropped, [Dropped::Flood], "{}", of.name);
            world.send(2, of.idle_frame);
        }
    }
    each_protocol(&Flooded);
}

#[test]
fn a_binary_frame_is_ignored_or_closes_the_socket() {
    struct Binary;
    impl Check for Binary {
        fn check<P: Protocol>(&self, mut world: World<P>, of: &Expected) {
            clear(&mut world);
            world.step(Event::Binary { socket: SocketId(1) });
            world.step(Event::Pong { socket: SocketId(1) });
            assert_eq!(
                world.take(1),
                of.binary.map(str::to_owned).into_iter().collect::<Vec<_>>(),
                "{}",
                of.name
            );
        }
    }
    each_protocol(&Binary);
}

#[test]
fn the_operator_ends_rooms_of_ayame_and_orange_and_no_topic() {
    struct Ended;
    impl Check for Ended {
        fn check<P: Protocol>(&self, mut world: World<P>, of: &Expected) {
            world.step(Event::EndRoom { room: "unknown".into() });
            assert!(world.closed.is_empty(), "{}", of.name);
            world.step(Event::EndRoom { room: "r".into() });
            let closed = if ["ayame", "rooms"].contains(&of.name) { 2 } else { 0 };
            assert_eq!(world.closed.len(), closed, "{}", of.name);
        }
    }
    each_protocol(&Ended);
}

#[test]
fn a_socket_is_pinged_and_closed_if_nothing_comes_for_too_long() {
    struct Pinged;
    impl Check for Pinged {
        fn check<P: Protocol>(&self, mut world: World<P>, of: &Expected) {
            let Some((interval, silence_max, closed)) = of.pings else { return };
            clear(&mut world);
            world.advance(interval);
            assert_eq!(world.received.remove(&1).unwrap(), ["ping"], "{}", of.name);
            // `clear` has let a second pass.
            world.step(Event::Pong { socket: SocketId(2) });
            world.advance(silence_max.saturating_sub(interval + Duration::from_millis(1_001)));
            assert_eq!(world.take(1), [""; 0], "{}", of.name);
            world.advance(Duration::from_millis(1));
            assert_eq!(world.take(1), [closed], "{}", of.name);
            world.step(Event::Pong { socket: SocketId(2) });
            for event in [Event::Binary { socket: SocketId(2) }, Event::Pong { socket: SocketId(2) }] {
                world.advance(silence_max.saturating_sub(Duration::from_secs(20)));
                world.step(event);
            }
            world.advance(silence_max.saturating_sub(Duration::from_secs(20)));
            world.send(2, "any text");
            assert!(!world.closed.contains_key(&2), "{}", of.name);
        }
    }
    each_protocol(&Pinged);
}

proptest! {
    #[test]
    fn no_text_of_a_client_is_sent_to_others(texts in prop::collection::vec(any::<String>(), 1..50)) {
        struct Sent(Vec<String>);
        impl Check for Sent {
            fn check<P: Protocol>(&self, mut world: World<P>, of: &Expected) {
                clear(&mut world);
                self.0.iter().for_each(|text| world.send(1, text));
                let is_bye = |what: &String| what.contains("bye") || what.contains("peer closing");
                assert!(world.take(2).iter().all(is_bye), "{}", of.name);
            }
        }
        each_protocol(&Sent(texts));
    }
}
