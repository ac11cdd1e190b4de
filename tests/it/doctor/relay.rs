//! Findings of `turn-broker doctor` about relays that refuse, about the network, and about the relay in the process.

use std::sync::Arc;
use std::time::Duration;

use turn_broker::config::{Config, Environment};
use turn_broker::doctor::{self, Check, Progress};

use super::World;
use crate::support::fake_turn::RELAYED;
use crate::support::manual_clock::ManualClock;
use crate::support::{API_TOKEN, Fault, TurnFault};

#[tokio::test]
async fn each_error_of_a_relay_is_explained() {
    for (fault, seen_has, state, exit) in [
        (TurnFault::Code(401), "does not accept the credential", "fail", 1),
        (TurnFault::Code(403), "forbids this", "fail", 1),
        (TurnFault::Code(437), "already has an allocation", "fail", 1),
        (TurnFault::Code(438), "stale", "fail", 1),
        (TurnFault::Code(442), "does not relay UDP", "fail", 1),
        (TurnFault::Code(486), "quota of allocations", "fail", 1),
        (TurnFault::Code(508), "no relay port left", "fail", 1),
        (TurnFault::Unsigned, "not signed", "fail", 1),
        (TurnFault::StaleOnce, RELAYED, "ok", 0),
        (TurnFault::Open, "anyone can relay", "warn", 0),
    ] {
        let world = World::new().await;
        world.turn.set_fault(fault);
        let examined = world.examine(&[]).await;
        assert_eq!(examined.exit, Some(exit), "{fault:?}: {}", examined.text);
        for turn in examined.of("turn") {
            assert_eq!(turn["state"], state, "{fault:?}: {turn}");
            assert!(turn["seen"].as_str().unwrap().contains(seen_has), "{fault:?}: {turn}");
        }
        assert!(!examined.text.contains(Fault::BODY_MARK), "{}", examined.text);
    }
    let world = World::new().await;
    world.turn.set_fault(TurnFault::Code(401));
    let network = world.examine(&[]).await.only("network");
    assert!(network.0 == "fail" && network.1.contains("no relay works"), "{network:?}");
}

#[tokio::test]
async fn a_network_that_blocks_udp_is_recognized() {
    let world = World::new().await;
    world.turn.set_fault(TurnFault::NoUdp);
    let examined = world.examine(&[]).await;
    assert_eq!(examined.states("turn"), ["warn", "ok"], "{}", examined.text);
    assert_eq!(examined.states("stun"), ["warn"]);
    let (state, seen, _) = examined.only("network");
    assert!(state == "warn" && seen.contains("relays work by TCP"), "{seen}");
    assert_eq!(examined.exit, Some(0), "calls work");
    let questions = world.turn.history();
    assert_eq!(world.turn.released(), 1, "{questions:?}");
}

#[tokio::test]
async fn another_service_on_the_port_is_recognized() {
    let world = World::new().await;
    world.turn.set_fault(TurnFault::NotStun);
    let examined = world.examine(&[]).await;
    let tcp = &examined.of("turn")[1];
    assert!(tcp["seen"].as_str().unwrap().contains("not a STUN or TURN server"), "{tcp}");
    assert_eq!(examined.exit, Some(1));
}

#[tokio::test]
async fn the_relay_in_the_process_is_skipped_with_the_reason() {
    let world = World::new().await;
    let stun = world.turn.stun_url();
    let examined = super::doctor(&["--json"], &[("ICE_SOURCES", "relay"), ("STUN_URLS", &stun)]).await;
    assert_eq!(examined.exit, Some(0), "{}", examined.text);
    let (state, seen, _) = examined.only("provider");
    assert!(state == "skipped" && seen.contains("doctor cannot test it"), "{seen}");
    assert_eq!(examined.only("turn").0, "skipped");
}

/// Probes the tail in this process. Each refresh takes 20 s by the doctor's clock.
async fn probe(world: &World, minutes: u64, settings: &[(&str, &str)]) -> (String, String) {
    let (base, stun) = (world.cloudflare.base_url(), world.turn.stun_url());
    let ours = [
        ("CLOUDFLARE_API_BASE", &*base),
        ("CLOUDFLARE_TURN_KEY_ID", "key-id"),
        ("CLOUDFLARE_TURN_API_TOKEN", API_TOKEN),
        ("STUN_URLS", &*stun),
        // A port where nothing listens.
        ("PORT", "9"),
    ];
    let config = Config::from_env(&Environment::from_pairs(ours.iter().chain(settings).copied())).unwrap();
    let clock = Arc::new(ManualClock::at("2025-01-15T12:00:00Z"));
    let ticking = Arc::clone(&clock);
    world.turn.on_refresh(move || ticking.advance(Duration::from_secs(20)));
    let options = doctor::Options {
        probe_tail: Some(minutes),
        refresh_pause: Duration::ZERO,
        ..doctor::Options::default()
    };
    let mut output = Vec::new();
    let report = doctor::run(&config, &options, clock, Progress::new(&mut output, true)).await.unwrap();
    let found: Vec<_> = report.findings.iter().filter(|found| found.check == Check::Tail).collect();
    let [one] = &found[..] else { panic!("{found:?}") };
    (<&str>::from(one.verdict.state).to_owned(), one.verdict.seen.clone())
}

#[tokio::test]
async fn the_probe_of_the_tail_says_how_long_the_server_refreshes_after_the_expiry() {
    let world = World::new().await;
    // The credential expires after 60 s, so the seventh refresh is 80 s after that.
    world.turn.set_fault(TurnFault::RefreshesEnd(7));
    let (state, seen) = probe(&world, 15, &[]).await;
    assert!(seen.contains("until 80 s after its expiry, and refused with 401 at 100 s"), "{seen}");
    assert_eq!(state, "ok");
    assert_eq!(world.turn.refreshes(), 8);
    let revoked = world.cloudflare.history().requests();
    assert_eq!(revoked.iter().filter(|request| request.path.ends_with("/revoke")).count(), 2);

    let settings = [("TURN_EXPIRY_TAIL_SECONDS", "60")];
    world.turn.set_fault(TurnFault::RefreshesEnd(15));
    assert_eq!(probe(&world, 15, &settings).await.0, "warn", "the tail is longer");
}

#[tokio::test]
async fn the_probe_of_the_tail_ends_at_its_maximum_and_releases_the_allocation() {
    let world = World::new().await;
    world.turn.set_fault(TurnFault::StaleRefreshes);
    let (state, seen) = probe(&world, 2, &[]).await;
    assert!(seen.contains("still refreshed 120 s after its expiry"), "{seen}");
    assert_eq!((state.as_str(), world.turn.released()), ("ok", 3), "two of the check, and that of the probe");
}

#[tokio::test]
async fn the_probe_of_the_tail_needs_an_allocation() {
    let world = World::new().await;
    world.turn.set_fault(TurnFault::Code(486));
    let (state, seen) = probe(&world, 2, &[]).await;
    assert!(state == "fail" && seen.contains("quota of allocations"), "{seen}");
    let (state, _) = probe(&world, 2, &[("ICE_SOURCES", "stun")]).await;
    assert_eq!(state, "skipped");
}
