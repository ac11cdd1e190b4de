//! Honest callers. Each has its own address, mints well within the allowance, reports its connection, and closes it.

use std::sync::PoisonError;

use crate::client::Client;
use crate::faults::{Faults, Now};
use crate::support::prelude::*;

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

pub(crate) fn start(broker: SocketAddr, tally: &Arc<Tally>, faults: &Arc<Faults>) -> Honest {
    let refusals = Arc::new(Mutex::new(vec![]));
    let tasks = (0..CALLERS).map(|n| {
        let mut caller = Caller {
            client: Client::at(broker, [127, 1, 0, n + 1]),
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
    client: Client,
    tally: Arc<Tally>,
    faults: Arc<Faults>,
    refusals: Arc<Mutex<Vec<String>>>,
}

impl Caller {
    /// One call: mint, open, heartbeats, close.
    async fn call(&mut self) {
        let grant = self.mint().await;
        let mut left = CALL;
        if let Some(grant) = grant {
            let connection = self.post(&grant, "/api/connections", json!({})).await;
            let id = connection["connectionId"].as_str().map(str::to_owned);
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
    async fn mint(&mut self) -> Option<String> {
        let before = self.faults.now();
        let answer = self.client.get("/api/turn-credentials", "").await;
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

    async fn post(&mut self, grant: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.client.post(path, grant, &body).await;
        self.tally.count(&format!("report: {status}"));
        answer
    }
}
