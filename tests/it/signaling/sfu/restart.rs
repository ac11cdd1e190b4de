//! Sessions of the SFU outlive a restart: they are charged, closed by force and kept in their rooms as before, whether or not their
//! pages call.

use reqwest::Method;
use serde_json::{Value, json};

use super::metering::{MB, RATE, call, pulled, used};
use super::{Page, at};
use crate::support::fake_sfu::{FakeSfu, SfuFault};
use crate::support::{StateDir, TestBroker, eventually};

/// What a page keeps while the broker restarts.
type Kept = (String, Option<String>);

fn keep(page: &Page<'_>) -> Kept {
    (page.session.clone(), page.cookie.clone())
}

fn back<'a>(broker: &'a TestBroker, (session, cookie): &Kept) -> Page<'a> {
    Page { broker, session: session.clone(), cookie: cookie.clone(), address: "203.0.113.1" }
}

/// How often the SFU was asked for the state of a session.
fn looks(sfu: &FakeSfu, session: &str) -> usize {
    sfu.requests(session).iter().filter(|request| request.method == Method::GET).count()
}

#[tokio::test]
async fn a_session_that_pulls_is_charged_on_and_closed_by_force_once_the_budget_is_spent() {
    let (sfu, directory) = (FakeSfu::start().await, StateDir::new());
    let settings = [RATE, ("STATE_DIR", directory.path()), ("BANDWIDTH_LIMIT_GB", "1")];
    let broker = at(&sfu, &settings).await;
    let (a, b) = call(&broker).await;
    assert_eq!(b.pull(&a).await.status, 200);
    let b = keep(&b);
    broker.advance(10);
    broker.finish().await;

    let broker = at(&sfu, &settings).await;
    eventually("its tracks are found", async || pulled(&broker).await == 2).await;
    assert_eq!(used(&broker).await, 200 * MB);
    broker.advance(30);
    assert_eq!(used(&broker).await, 800 * MB);
    assert!(sfu.requests("/tracks/close").is_empty());
    broker.advance(10);
    eventually("it is closed", async || sfu.tracks(&b.0) == 0).await;
    let closed = sfu.requests("/tracks/close");
    assert_eq!(closed.len(), 1, "a session that only sends costs nothing");
    assert!(closed[0].path.contains(&b.0));
    let body: Value = serde_json::from_slice(&closed[0].body).unwrap();
    assert_eq!(body, json!({ "tracks": [{ "mid": "0" }, { "mid": "1" }], "force": true }));
}

#[tokio::test]
async fn what_flowed_before_the_sfu_could_be_asked_is_charged_when_it_answers() {
    let (sfu, directory) = (FakeSfu::start().await, StateDir::new());
    let settings = [RATE, ("STATE_DIR", directory.path())];
    let broker = at(&sfu, &settings).await;
    let (a, b) = call(&broker).await;
    let [a, b] = [keep(&a), keep(&b)];
    broker.advance(10);
    broker.finish().await;
    sfu.next(SfuFault::Json(500));
    sfu.next(SfuFault::Json(500));
    let broker = at(&sfu, &settings).await;
    eventually("it is asked", async || looks(&sfu, &a.0) + looks(&sfu, &b.0) == 2).await;
    broker.advance(30);
    eventually("its track is found", async || pulled(&broker).await == 1).await;
    assert_eq!(used(&broker).await, 400 * MB);
}

#[tokio::test]
async fn a_session_that_has_gone_meanwhile_is_not_charged_and_is_forgotten() {
    let (sfu, directory) = (FakeSfu::start().await, StateDir::new());
    let settings = [RATE, ("STATE_DIR", directory.path())];
    let broker = at(&sfu, &settings).await;
    let (_, b) = call(&broker).await;
    let b = keep(&b);
    broker.finish().await;
    sfu.forget(&b.0);
    let broker = at(&sfu, &settings).await;
    let sessions = "turn_broker_sfu_sessions";
    eventually("its end", async || broker.metric(sessions).await == Some(1)).await;
    broker.advance(10);
    assert_eq!(used(&broker).await, 0);
    broker.finish().await;
    let asked = looks(&sfu, &b.0);
    let broker = at(&sfu, &settings).await;
    assert_eq!(broker.metric(sessions).await, Some(1), "the other one is still open");
    assert_eq!(looks(&sfu, &b.0), asked);
}

#[tokio::test]
async fn a_session_keeps_its_owner_and_its_room_with_and_without_a_lock() {
    for lock in ["on", "off"] {
        let (sfu, directory) = (FakeSfu::start().await, StateDir::new());
        let settings = [("STATE_DIR", directory.path()), ("SFU_LOCK", lock)];
        let broker = at(&sfu, &settings).await;
        let pages = [Page::join(&broker, "r").await, Page::join(&broker, "r").await];
        let other = keep(&Page::join(&broker, "other").await);
        pages[0].push().await;
        let [a, b] = [keep(&pages[0]), keep(&pages[1])];
        broker.finish().await;

        let broker = at(&sfu, &settings).await;
        let (a, b, other) = (back(&broker, &a), back(&broker, &b), back(&broker, &other));
        assert_eq!(b.pull(&a).await.status, 200, "the other page has not called yet");
        assert_eq!(other.pull(&a).await.status, 403);
        let thief = Page { cookie: None, address: "203.0.113.2", session: b.session.clone(), ..b };
        assert_eq!(thief.pull(&a).await.status, 401);
    }
}
