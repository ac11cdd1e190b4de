//! Honest callers. Each has its own address, mints well within the allowance, reports its connection, and closes it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::faults::{Faults, Now};

/// Callers at the same time.
const CALLERS: u8 = 100;
/// How long one call lasts. So a caller mints two or three times in the rate limit's window of 300 s, which allows 10 mints.
const CALL: Duration = Duration::from_secs(120);
const HEARTBEAT: Duration = Duration::from_secs(30);

/// The honest callers' requests, counted by outcome.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    fn count(&self, outcome: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(outcome.to_owned()).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(crate) struct Honest {
    tasks: Vec<JoinHandle<()>>,
    refusals: Arc<Mutex<Vec<String>>>,
}

impl Honest {
    /// Ends them. Returns what was refused although the rules allow it.
    pub(crate) fn stop(self) -> Vec<String> {
        for task in self.tasks {
            task.abort();
        }
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Starts the callers.
pub(crate) fn start(broker: SocketAddr, tally: &Arc<Tally>, faults: &Arc<Faults>) -> Honest {
    let refusals = Arc::new(Mutex::new(vec![]));
    let tasks = (0..CALLERS).map(|n| {
        let from = IpAddr::V4(Ipv4Addr::new(127, 1, 0, n + 1));
        let caller = Caller {
            url: format!("http://{broker}"),
            client: reqwest::Client::builder()
                .no_proxy()
                .local_address(from)
                .timeout(Duration::from_secs(15))
                .build()
                .expect("a plain client"),
            tally: Arc::clone(tally),
            faults: Arc::clone(faults),
            refusals: Arc::clone(&refusals),
        };
        tokio::spawn(async move {
            tokio::time::sleep(CALL * u32::from(n) / u32::from(CALLERS)).await;
            loop {
                caller.call().await;
            }
        })
    });
    Honest { tasks: tasks.collect(), refusals }
}

struct Caller {
    url: String,
    client: reqwest::Client,
    tally: Arc<Tally>,
    faults: Arc<Faults>,
    refusals: Arc<Mutex<Vec<String>>>,
}

impl Caller {
    /// One call: mint, open, heartbeats, close.
    async fn call(&self) {
        let grant = self.mint().await;
        let mut left = CALL;
        if let Some(grant) = grant {
            let connection = self.post(&grant, "/api/connections", json!({})).await;
            let id = connection.and_then(|body| body["connectionId"].as_str().map(str::to_owned));
            let mut received = 0_u64;
            while let (Some(id), true) = (&id, left > HEARTBEAT) {
                tokio::time::sleep(HEARTBEAT).await;
                left -= HEARTBEAT;
                // 1 Mbps.
                received += 125_000 * HEARTBEAT.as_secs();
                let path = format!("/api/connections/{id}/heartbeat");
                self.post(&grant, &path, json!({ "bytesReceived": received, "relayed": true })).await;
            }
            if let Some(id) = id {
                self.post(&grant, &format!("/api/connections/{id}/close"), json!({})).await;
            }
        }
        tokio::time::sleep(left).await;
    }

    /// The grant token of a metered credential.
    async fn mint(&self) -> Option<String> {
        let before = self.faults.now();
        let request = self.client.get(format!("{}/api/turn-credentials", self.url));
        let answer = match request.send().await {
            Ok(response) => (response.status().as_u16(), response.json::<Value>().await.unwrap_or_default()),
            Err(error) => (0, json!({ "code": error.to_string() })),
        };
        let is_disk_fault = [before, self.faults.now()].contains(&Now::DiskFull);
        let outcome = match &answer {
            (200, body) if body["degraded"] == false => "minted",
            (200, _) => "degraded (STUN only)",
            (503, body) if is_disk_fault && body["code"] == "LEDGER_UNAVAILABLE" => {
                "503 while the disk is full"
            }
            (status, body) => {
                let refusal = format!("{status} {} during {before:?}", body["code"]);
                self.refusals.lock().unwrap_or_else(PoisonError::into_inner).push(refusal);
                "refused against the rules"
            }
        };
        self.tally.count(&format!("mint: {outcome}"));
        answer.1["grant"].as_str().map(str::to_owned)
    }

    async fn post(&self, grant: &str, path: &str, body: Value) -> Option<Value> {
        let request = self.client.post(format!("{}{path}", self.url)).bearer_auth(grant).json(&body);
        let outcome = request.send().await;
        let status = outcome.as_ref().map_or(0, |response| response.status().as_u16());
        self.tally.count(&format!("report: {status}"));
        outcome.ok()?.json().await.ok()
    }
}
