//! How a request reaches the leader through another replica.

use turn_broker::forward::{ANSWER_MAX, FORWARDED};
use turn_broker::listen::UNREAD_PER_PEER_MAX;

use super::by_hand::{ByHand, head};
use super::{TestReplica, pair};
use crate::support::prelude::*;

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
    let opened = standby.open(grant, "c").await;
    assert_eq!((opened.status.as_u16(), opened.json()["connectionId"].as_str()), (201, Some("c")));
    assert_eq!(leader.heartbeat(grant, "c", json!({"bytesReceived": 5})).await.status, 200);
    for replica in [&leader, &standby] {
        replica.clock.advance(Duration::from_secs(86_400 * 7 / 8));
    }
    leader.until_it_leads().await;
    let renewed = standby.mint_with(grant).await;
    assert_eq!((renewed.status.as_u16(), renewed.header("ratelimit-limit")), (200, Some("40")));
    let closed = Answer::of(standby.request(Method::DELETE, "/api/connections/c").bearer_auth(grant)).await;
    assert_eq!((closed.status.as_u16(), closed.text.as_str()), (204, ""));
}

#[tokio::test]
async fn the_response_of_the_leader_is_passed_on_as_it_is() {
    let settings = [
        ("ALLOWED_HOSTS", "turn.example,127.0.0.1"),
        ("SIGNALING", "sfu,p2pcf"),
        ("CALLS_APP_ID", "app"),
        ("CALLS_APP_SECRET", "s3cret"),
    ];
    let (_database, leader, standby) = pair(&settings).await;
    let ask = async |replica: &TestReplica, host: &str, path: &str| {
        let request = replica.request(Method::GET, path).header("host", host);
        let request = request.header("origin", "http://localhost:5173").header("x-request-id", "one");
        Answer::of(request.header("te", "trailers")).await
    };
    for (host, path, status) in [
        ("turn.example", "/openapi.json", 200),
        ("turn.example", "/nowhere?a=b%20c", 404),
        ("other.example", "/openapi.json", 421),
        ("other.example", "/partytracks/sessions/new", 421),
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
    let head = standby.send(Method::HEAD, "/api/turn-credentials").await;
    assert_eq!((head.status.as_u16(), head.header("allow")), (405, Some("GET")));
    let long = standby.request(Method::POST, "/api/connections").body("x".repeat(1024 * 1024 + 1));
    assert_eq!(Answer::of(long).await.error(), (413, "PAYLOAD_TOO_LARGE"), "read here");
    for replica in [&leader, &standby] {
        let too_long = async |path: &str| {
            let request = replica.request(Method::POST, path).body("x".repeat(1024 * 1024 + 1));
            let answer = Answer::of(request.header("origin", "http://localhost:5173")).await;
            assert_eq!(answer.status, 413, "{path}");
            answer
        };
        let of_sfu = too_long("/partytracks/sessions/new?correlationId=r").await;
        assert_eq!(of_sfu.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(of_sfu.header("access-control-allow-origin"), Some("http://localhost:5173"));
        assert!(of_sfu.text.starts_with("payload_too_large: "), "{}", of_sfu.text);
        let of_p2pcf = too_long("/p2pcf").await;
        assert_eq!(of_p2pcf.header("access-control-allow-origin"), Some("*"));
    }
    let tracks = standby.request(Method::POST, "/partytracks/sessions/s/tracks/new");
    let tracks = Answer::of(tracks.body("x".repeat(1024 * 1024 + 1))).await;
    assert_eq!(tracks.error(), (413, "PAYLOAD_TOO_LARGE"));
    assert_eq!(tracks.json()["errorCode"], "payload_too_large");
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
        let answer = choose_name(&standby, address, &[("x-forwarded-proto", "https")]).await;
        let cookie = answer.header("set-cookie").unwrap();
        assert_eq!(cookie.contains("Secure"), is_secure, "{address}: {cookie}");
    }
}

/// Sends a form with a name from this address of this machine.
async fn choose_name(replica: &TestReplica, from: &str, headers: &[(&str, &str)]) -> Answer {
    let builder = client_builder().redirect(reqwest::redirect::Policy::none());
    let client = builder.local_address(from.parse::<IpAddr>().unwrap()).build().unwrap();
    let named = client.post(format!("{}/set-username", replica.url)).body("username=ann");
    let named = named.header("content-type", "application/x-www-form-urlencoded");
    Answer::of(headers.iter().fold(named, |named, (name, value)| named.header(*name, *value))).await
}

#[tokio::test]
async fn no_clock_decides_whose_request_it_is() {
    let (_database, _leader, standby) = pair(&[("RATE_LIMIT_REQUESTS", "1")]).await;
    for wall in ["2025-01-15T11:30:00Z", "2025-01-15T12:30:00Z", "2031-01-15T12:00:00Z"] {
        standby.clock.set_wall(wall);
        let client = format!("203.0.113.{}", &wall[11..13]);
        let first = standby.mint_from(&format!("{client}{}", &wall[3..4])).await;
        assert_eq!(first.status, 200, "{wall}: each client has its own rate");
    }
    assert_eq!(standby.mint_from("203.0.113.111").await.status, 200);
    assert_eq!(standby.mint_from("203.0.113.111").await.status, 429);
}

/// Somebody has seen a request between two replicas, and sends its header again.
#[tokio::test]
async fn a_header_is_worth_nothing_on_another_connection() {
    const MINT: &str = "/api/turn-credentials";
    let (_database, leader, _standby) = pair(&[("RATE_LIMIT_REQUESTS", "1"), ("TRUSTED_PROXIES", "")]).await;
    let (mut one, mut other) = (ByHand::open(&leader).await.unwrap(), ByHand::open(&leader).await.unwrap());
    let seen = one.sign("GET", MINT, "203.0.113.9");
    assert!(one.send("GET", MINT, &seen).await.starts_with("HTTP/1.1 200 "));
    assert!(other.send("GET", MINT, &seen).await.starts_with("HTTP/1.1 200 "), "as one of this machine");
    let third = other.send("GET", MINT, &one.sign("GET", MINT, "203.0.113.8")).await;
    assert!(third.starts_with("HTTP/1.1 429 "), "again of this machine: {third}");
    let replayed = leader.request(Method::GET, MINT).header(FORWARDED, one.sign("GET", MINT, "203.0.113.7"));
    assert_eq!(Answer::of(replayed).await.status, 429, "nobody has asked on this connection");
    assert!(other.ask("GET", MINT, "203.0.113.6").await.starts_with("HTTP/1.1 200 "));
}

/// It answers as a leader does, but has no key. Or it passes everything on to the next leader.
#[tokio::test]
async fn who_has_the_address_of_a_dead_leader_gets_no_request() {
    let (database, leader, standby) = pair(&[]).await;
    let relay = Proxy::start(("127.0.0.1", leader.address.port())).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(String::new()));
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            loop {
                let asked = head(&mut socket).await;
                log.lock().unwrap().push_str(&asked);
                if asked.is_empty()
                    || socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err()
                {
                    break;
                }
            }
        }
    });
    for port in [port, relay.port] {
        let taken = format!("http://127.0.0.1:{port}");
        let of_row = taken.clone();
        // It was reached before.
        standby.clock.advance(ANSWER_MAX);
        database.change_row(|row| row.leader = Some(of_row));
        standby.has_looked().await;
        assert_eq!(standby.operator("/api/overview").await.error(), (503, "NO_LEADER"));
        let ready = standby.operator("/ready").await;
        assert!(ready.error() == (503, "NO_LEADER") && ready.text.contains(&taken), "{}", ready.text);
    }
    let seen = seen.lock().unwrap();
    assert!(
        seen.contains("HEAD /leader") && !seen.contains(OPERATOR) && !seen.contains("overview"),
        "{seen}"
    );
}

/// A client cannot remove what a proxy has added.
#[tokio::test]
async fn a_header_that_the_client_names_in_connection_reaches_the_leader() {
    let (_database, leader, standby) = pair(&[("SIGNALING", "rooms"), ("USER_HEADER", "X-User")]).await;
    for replica in [&leader, &standby] {
        let headers = [("connection", "close, X-User"), ("x-user", "bob")];
        let answer = choose_name(replica, "127.0.0.1", &headers).await;
        let named_by_proxy = (302, None);
        assert_eq!((answer.status.as_u16(), answer.header("set-cookie")), named_by_proxy);
    }
}

/// The replica that forwards a request adds headers.
#[tokio::test]
async fn a_head_at_the_limit_is_served_and_a_larger_one_is_refused_in_one_form_at_every_replica() {
    let (_database, leader, standby) = pair(&[]).await;
    let begin = "GET /api/bandwidth-status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let of_headers = |count: usize| format!("{begin}{}\r\n", "X-Of: many\r\n".repeat(count - 2));
    let of_bytes = |bytes| format!("{begin}X-Long: {}\r\n\r\n", "a".repeat(bytes - begin.len() - 12));
    for replica in [&leader, &standby] {
        for (head, status) in [
            (of_headers(100), 200),
            (of_headers(101), 431),
            (of_headers(103), 431),
            (of_bytes(16 * 1024), 200),
            (of_bytes(16 * 1024 + 1), 431),
            (of_bytes(17 * 1024 + 100), 431),
        ] {
            let mut socket = TcpStream::connect(replica.address).await.unwrap();
            socket.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{} {answer}", head.len());
            assert_eq!(answer.contains("\"code\":\"INVALID_REQUEST\""), status == 431, "{answer}");
        }
    }
}

/// The responses are the leader's, and reach the standby piece by piece.
#[tokio::test]
async fn the_unread_responses_of_an_address_have_a_bound_at_a_standby() {
    let database = FakeDatabase::new();
    let leader = TestReplica::start(&database, &[]).await;
    leader.until_it_leads().await;
    let standby = TestReplica::start(&database, &[("TRUSTED_PROXIES", "")]).await;
    standby.until_it_forwards().await;
    let length = standby.send(Method::GET, "/openapi.json").await.text.len();
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
    assert_eq!(standby.send(Method::GET, "/openapi.json").await.text.len(), length);
}
