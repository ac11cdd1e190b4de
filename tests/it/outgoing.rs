//! Outgoing connections that hang, break or are found slowly. The services at the other end are fakes behind a front or a proxy, with real
//! sockets.

use crate::doctor::doctor;
use crate::support::prelude::*;

async fn source(broker: &TestBroker) -> String {
    broker.mint().await.json()["source"].as_str().unwrap().to_owned()
}

/// How many mints it takes, at most 4, until one has a credential.
async fn mints_until_credential(broker: &TestBroker) -> usize {
    for mints in 1..=4 {
        if source(broker).await == "cloudflare" {
            return mints;
        }
    }
    panic!("callers get STUN for as long as it lasts");
}

#[tokio::test]
async fn a_front_that_answers_nothing_on_open_connections_costs_one_mint_and_one_revocation() {
    let cloudflare = FakeCloudflare::start().await;
    let front = Http2Front::start(&cloudflare.base_url()).await;
    let broker =
        broker_at(&cloudflare, &[("CLOUDFLARE_API_BASE", &front.url()), ("CA_FILE", AUTHORITY)]).await;
    let grant = broker.grant().await;
    front.silence_open();
    assert_eq!(mints_until_credential(&broker).await, 2);

    front.silence_open();
    assert_eq!(broker.revoke(&grant).await.json()["provider"], "failed");
    let other = broker.grant().await;
    assert_eq!(broker.revoke(&other).await.json()["provider"], "revoked");
}

#[tokio::test]
async fn a_connection_that_only_acknowledges_is_left_after_the_time_out() {
    let cloudflare = FakeCloudflare::start().await;
    let front = Http2Front::start(&cloudflare.base_url()).await;
    let proxy = Proxy::start(("127.0.0.1", front.port)).await;
    let base = format!("https://localhost:{}", proxy.port);
    let broker = broker_at(&cloudflare, &[("CLOUDFLARE_API_BASE", &base), ("CA_FILE", AUTHORITY)]).await;
    assert_eq!(source(&broker).await, "cloudflare");
    proxy.harm_open(Harm::Pause);
    assert_eq!(mints_until_credential(&broker).await, 2);
}

#[tokio::test]
async fn no_mint_fails_at_a_front_that_closes_connections_in_use() {
    let cloudflare = FakeCloudflare::start().await;
    let front = Http2Front::closing_after(50, &cloudflare.base_url()).await;
    let settings = [("CLOUDFLARE_API_BASE", front.url()), ("CA_FILE", AUTHORITY.to_owned())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let broker = broker_at(&cloudflare, &settings).await;
    for _ in 0..30 {
        let minted = join_all((0..10).map(|_| source(&broker))).await;
        assert!(minted.iter().all(|source| source == "cloudflare"), "{minted:?}");
    }
    assert!(front.accepted() > 5, "it closed some");
}

#[tokio::test]
async fn a_session_at_the_sfu_opens_on_a_new_connection_after_one_that_hangs() {
    let sfu = FakeSfu::start().await;
    let front = Http2Front::start(sfu.url().trim_end_matches("/v1")).await;
    let api = format!("{}/v1", front.url());
    let settings = [&sfu_at(&api)[..], &[("CA_FILE", AUTHORITY)]].concat();
    let broker = TestBroker::start_at(&settings, Arc::new(ManualClock::at(START))).await;
    let open = async || {
        let path = "/partytracks/sessions/new?correlationId=room";
        Answer::of(broker.request(Method::POST, path)).await.status.as_u16()
    };
    assert_eq!(open().await, 201);
    front.silence_open();
    assert_eq!([open().await, open().await], [504, 201]);
}

/// `doctor` opens a connection of its own, on which the provider answers.
#[tokio::test]
async fn doctor_says_what_the_running_service_says_of_its_provider() {
    let cloudflare = FakeCloudflare::start().await;
    let front = Http2Front::start(&cloudflare.base_url()).await;
    let proxy = Proxy::start(("127.0.0.1", front.port)).await;
    let proxied = format!("https://localhost:{}", proxy.port);
    let broker = broker_at(&cloudflare, &[("CLOUDFLARE_API_BASE", &proxied), ("CA_FILE", AUTHORITY)]).await;
    let port = broker.address.port().to_string();
    let examine = || {
        let settings = [
            ("CLOUDFLARE_API_BASE", front.url()),
            ("CLOUDFLARE_TURN_KEY_ID", "key-id".to_owned()),
            ("CLOUDFLARE_TURN_API_TOKEN", API_TOKEN.to_owned()),
            ("CA_FILE", AUTHORITY.to_owned()),
            ("PORT", port.clone()),
        ];
        async move {
            let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
            let examined = doctor(&["--json"], &settings).await;
            [examined.states("provider"), examined.states("service")]
        }
    };
    assert_eq!(source(&broker).await, "cloudflare");
    assert_eq!(examine().await, [["ok"]; 2]);
    proxy.harm_all(Harm::Cut);
    for _ in 0..5 {
        assert_eq!(source(&broker).await, "stun");
    }
    assert!(broker.has_hint("PROVIDER_DOWN").await);
    assert_eq!(examine().await, [["ok"], ["fail"]]);
}
