//! Tests that each fault does what its comment says.

use std::time::Duration;

use serde_json::Value;

use super::super::{FakeCloudflare, Fault};
use super::bare_client::{Ask, End, Reply, mints_arrived};

async fn reply_with_fault(fault: Fault) -> (FakeCloudflare, Reply) {
    let fake = FakeCloudflare::start().await;
    fake.next(fault);
    let reply = Ask::mint(600).of(&fake).await;
    (fake, reply)
}

#[tokio::test]
async fn a_credential_exists_afterwards_only_if_the_fault_mints() {
    let faults = [
        (Fault::Latency(Duration::from_millis(1)), 1),
        (Fault::Hang, 0),
        (Fault::SlowDrip, 1),
        (Fault::ResetMidBody, 1),
        (Fault::ResetBeforeAnswer, 0),
        (Fault::TooManyRequests, 0),
        (Fault::ServerErrorHtml(500), 0),
        (Fault::Forbidden1010, 0),
        (Fault::Unauthorized401, 0),
        (Fault::NotFound404, 0),
        (Fault::MalformedJson, 1),
        (Fault::HugeJson, 1),
        (Fault::Redirect, 0),
        (Fault::WrongContentType, 1),
        (Fault::EmptyBody201, 1),
        (Fault::Status200, 1),
    ];
    for (fault, minted) in faults {
        let fake = FakeCloudflare::start().await;
        fake.next(fault);
        Ask::mint(600).impatient().of(&fake).await;
        mints_arrived(&fake, 1).await;
        assert_eq!((fake.history().mints(), fake.history().minted()), (1, minted), "{fault:?}");
        assert_eq!(fake.history().requests()[0].fault, Some(fault));
    }
}

#[tokio::test]
async fn latency_delays_a_correct_response() {
    let (fake, reply) = reply_with_fault(Fault::Latency(Duration::from_millis(20))).await;
    assert_eq!((reply.status, reply.end), (201, End::Closed));

    fake.next(Fault::Latency(Duration::from_secs(3600)));
    let too_early = Ask::mint(600).impatient().of(&fake).await;
    assert_eq!((too_early.status, too_early.end), (0, End::StillOpen));

    fake.latency(Duration::from_secs(3600));
    let too_early = Ask::mint(600).impatient().of(&fake).await;
    assert_eq!((too_early.status, too_early.end), (0, End::StillOpen));
}

#[tokio::test]
async fn a_hang_sends_nothing_and_keeps_the_connection() {
    let fake = FakeCloudflare::start().await;
    fake.next(Fault::Hang);
    let reply = Ask::mint(600).impatient().of(&fake).await;
    assert_eq!((reply.status, reply.end), (0, End::StillOpen));
}

#[tokio::test]
async fn a_drip_sends_the_headers_at_once_and_then_the_body_byte_by_byte() {
    let fake = FakeCloudflare::start().await;
    fake.always(Fault::SlowDrip);
    let first = Ask { enough: 1, ..Ask::mint(600) }.of(&fake).await;
    assert!(first.status == 201 && first.body.len() < 12, "{:?}", first.text());

    let enough = first.head.len() + 48;
    let dripped = Ask { enough, ..Ask::mint(600) }.of(&fake).await;
    assert!(dripped.text().starts_with("1\r\n{\r\n1\r\n\"\r\n"), "{:?}", dripped.text());
    assert_eq!(dripped.end, End::StillOpen);
}

#[tokio::test]
async fn reset_faults_reset_the_connection_after_half_a_body_or_none() {
    let (fake, reply) = reply_with_fault(Fault::ResetMidBody).await;
    let whole = Ask::mint(600).of(&fake).await.body.len();
    assert_eq!((reply.status, reply.end), (201, End::Reset));
    assert!(
        reply.has(&format!("content-length: {whole}")),
        "all correct responses of one shape have the same length"
    );
    assert_eq!(reply.body.len(), whole / 2);

    let (_fake, reply) = reply_with_fault(Fault::ResetBeforeAnswer).await;
    assert_eq!((reply.status, reply.end), (0, End::Reset));
}

#[tokio::test]
async fn error_responses_have_their_status_and_a_body_that_is_not_json() {
    let errors = [
        (Fault::TooManyRequests, 429),
        (Fault::ServerErrorHtml(502), 502),
        (Fault::Unauthorized401, 401),
        (Fault::NotFound404, 404),
    ];
    for (fault, status) in errors {
        let (_fake, reply) = reply_with_fault(fault).await;
        assert_eq!((reply.status, reply.end), (status, End::Closed));
        assert!(reply.text().contains(Fault::BODY_MARK));
        assert_eq!(reply.has("retry-after: 5"), status == 429);
        assert_eq!(reply.has("content-type: text/html; charset=utf-8"), status == 502);
    }
    let (_fake, reply) = reply_with_fault(Fault::Forbidden1010).await;
    assert_eq!((reply.status, reply.text().as_str()), (403, "error code: 1010"));
}

#[tokio::test]
async fn corrupted_responses_are_complete_http_messages() {
    let (_fake, malformed) = reply_with_fault(Fault::MalformedJson).await;
    assert_eq!((malformed.status, malformed.end), (201, End::Closed));
    assert!(malformed.has(&format!("content-length: {}", malformed.body.len())));
    assert!(serde_json::from_slice::<Value>(&malformed.body).is_err());

    let (_fake, empty) = reply_with_fault(Fault::EmptyBody201).await;
    assert_eq!((empty.status, empty.body.len(), empty.end), (201, 0, End::Closed));
    assert!(empty.has("content-length: 0"));

    let (_fake, huge) = reply_with_fault(Fault::HugeJson).await;
    assert_eq!((huge.status, huge.end), (201, End::Closed));
    assert!(huge.has("transfer-encoding: chunked") && huge.body.len() > 8 << 20);
    assert!(huge.body.ends_with(b"\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn unusual_but_valid_responses_contain_the_ice_servers() {
    let (_fake, html) = reply_with_fault(Fault::WrongContentType).await;
    assert!(html.status == 201 && html.has("content-type: text/html; charset=utf-8"));
    assert!(html.json()["iceServers"].is_array());

    let (_fake, ok) = reply_with_fault(Fault::Status200).await;
    assert!(ok.status == 200 && ok.json()["iceServers"].is_array());
}

#[tokio::test]
async fn a_client_that_follows_the_redirect_is_counted_and_gets_a_valid_response() {
    let (fake, reply) = reply_with_fault(Fault::Redirect).await;
    assert!(reply.status == 302 && reply.has("location: /redirect-target"));
    assert_eq!(fake.history().redirect_hits(), 0);

    fake.always(Fault::Redirect);
    let followed = Ask::path("GET", "/redirect-target").of(&fake).await;
    assert!(followed.status == 200 && followed.json()["iceServers"].is_array());
    assert_eq!((fake.history().redirect_hits(), fake.history().mints()), (1, 1));
}
