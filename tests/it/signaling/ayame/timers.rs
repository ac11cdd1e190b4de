//! Timers, with the shortest settings. They run in real time.

use super::*;

#[tokio::test]
async fn a_client_that_answers_pings_stays_and_one_that_does_not_is_closed() {
    let settings = [("WS_PING_INTERVAL_SEC", "1"), ("WS_PONG_TIMEOUT_SEC", "3")];
    let (_cloudflare, broker) = with_ayame(&settings).await;
    let [mut silent, mut alive] = pair(&broker, "r").await;
    let mut pings = 0;
    loop {
        match alive.next().await {
            Got::Text(text) if text == r#"{"type":"ping"}"# => {
                pings += 1;
                alive.send(r#"{"type":"pong"}"#).await;
            }
            other => {
                assert_eq!(other, bye());
                break;
            }
        }
    }
    assert!(pings >= 2, "{pings}");
    assert_eq!(next(&mut alive).await, closed(1000, "peer closing"));
    assert_eq!(next(&mut silent).await, closed(1000, "pong timeout"));
}
