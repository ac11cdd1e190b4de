//! Clients that mint without end, as behind a balancer: one whose request fails goes to the next replica.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const CLIENTS: usize = 8;
/// The pause of a client after a response.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a client waits for a response.
const PATIENCE: Duration = Duration::from_secs(10);

/// One request.
pub(crate) struct Call {
    /// The replica.
    pub(crate) node: usize,
    began: Instant,
    ended: Instant,
    /// The id of the grant.
    pub(crate) answered: Option<Vec<u8>>,
    /// The status, or what went wrong.
    why: String,
}

/// A replica has a fault in this time.
pub(crate) struct Faulty {
    pub(crate) node: usize,
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

/// A client without proxy and without time limits.
pub(crate) fn http_client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

pub(crate) struct Clients {
    running: JoinSet<Vec<Call>>,
    end: CancellationToken,
}

impl Clients {
    pub(crate) fn start(urls: Vec<String>) -> Self {
        let (end, urls) = (CancellationToken::new(), Arc::new(urls));
        let running = (0..CLIENTS).map(|number| client(number, Arc::clone(&urls), end.clone())).collect();
        Self { running, end }
    }

    /// All calls, after the last one has ended.
    pub(crate) async fn end(self) -> Vec<Call> {
        self.end.cancel();
        self.running.join_all().await.into_iter().flatten().collect()
    }
}

async fn client(number: usize, urls: Arc<Vec<String>>, end: CancellationToken) -> Vec<Call> {
    let (http, mut calls, mut node) = (http_client(), vec![], number % urls.len());
    while !end.is_cancelled() {
        let began = Instant::now();
        let minted = tokio::time::timeout(PATIENCE, mint(&http, &urls[node])).await;
        let (answered, why) = match minted {
            Ok(Ok(id)) => (Some(id), String::new()),
            Ok(Err(why)) => (None, why),
            Err(_) => (None, "no response".into()),
        };
        let has_failed = answered.is_none();
        calls.push(Call { node, began, ended: Instant::now(), answered, why });
        if has_failed {
            node = (node + 1) % urls.len();
        }
        tokio::time::sleep(PAUSE).await;
    }
    calls
}

/// The id of the grant, which the user name for coturn ends with.
async fn mint(http: &reqwest::Client, url: &str) -> Result<Vec<u8>, String> {
    let response = http.get(format!("{url}/api/turn-credentials")).send().await;
    let response = response.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| format!("{error:?}"))?;
    let name = text.split("\"username\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let id = name.and_then(|name| name.split(':').nth(1)).ok_or_else(|| format!("{status} {text}"))?;
    BASE64_URL_SAFE_NO_PAD.decode(id).map_err(|error| error.to_string())
}

/// What clients saw of one fault, over all rounds.
#[derive(Default)]
pub(crate) struct Report {
    gaps: Vec<Duration>,
    answered: usize,
    lost: usize,
    failed_there: usize,
    failed_elsewhere: usize,
}

impl Report {
    pub(crate) fn head() {
        println!(
            "| fault | no answer for: median of the rounds | longest | answered | of these lost | failed at or through that replica | failed elsewhere |"
        );
        println!("|---|---|---|---|---|---|---|");
    }

    /// Adds a round.
    pub(crate) fn add(&mut self, calls: &[Call], faulty: &[Faulty], lost: usize) {
        let answers: BTreeSet<_> =
            calls.iter().filter(|call| call.answered.is_some()).map(|call| call.ended).collect();
        let gap = answers.iter().zip(answers.iter().skip(1)).map(|(one, next)| *next - *one).max();
        self.gaps.push(gap.expect("two answers"));
        self.answered += calls.iter().filter(|call| call.answered.is_some()).count();
        self.lost += lost;
        for call in calls.iter().filter(|call| call.answered.is_none()) {
            let is_there = |fault: &Faulty| {
                fault.node == call.node && call.ended >= fault.from && call.began <= fault.until
            };
            // Only a leader says that. Other replicas pass it on.
            let is_passed_on = call.why.contains("LEDGER_UNAVAILABLE") && !faulty.is_empty();
            if is_passed_on || faulty.iter().any(is_there) {
                self.failed_there += 1;
            } else {
                self.failed_elsewhere += 1;
                eprintln!("failed at a running replica: {:.200}", call.why);
            }
        }
        eprintln!("round: {} ms, {lost} lost", self.gaps.last().unwrap().as_millis());
    }

    /// Prints the row.
    pub(crate) fn print(mut self, name: &str) {
        self.gaps.sort();
        let (median, longest) = (self.gaps[self.gaps.len() / 2], self.gaps.last().unwrap());
        println!(
            "| {name} | {} ms | {} ms | {} | {} | {} | {} |",
            median.as_millis(),
            longest.as_millis(),
            self.answered,
            self.lost,
            self.failed_there,
            self.failed_elsewhere
        );
    }
}
