//! How many users, ids and sockets there may be.

use super::*;

#[test]
fn a_client_takes_1024_ids_and_then_the_first_of_its_own_are_forgotten() {
    let mut world = World::new(SETTINGS);
    let visit = |world: &mut World, client: u64, pk: &str, name: &str| {
        let socket = world.arrive_from(client_of(client), upgrade("r", pk, name));
        world.tell(socket, &json!({ "type": "userLeft" }));
        world.close_of(socket).unwrap().0
    };
    let is_taken = |world: &mut World, pk: &str| {
        let joe = world.arrive(pk, "joe");
        let is_taken = world.close_of(joe).is_some();
        world.end(joe);
        is_taken
    };
    world.arrive("a", "ann");
    assert_eq!(visit(&mut world, 8_888, "b", "bob"), 1000);
    world.arrive_from(client_of(9_999), upgrade("r", "e", "eve"));
    for pk in 1..1_024 {
        assert_eq!(visit(&mut world, 9_999, &pk.to_string(), "eve"), 1000);
    }
    assert_eq!(world.dropped, []);
    assert_eq!(visit(&mut world, 9_999, "one more", "eve"), 1000);
    assert_eq!(world.dropped, [Dropped::Forgotten]);
    for (pk, expected) in [("a", true), ("b", true), ("e", true), ("one more", true), ("1", false)] {
        assert_eq!(is_taken(&mut world, pk), expected, "{pk}");
    }
}

#[test]
fn all_rooms_together_remember_at_most_16384_ids() {
    let mut world = World::new(SETTINGS);
    for room in 0..32 {
        world.arrive_in(&room.to_string(), "a", "ann");
        for pk in 1..512 {
            let socket = world.arrive_in(&room.to_string(), &pk.to_string(), "bob");
            world.tell(socket, &json!({ "type": "userLeft" }));
        }
    }
    assert_eq!(world.dropped, []);
    world.arrive_in("0", "one more", "bob");
    assert_eq!(world.dropped, [Dropped::Forgotten]);
}

#[test]
fn a_full_room_refuses_one_more_user_but_not_a_user_that_comes_back() {
    let mut world = World::new(Settings { members_max: 2, ..SETTINGS });
    let (ann, bob) = (world.arrive("a", "ann"), world.arrive("b", "bob"));
    let eve = world.arrive("e", "eve");
    assert_eq!(world.frames(eve), [json!({ "type": "error", "error": "ROOM_FULL" })]);
    assert_eq!(world.close_of(eve), Some((1013, "try again later")));
    assert_eq!(world.dropped, [Dropped::NoPlace]);
    world.end(ann);
    let again = world.arrive("a", "ann");
    assert_eq!(world.close_of(again), None);
    world.tell(bob, &json!({ "type": "userLeft" }));
    let eve = world.arrive("e", "eve");
    assert_eq!(world.close_of(eve), None);
}

#[test]
fn a_fifth_socket_of_a_user_closes_its_first() {
    let mut world = World::new(SETTINGS);
    let sockets: Vec<_> = (0..5).map(|_| world.arrive("a", "ann")).collect();
    assert_eq!(world.close_of(sockets[0]), Some((1008, "too many sockets")));
    assert_eq!(world.dropped, [Dropped::OldSocket]);
    assert!(sockets[1..].iter().all(|socket| world.close_of(*socket).is_none()));
    world.advance(Duration::from_secs(1));
    assert_eq!(ids(&world.state(sockets[4])), ["a"]);
}

#[test]
fn an_address_has_at_most_1024_users_and_all_rooms_have_16384() {
    let mut world = World::new(SETTINGS);
    let enter = |world: &mut World, address: u64, user: usize| {
        let upgrade = upgrade(&format!("room {}", user / 50), &user.to_string(), "ann");
        let socket = world.arrive_from(client_of(address), upgrade);
        let is_in = world.close_of(socket).is_none();
        world.end(socket);
        is_in
    };
    for address in 0..16 {
        let first = 1_024 * usize::try_from(address).unwrap();
        assert!((first..first + 1_024).all(|user| enter(&mut world, address, user)));
    }
    assert!(!enter(&mut world, 0, 99_998) && !enter(&mut world, 21, 99_999));
    assert_eq!(world.dropped, [Dropped::NoPlace; 2]);
    world.advance(Duration::from_secs(31));
    world.assert_empty();
    assert!(enter(&mut world, 0, 1), "users that have gone free their places");
}
