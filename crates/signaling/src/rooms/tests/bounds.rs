//! How many users, ids and sockets there may be.

use std::time::Duration;

use serde_json::json;

use super::*;

#[test]
fn a_client_takes_1024_ids_and_then_the_first_of_its_own_are_forgotten() {
    let mut bench = Bench::new(SETTINGS);
    let visit = |bench: &mut Bench, pk: &str, name: &str| {
        let socket = bench.open(pk, name);
        bench.send(socket, &json!({ "type": "userLeft" }));
        bench.close_of(socket).unwrap().0
    };
    let is_taken = |bench: &mut Bench, pk: &str| {
        bench.client = None;
        let joe = bench.open(pk, "joe");
        let is_taken = bench.close_of(joe).is_some();
        bench.disconnect(joe);
        is_taken
    };
    bench.open("a", "ann");
    assert_eq!(visit(&mut bench, "b", "bob"), 1000);
    bench.client = Some(client_of(9_999).into());
    bench.open("e", "eve");
    for pk in 1..1_024 {
        assert_eq!(visit(&mut bench, &pk.to_string(), "eve"), 1000);
    }
    assert_eq!(bench.world.dropped, []);
    assert_eq!(visit(&mut bench, "one more", "eve"), 1000);
    assert_eq!(bench.world.dropped, [Dropped::Forgotten]);
    for (pk, expected) in [("a", true), ("b", true), ("e", true), ("one more", true), ("1", false)] {
        assert_eq!(is_taken(&mut bench, pk), expected, "{pk}");
    }
}

#[test]
fn all_rooms_together_remember_20480_ids() {
    let mut bench = Bench::new(SETTINGS);
    for room in 0..40 {
        bench.open_in(&room.to_string(), "a", "ann");
        for pk in 1..512 {
            let socket = bench.open_in(&room.to_string(), &pk.to_string(), "bob");
            bench.send(socket, &json!({ "type": "userLeft" }));
        }
    }
    assert_eq!(bench.world.dropped, []);
    bench.open_in("0", "one more", "bob");
    assert_eq!(bench.world.dropped, [Dropped::Forgotten]);
}

#[test]
fn a_full_room_refuses_one_more_user_but_not_a_user_that_comes_back() {
    let mut bench = Bench::new(Settings { members_max: 2, ..SETTINGS });
    let (ann, bob) = (bench.open("a", "ann"), bench.open("b", "bob"));
    let eve = bench.open("e", "eve");
    assert_eq!(bench.take(eve), [json!({ "type": "error", "error": "ROOM_FULL" })]);
    assert_eq!(bench.close_of(eve), Some((1013, "try again later")));
    assert_eq!(bench.world.dropped, [Dropped::NoPlace]);
    bench.disconnect(ann);
    let again = bench.open("a", "ann");
    assert_eq!(bench.close_of(again), None);
    bench.send(bob, &json!({ "type": "userLeft" }));
    let eve = bench.open("e", "eve");
    assert_eq!(bench.close_of(eve), None);
}

#[test]
fn a_fifth_socket_of_a_user_closes_its_first() {
    let mut bench = Bench::new(SETTINGS);
    let sockets: Vec<_> = (0..5).map(|_| bench.open("a", "ann")).collect();
    assert_eq!(bench.close_of(sockets[0]), Some((1008, "too many sockets")));
    assert_eq!(bench.world.dropped, [Dropped::OldSocket]);
    assert!(sockets[1..].iter().all(|socket| bench.close_of(*socket).is_none()));
    bench.pass(Duration::from_secs(1));
    assert_eq!(ids(&bench.state(sockets[4])), ["a"]);
}

#[test]
fn an_address_has_1024_users_and_all_rooms_have_20480() {
    let mut bench = Bench::new(SETTINGS);
    let enter = |bench: &mut Bench, address: u64, user: usize| {
        bench.client = Some(client_of(address).into());
        let socket = bench.open_in(&format!("room {}", user / 50), &user.to_string(), "ann");
        let is_in = bench.close_of(socket).is_none();
        bench.disconnect(socket);
        is_in
    };
    for address in 0..20 {
        let first = 1_024 * usize::try_from(address).unwrap();
        assert!((first..first + 1_024).all(|user| enter(&mut bench, address, user)));
    }
    assert!(!enter(&mut bench, 0, 99_998) && !enter(&mut bench, 21, 99_999));
    assert_eq!(bench.world.dropped, [Dropped::NoPlace; 2]);
    bench.pass(Duration::from_secs(31));
    bench.assert_empty();
    assert!(enter(&mut bench, 0, 1), "users that have gone free their places");
}
