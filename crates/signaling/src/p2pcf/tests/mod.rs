//! Tests of the protocol as its pages see it: requests go in, answers come out, and what happened in calls is written down.

mod calls;
mod entries;
mod fields;
mod requests;
mod walk;

use serde_json::{Value, json};
use turn_budget::ClientKey;

use super::*;

/// 15 January 2025, 12:00 UTC.
const START_MS: i64 = 1_736_942_400_000;
const ROOM: &str = "room-1";
const DTLS: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The protocol, with a clock and what has happened in calls.
struct Broker {
    p2pcf: P2pcf,
    now: Duration,
    /// What has happened in calls.
    calls: Vec<CallEvent>,
    /// What bounds have cost.
    dropped: Vec<Dropped>,
}

/// An answer as a page sees it.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    text: String,
}

/// A page: its context, its session, and when it has changed something.
#[derive(Clone, Debug)]
struct Page {
    room: String,
    context: String,
    session: String,
    changed_at: i64,
    lifetime_ms: i64,
}

/// The request of a page that the operator serves.
fn request(operation: Result<Option<Operation>, Refusal>) -> Request<'static> {
    Request { origin: Origin::Listed, holder: client(1), wall: Timestamp::from_millis(START_MS), operation }
}

fn post_request(body: impl AsRef<[u8]>) -> Request<'static> {
    request(Operation::post(body.as_ref(), Timestamp::from_millis(START_MS)).map(Some))
}

fn delete_request(body: &Value) -> Request<'static> {
    request(Operation::delete(body.to_string().as_bytes(), Timestamp::from_millis(START_MS)).map(Some))
}

fn client(n: u8) -> Holder {
    ClientKey::of([192, 0, 2, n].into()).into()
}

fn page(name: &str) -> Page {
    Page {
        room: ROOM.to_owned(),
        context: format!("context-{name}"),
        session: format!("session-{name}"),
        changed_at: START_MS,
        lifetime_ms: 120_000,
    }
}

impl Page {
    fn data(&self) -> Value {
        json!([self.session, "client", false, DTLS, 1_736_942_399_000_i64, ["192.0.2.7"]])
    }

    fn poll(&self) -> Value {
        let Self { room, context, changed_at, lifetime_ms, .. } = self;
        json!({"r": room, "k": context, "d": self.data(), "t": changed_at, "x": lifetime_ms})
    }

    fn publish(&self, packages: &Value) -> Value {
        let mut body = self.poll();
        body["p"] = packages.clone();
        body
    }

    fn delete(&self, key: &str) -> Value {
        let mut body = self.poll();
        body["dk"] = key.into();
        body
    }

    /// The same page after it has changed something.
    fn changed(&self) -> Self {
        Self { changed_at: self.changed_at + 1, ..self.clone() }
    }

    /// The same page after it was loaded again.
    fn reloaded(&self) -> Self {
        let loaded = self.changed();
        // Not longer with each time, because a session id has 64 characters at most.
        let first = self.session.split('~').next().unwrap_or_default();
        Self { session: format!("{first}~{}", loaded.changed_at), ..loaded }
    }

    fn package_to(&self, other: &Self) -> Value {
        json!([other.session, self.session, "ufrag", "pwd", DTLS, null, null, START_MS, ["candidate:1"]])
    }
}

impl Broker {
    /// A broker that runs for an hour.
    fn new() -> Self {
        Self { now: Duration::from_secs(3_600), ..Self::just_started() }
    }

    fn just_started() -> Self {
        let p2pcf = P2pcf::new(0, DeleteKeys::derived_from(&[1; 64]));
        Self { p2pcf, now: Duration::ZERO, calls: Vec::new(), dropped: Vec::new() }
    }

    fn ask(&mut self, request: Request<'_>) -> Seen {
        let (answer, actions) = self.p2pcf.answer(request, self.now);
        for action in actions {
            match action {
                Action::Call(event) => self.calls.push(event),
                Action::Dropped(why) => self.dropped.push(why),
                other => panic!("{other:?}"),
            }
        }
        let (status, text) = match answer {
            Err(refusal) => (refusal.status(), refusal.to_string()),
            Ok(P2pcfResponse::Listing(listing)) => (200, listing.to_string()),
            Ok(P2pcfResponse::Deleted) => (200, "{}".to_owned()),
            Ok(P2pcfResponse::Admitted) => (200, String::new()),
        };
        Seen { status, text }
    }

    fn post(&mut self, body: &Value) -> Seen {
        self.ask(post_request(body.to_string()))
    }

    /// A POST that lists the room.
    fn listing(&mut self, body: &Value) -> Value {
        let Seen { status, text } = self.post(body);
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Publishes, and returns the delete key.
    fn publish(&mut self, page: &Page) -> String {
        self.listing(&page.publish(&json!([])))["dk"].as_str().unwrap().to_owned()
    }

    /// The sessions in a room, as a stranger sees them.
    fn sessions(&mut self) -> Vec<String> {
        let listing = self.listing(&json!({"r": ROOM}));
        let session = |entry: &Value| entry[0].as_str().unwrap().to_owned();
        listing["ps"].as_array().unwrap().iter().map(session).collect()
    }

    fn wait(&mut self, secs: u64) {
        self.now += Duration::from_secs(secs);
    }

    /// What has happened in calls since the last time.
    fn take_calls(&mut self) -> Vec<String> {
        let described = |event| match event {
            CallEvent::Joined { member, .. } => format!("{} joined", member.0),
            CallEvent::Connected { .. } => "connected".to_owned(),
            CallEvent::Left { member, media: MediaAfter::Ends, .. } => format!("{} left", member.0),
            CallEvent::Left { member, .. } => format!("{} may continue", member.0),
            CallEvent::Unused { .. } => panic!("nothing is minted"),
        };
        self.calls.drain(..).map(described).collect()
    }
}
