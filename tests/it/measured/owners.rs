//! A count releases only what is promised to its owner: a TURN key of one account.

use turn_ledger::Books;

use super::probe::count_probes;
use super::{GB, meter, read_twice, with_analytics, with_analytics_at};
use crate::support::prelude::*;

const MB: u64 = 1_000_000;

fn reserved(broker: &TestBroker) -> u64 {
    let figures = broker.app.account.read(Books::snapshot).figures;
    figures.committed.minus(figures.used).get()
}

#[tokio::test]
async fn bytes_and_probes_of_one_turn_key_release_nothing_of_another_that_the_account_does_not_have() {
    let settings = [
        ("CLOUDFLARE_TURN_KEYS", "us=key-us:token-of-us-fixture:0"),
        ("BUDGET_MODE", "strict"),
        ("RELAY_PROBE", "on"),
    ];
    let (cloudflare, broker) = with_analytics(&settings).await;
    cloudflare.add_key("key-us", "token-of-us-fixture");
    let relay = TurnServer::start(RELAYED, cloudflare.history()).await;
    cloudflare.relays_at(&[relay.url()]);
    for query in ["", "?region=us"] {
        let minted = broker.get(&format!("/api/turn-credentials{query}")).await.json();
        assert_eq!(minted["source"], "cloudflare");
    }
    let (before, mut state, mut counted) = (reserved(&broker), MeterState::default(), BTreeSet::new());
    // Both make a probe at 13:00. Of the other key nothing is ever counted.
    for (at, bytes) in [("12:05", 100 * MB), ("12:15", 100 * MB), ("12:35", 0), ("12:55", 100 * MB)] {
        broker.advance(1_200);
        cloudflare.analytics().relay("key-id", &format!("2025-01-15T{at}:00Z"), bytes, 0);
        count_probes(&cloudflare, "key-id", &mut counted);
        let outcome = meter(&broker).read(&mut state).await.unwrap();
        assert_eq!(outcome, ReadingOutcome::Unproven, "{at}");
    }
    broker.advance(60);
    assert_eq!(meter(&broker).read(&mut state).await.unwrap(), ReadingOutcome::Unproven, "a second answer");
    // It is 13:20, and the first key is counted until 13:10. 2 Mbps are 15 MB a minute.
    let released = before - reserved(&broker);
    assert!(released.abs_diff(70 * 15 * MB) < 100 * MB, "{released}: the minutes of the first key alone");
    assert_eq!(broker.status().await["boundHolds"], false);
    let hint = broker.hint("COUNTS_MISSING").await.unwrap();
    assert!(hint.contains("It is that of the TURN key us."), "{hint}");

    // The account is corrected.
    count_probes(&cloudflare, "key-us", &mut BTreeSet::new());
    cloudflare.analytics().relay("key-id", "2025-01-15T13:25:00Z", 100 * MB, 0);
    broker.advance(1_200);
    assert_eq!(meter(&broker).read(&mut state).await.unwrap(), ReadingOutcome::Taken);
    assert_eq!(broker.status().await["boundHolds"], true);
    assert_eq!(broker.hint("COUNTS_MISSING").await, None);
}

#[tokio::test]
async fn what_a_wrong_account_counted_is_forgotten_within_an_hour_of_its_correction() {
    let (state, wrong, right) =
        (StateDir::new(), FakeCloudflare::start().await, FakeCloudflare::start().await);
    let (in_wrong, in_right) =
        ([("CLOUDFLARE_ACCOUNT_ID", "another")], [("CLOUDFLARE_ACCOUNT_ID", "account")]);
    let durable = [("STATE_DIR", state.path())];
    wrong.analytics().require_account("another");
    right.analytics().require_account("account");
    for day in ["13", "14", "15"] {
        wrong.analytics().relay("their-key", &format!("2025-01-{day}T11:00:00Z"), 60 * GB, 0);
    }
    right.analytics().relay("key-id", "2025-01-15T12:05:00Z", 100 * MB, 0);
    let clock = Arc::new(ManualClock::at(START));
    let broker = with_analytics_at(&wrong, &[&durable[..], &in_wrong].concat(), clock).await;
    assert_eq!(broker.mint().await.json()["source"], "cloudflare");
    let before = reserved(&broker);
    broker.advance(1_800);
    assert_eq!(read_twice(&broker).await, ReadingOutcome::Taken);
    let status = broker.status().await;
    assert_eq!(json!([status["usedBytes"], status["boundHolds"]]), json!([180 * GB, true]));
    assert!(reserved(&broker) < before, "nothing shows that the account is the wrong one");

    let clock = broker.clock();
    broker.finish().await;
    let broker = with_analytics_at(&right, &[&durable[..], &in_right].concat(), clock).await;
    assert_eq!((broker.used().await, reserved(&broker)), (0, before), "nothing is known of this account");
    broker.advance(600);
    assert_eq!(read_twice(&broker).await, ReadingOutcome::Taken);
    let status = broker.status().await;
    assert_eq!(json!([status["usedBytes"], status["boundHolds"]]), json!([100 * MB, true]));
    assert!(reserved(&broker) < before);
}
