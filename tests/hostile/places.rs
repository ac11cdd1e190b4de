//! The places that the routes of signaling give: sockets, topics, packages, reports, credentials. One address, or 16 networks of one IPv6
//! /48, try to take several times their share. An honest client at another address takes one before and after.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::pin::Pin;

use reqwest::Method;
use serde_json::{Value, json};

use crate::honest::Tally;
use crate::support::fake_sfu::{FakeSfu, SFU_APP, SFU_SECRET};
use crate::support::socket_client::{Got, SocketClient};
use crate::support::{Answer, StateDir, TestBroker};
use crate::{Attack, Form, Outcome, broker, grouped};

/// Topics that one socket of the attack asks for. A multiple of them is the share of an address.
const TOPICS_EACH: u64 = 125;
/// `X-Auth-Request-Email`, as a trusted proxy names the user of a room.
const USER_HEADER: &str = "x-auth-request-email";
/// The time of the broker's clock, in milliseconds since 1970.
const NOW: u64 = 1_736_942_400_000;

pub(crate) const ATTACKS: &[Attack] = &[
    attack("sockets of Ayame by one address", "64", |_| Box::pin(hold(PlaceKind::Ayame, 1))),
    attack("sockets of Ayame by one IPv6 /48", "4 times 64", |_| Box::pin(hold(PlaceKind::Ayame, 16))),
    attack("sockets of PeerJS by one address", "64", |_| Box::pin(hold(PlaceKind::Peerjs, 1))),
    attack("sockets of PeerJS by one IPv6 /48", "4 times 64", |_| Box::pin(hold(PlaceKind::Peerjs, 16))),
    attack("sockets of rooms by one address", "64", |_| Box::pin(hold(PlaceKind::Rooms, 1))),
    attack("sockets of rooms by one IPv6 /48", "4 times 64", |_| Box::pin(hold(PlaceKind::Rooms, 16))),
    attack("topics of y-webrtc by one address", "625 of 12,500", |_| Box::pin(hold(PlaceKind::Topics, 1))),
    attack("topics of y-webrtc by one IPv6 /48", "4 times 625", |_| Box::pin(hold(PlaceKind::Topics, 16))),
    attack("topics of y-webrtc by four IPv6 /48s", "16 times 625; newcomers elsewhere get theirs", |_| {
        Box::pin(hold(PlaceKind::Topics, 64))
    }),
    attack("packages of P2PCF by one address", "256", |_| Box::pin(hold(PlaceKind::P2pcf, 1))),
    attack("packages of P2PCF by one IPv6 /48", "4 times 256", |_| Box::pin(hold(PlaceKind::P2pcf, 16))),
    attack("reports by one address", "16 of 640", |_| Box::pin(hold(PlaceKind::Reports, 1))),
    attack("reports by one IPv6 /48", "4 times 16", |_| Box::pin(hold(PlaceKind::Reports, 16))),
    attack("mints through the SFU's proxy by one address", "10", |_| {
        Box::pin(hold(PlaceKind::SfuServers, 1))
    }),
    attack("mints through the SFU's proxy by one IPv6 /48", "4 times 10", |_| {
        Box::pin(hold(PlaceKind::SfuServers, 16))
    }),
];

const fn attack(
    name: &'static str,
    allowance: &'static str,
    run: fn(Form) -> Pin<Box<dyn Future<Output = Outcome> + Send>>,
) -> Attack {
    Attack { name, allowance, run }
}

/// What a stranger can take a place of.
#[derive(Clone, Copy)]
enum PlaceKind {
    Ayame,
    Peerjs,
    Rooms,
    /// The topics of y-webrtc, with several sockets.
    Topics,
    P2pcf,
    Reports,
    /// The ICE servers that a page of partytracks asks for.
    SfuServers,
}

impl PlaceKind {
    /// Places of one address.
    fn share(self) -> u64 {
        match self {
            Self::Ayame | Self::Peerjs | Self::Rooms => 64,
            Self::Topics => 625,
            Self::P2pcf => 256,
            Self::Reports => 16,
            Self::SfuServers => 10,
        }
    }

    /// Places that one try takes.
    fn places(self) -> u64 {
        if matches!(self, Self::Topics) { TOPICS_EACH } else { 1 }
    }
}

/// `addresses`: one of IPv4, or sixteen of each of some IPv6 /48s.
async fn hold(kind: PlaceKind, addresses: u64) -> Outcome {
    let (sfu, reports) = (FakeSfu::start().await, StateDir::new());
    let url = sfu.url();
    let broker = broker(&[
        ("SIGNALING", "ayame,peerjs,yjs,rooms,p2pcf,sfu,reports"),
        ("CALLS_APP_ID", SFU_APP),
        ("CALLS_APP_SECRET", SFU_SECRET),
        ("CALLS_API_URL", &url),
        ("REPORTS_DIR", reports.path()),
        ("USER_HEADER", USER_HEADER),
        ("RATE_LIMIT_REQUESTS", "10"),
    ])
    .await;
    let allowed = kind.share() * if addresses > 1 { addresses / 4 } else { 1 };
    // Twice the share of all of them together.
    let tries = (2 * allowed).div_ceil(kind.places() * addresses) + 1;
    let (mut honest, mut sockets, mut taken) = (Tally::default(), vec![], 0);
    honest.serve(served(kind, &broker, 1)).await;
    let of_honest = files(&reports);
    for n in 0..addresses {
        let address = if addresses > 1 {
            format!("2001:db8:{:x}:{n:x}::1", 7 + n / 16)
        } else {
            "198.51.100.7".to_owned()
        };
        for nth in 0..tries {
            match take(kind, &broker, &address, n * tries + nth).await {
                Place::Held(socket) => sockets.push(socket),
                Place::Taken => taken += 1,
                Place::Refused => {}
            }
        }
    }
    for socket in &mut sockets {
        taken += kind.places() * u64::from(is_open(kind, socket).await);
    }
    if matches!(kind, PlaceKind::Reports) {
        // A report that is not kept is answered like one that is.
        let kept = files(&reports);
        honest.serve(async { of_honest.is_subset(&kept) }).await;
        taken = u64::try_from(kept.difference(&of_honest).count()).unwrap();
    }
    honest.serve(served(kind, &broker, 2)).await;
    honest.round(broker.address, 1).await;
    let effect = format!("{} of {} tried", grouped(taken), grouped(tries * addresses * kind.places()));
    Outcome { attempts: tries * addresses, effect, honest, is_within: 0 < taken && taken <= allowed }
}

/// The names of the reports that are kept.
fn files(reports: &StateDir) -> BTreeSet<OsString> {
    std::fs::read_dir(reports.path()).unwrap().map(|file| file.unwrap().file_name()).collect()
}

/// What one try gets.
enum Place {
    /// A place that this socket holds.
    Held(Box<SocketClient>),
    Taken,
    Refused,
}

impl From<bool> for Place {
    fn from(is_taken: bool) -> Self {
        if is_taken { Self::Taken } else { Self::Refused }
    }
}

async fn take(kind: PlaceKind, broker: &TestBroker, address: &str, nth: u64) -> Place {
    let path = match kind {
        PlaceKind::Ayame => "/signaling".to_owned(),
        PlaceKind::Peerjs => format!("/peerjs/peerjs?key=peerjs&id=id-{nth}&token=t"),
        PlaceKind::Rooms => format!("/parties/rooms/room-{nth}?_pk=a"),
        PlaceKind::Topics => "/yjs".to_owned(),
        PlaceKind::P2pcf => return (publish(broker, address, nth).await == 200).into(),
        PlaceKind::Reports => return (report(broker, address).await == 200).into(),
        PlaceKind::SfuServers => return has_relay(broker, address).await.into(),
    };
    let user = format!("user-{nth}");
    let headers = [("x-forwarded-for", address), (USER_HEADER, user.as_str())];
    let Ok(mut socket) = SocketClient::open(broker.address, &path, &headers).await else {
        return Place::Refused;
    };
    if matches!(kind, PlaceKind::Topics) {
        let topics: Vec<_> = (0..TOPICS_EACH).map(|topic| format!("{nth}-{topic}")).collect();
        socket.send_json(&json!({ "type": "subscribe", "topics": topics })).await;
    }
    Place::Held(Box::new(socket))
}

/// Whether the broker has kept a socket.
async fn is_open(kind: PlaceKind, socket: &mut SocketClient) -> bool {
    if matches!(kind, PlaceKind::Topics) {
        socket.send_json(&json!({ "type": "ping" })).await;
        return matches!(socket.next().await, Got::Text(_));
    }
    true
}

/// Whether an honest client gets what it came for.
async fn served(kind: PlaceKind, broker: &TestBroker, n: u64) -> bool {
    let address = format!("203.0.113.{n}");
    match take(kind, broker, &address, u64::MAX - n).await {
        Place::Held(mut socket) => is_open(kind, &mut socket).await,
        Place::Taken => true,
        Place::Refused => false,
    }
}

async fn publish(broker: &TestBroker, address: &str, nth: u64) -> u16 {
    let fingerprint = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let details = json!([format!("session-{nth}"), format!("client-{nth}"), false, fingerprint, NOW, []]);
    let body: Value = json!({ "r": format!("room-{nth}"), "k": format!("context-{nth}"), "d": details, "t": NOW, "x": 120_000, "p": [] });
    let request = broker.request(Method::POST, "/p2pcf").header("x-forwarded-for", address);
    Answer::of(request.json(&body)).await.status.as_u16()
}

async fn report(broker: &TestBroker, address: &str) -> u16 {
    let history = json!({ "apiHistory": [{ "sdp": "v=0" }], "userSessions": ["s1"] });
    let info = json!({ "roomName": "r", "identity": { "name": "ann" }, "roomHistory": history, "url": "https://meet.example/r" });
    let fields = [("info", info.to_string()), ("description", "no sound".to_owned())];
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = broker.request(Method::POST, "/api/bugReport").header("x-forwarded-for", address);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let request = request.header("user-agent", "Firefox");
    Answer::of(request.body(form)).await.status.as_u16()
}

/// Whether a page gets more than STUN.
async fn has_relay(broker: &TestBroker, address: &str) -> bool {
    let request = broker.request(Method::GET, "/partytracks/generate-ice-servers");
    let answer = Answer::of(request.header("x-forwarded-for", address)).await;
    answer.status == 200 && answer.text.contains("\"credential\"")
}
