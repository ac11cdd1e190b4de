//! Sessions of the SFU outlive a restart: they are charged until a look does not find them, and closed by force as before. Their pages must
//! open new ones.

use super::metering::{MB, RATE, call, pulled};
use super::{Page, at};
use crate::support::prelude::*;

/// What a page keeps while the broker restarts.
type Kept = (String, Option<String>);

fn keep(page: &Page<'_>) -> Kept {
    (page.session.clone(), page.cookie.clone())
}

fn back<'a>(broker: &'a TestBroker, (session, cookie): &Kept) -> Page<'a> {
    Page { broker, session: session.clone(), cookie: cookie.clone(), address: "203.0.113.1" }
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
    assert_eq!(broker.used().await, 200 * MB);
    broker.advance(30);
    assert_eq!(broker.used().await, 800 * MB);
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
async fn a_page_opens_a_new_session_after_a_restart_and_the_old_one_is_charged_until_it_is_gone() {
    for lock in ["on", "off"] {
        let (sfu, directory) = (FakeSfu::start().await, StateDir::new());
        let settings = [RATE, ("STATE_DIR", directory.path()), ("SFU_LOCK", lock)];
        let broker = at(&sfu, &settings).await;
        let (a, b) = call(&broker).await;
        let [a, b] = [keep(&a), keep(&b)];
        broker.finish().await;

        let broker = at(&sfu, &settings).await;
        let (a, b) = (back(&broker, &a), back(&broker, &b));
        assert_eq!(b.pull(&a).await.error(), (410, "session_gone"));
        let new = Page::join(&broker, "r").await;
        assert_eq!(new.pull(&a).await.status, 200, "what goes on sending is in its room");
        assert_eq!(Page::join(&broker, "other").await.pull(&a).await.status, 403);
        eventually("a look", async || pulled(&broker).await == 2).await;
        sfu.forget(&b.session);
        broker.advance(30);
        eventually("it is gone", async || pulled(&broker).await == 1).await;
    }
}
