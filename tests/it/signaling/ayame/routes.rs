//! Who gets a socket, and on which path.

use super::*;

#[tokio::test]
async fn a_health_check_has_an_empty_body() {
    let (_cloudflare, broker) = with_ayame(&[]).await;
    for method in [Method::GET, Method::HEAD] {
        let answer = broker.send(method, "/.ok").await;
        assert_eq!((answer.status.as_u16(), &*answer.text), (200, ""));
    }
}

#[tokio::test]
async fn a_room_in_the_query_or_in_a_header_must_be_the_room_of_the_register() {
    let (cloudflare, broker) = with_ayame(&[]).await;
    for (path, headers, is_good) in [
        ("/signaling?roomId=a%20b", &[][..], true),
        (PATH, &[("cf-room-id", "a b")], true),
        ("/signaling?roomId=other", &[], false),
        (PATH, &[("cf-room-id", "other")], false),
    ] {
        let mut socket = SocketClient::open(broker.address, path, headers).await.unwrap();
        socket.send_json(&register("a b")).await;
        if is_good {
            assert_eq!(socket.next_json().await["type"], "accept");
            socket.close().await;
        } else {
            assert_eq!(socket.next().await, closed(1008, "roomId mismatch"));
        }
    }
    assert_eq!(cloudflare.history().mints(), 2);
}

#[tokio::test]
async fn a_binary_or_overlong_frame_closes_the_socket_without_a_reject() {
    let (cloudflare, broker) = with_ayame(&[("READ_LIMIT_BYTES", "1024")]).await;
    let long = |length: usize| format!(r#"{{"type":"offer","x":"{}"}}"#, "x".repeat(length - 23));
    for (frame, code, reason) in [
        (r#"{"type":"offer"}"#, 1000, "must register first"),
        (&long(1_024), 1000, "must register first"),
        (&long(1_025), 1009, "message too long"),
        (&long(200_000), 1009, "message too long"),
    ] {
        let mut socket = open(&broker).await;
        socket.send(frame).await;
        assert_eq!(socket.next().await, closed(code, reason), "{} bytes", frame.len());
    }
    let mut socket = open(&broker).await;
    socket.send_binary(br#"{"type":"register","roomId":"r"}"#).await;
    assert_eq!(socket.next().await, closed(1000, "binary not allowed"));
    assert_eq!(cloudflare.history().mints(), 0);
}
