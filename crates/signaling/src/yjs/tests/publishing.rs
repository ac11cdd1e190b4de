//! Who gets what is published.

use super::*;

#[test]
fn a_sender_need_not_subscribe_and_a_topic_need_not_have_subscribers() {
    let mut world = World::with(1);
    world.enter(2, &publish("r", "1"));
    world.send(2, &publish("nobody", "1"));
    assert_eq!(world.take(1), [published("r", "1", 1)]);
    assert_eq!(world.take(2), NOTHING);
}

#[test]
fn data_keep_their_bytes() {
    let mut world = World::with(1);
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    for data in [
        "null",
        r#""AES+/==""#,
        "-0.10e+3",
        r#"{ "b":1, "a":"\ud800\/é" }"#,
        "[1,\n2]",
        &format!(r#"{{"d":{deep}}}"#),
    ] {
        world.send(1, &format!(r#"{{"data": {data} ,"topic":"r","type":"publish"}}"#));
        assert_eq!(world.take(1), [published("r", data, 1)]);
    }
    world.send(1, r#"{"type":"publish","topic":"r"}"#);
    assert_eq!(world.take(1), [r#"{"type":"publish","topic":"r","clients":1}"#]);
    world.send(1, r#"{"type":"publish","topic":"r","data":1,"clients":99,"from":"x"}"#);
    assert_eq!(world.take(1), [published("r", "1", 1)], "other members are dropped");
}

#[test]
fn a_socket_has_many_topics_and_leaves_each_on_its_own() {
    let mut world = World::with(2);
    world.send(1, &subscribe(&["s", "ä😀", "s"]));
    world.send(1, &subscribe(&[]));
    world.send(1, &unsubscribe(&["r", "unknown"]));
    for topic in ["r", "s", "ä😀"] {
        world.send(2, &publish(topic, "1"));
    }
    assert_eq!(world.take(1), [published("s", "1", 1), published("ä😀", "1", 1)], "twice is once");
    assert_eq!(world.take(2), [published("r", "1", 1)]);
}

#[test]
fn an_element_of_a_list_that_is_not_a_text_is_skipped() {
    let mut world = World::with(1);
    for odd in ["1", "null", r#"["b"]"#, r#"{"c":"d"}"#, "true"] {
        world.send(1, &format!(r#"{{"type":"subscribe","topics":["a",{odd},"b"]}}"#));
        assert_eq!((world.protocol.topics.len(), world.take(1)), (3, vec![]), "{odd}");
        world.send(1, &format!(r#"{{"type":"unsubscribe","topics":["a",{odd},"b"]}}"#));
        assert_eq!((world.protocol.topics.len(), world.take(1)), (1, vec![]), "{odd}");
    }
}

#[test]
fn a_closed_socket_gets_nothing_and_no_longer_counts() {
    let mut world = World::with(3);
    world.end(2);
    world.send(1, &publish("r", "1"));
    assert_eq!(world.take(3), [published("r", "1", 2)]);
    assert_eq!(world.take(2), NOTHING);
}

#[test]
fn what_no_client_sends_is_ignored() {
    let mut world = World::with(2);
    let texts =
        ["", "null", "5", "[]", r#"["publish","r"]"#, "{", "{}", r#"{"type":5}"#, r#"{"type":"pong"}"#];
    let members = [
        r#"{"type":"subscribe"}"#,
        r#"{"type":"subscribe","topics":null}"#,
        r#"{"type":"subscribe","topics":"s"}"#,
        r#"{"type":"subscribe","topics":{"0":"s"}}"#,
        r#"{"type":"unsubscribe","topics":"r"}"#,
        r#"{"type":"publish"}"#,
        r#"{"type":"publish","data":1}"#,
        r#"{"type":"publish","topic":5,"data":1}"#,
        r#"{"type":"publish","topic":["r"],"data":1}"#,
        r#"{"type":"publish","topic":"","data":1}"#,
    ];
    for odd in texts.into_iter().chain(members) {
        world.send(1, odd);
        assert_eq!([world.take(1), world.take(2)], [NOTHING, NOTHING], "{odd}");
    }
    world.send(1, &publish("r", "1"));
    assert_eq!(world.reached(1..=2), [1, 2], "the socket is still served");
}

#[test]
fn a_message_is_stored_once_for_all_its_recipients() {
    let mut world = World::with(3);
    let frame = Yjs::parse(publish("r", r#""x""#).into());
    let actions = world.protocol.step(Event::Text { socket: SocketId(1), frame }, world.now);
    let places: BTreeSet<_> = actions
        .iter()
        .map(|action| match action {
            Action::Send { text, .. } => text.as_ptr(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(places.len(), 1);
}
