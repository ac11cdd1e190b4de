//! Findings of `turn-broker doctor` about relays that refuse, about the network, and about the relay in the process.

use super::World;
use crate::support::fake_turn::RELAYED;
use crate::support::{Fault, TurnFault};

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
        (TurnFault::NoPeers, "the permission for a peer was answered with 403", "fail", 1),
        (TurnFault::ClosedPorts, "no datagram comes through", "fail", 1),
        (TurnFault::OnlyItself, "only its own clients were tried as peers", "ok", 0),
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
    assert_eq!(examined.states("turn"), ["warn", "warn"], "{}", examined.text);
    let relayed = &examined.of("turn")[1];
    assert!(relayed["seen"].as_str().unwrap().contains("from this machine, no datagram"), "{relayed}");
    assert!(relayed["remedy"].as_str().unwrap().contains("allow outgoing UDP"), "{relayed}");
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
