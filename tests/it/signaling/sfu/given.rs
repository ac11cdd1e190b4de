//! ICE servers that a browser gets again, because partytracks asks for them with each attempt to open a session.

use super::{sent, start};
use crate::support::prelude::*;

const ICE_SERVERS: &str = "/partytracks/generate-ice-servers";

async fn with_coturn() -> (FakeSfu, TestBroker) {
    let settings = [("RATE_LIMIT_REQUESTS", "9"), USERS];
    start(&[&COTURN[..], &settings].concat()).await
}

/// A browser with its cookie for ICE servers.
struct Browser<'a> {
    broker: &'a TestBroker,
    cookie: Option<String>,
}

impl Browser<'_> {
    /// The user name of the credential that it gets. `None` for STUN servers only.
    async fn credential(&mut self, path: &str, token: Option<&str>) -> Option<String> {
        let mut request = sent(self.broker, Method::GET, path, "203.0.113.1");
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, 200);
        if let Some(set) = answer.header("set-cookie") {
            assert!(set.ends_with("; HttpOnly; Secure; SameSite=Strict; Path=/partytracks;"), "{set}");
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        answer.json()["iceServers"][0]["username"].as_str().map(str::to_owned)
    }
}

#[tokio::test]
async fn an_outage_of_the_sfu_costs_a_browser_one_credential_a_minute_and_its_neighbour_gets_another_one() {
    let (_sfu, broker) = with_coturn().await;
    let [mut ann, mut bob] = [(); 2].map(|()| Browser { broker: &broker, cookie: None });
    let first = ann.credential(ICE_SERVERS, None).await;
    assert!(first.is_some());
    for _ in 0..20 {
        assert_eq!(ann.credential(ICE_SERVERS, None).await, first);
    }
    let of_bob = bob.credential(ICE_SERVERS, None).await;
    assert!(of_bob.is_some() && of_bob != first, "the address proves nothing");
    assert_eq!(broker.status().await["grants"]["issued"], 2);
    broker.advance(60);
    let next = ann.credential(ICE_SERVERS, None).await;
    assert!(next.is_some() && next != first, "it is too old");
}

#[tokio::test]
async fn a_credential_is_given_again_only_to_the_same_spender_and_while_it_would_be_minted() {
    let (_sfu, broker) = with_coturn().await;
    let mut browser = Browser { broker: &broker, cookie: None };
    let first = browser.credential(ICE_SERVERS, None).await;
    assert_eq!(broker.freeze(true).await.status, 200);
    assert_eq!(browser.credential(ICE_SERVERS, None).await, None, "while minting is stopped");
    assert_eq!(broker.freeze(false).await.status, 200);
    assert_eq!(browser.credential(ICE_SERVERS, None).await, first);

    let grant = first.as_ref().unwrap().split(':').nth(1).unwrap();
    assert_eq!(broker.revoke(grant).await.status, 200);
    let second = browser.credential(ICE_SERVERS, None).await;
    assert!(second.is_some() && second != first, "it was revoked");

    let of_room = browser.credential(&format!("{ICE_SERVERS}?correlationId=blue"), None).await;
    assert!(of_room.is_some() && of_room != second, "it belongs to a call");
    let token = user_token("ann");
    let of_user = browser.credential(ICE_SERVERS, Some(&token)).await;
    assert!(of_user.is_some() && of_user != second, "it belongs to a user");
    assert_eq!(browser.credential(ICE_SERVERS, Some(&token)).await, of_user);
}
