//! Findings of `turn-broker doctor` about relays that do not relay, and about the relay in the process.

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
        ("turns:127.0.0.1:1".to_owned(), 1, "fail", "Connection refused", "TCP port 1"),
    ] {
        world.cloudflare.relays_at(&[url]);
        let examined = world.examine(&[]).await;
        assert_eq!(examined.exit, Some(exit), "{}", examined.text);
        examined.assert_only("turn", state, seen_has, remedy_has);
    }
}

#[tokio::test]
async fn the_certificate_of_a_relay_over_tls_is_verified_also_beside_one_over_udp() {
    let world = World::new().await;
    let server = TlsServer::start(&world.cloudflare.base_url()).await;
    let [good, foreign] = ["127.0.0.1", "127.0.0.2"].map(|host| format!("turns:{host}:{}", server.port));
    for (url, more, exit, state, seen_has, remedy_has) in [
        (&good, &[("CA_FILE", AUTHORITY)][..], 0, "ok", "its certificate is good for 36", ""),
        (&good, &[], 1, "fail", "certificate: unknown issuer", "a known authority for 127.0.0.1"),
        (&foreign, &[("CA_FILE", AUTHORITY)], 1, "fail", "certificate not valid for name", "TCP port"),
        (&"turns:127.0.0.1:1".to_owned(), &[], 0, "warn", "Connection refused", "TCP port 1"),
    ] {
        world.cloudflare.relays_at(&[world.turn.url(), url.clone()]);
        let examined = world.examine(more).await;
        assert_eq!(examined.exit, Some(exit), "{}", examined.text);
        let found = examined.of("turn");
        let [tls, udp] = &found[..] else { panic!("{found:?}") };
        assert_eq!([&tls["state"], &udp["state"]], [state, "ok"], "{}", examined.text);
        assert!(tls["seen"].as_str().unwrap().contains(seen_has), "{tls}");
        assert!(tls["remedy"].as_str().unwrap_or_default().contains(remedy_has), "{tls}");
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
