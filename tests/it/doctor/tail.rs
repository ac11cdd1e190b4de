//! `doctor --tail`: with a relay that relays on after the end of its credentials, and a count that says until when it was billed.

use chrono::SecondsFormat;
use turn_broker::doctor::{self, Check, CheckState, Finding, Options, Progress};
use turn_relay::client::{Allocation, UdpRelay};

use crate::support::prelude::*;
use crate::support::test_broker::config;

/// What `doctor --tail` finds. `meanwhile`: what happens at the provider and at the relay.
async fn tried(
    cloudflare: &FakeCloudflare,
    settings: &[(&str, &str)],
    meanwhile: impl Future<Output = ()>,
) -> Vec<Finding> {
    let base = cloudflare.base_url();
    let key = [
        ("CLOUDFLARE_API_BASE", base.as_str()),
        ("CLOUDFLARE_TURN_KEY_ID", "key-id"),
        ("CLOUDFLARE_TURN_API_TOKEN", "token"),
    ];
    let config = config(&[&key[..], settings].concat());
    let clock = Arc::new(ManualClock::at(START));
    let hurry = hurry(Arc::clone(&clock));
    let mut text = Vec::new();
    let options = Options { tail: true, ..Options::default() };
    let run = Box::pin(doctor::run(&config, &options, clock, Progress::new(&mut text, false)));
    let (report, ()) = tokio::join!(run, meanwhile);
    hurry.abort();
    report.unwrap().findings.into_iter().filter(|found| found.check == Check::Tail).collect()
}

/// A minute of the trial takes 150 ms.
fn hurry(clock: Arc<ManualClock>) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            clock.advance(Duration::from_secs(40));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
}

/// Whether a finding has this part.
fn has(found: &[Finding], part: &str) -> bool {
    found.iter().any(|one| one.verdict.seen.contains(part))
}

/// The number after this text; zero if no finding has the text.
fn seconds(found: &[Finding], text: &str) -> u64 {
    let rest = found.iter().find_map(|one| one.verdict.seen.strip_prefix(text));
    rest.and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn a_credential_that_relays_for_two_hours_is_tried_to_the_end_by_a_worst_client() {
    let cloudflare = FakeCloudflare::start().await;
    let relay = TurnServer::start(RELAYED, cloudflare.history()).await;
    cloudflare.relays_at(&[relay.url()]);
    let found = tried(&cloudflare, &[], async {}).await;
    assert!(
        has(&found, " s from the expiry: relays") && has(&found, "the credential is revoked"),
        "{found:?}"
    );
    // On a busy machine the clock of the test is ahead of the looks, so the last one is later.
    for end in ["expiry", "revocation"] {
        assert!(
            seconds(&found, &format!("relays as long as was looked at after its {end}: ")) >= 7_200,
            "{found:?}"
        );
    }
    assert!(has(&found, "is not known without CLOUDFLARE_ANALYTICS_TOKEN"), "{found:?}");
    assert!(seconds(&found, "put this line into .env: TURN_EXPIRY_TAIL_SECONDS=") >= 7_200, "{found:?}");
    let requests = cloudflare.history().requests();
    let lives: BTreeSet<_> = requests.iter().filter_map(|request| request.ttl).collect();
    assert_eq!(lives, [60, 8_100].into(), "its expiry does not end what the revocation does not");
}

#[tokio::test]
async fn the_line_for_the_settings_is_five_minutes_after_the_last_billed_minute() {
    let cloudflare = FakeCloudflare::start().await;
    let relay = TurnServer::start(RELAYED, cloudflare.history()).await;
    cloudflare.relays_at(&[relay.url()]);
    let base = cloudflare.base_url();
    let settings = [
        ("CLOUDFLARE_ACCOUNT_ID", "account"),
        ("CLOUDFLARE_ANALYTICS_TOKEN", "analytics-fixture-token"),
        ("CLOUDFLARE_ANALYTICS_BASE", base.as_str()),
    ];
    // The relay ends everything soon after the end, and the provider bills minutes that are later.
    let meanwhile = async {
        eventually("the credentials", async || cloudflare.history().mints() == 3).await;
        for identifier in cloudflare.history().requests().into_iter().filter_map(|one| one.custom_identifier)
        {
            let Some(began) = identifier.rsplit('-').next().and_then(|minute| minute.parse().ok()) else {
                continue;
            };
            for minute in 0..240 {
                let at = Minute::new(began).number() + minute;
                let at = Minute::new(at).start().to_utc().to_rfc3339_opts(SecondsFormat::Secs, true);
                cloudflare.analytics().relay_as("key-id", &identifier, &at, 100_000, 100_000);
            }
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        relay.refuse_all().await;
    };
    let found = tried(&cloudflare, &settings, meanwhile).await;
    assert!(has(&found, "relays nothing: the credential is refused"), "{found:?}");
    let after = |text: &str| {
        let seen = found.iter().find_map(|one| one.verdict.seen.split_once(text));
        let (_, rest) = seen.unwrap_or_else(|| panic!("{found:?}"));
        rest.split(' ').next_back().unwrap().parse::<u64>().unwrap()
    };
    let (billed, tail) =
        (after("billed in these minutes after its expiry: "), after("into .env: TURN_EXPIRY_TAIL_SECONDS="));
    assert!(billed >= 10 && (billed * 60 + 300..=billed * 60 + 360).contains(&tail), "{found:?}");
}

#[tokio::test]
async fn without_a_way_to_the_relay_no_tail_is_measured() {
    let cloudflare = FakeCloudflare::start().await;
    cloudflare.relays_at(&["turns:turn.example.com:443?transport=tcp".into()]);
    let found = tried(&cloudflare, &[], async {}).await;
    assert!(has(&found, "the credential does not relay before its end"), "{found:?}");
    let last = &found.last().unwrap().verdict;
    assert_eq!((last.state, last.seen.as_str()), (CheckState::Warn, "no tail was measured"));
}

#[tokio::test]
async fn an_allocation_is_refreshed_with_the_longest_lifetime_that_the_server_grants() {
    let cloudflare = FakeCloudflare::start().await;
    let relay = TurnServer::start(RELAYED, cloudflare.history()).await;
    broker_at(&cloudflare, &[]).await.mint().await;
    let (username, password) = cloudflare.history().last_credential();
    let with_credential = UdpRelay { address: relay.address(), username, password };
    let allocation = Allocation::open(&with_credential, true).await.unwrap();
    assert_eq!(allocation.granted(), 600, "who asks for a day gets the default of the server");
    allocation.refresh().await;
    eventually("the longest LIFETIME", async || allocation.granted() == 3_599).await;
    allocation.relay(1).await.unwrap();
    allocation.close().await;
    eventually("the end", async || relay.allocations().await == 0).await;
}
