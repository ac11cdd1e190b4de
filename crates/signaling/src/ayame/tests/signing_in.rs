//! Who a client is, by the token in its `register`.

use super::*;

const INVALID: Closing = Closing { code: 1008, reason: "INVALID_TOKEN" };

fn with(sign_in: SignIn, has_authn_webhook: bool) -> World {
    World::of(Ayame::new(AyameSettings { has_authn_webhook, ..settings() }, sign_in))
}

fn register_with_key(field: &str) -> String {
    format!(r#"{{"type":"register","roomId":"r","{field}":"a.b.c"}}"#)
}

/// Replies for the sign-in. Returns the token.
fn sign_in(world: &mut World, socket: u64, user: Result<Option<User>, Closing>) -> String {
    let question = world.question(socket);
    let Question::SignIn(token) = question else { panic!("{question:?}") };
    world.reply(socket, Reply::SignedIn(user));
    token.to_string()
}

/// The user that the mint for a socket is for.
fn minted_for(world: &mut World, socket: u64) -> Option<User> {
    let question = world.question(socket);
    let Question::Mint { user, .. } = question else { panic!("{question:?}") };
    user
}

#[test]
fn the_signaling_key_and_its_old_name_are_the_token_of_the_user() {
    for field in ["key", "signalingKey"] {
        let mut world = with(SignIn::Required, false);
        world.enter(1, &register_with_key(field));
        assert_eq!(sign_in(&mut world, 1, Ok(User::new("ann"))), "a.b.c");
        world.mint(1);
        assert_eq!(world.received(1), [accept(1, false)]);
        assert_eq!(world.calls(), ["1 joined r as ann with a grant"]);
    }
}

#[test]
fn a_refused_token_rejects_the_client_and_frees_its_place() {
    let mut world = with(SignIn::Optional, false);
    for socket in 1..=3 {
        world.enter(socket, &register_with_key("key"));
        sign_in(&mut world, socket, Err(INVALID));
        let expected = [r#"{"reason":"INVALID_TOKEN","type":"reject"}"#, "close 1008 INVALID_TOKEN"];
        assert_eq!(world.received(socket), expected);
    }
    assert!(world.questions.is_empty() && world.protocol.rooms.places("r").is_empty());
}

#[test]
fn a_client_without_a_user_is_rejected_only_where_one_is_needed() {
    let unauthorized = [r#"{"reason":"UNAUTHORIZED","type":"reject"}"#, "close 1008 UNAUTHORIZED"];
    let mut world = with(SignIn::Required, false);
    world.enter(1, &register("r"));
    assert_eq!(world.received(1), unauthorized, "no token");
    world.enter(2, &register_with_key("key"));
    sign_in(&mut world, 2, Ok(None));
    assert_eq!(world.received(2), unauthorized, "a key that is no token");

    let mut world = with(SignIn::Optional, false);
    world.enter(1, &register_with_key("key"));
    sign_in(&mut world, 1, Ok(None));
    assert_eq!(minted_for(&mut world, 1), None);
}

#[test]
fn the_user_of_the_request_needs_no_other_token_and_its_key_is_verified() {
    let mut world = with(SignIn::Required, false);
    let rejected = [r#"{"reason":"INVALID_TOKEN","type":"reject"}"#, "close 1008 INVALID_TOKEN"];
    for (socket, user) in [(1, Ok(User::new("bob"))), (2, Err(INVALID))] {
        world.open_with(socket, Upgrade { user: User::new("ann"), ..Upgrade::default() });
        world.send(socket, &register_with_key("key"));
        sign_in(&mut world, socket, user);
        assert_eq!(world.received(socket), rejected);
    }
    for (socket, user) in [(3, None), (4, User::new("ann"))] {
        world.open_with(socket, Upgrade { user: User::new("ann"), ..Upgrade::default() });
        world.send(socket, &register_with_key("key"));
        sign_in(&mut world, socket, Ok(user));
        assert_eq!(minted_for(&mut world, socket), User::new("ann"));
    }
    world.open_with(5, Upgrade { user: User::new("ann"), ..Upgrade::default() });
    world.send(5, &register("other"));
    assert_eq!(minted_for(&mut world, 5), User::new("ann"), "without a key");
}

#[test]
fn the_application_is_asked_after_the_sign_in_and_gets_the_key() {
    let mut world = with(SignIn::Optional, true);
    world.enter(1, &register_with_key("key"));
    sign_in(&mut world, 1, Ok(User::new("ann")));
    let asked = world.authorize(1, Some(r#"{"allowed":true}"#));
    assert!(asked.body.contains(r#""signalingKey":"a.b.c""#), "{}", asked.body);
    assert_eq!(minted_for(&mut world, 1), User::new("ann"));
}

#[test]
fn without_sign_in_a_key_is_only_for_the_application() {
    let mut world = World::new(AyameSettings { has_authn_webhook: true, ..settings() });
    world.enter(1, &register_with_key("key"));
    world.authorize(1, Some(r#"{"allowed":true}"#));
    assert_eq!(minted_for(&mut world, 1), None);
}

#[test]
fn a_client_that_ends_while_it_signs_in_leaves_nothing() {
    let mut world = with(SignIn::Required, true);
    world.enter(1, &register_with_key("key"));
    world.end(1);
    sign_in(&mut world, 1, Ok(User::new("ann")));
    assert!(world.questions.is_empty());
    world.assert_empty();
}

#[test]
fn a_token_is_not_shown() {
    let question = Question::SignIn("a.b.c".into());
    assert!(!format!("{question:?}").contains("a.b.c"));
}
