//! What one client may take from the SFU: an allowance at assumed rates, and nothing that the proxy has not read.

use reqwest::Method;
use serde_json::{Value, json};

use super::metering::pulled;
use super::{Page, error, sent, start};
use crate::support::{Answer, eventually};

/// The offer of a page that sends sound (`a`, mid 0) and video (`v`, mid 1).
fn offer() -> Value {
    let sdp =
        "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\n";
    let local = |name: &str, mid: &str| json!({ "location": "local", "trackName": name, "mid": mid });
    let description = json!({ "type": "offer", "sdp": sdp });
    json!({ "sessionDescription": description, "tracks": [local("a", "0"), local("v", "1")] })
}

async fn pull(page: &Page<'_>, from: &Page<'_>, name: &str, count: usize) -> Answer {
    let track = json!({ "location": "remote", "sessionId": from.session, "trackName": name });
    page.call(Method::POST, "/tracks/new", &json!({ "tracks": vec![track; count] })).await
}

#[tokio::test]
async fn an_address_takes_so_much_at_a_time_and_sound_counts_less() {
    let (sfu, broker) = start(&[("SFU_MBPS_PER_CLIENT", "5")]).await;
    let (a, b, c) = (
        Page::join(&broker, "r").await,
        Page::join(&broker, "r").await,
        Page::join_from(&broker, "r", "203.0.113.2").await,
    );
    assert_eq!(a.call(Method::POST, "/tracks/new", &offer()).await.status, 200);
    let asked = sfu.requests("/tracks/new").len();
    assert_eq!(error(&pull(&b, &a, "v", 3).await), (429, "client_limit_reached".into()));
    assert_eq!(sfu.requests("/tracks/new").len(), asked, "the SFU hears nothing of it");
    assert_eq!(pull(&b, &a, "v", 2).await.status, 200);
    assert_eq!(
        error(&pull(&a, &a, "v", 1).await),
        (429, "client_limit_reached".into()),
        "of the same address"
    );
    assert_eq!(pull(&b, &a, "a", 10).await.status, 200, "sound has 0.1 Mbps");
    assert_eq!(error(&pull(&b, &a, "a", 1).await), (429, "client_limit_reached".into()));
    assert_eq!(pull(&c, &a, "v", 2).await.status, 200, "another address has its own");
    let closed = b.call(Method::PUT, "/tracks/close", &json!({ "tracks": [{ "mid": "0" }] })).await;
    let before = pulled(&broker).await;
    broker.advance(30);
    eventually("a look", async || pulled(&broker).await < before).await;
    assert_eq!((closed.status.as_u16(), pull(&b, &a, "v", 1).await.status.as_u16()), (200, 200));
}

#[tokio::test]
async fn a_browser_that_opens_many_sessions_keeps_the_newest_locks() {
    let (_sfu, broker) = start(&[("SFU_LOCK", "on")]).await;
    let mut cookies: Vec<(String, String)> = vec![];
    for n in 0..60 {
        broker.advance(1);
        let header: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = sent(&broker, Method::POST, "/partytracks/sessions/new?correlationId=r", "203.0.113.1");
        let answer = Answer::of(request.header("cookie", header.join("; "))).await;
        assert_eq!(answer.status, 201, "session {n}: {}", answer.text);
        for set in answer.headers.get_all("set-cookie") {
            let (name, rest) = set.to_str().unwrap().split_once('=').unwrap();
            let (value, attributes) = rest.split_once(';').unwrap();
            cookies.retain(|(known, _)| known != name);
            if !attributes.contains("Max-Age=0;") {
                assert!(attributes.contains("Max-Age=172800;"), "{attributes}");
                cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        broker.advance(30);
    }
    assert!((10..40).contains(&cookies.len()), "{}", cookies.len());
}
