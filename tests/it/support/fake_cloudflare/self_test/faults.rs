//! Each fault looks on the wire as its comment says.

use std::time::Duration;

use serde_json::Value;

use super::super::{FakeCloudflare, Fault};
use super::bare_client::{Ask, End, Reply, mints_arrived};

async fn struck_by(fault: Fault) -> (FakeCloudflare, Reply) {
    let fake = FakeCloudflare::start().await;
    fake.next(fault);
    let reply = Ask::mint(600).of(&fake).await;
    (fake, reply)
}

#[tokio::test]
async fn a_credential_exists_afterwards_exactly_if_the_fault_says_so() {
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
async fn latency_delays_the_whole_answer_and_then_it_is_good() {
    let (fake, reply) = struck_by(Fault::Latency(Duration::from_millis(20))).await;
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
async fn a_drip_sends_its_head_at_once_and_then_byte_by_byte() {
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
async fn resets_are_resets_with_half_a_body_or_none() {
    let (fake, reply) = struck_by(Fault::ResetMidBody).await;
    let whole = Ask::mint(600).of(&fake).await.body.len();
    assert_eq!((reply.status, reply.end), (201, End::Reset));
    assert!(reply.has(&format!("content-length: {whole}")), "all good answers of one shape are equally long");
    assert_eq!(reply.body.len(), whole / 2);

    let (_fake, reply) = struck_by(Fault::ResetBeforeAnswer).await;
    assert_eq!((reply.status, reply.end), (0, End::Reset));
}

#[tokio::test]
async fn error_answers_have_their_status_and_a_body_that_is_no_json() {
    let errors = [
        (Fault::TooManyRequests, 429),
        (Fault::ServerErrorHtml(502), 502),
        (Fault::Unauthorized401, 401),
        (Fault::NotFound404, 404),
    ];
    for (fault, status) in errors {
        let (_fake, reply) = struck_by(fault).await;
        assert_eq!((reply.status, reply.end), (status, End::Closed));
        assert!(reply.text().contains(Fault::BODY_MARK));
        assert_eq!(reply.has("retry-after: 5"), status == 429);
        assert_eq!(reply.has("content-type: text/html; charset=utf-8"), status == 502);
    }
    let (_fake, reply) = struck_by(Fault::Forbidden1010).await;
    assert_eq!((reply.status, reply.text().as_str()), (403, "error code: 1010"));
}

#[tokio::test]
async fn spoilt_answers_are_whole_for_http() {
    let (_fake, malformed) = struck_by(Fault::MalformedJson).await;
    assert_eq!((malformed.status, malformed.end), (201, End::Closed));
    assert!(malformed.has(&format!("content-length: {}", malformed.body.len())));
    assert!(serde_json::from_slice::<Value>(&malformed.body).is_err());

    let (_fake, empty) = struck_by(Fault::EmptyBody201).await;
    assert_eq!((empty.status, empty.body.len(), empty.end), (201, 0, End::Closed));
    assert!(empty.has("content-length: 0"));

    let (_fake, huge) = struck_by(Fault::HugeJson).await;
    assert_eq!((huge.status, huge.end), (201, End::Closed));
    assert!(huge.has("transfer-encoding: chunked") && huge.body.len() > 8 << 20);
    assert!(huge.body.ends_with(b"\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn harmless_oddities_carry_a_good_answer() {
    let (_fake, html) = struck_by(Fault::WrongContentType).await;
    assert!(html.status == 201 && html.has("content-type: text/html; charset=utf-8"));
    assert!(html.json()["iceServers"].is_array());

    let (_fake, ok) = struck_by(Fault::Status200).await;
    assert!(ok.status == 200 && ok.json()["iceServers"].is_array());
}

#[tokio::test]
async fn a_client_that_follows_the_redirect_is_counted_and_answered_well() {
    let (fake, reply) = struck_by(Fault::Redirect).await;
    assert!(reply.status == 302 && reply.has("location: /redirect-target"));
    assert_eq!(fake.history().redirect_hits(), 0);

    fake.always(Fault::Redirect);
    let followed = Ask::path("GET", "/redirect-target").of(&fake).await;
    assert!(followed.status == 200 && followed.json()["iceServers"].is_array());
    assert_eq!((fake.history().redirect_hits(), fake.history().mints()), (1, 1));
}
