//! Forwarded requests while nobody leads, and while the leader ends.

use std::sync::atomic::{AtomicUsize, Ordering};

use turn_base::BODY_MAX;
use turn_broker::forward::{FORWARDED, HELD_PER_CLIENT_MAX};
use turn_broker::listen::SOCKETS_PER_PEER_MAX;

use super::by_hand::{ByHand, FakeLeader, head};
use super::{TestReplica, pair};
use crate::support::prelude::*;

#[tokio::test]
async fn a_request_waits_while_nobody_leads() {
    // A request waits for 8 s. A busy machine may need longer to take over, or the connection to the killed leader may take the POST just
    // before it ends, so that it may have had its effect. Another pair is tried then.
    for _ in 0..10 {
        let (_database, leader, standby) = pair(&[]).await;
        let grant = leader.mint().await.grant();
        leader.kill().await;
        let open = standby.open(&grant, "c");
        let mint = standby.mint();
        let answers = tokio::time::timeout(Duration::from_secs(7), async { tokio::join!(open, mint) });
        let (answers, ()) = tokio::join!(answers, standby.takes_over());
        if let Ok((open, mint)) = answers {
            assert_eq!(mint.status, 200, "{}", mint.text);
            if open.status == 201 {
                return;
            }
            assert_eq!(open.error(), (503, "NO_LEADER"));
        }
    }
    panic!("no replica has led within 7 s, or no POST has waited");
}

/// A leader that reads requests and ends each connection without an answer. Counts the requests.
async fn dying_leader(database: &FakeDatabase) -> Arc<AtomicUsize> {
    let leader = FakeLeader::start(database).await;
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let socket = leader.accept().await;
            let Some(mut socket) = leader.prove(socket).await else { continue };
            let asked = head(&mut socket).await;
            if !asked.is_empty() && !asked.starts_with("GET /ready") {
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
    let sfu = [("SIGNALING", "sfu"), ("CALLS_APP_ID", "app"), ("CALLS_APP_SECRET", "s3cret")];
    let standby = TestReplica::start(&database, &sfu).await;
    let posted = standby.open("any token", "c");
    // The first look at the database may not have ended yet. Then the request waits for it.
    let posted = posted.await;
    assert_eq!((posted.error(), posted.header("retry-after")), ((503, "NO_LEADER"), Some("1")));
    assert_eq!(requests.swap(0, Ordering::Relaxed), 1);
    let minted = standby.get_with("/api/turn-credentials", &[("origin", "http://localhost:5173")]).await;
    assert_eq!(minted.error(), (503, "NO_LEADER"));
    assert_eq!(requests.load(Ordering::Relaxed), 2, "once more");
    // A page can read it.
    assert_eq!(minted.header("access-control-allow-origin"), Some("http://localhost:5173"));
    assert_eq!(minted.header("x-request-id"), minted.json()["requestId"].as_str());
    for (method, path) in
        [(Method::POST, "sessions/new?correlationId=r"), (Method::GET, "generate-ice-servers")]
    {
        let of_sfu = standby.send(method, &format!("/partytracks/{path}")).await;
        assert!(of_sfu.text.starts_with("no_leader: Try again in a second"), "{path}: {}", of_sfu.text);
        // So partytracks tries again.
        assert_eq!(of_sfu.header("content-type"), Some("text/plain; charset=utf-8"));
    }
}

/// Behind a sidecar, for example, the connection ends with its leader.
#[tokio::test]
async fn what_a_leader_has_not_answered_the_next_one_does_if_that_does_no_harm() {
    let database = FakeDatabase::new();
    let requests = dying_leader(&database).await;
    let standby = TestReplica::start(&database, &[]).await;
    let change = async {
        eventually("it was sent twice", async || requests.load(Ordering::Relaxed) == 2).await;
        standby.has_looked().await;
        database.change_row(|row| row.is_held = false);
        standby.until_it_leads().await;
    };
    let (minted, ()) = tokio::join!(standby.mint(), change);
    assert_eq!((minted.status.as_u16(), requests.load(Ordering::Relaxed)), (200, 2));
}

#[tokio::test]
async fn a_request_is_forwarded_once_at_most() {
    let (_database, leader, standby) = pair(&[]).await;
    assert!(ByHand::open(&standby).await.is_none(), "another replica sends it none");
    let mut connection = ByHand::open(&leader).await.unwrap();
    assert!(connection.ask("GET", "/api/turn-credentials", "203.0.113.9").await.starts_with("HTTP/1.1 200 "));
    let header = connection.sign("GET", "/api/turn-credentials", "203.0.113.9");
    let sent = standby.request(Method::GET, "/api/turn-credentials").header(FORWARDED, header);
    assert_eq!(Answer::of(sent).await.status, 200, "it replaces what a client sends");
}

/// A leader that hands its lead over finishes what it has. What it has not carried out, the next one does.
#[tokio::test]
async fn a_request_in_progress_at_a_leader_that_ends_is_answered_by_it_or_by_the_next_one() {
    for (answer, expected) in [
        (&b"HTTP/1.1 204 Done\r\n\r\n"[..], 204),
        (b"HTTP/1.1 503 No\r\nturn-broker-forwarded: refused\r\ncontent-length: 0\r\n\r\n", 401),
    ] {
        let database = FakeDatabase::new();
        let former = FakeLeader::start(&database).await;
        let standby = TestReplica::start(&database, &[]).await;
        let posted = standby.post("any token", "/api/connections", json!({}));
        let change = async {
            let mut socket = former.prove(former.accept().await).await.unwrap();
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
    let mut connection = ByHand::open(&leader).await.unwrap();
    let mut ask = async || connection.ask("POST", "/api/connections", "203.0.113.9").await;
    assert!(ask().await.starts_with("HTTP/1.1 401 "));
    leader.shutdown.soft.cancel();
    eventually("the ledger is released", async || !database.row().is_held).await;
    let refused = ask().await;
    assert!(
        refused.contains("turn-broker-forwarded: refused") && refused.contains("SHUTTING_DOWN"),
        "{refused}"
    );
    assert_eq!(leader.ended().await, Ended::Drained);
    assert_eq!(connection.socket.read(&mut [0]).await.unwrap(), 0);
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
            assert_eq!(one.get("/ready").await.error(), (503, "NO_LEADER"), "itself: {is_itself}");
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
        answer = Some(next).filter(|answer| answer.error() != (503, "NO_LEADER"));
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
    for answer in &answered {
        *answers.entry(answer.error()).or_default() += 1;
    }
    assert_eq!(answers, [((401, "UNAUTHORIZED"), ASKED - 1), ((413, "PAYLOAD_TOO_LARGE"), 1)].into());
    let metrics = leader.operator("/metrics").await.text;
    assert!(!metrics.contains("turn_broker_sockets_limited_total{"), "{metrics}");
}

/// As behind a sidecar, which goes on accepting connections.
#[tokio::test]
async fn requests_to_a_dead_leader_behind_a_proxy_wait_for_the_next_one() {
    let database = FakeDatabase::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = Proxy::start(("127.0.0.1", listener.local_addr().unwrap().port())).await;
    let url = format!("http://127.0.0.1:{}", way.port);
    let leader = TestReplica::start_as(&url, listener, &database, &[]);
    leader.until_it_leads().await;
    eventually("the leader writes", async || database.row().seq > 1).await;
    let standby = TestReplica::start(&database, &[]).await;
    standby.until_it_forwards().await;
    assert_eq!(standby.mint().await.status, 200);
    way.harm_all(Harm::Cut);
    leader.kill().await;
    let held = async || standby.metric("turn_broker_forwarded_requests_total{outcome=\"held\"}").await;
    let take_over = async {
        eventually("both wait", async || held().await >= Some(2)).await;
        standby.takes_over().await;
    };
    let post = standby.post("any", "/api/connections", json!({}));
    let (minted, posted, ()) = tokio::join!(standby.mint(), post, take_over);
    assert_eq!((minted.status.as_u16(), posted.status.as_u16()), (200, 401));
}
