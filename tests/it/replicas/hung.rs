//! Requests for a leader that takes them and does not answer, or not to the end, whatever the reason, and their bodies.

use tokio::time::timeout;
use turn_base::clock;
use turn_broker::forward::{ANSWER_MAX, HELD_BY_ANYBODY_MAX};

use super::TestReplica;
use super::by_hand::{FakeLeader, head};
use crate::support::prelude::*;

/// The longest body of a request.
const LONG: usize = 1 << 20;
/// Some requests more than one address may have while nobody else waits.
const MORE: usize = 12;

/// A leader whose lease lives, which answers no request, and proves itself or not even that.
async fn answers(is_proven: bool) -> Vec<(Answer, Duration)> {
    let database = FakeDatabase::new();
    let leader = FakeLeader::start(&database).await;
    let standby = TestReplica::start(&database, &[]).await;
    let asked = (0..HELD_BY_ANYBODY_MAX + MORE).map(async |n| {
        let method = if n % 2 == 0 { Method::GET } else { Method::POST };
        let request = standby.request(method, "/api/connections").header("x-forwarded-for", "203.0.113.9");
        let began = clock::deadline(Duration::ZERO);
        (Answer::of(request).await, began.elapsed())
    });
    let hang = async {
        let mut open = vec![];
        loop {
            let socket = leader.accept().await;
            open.push(if is_proven { leader.prove(socket).await } else { Some(socket) });
            database.change_row(|row| row.seq += 1);
        }
    };
    tokio::select! {
        answers = timeout(4 * ANSWER_MAX, join_all(asked)) => answers.expect("none waits for long"),
        never = hang => never,
    }
}

#[tokio::test]
async fn of_the_requests_for_a_leader_that_does_not_answer_so_many_wait_and_none_for_long() {
    for is_proven in [false, true] {
        let answers = answers(is_proven).await;
        for (answer, _) in &answers {
            assert_eq!((answer.error(), answer.header("retry-after")), ((503, "NO_LEADER"), Some("1")));
        }
        let at_once = answers.iter().filter(|(_, after)| *after < ANSWER_MAX).count();
        assert_eq!(at_once, MORE, "proven: {is_proven}");
    }
}

#[tokio::test]
async fn a_response_of_which_nothing_more_comes_ends() {
    let database = FakeDatabase::new();
    let leader = FakeLeader::start(&database).await;
    let standby = TestReplica::start(&database, &[]).await;
    let begins = async {
        let mut socket = leader.prove(leader.accept().await).await.unwrap();
        head(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart").await.unwrap();
        socket
    };
    let asked = standby.request(Method::GET, "/api/connections").send();
    let (response, _socket) = tokio::join!(asked, begins);
    let rest = finished("the response ends", response.unwrap().bytes()).await;
    assert!(rest.is_err(), "not as if it were complete");
}

/// How many of so many requests with the longest body were refused because of their bodies.
async fn refused(count: usize, address: impl Fn(usize) -> String) -> usize {
    let database = FakeDatabase::new();
    let _leader = FakeLeader::start(&database).await;
    let standby = TestReplica::start(&database, &[]).await;
    let asked = (0..count).map(|n| {
        let request = standby.request(Method::POST, "/api/connections").body("x".repeat(LONG));
        Answer::of(request.header("x-forwarded-for", address(n)))
    });
    let refused = join_all(asked).await.iter().filter(|answer| answer.error().1 == "OVERLOADED").count();
    eventually("it serves", async || standby.operator("/metrics").await.status == 200).await;
    refused
}

#[tokio::test]
async fn the_bodies_of_requests_that_wait_have_one_bound_and_those_of_an_address_another() {
    let places = 32;
    let all = refused(places + MORE, |n| format!("203.0.113.{n}")).await;
    assert!(all >= MORE, "{all}");
    let places = 2;
    let of_one = refused(2 * places, |_| "203.0.113.9".to_owned()).await;
    assert_eq!(of_one, places);
}
