//! Pulls from the SFU without an end: one address, or one IPv6 /48, opens sessions in a room and pulls as many tracks as it gets. The SFU
//! behind the proxy reports every track active, so what really flows is known and compared with what is charged.

use reqwest::Method;
use serde_json::{Value, json};

use crate::honest::Tally;
use crate::support::fake_sfu::{FakeSfu, SFU_APP, SFU_SECRET};
use crate::support::{Answer, TestBroker, finished};
use crate::{Attack, Form, Outcome, as_gb, broker};

/// Seconds of the books' time between two rounds. Each session is looked at in between.
const STEP: u64 = 60;
/// Sessions of an address.
const SESSIONS: usize = 8;
/// A track with video, in bytes a second.
const TRACK: u64 = 250_000;
const METRIC: &str = "turn_broker_sfu_pulled_tracks";

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "pulls from the SFU by one IPv4 address",
        allowance: "45 GB an hour",
        run: |form| Box::pin(pull(form, false)),
    },
    Attack {
        name: "pulls from the SFU by one IPv6 /48",
        allowance: "4 times 45 GB an hour",
        run: |form| Box::pin(pull(form, true)),
    },
];

/// A page with its session.
struct Page {
    address: String,
    session: String,
    cookie: String,
}

impl Page {
    async fn open(broker: &TestBroker, address: &str) -> Option<Self> {
        let request = broker.request(Method::POST, "/partytracks/sessions/new?correlationId=r");
        let answer = Answer::of(request.header("x-forwarded-for", address)).await;
        let cookie = answer.header("set-cookie")?.split(';').next()?.to_owned();
        let session = answer.json()["sessionId"].as_str()?.to_owned();
        Some(Self { address: address.to_owned(), session, cookie })
    }

    async fn new_tracks(&self, broker: &TestBroker, tracks: Vec<Value>) -> bool {
        let path = format!("/partytracks/sessions/{}/tracks/new", self.session);
        let request = broker.request(Method::POST, &path).header("cookie", &self.cookie);
        let body = json!({ "tracks": tracks }).to_string();
        Answer::of(request.header("x-forwarded-for", &self.address).body(body)).await.status == 200
    }

    async fn push(&self, broker: &TestBroker) -> bool {
        self.new_tracks(broker, vec![json!({ "location": "local", "trackName": "v", "mid": "0" })]).await
    }

    async fn pull(&self, broker: &TestBroker, from: &Self, count: usize) -> bool {
        let track = json!({ "location": "remote", "sessionId": from.session, "trackName": "v" });
        self.new_tracks(broker, vec![track; count]).await
    }
}

async fn pull(form: Form, is_prefix: bool) -> Outcome {
    let sfu = FakeSfu::start().await;
    let url = sfu.url();
    let broker = broker(&[
        ("SIGNALING", "sfu"),
        ("CALLS_APP_ID", SFU_APP),
        ("CALLS_APP_SECRET", SFU_SECRET),
        ("CALLS_API_URL", &url),
        ("BANDWIDTH_LIMIT_GB", "100000"),
    ])
    .await;
    let honest_page = Page::open(&broker, "203.0.113.9").await.unwrap();
    let (mut honest, mut attempts, mut flowing, mut flowed) = (Tally::default(), 0, 0, 0);
    // The honest page takes one track more in every second round.
    let (mut honest_tracks, mut of_honest) = (0, 0);
    honest.serve(honest_page.push(&broker)).await;
    let mut pages = vec![];
    for n in 0..if is_prefix { 16 } else { 1 } {
        let address = if is_prefix { format!("2001:db8:7:{n:x}::1") } else { "198.51.100.7".to_owned() };
        for _ in 0..SESSIONS {
            pages.extend(Page::open(&broker, &address).await);
            attempts += 1;
        }
    }
    for page in &pages {
        page.push(&broker).await;
    }
    let steps = form.choose(5, 60);
    for step in 0..=steps {
        for page in &pages {
            for count in [64, 8, 1] {
                attempts += 1;
                while page.pull(&broker, &pages[0], count).await {
                    (attempts, flowing) = (attempts + 1, flowing + u64::try_from(count).unwrap());
                }
            }
        }
        if step % 2 == 0 {
            honest.serve(honest_page.pull(&broker, &honest_page, 1)).await;
            honest_tracks += 1;
        }
        if step < steps {
            flowed += flowing * TRACK * STEP;
            of_honest += honest_tracks * TRACK * STEP;
            broker.advance(STEP);
            is_seen(&broker, flowing + honest_tracks).await;
        }
    }
    let charged = broker.used().await;
    let hourly = if is_prefix { 180_000_000_000 } else { 45_000_000_000 };
    let seconds = steps * STEP;
    let is_within = flowed <= hourly * seconds / 3_600
        && charged <= flowed + of_honest
        && charged >= (flowed + of_honest) / 4 * 3;
    let effect = format!(
        "{} flowed in {} min, {flowing} tracks at a time; {} of {} of all pages are charged",
        as_gb(flowed),
        seconds / 60,
        as_gb(charged),
        as_gb(flowed + of_honest)
    );
    Outcome { attempts, effect, honest, is_within }
}

/// Waits until the broker has seen so many tracks. The watch runs each second of real time.
async fn is_seen(broker: &TestBroker, tracks: u64) {
    // `eventually` takes a closure, whose future may not move to another thread.
    let seen = async {
        while broker.metric(METRIC).await != Some(tracks) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    finished("all tracks are seen", seen).await;
}
