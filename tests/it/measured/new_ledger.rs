//! A new ledger whose TURN keys were in use before: its volume was lost, or somebody else has the keys.

use crate::support::prelude::*;
use turn_broker::alert::Fault;
use turn_ledger::{BitRate, LackCause};

use super::{ANALYTICS, GB, read, with_analytics};

#[tokio::test]
async fn a_new_ledger_lacks_credentials_if_its_keys_relayed_in_the_fifty_hours_before() {
    let grant = GrantId::new([7; 16]).to_string();
    for (key, identifier, at, lacks) in [
        ("key-id", &*grant, "2025-01-15T11:50:00Z", true),
        ("key-id", &*grant, "2025-01-13T10:00:00Z", true),
        ("key-id", "", "2025-01-15T11:50:00Z", true),
        // Nothing that was minted then still works.
        ("key-id", &*grant, "2025-01-13T09:56:00Z", false),
        // It has minted since.
        ("key-id", &*grant, "2025-01-15T12:00:00Z", false),
        // By a clock that is behind, too.
        ("key-id", &*grant, "2025-01-15T11:58:00Z", false),
        ("another-key", &*grant, "2025-01-15T11:50:00Z", false),
        // The broker's own tests relay less.
        ("key-id", "turn-broker-doctor", "2025-01-15T11:50:00Z", true),
    ] {
        let (cloudflare, broker) = with_analytics(&[]).await;
        cloudflare.analytics().relay_as(key, identifier, at, GB, 0);
        read(&broker).await.unwrap();
        let status = broker.status().await;
        let case = format!("{key} {identifier:?} {at}");
        assert_eq!(hint_codes(&status).contains(&"LEDGER_NEW"), lacks, "{case}");
        assert!(!lacks || status["boundHolds"] == false, "{case}");
    }
}

#[tokio::test]
async fn bytes_that_are_counted_late_show_that_a_new_ledger_lacks_credentials() {
    let state = StateDir::new();
    let settings = [&ANALYTICS[..], &[("STATE_DIR", state.path())]].concat();
    let (cloudflare, broker) = with_analytics(&settings[ANALYTICS.len()..]).await;
    read(&broker).await.unwrap();
    assert!(!broker.has_hint("LEDGER_NEW").await);
    cloudflare.analytics().relay("key-id", "2025-01-15T11:57:00Z", GB, 0);
    broker.advance(600);
    read(&broker).await.unwrap();
    let hint = broker.hint("LEDGER_NEW").await.expect("it says so");
    assert!(hint.contains("until 2025-01-17T14:02"), "{hint}");
    let clock = broker.clock();
    broker.finish().await;
    let broker = broker_with(&cloudflare, &settings, clock).await;
    assert!(broker.has_hint("LEDGER_NEW").await, "a restart does not forget it");
}

#[tokio::test]
async fn an_excess_asks_for_the_rate_unless_the_bytes_are_of_others() {
    let app = &TestBroker::start(&[]).await.app;
    let mut snapshot = app.account.snapshot();
    snapshot.measured.excess.bytes = snapshot.figures.limit;
    snapshot.measured.excess.rate = BitRate::new(1);
    let expect = |snapshot: &_, expected: &[Fault]| {
        let mut faults: Vec<_> = app.faults(snapshot).into_iter().map(|found| found.fault).collect();
        faults.retain(|fault| matches!(fault, Fault::AssumptionBroken | Fault::LedgerNew));
        assert_eq!(faults, expected);
    };
    expect(&snapshot, &[Fault::AssumptionBroken]);
    snapshot.lack_cause = LackCause::New;
    snapshot.lacks_until = snapshot.figures.now.plus_millis(1);
    expect(&snapshot, &[Fault::AssumptionBroken, Fault::LedgerNew]);

    let says_of_others = |snapshot: &_| {
        let found = app.faults(snapshot).into_iter().find(|found| found.fault == Fault::AssumptionBroken);
        found.unwrap().detail.contains("UNKNOWN_BYTES")
    };
    assert!(!says_of_others(&snapshot));
    snapshot.unknown_bytes = snapshot.measured.excess.bytes;
    assert!(says_of_others(&snapshot), "a rate of ours is not to be raised for them");
}
