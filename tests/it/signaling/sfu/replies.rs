//! Replies on data channels: the SFU sends them to the page that opened the channel, which takes one track more then.

use super::metering::{MB, RATE, pulled};
use super::{Page, start};
use crate::support::prelude::*;

impl Page<'_> {
    async fn open_channel(&self, name: &str) -> Answer {
        let delivery =
            json!({ "location": "local", "dataChannelName": name, "ordered": false, "maxRetransmits": 0 });
        self.call(Method::POST, "/datachannels/new", &json!({ "dataChannels": [delivery] })).await
    }

    async fn hear(&self, from: &Self, name: &str, can_reply: bool) -> Answer {
        let mut channel = channel_of(from, name, can_reply);
        channel["waitForAck"] = true.into();
        self.call(Method::POST, "/datachannels/new", &json!({ "dataChannels": [channel] })).await
    }

    async fn update(&self, from: &Self, name: &str, can_reply: bool) -> Answer {
        let changed = json!({ "dataChannels": [channel_of(from, name, can_reply)] });
        self.call(Method::PUT, "/datachannels/update", &changed).await
    }
}

fn channel_of(from: &Page<'_>, name: &str, can_reply: bool) -> Value {
    json!({
        "location": "remote", "sessionId": from.session, "dataChannelName": name, "canReply": can_reply,
    })
}

#[tokio::test]
async fn the_page_that_gets_replies_is_charged_for_them_once_for_each_channel() {
    let (sfu, broker) = start(&[RATE]).await;
    let [a, b, c] = Page::of_room(&broker, "r").await;
    let id = a.open_channel("game").await.json()["dataChannels"][0]["id"].clone();
    assert_eq!(pulled(&broker).await, 0, "what a page sends is free");
    assert_eq!(b.hear(&a, "game", false).await.status, 200);
    assert_eq!(c.hear(&a, "game", true).await.status, 200);
    assert_eq!(pulled(&broker).await, 3, "two listen, and one of them may reply");
    for page in [&b, &c] {
        let granted = page.update(&a, "game", true).await;
        assert_eq!(granted.json()["dataChannels"][0]["canReply"], true, "{}", granted.text);
    }
    assert_eq!(pulled(&broker).await, 3, "one of them replies at a time");
    broker.advance(10);
    assert_eq!(broker.used().await, 300 * MB);
    let sent = sfu.requests("/datachannels/update").pop().unwrap();
    let sent: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(sent, json!({ "dataChannels": [channel_of(&a, "game", true)] }));
    let closed = json!({ "dataChannels": [{ "id": id }] });
    assert_eq!(a.call(Method::PUT, "/datachannels/close", &closed).await.status, 200);
    broker.advance(20);
    eventually("a look", async || pulled(&broker).await == 2).await;
}
