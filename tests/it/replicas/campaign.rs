//! The way to the lead, with a database that answers as a test has written down.

use tokio::sync::Notify;
use turn_broker::lead::Replica;
use turn_broker::lead::campaign::{Campaign, Candidate};
use turn_broker::store::Observation;
use turn_broker::telemetry::metrics::Metrics;

use super::LEASE;
use crate::support::prelude::*;

/// A look: how much time passes before it, and what it shows. `None`: the database cannot be reached.
type Look = (u64, Option<Observation>);

struct Scripted {
    looks: VecDeque<Look>,
    clock: Arc<ManualClock>,
    /// The looks that are left when it stands.
    left: Arc<Mutex<Vec<usize>>>,
    database: FakeElectorate,
}

impl Electorate for Scripted {
    type Storage = FakeStorage;
    type Error = CutOff;

    fn is_unusable(_: &CutOff) -> bool {
        false
    }

    fn url(&self) -> String {
        self.database.url()
    }

    fn has_twin(&self) -> bool {
        false
    }

    async fn observe(&mut self) -> Result<Observation, CutOff> {
        let (millis, seen) = self.looks.pop_front().expect("it stands before the script ends");
        self.clock.advance(Duration::from_millis(millis));
        seen.ok_or(CutOff)
    }

    /// Another replica is faster, until the script ends.
    async fn stand(&mut self, _: &Observation) -> Result<Option<FakeStorage>, CutOff> {
        self.left.lock().unwrap().push(self.looks.len());
        if !self.looks.is_empty() {
            return Ok(None);
        }
        let row = self.database.observe().await?;
        self.database.stand(&row).await
    }

    fn set_unreached(&mut self, _: Option<i64>) {}

    async fn set_reached(&mut self, _: &str) -> Result<(), CutOff> {
        Ok(())
    }

    async fn give_up(&mut self) -> Result<(), CutOff> {
        Ok(())
    }

    async fn state_loss(&mut self, seq: i64) -> Result<(), CutOff> {
        self.database.state_loss(seq).await
    }

    async fn key(&mut self) -> Result<Option<[u8; 64]>, CutOff> {
        Ok(None)
    }

    async fn replicas(&mut self) -> Result<Vec<Replica>, CutOff> {
        Ok(vec![])
    }
}

/// After how many looks it stands.
async fn stands_after(looks: Vec<Look>) -> Vec<usize> {
    let clock = Arc::new(ManualClock::at(START));
    let (left, total) = (Arc::default(), looks.len());
    let database = FakeDatabase::new().electorate("http://own.example:3001");
    let scripted = Scripted { looks: looks.into(), clock: clock.clone(), left: Arc::clone(&left), database };
    let candidate = Candidate { lease: LEASE, settings: String::new() };
    let look = Arc::new(Notify::new());
    let mut campaign =
        Campaign::new(scripted, candidate, Arc::clone(&look), clock, Arc::new(Metrics::default()));
    let won = campaign
        .run(|_| {
            look.notify_one();
            None
        })
        .await
        .unwrap();
    assert_eq!(won.lead.epoch, 2, "one more than the row that it saw");
    let left = left.lock().unwrap();
    left.iter().map(|left| total - left).collect()
}

fn look(millis: u64, seq: i64, has_session: bool) -> Look {
    let leader = Some("http://leader.example:3001".to_owned());
    let row = Observation { epoch: 1, seq, is_held: true, leader, format: FORMAT, ..Observation::default() };
    (millis, Some(Observation { has_session, has_written: true, ..row }))
}

#[tokio::test]
async fn a_look_that_failed_interrupts_the_view() {
    let gone = || look(300, 7, false);
    assert_eq!(stands_after(vec![gone(), gone(), gone()]).await, [3]);
    let down = (0, None);
    assert_eq!(stands_after(vec![gone(), gone(), down, gone(), gone(), gone()]).await, [6]);
}

#[tokio::test]
async fn a_replica_that_was_not_fast_enough_goes_on_looking() {
    let silent = || look(2_500, 7, true);
    let after = stands_after(vec![silent(), silent(), silent(), silent()]).await;
    assert_eq!(after, [3, 4], "it stands again while nothing changes");
    let after = stands_after(vec![
        silent(),
        silent(),
        silent(),
        look(0, 8, true),
        look(2_500, 8, true),
        look(2_500, 8, true),
    ]);
    assert_eq!(after.await, [3, 6]);
}
