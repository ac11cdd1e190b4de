//! Findings of `turn-broker doctor` about relays that do not relay, and about the relay in the process.

use tokio::net::{TcpListener, UdpSocket};

use super::World;
use crate::support::prelude::*;

#[tokio::test]
async fn a_relay_that_does_not_relay_is_a_failure_with_a_remedy() {
    let world = World::new().await;
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("turn:{}", silent.local_addr().unwrap());
    // Nothing arrives at the address that it tells its clients.
    let lost = TurnServer::start("127.0.0.9", world.cloudflare.history()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let tcp = format!("turn:{}?transport=tcp", listener.local_addr().unwrap());
    for (url, exit, state, seen_has, remedy_has) in [
        (silent, 1, "fail", "no answer in time: the allocation request", "/relay-check"),
        (lost.url(), 1, "fail", "no datagram comes through", "external-ip"),
        (tcp, 0, "warn", "nothing was relayed", "/relay-check"),
        ("turns:127.0.0.1:1".to_owned(), 1, "fail", "no TCP connection", "TCP port 1"),
    ] {
        world.cloudflare.relays_at(&[url]);
        let examined = world.examine(&[]).await;
        assert_eq!(examined.exit, Some(exit), "{}", examined.text);
        examined.assert_only("turn", state, seen_has, remedy_has);
    }
}

#[tokio::test]
async fn a_relay_that_names_another_one_is_tried_there_once() {
    let world = World::new().await;
    let redirect = start_redirect(world.turn.address()).await;
    let again = start_redirect(redirect).await;
    world.cloudflare.relays_at(&[format!("turn:{redirect}")]);
    let examined = world.examine(&[]).await;
    assert_eq!(examined.exit, Some(0), "{}", examined.text);
    examined.assert_only("turn", "ok", &format!("relays at {RELAYED}"), "");
    world.cloudflare.relays_at(&[format!("turn:{again}")]);
    let seen = format!("answers 300 (Try Alternate), and the server that it names, {redirect}, makes no");
    world.examine(&[]).await.assert_only("turn", "fail", &seen, "alternate-server");
}

#[tokio::test]
async fn the_relay_in_the_process_is_skipped_with_the_reason() {
    let examined = super::doctor(&["--json"], &[("ICE_SOURCES", "relay")]).await;
    assert_eq!(examined.exit, Some(0), "{}", examined.text);
    examined.assert_only("provider", "skipped", "doctor cannot test it", "");
}
