//! How a request reaches the leader through another replica.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::Request;
use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use turn_base::body::BODY_MAX;
use turn_base::clock::Clock;
use turn_broker::forward::{FORWARDED, ForwardKey, HELD_PER_CLIENT_MAX, Hop};
use turn_broker::listen::{Ended, SOCKETS_PER_PEER_MAX, UNREAD_PER_PEER_MAX};

use super::{TestReplica, pair};
use crate::support::fake_database::FakeDatabase;
use crate::support::{Answer, client_builder, eventually, hint_codes};

#[tokio::test]
async fn the_rate_of_a_client_is_one_over_all_replicas() {
    let (_database, leader, standby) = pair(&[("RATE_LIMIT_REQUESTS", "3")]).await;
    let mut statuses = vec![];
    for replica in [&leader, &standby, &leader, &standby, &leader] {
        statuses.push(replica.mint_from("203.0.113.9").await.status.as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(standby.mint_from("203.0.113.8").await.status, 200, "another client");
    let grants = standby.operator("/api/grants").await.json();
    assert!(grants.to_string().contains("203.0.113.9"), "{grants}");
}

#[tokio::test]
async fn an_address_that_no_replica_signed_is_ignored() {
    let (_database, leader, standby) = pair(&[("RATE_LIMIT_REQUESTS", "1"), ("TRUSTED_PROXIES", "")]).await;
    let forged = |replica: &TestReplica, client: &str| {
        let header = format!("28949040 {client} {client} AAAA");
        Answer::of(replica.request(Method::GET, "/api/turn-credentials").header(FORWARDED, header))
    };
    assert_eq!(forged(&leader, "203.0.113.1").await.status, 200);
    assert_eq!(forged(&leader, "203.0.113.2").await.status, 429, "both came from this machine");
    assert_eq!(forged(&standby, "203.0.113.3").await.status, 429);
}

#[tokio::test]
async fn a_grant_is_valid_at_every_replica() {
    let (_database, leader, standby) = pair(&[]).await;
    let answer = leader.mint().await.json();
    let grant = answer["grant"].as_str().unwrap();
    let opened = standby.post(grant, "/api/connections", json!({"connectionId": "c"})).await;
    assert_eq!((opened.status.as_u16(), opened.json()["connectionId"].as_str()), (201, Some("c")));
    let beat = leader.post(grant, "/api/connections/c/heartbeat", json!({"bytesReceived": 5})).await;
    assert_eq!(beat.status, 200);
    for replica in [&leader, &standby] {
        replica.clock.advance(Duration::from_secs(86_400 * 7 / 8));
    }
    leader.until_it_leads().await;
    let renewed = standby.request(Method::GET, "/api/turn-credentials").bearer_auth(grant);
    let renewed = Answer::of(renewed).await;
    assert_eq!((renewed.status.as_u16(), renewed.header("ratelimit-limit")), (200, Some("40")));
    let closed = Answer::of(standby.request(Method::DELETE, "/api/connections/c").bearer_auth(grant)).await;
    assert_eq!((closed.status.as_u16(), closed.text.as_str()), (204, ""));
}

#[tokio::test]
async fn the_response_of_the_leader_is_passed_on_as_it_is() {
    let (_database, leader, standby) = pair(&[("ALLOWED_HOSTS", "turn.example,127.0.0.1")]).await;
    let ask = async |replica: &TestReplica, host: &str, path: &str| {
        let request = replica.request(Method::GET, path).header("host", host);
        let request = request.header("origin", "http://localhost:5173").header("x-request-id", "one");
        Answer::of(request.header("te", "trailers")).await
    };
    for (host, path, status) in [
        ("turn.example", "/openapi.json", 200),
        ("turn.example", "/nowhere?a=b%20c", 404),
        ("other.example", "/openapi.json", 421),
        ("other.example", "/health", 200),
    ] {
        let [direct, through] =
            [ask(&leader, host, path).await, ask(&standby, host, path).await].map(|mut answer| {
                answer.headers.remove("date");
                answer
            });
        assert_eq!(through.status, status, "{host} {path}");
        if path != "/health" {
            assert_eq!((through.headers, through.text), (direct.headers, direct.text), "{host} {path}");
        }
    }
    let head = Answer::of(standby.request(Method::HEAD, "/api/turn-credentials")).await;
    assert_eq!((head.status.as_u16(), head.header("allow")), (405, Some("GET")));
    let long = standby.request(Method::POST, "/api/connections").body("x".repeat(1024 * 1024 + 1));
    assert_eq!(Answer::of(long).await.error(), (413, "PAYLOAD_TOO_LARGE".into()), "read here");
    let preflight = standby.request(Method::OPTIONS, "/api/turn-credentials");
    let preflight = preflight.header("origin", "http://localhost:5173");
    let preflight = Answer::of(preflight.header("access-control-request-method", "GET")).await;
    assert_eq!(preflight.header("access-control-allow-origin"), Some("http://localhost:5173"));
}

/// The proxy of the standby is another machine than the standby.
#[tokio::test]
async fn what_a_trusted_proxy_of_the_first_replica_says_is_believed() {
    let (_database, _leader, standby) =
        pair(&[("SIGNALING", "rooms"), ("TRUSTED_PROXIES", "127.0.0.2")]).await;
    for (address, is_secure) in [("127.0.0.2", true), ("127.0.0.3", false)] {
        let builder = client_builder().redirect(reqwest::redirect::Policy::none());
        let client = builder.local_address(address.parse::<IpAddr>().unwrap()).build().unwrap();
        let named = client.post(format!("{}/set-username", standby.url)).header("x-forwarded-proto", "https");
        let named = named.header("content-type", "application/x-www-form-urlencoded").body("username=ann");
        let answer = Answer::of(named).await;
        let cookie = answer.header("set-cookie").unwrap();
        assert_eq!(cookie.contains("Secure"), is_secure, "{address}: {cookie}");
    }
}

/// The leader trusts the address of the standby as a proxy's.
#[tokio::test]
async fn a_request_of_a_replica_whose_clock_differs_is_its_own_whatever_the_client_sent() {
    let (_database, leader, standby) = pair(&[("SIGNALING", "rooms"), ("RATE_LIMIT_REQUESTS", "1")]).await;
    standby.clock.set_wall("2025-01-15T12:06:00Z");
    assert_eq!(standby.mint_from("203.0.113.1").await.status, 200);
    assert_eq!(standby.mint_from("203.0.113.2").await.status, 429, "its clients are one");
    let client = client_builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let named = client.post(format!("{}/set-username", standby.url));
    let named =
        named.header("x-forwarded-proto", "https").header("cf-access-authenticated-user-email", "ann");
    let named = named.header("content-type", "application/x-www-form-urlencoded").body("username=bob");
    let answer = Answer::of(named).await;
    let cookie = answer.header("set-cookie").expect("no proxy has named the user");
    assert!(!cookie.contains("Secure"), "{cookie}");
    let status = leader.status().await;
    assert!(!hint_codes(&status).contains(&"PROXY_NOT_TRUSTED"), "{status}");
}

/// A client cannot remove what a proxy has added.
#[tokio::test]
async fn a_header_that_the_client_names_in_connection_reaches_the_leader() {
    let (_database, leader, standby) = pair(&[("SIGNALING", "rooms")]).await;
    for replica in [&leader, &standby] {
        let client = client_builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let named = client.post(format!("{}/set-username", replica.url));
        let named = named.header("connection", "close, Cf-Access-Authenticated-User-Email");
        let named = named.header("cf-access-authenticated-user-email", "ann");
        let named = named.header("content-type", "application/x-www-form-urlencoded").body("username=bob");
        let answer = Answer::of(named).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("set-cookie")),
            (302, None),
            "the proxy has named it"
        );
    }
}

/// The replica that forwards a request adds headers.
#[tokio::test]
async fn a_head_at_the_limit_is_served_and_a_larger_one_refused_at_every_replica() {
    let (_database, leader, standby) = pair(&[]).await;
    let begin = "GET /api/bandwidth-status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let of_headers = |count: usize| format!("{begin}{}\r\n", "X-Of: many\r\n".repeat(count - 2));
    let of_bytes = |bytes| format!("{begin}X-Long: {}\r\n\r\n", "a".repeat(bytes - begin.len() - 12));
    for replica in [&leader, &standby] {
        for (head, status) in [
            (of_headers(100), 200),
            (of_headers(101), 431),
            (of_headers(104), 431),
            (of_headers(105), 431),
            (of_bytes(16 * 1024), 200),
            (of_bytes(16 * 1024 + 1), 431),
        ] {
            let mut socket = TcpStream::connect(replica.address).await.unwrap();
            socket.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{} {answer}", head.len());
            assert_eq!(answer.ends_with("\r\n\r\n"), status == 431, "a bare response: {answer}");
        }
    }
}

#[tokio::test]
async fn a_request_waits_while_nobody_leads() {
    let (_database, leader, standby) = pair(&[]).await;
    let grant = leader.mint().await.grant();
    leader.kill().await;
    let open = standby.post(&grant, "/api/connections", json!({"connectionId": "c"}));
    let (opened, minted, ()) = tokio::join!(open, standby.mint(), standby.takes_over());
    assert_eq!((opened.status.as_u16(), minted.status.as_u16()), (201, 200));
}

/// A leader that reads requests and ends each connection without an answer. Counts the requests.
async fn dying_leader(database: &FakeDatabase) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    database.change_row(|row| {
        (row.is_held, row.has_session, row.leader, row.epoch) = (true, true, Some(url), 1);
    });
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = [0; 64];
            let length = socket.read(&mut head).await.unwrap();
            if !head[..length].starts_with(b"GET /ready") {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    requests
}

#[tokio::test]
async fn what_may_have_had_its_effect_is_sent_again_only_if_that_does_no_harm() {
    let database = FakeDatabase::new();
    let requests = dying_leader(&database).await;
    let standby = TestReplica::start(&database, &[]).await;
    let posted = standby.post("any token", "/api/connections", json!({"connectionId": "c"}));
    // The first look at the database may not have ended yet. Then the request waits for it.
    let posted = posted.await;
    assert_eq!((posted.error(), posted.header("retry-after")), ((503, "NO_LEADER".into()), Some("1")));
    assert_eq!(requests.swap(0, Ordering::Relaxed), 1);
    let minted =
        standby.request(Method::GET, "/api/turn-credentials").header("origin", "http://localhost:5173");
    let minted = Answer::of(minted).await;
    assert_eq!(minted.error(), (503, "NO_LEADER".into()));
    assert_eq!(requests.load(Ordering::Relaxed), 2, "once more");
    assert_eq!(
        minted.header("access-control-allow-origin"),
        Some("http://localhost:5173"),
        "a page can read it"
    );
    assert_eq!(minted.header("x-request-id"), minted.json()["requestId"].as_str());
}

#[tokio::test]
async fn a_request_is_forwarded_once_at_most() {
    let (_database, leader, standby) = pair(&[]).await;
    let key = ForwardKey::derived_from(&[7; 64]);
    let signed = |replica: &TestReplica| {
        let client = "203.0.113.9".parse().unwrap();
        let request = Request::builder().uri("/api/turn-credentials").body(()).unwrap();
        let header = key.sign(Hop { client, peer: client }, &request, replica.clock.now()).unwrap();
        Answer::of(replica.request(Method::GET, "/api/turn-credentials").header(FORWARDED, header))
    };
    assert_eq!(signed(&leader).await.status, 200);
    let refused = signed(&standby).await;
    assert_eq!(refused.error(), (503, "NO_LEADER".into()));
    assert!(refused.header("turn-broker-forwarded").is_some(), "so that the other replica waits");
    // Nor does it wait there until this replica forwards again.
    leader.kill().await;
    assert_eq!(signed(&standby).await.error(), (503, "NO_LEADER".into()));
}

/// A leader that hands its lead over finishes what it has. What it has not carried out, the next one does.
#[tokio::test]
async fn a_request_in_progress_at_a_leader_that_ends_is_answered_by_it_or_by_the_next_one() {
    for (answer, expected) in [
        (&b"HTTP/1.1 204 Done\r\n\r\n"[..], 204),
        (b"HTTP/1.1 503 No\r\nturn-broker-forwarded: refused\r\ncontent-length: 0\r\n\r\n", 401),
    ] {
        let database = FakeDatabase::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let former = format!("http://{}", listener.local_addr().unwrap());
        database.change_row(|row| {
            (row.is_held, row.has_session, row.leader, row.epoch) = (true, true, Some(former), 1);
        });
        let standby = TestReplica::start(&database, &[]).await;
        let posted = standby.post("any token", "/api/connections", json!({}));
        let change = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await.unwrap();
            database.change_row(|row| row.is_held = false);
            standby.until_it_leads().await;
            socket.write_all(answer).await.unwrap();
        };
        let (posted, ()) = tokio::join!(posted, change);
        assert_eq!(posted.status.as_u16(), expected, "{}", posted.text);
    }
}

/// A connection to another replica stays open until that one knows of the shutdown, because a request that comes while a connection is
/// closed cannot be sent again.
#[tokio::test]
async fn a_leader_that_ends_refuses_what_another_replica_still_sends() {
    let (database, leader, _standby) = pair(&[]).await;
    let mut socket = TcpStream::connect(leader.address).await.unwrap();
    let ask = async |socket: &mut TcpStream| {
        let client = "203.0.113.9".parse().unwrap();
        let request = Request::builder().method("POST").uri("/api/connections").body(()).unwrap();
        let key = ForwardKey::derived_from(&[7; 64]);
        let header = key.sign(Hop { client, peer: client }, &request, leader.clock.now()).unwrap();
        let head = format!(
            "POST /api/connections HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n{FORWARDED}: {}\r\n\r\n",
            header.to_str().unwrap()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 4096];
        let length = socket.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    assert!(ask(&mut socket).await.starts_with("HTTP/1.1 401 "));
    leader.shutdown.soft.cancel();
    eventually("the ledger is released", async || !database.row().is_held).await;
    let refused = ask(&mut socket).await;
    assert!(
        refused.contains("turn-broker-forwarded: refused") && refused.contains("SHUTTING_DOWN"),
        "{refused}"
    );
    assert_eq!(leader.ended().await, Ended::Drained);
    assert_eq!(socket.read(&mut [0]).await.unwrap(), 0);
}

/// As after two takeovers: the row still names a replica that leads no longer. Or `ADVERTISE_URL` leads back to the replica itself.
#[tokio::test]
async fn a_replica_whose_leader_is_no_leader_is_not_ready() {
    for is_itself in [false, true] {
        let database = FakeDatabase::new();
        database.change_row(|row| (row.is_held, row.has_session, row.epoch) = (true, true, 1));
        let one = TestReplica::start(&database, &[]).await;
        let other = TestReplica::start(&database, &[]).await;
        let named = if is_itself { &one } else { &other };
        let url = format!("http://localhost:{}", named.address.port());
        database.change_row(|row| row.leader = Some(url));
        let (looks, mut requests) = (database.looks(&one.url), 0);
        eventually("some looks", async || {
            assert_eq!(one.get("/ready").await.error(), (503, "NO_LEADER".into()), "itself: {is_itself}");
            requests += 1;
            database.looks(&one.url) > looks + 3
        })
        .await;
        let metrics = one.operator("/metrics").await.text;
        let asked =
            metrics.lines().find_map(|line| line.split_once(r#"route="/ready",method="GET",status="503"} "#));
        let asked: u64 = asked.unwrap().1.parse().unwrap();
        assert!(
            (requests..=2 * requests).contains(&asked),
            "{asked} after {requests}: it does not ask itself again and again"
        );
    }
}

/// The answer to a request. On a busy machine it may wait for too long, and is sent again then.
async fn answer_in_the_end(request: RequestBuilder) -> Answer {
    let mut answer = None;
    eventually("an answer", async || {
        let next = Answer::of(request.try_clone().unwrap()).await;
        answer = Some(next).filter(|answer| answer.error() != (503, "NO_LEADER".into()));
        answer.is_some()
    })
    .await;
    answer.unwrap()
}

/// Their connections come all at once, and no response has told the leader yet who opens them.
#[tokio::test]
async fn the_requests_that_waited_for_a_leader_are_all_answered() {
    // More than the leader would let one address open.
    const ASKED: usize = 3 * SOCKETS_PER_PEER_MAX / 2;
    let database = FakeDatabase::new();
    let leader = TestReplica::start(&database, &[("TRUSTED_PROXIES", "")]).await;
    leader.until_it_leads().await;
    let standby = TestReplica::start_cut_off(&database, &[]).await;
    let asked = (0..ASKED).map(|n| {
        let request = standby.request(Method::POST, "/api/connections");
        let request = request.header("x-forwarded-for", format!("203.0.{}.1", n / HELD_PER_CLIENT_MAX));
        let body = if n == 0 { json!({ "connectionId": "x".repeat(BODY_MAX) }) } else { json!({}) };
        answer_in_the_end(request.json(&body))
    });
    let held = async || standby.metric("turn_broker_forwarded_requests_total{outcome=\"held\"}").await;
    let connect = async {
        eventually("all wait", async || held().await >= u64::try_from(ASKED).ok()).await;
        database.set_cut_off(&standby.url, false);
    };
    let (answered, ()) = tokio::join!(join_all(asked), connect);
    let mut answers = BTreeMap::<_, usize>::new();
    for answer in answered {
        *answers.entry(answer.error()).or_default() += 1;
    }
    let expected = [((401, "UNAUTHORIZED"), ASKED - 1), ((413, "PAYLOAD_TOO_LARGE"), 1)];
    assert_eq!(answers, expected.map(|((status, code), count)| ((status, code.to_owned()), count)).into());
    let metrics = leader.operator("/metrics").await.text;
    assert!(!metrics.contains("turn_broker_sockets_limited_total{"), "{metrics}");
}

/// The responses are the leader's, and reach the standby piece by piece.
#[tokio::test]
async fn the_unread_responses_of_an_address_have_a_bound_at_a_standby() {
    let database = FakeDatabase::new();
    let leader = TestReplica::start(&database, &[]).await;
    leader.until_it_leads().await;
    let standby = TestReplica::start(&database, &[("TRUSTED_PROXIES", "")]).await;
    standby.until_it_forwards().await;
    let length = Answer::of(standby.request(Method::GET, "/openapi.json")).await.text.len();
    let mut sockets = vec![];
    for _ in 0..2 * UNREAD_PER_PEER_MAX / length {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut socket = socket.connect(standby.address).await.unwrap();
        socket.write_all(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        sockets.push(socket);
    }
    eventually("the oldest responses are ended", async || {
        standby
            .operator("/metrics")
            .await
            .text
            .contains("turn_broker_sockets_limited_total{outcome=\"closed_unread\"}")
    })
    .await;
    assert_eq!(Answer::of(standby.request(Method::GET, "/openapi.json")).await.text.len(), length);
}
