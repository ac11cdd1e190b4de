//! Who gets an id, and how a socket ends.

use turn_budget::User;

use super::*;

const INCOMPLETE: &str =
    r#"{"type":"ERROR","payload":{"msg":"No id, token, or key supplied to websocket server"}}"#;
const WRONG_KEY: &str = r#"{"type":"ERROR","payload":{"msg":"Invalid key provided"}}"#;
const BAD_ID: &str = r#"{"type":"ERROR","payload":{"msg":"Invalid id or token provided"}}"#;
const ID_TAKEN: &str = r#"{"type":"ID-TAKEN","payload":{"msg":"ID is taken"}}"#;

#[test]
fn a_socket_without_an_id_a_token_or_a_key_is_refused() {
    let mut world = World::new();
    let complete = [("id", "a"), ("token", "t"), ("key", "peerjs")];
    for missing in 0..3 {
        let socket = u64::try_from(missing).unwrap();
        let mut query = complete.to_vec();
        query.remove(missing);
        world.open_with(socket, upgrade(&query));
        assert_eq!(world.take(socket), [INCOMPLETE, "close 1000"], "{missing}");
        query.push((complete[missing].0, ""));
        world.open_with(10 + socket, upgrade(&query));
        assert_eq!(world.take(10 + socket), [INCOMPLETE, "close 1000"], "{missing}");
    }
}

#[test]
fn a_wrong_key_is_refused_before_the_id_is_looked_at() {
    let mut world = World::with(1);
    for (socket, id) in [(2, "p1"), (3, "a\nb"), (4, "free")] {
        world.open_with(socket, upgrade(&[("id", id), ("token", "t"), ("key", "PeerJS")]));
        assert_eq!(world.take(socket), [WRONG_KEY, "close 1000"]);
    }
}

#[test]
fn ids_and_tokens_have_bounds() {
    let mut world = World::new();
    let [id, token] = [128, 8_000].map(|length| "x".repeat(length));
    world.open_as(1, &id, &token);
    assert_eq!(world.take(1), [OPEN]);
    for (socket, id, token) in
        [(2, format!("{id}x"), token.clone()), (3, "a\u{0}".into(), "t".into()), (4, "a".into(), token + "x")]
    {
        world.open_as(socket, &id, &token);
        assert_eq!(world.take(socket), [BAD_ID, "close 1000"]);
    }
}

#[test]
fn an_id_in_use_is_refused_with_another_token() {
    let mut world = World::with(2);
    world.open_as(3, "p1", "other");
    assert_eq!(world.take(3), [ID_TAKEN, "close 1000"]);
    world.end(3);
    world.send(2, &offer("p1", 1));
    assert_eq!(world.take(1), [forwarded("OFFER", "p2", "p1", 1)], "the holder keeps it");
}

#[test]
fn with_the_same_token_a_new_socket_replaces_the_old_one() {
    let mut world = World::with(2);
    world.advance_secs(80);
    world.open_as(3, "p1", "t1");
    assert_eq!(world.take(1), ["close 1000 replaced by a new socket"]);
    assert_eq!(world.take(3), [OPEN]);
    world.send(1, &offer("p2", 1));
    assert_eq!(world.take(2), NOTHING, "the old socket no longer speaks for the id");
    world.end(1);
    world.send(2, &offer("p1", 2));
    assert_eq!(world.take(3), [forwarded("OFFER", "p2", "p1", 2)], "its end frees nothing");
    world.advance_secs(80);
    assert_eq!(world.take(3), NOTHING, "the new socket has its own deadline");
}

#[test]
fn leave_without_a_destination_closes_the_socket_and_frees_the_id() {
    let mut world = World::with(2);
    for leave in [r#"{"type":"LEAVE"}"#, r#"{"type":"LEAVE","dst":""}"#, r#"{"type":"LEAVE","dst":null}"#] {
        world.send(1, leave);
        assert_eq!(world.take(1), ["close 1000 left"], "{leave}");
        world.open_as(3, "p1", "other");
        assert_eq!(world.take(3), [OPEN]);
        world.end(1);
        world.send(2, &offer("p1", 1));
        assert_eq!(world.take(3).len(), 1, "the next holder keeps the id");
        world.end(3);
        world.open_as(1, "p1", "t1");
        world.take(1);
    }
    assert_eq!(world.take(2), NOTHING);
}

#[test]
fn for_a_minute_after_its_socket_has_ended_the_id_of_a_user_is_for_nobody_else() {
    let mut world = World::with(1);
    world.end(1);
    let open = |world: &mut World, socket, id: &str, user| {
        let query = [("key", "peerjs"), ("id", id), ("token", "t")];
        world.open_with(socket, Upgrade { user: User::new(user), ..upgrade(&query) });
        world.take(socket).remove(0)
    };
    assert_eq!(open(&mut world, 2, "p1", ""), OPEN, "nobody's id is free at once");
    for (socket, user, answer) in
        [(3, "ann", OPEN), (4, "ben", ID_TAKEN), (5, "", ID_TAKEN), (6, "ann", OPEN)]
    {
        assert_eq!(open(&mut world, socket, "a", user), answer, "{socket}");
        world.end(socket);
        world.advance_secs(19);
    }
    world.advance_secs(41);
    assert_eq!(open(&mut world, 7, "a", "ben"), OPEN);
    for number in 0..=KEPT_PER_CLIENT_MAX {
        open(&mut world, 9, &format!("id{number}"), "ann");
        world.end(9);
    }
    assert_eq!(world.protocol.kept.len(), KEPT_PER_CLIENT_MAX, "a user does not fill the table");
}
