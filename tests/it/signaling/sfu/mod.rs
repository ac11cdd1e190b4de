//! The SFU proxy against a fake SFU: what passes, what is refused and how, and how sessions are locked and kept in their rooms.

mod calls;
mod clock;
mod given;
mod metering;
mod owners;
mod replies;
mod restart;

use crate::support::prelude::*;

use turn_broker::app::LONG_BYTES_PER_CLIENT_MAX;

const PREFIXES: [&str; 2] = ["/partytracks", "/api/calls"];

async fn start(settings: &[(&str, &str)]) -> (FakeSfu, TestBroker) {
    let sfu = FakeSfu::start().await;
    let broker = at(&sfu, settings).await;
    (sfu, broker)
}

async fn at(sfu: &FakeSfu, settings: &[(&str, &str)]) -> TestBroker {
    at_clock(sfu, settings, Arc::new(ManualClock::at(START))).await
}

async fn at_clock(sfu: &FakeSfu, settings: &[(&str, &str)], clock: Arc<ManualClock>) -> TestBroker {
    let rate = [("SFU_MBPS_PER_CLIENT", "10000")];
    TestBroker::start_at(&[&sfu_at(&sfu.url())[..], &rate, settings].concat(), clock).await
}

/// A browser's page in a room.
struct Page<'a> {
    broker: &'a TestBroker,
    session: String,
    cookie: Option<String>,
    address: &'static str,
}

fn sent(broker: &TestBroker, method: Method, path: &str, address: &str) -> RequestBuilder {
    broker.request(method, path).header("x-forwarded-for", address)
}

impl<'a> Page<'a> {
    async fn join(broker: &'a TestBroker, room: &str) -> Self {
        Self::join_from(broker, room, "203.0.113.1").await
    }

    /// Several pages of one room.
    async fn of_room<const N: usize>(broker: &'a TestBroker, room: &str) -> [Self; N] {
        let mut pages = vec![];
        for _ in 0..N {
            pages.push(Self::join(broker, room).await);
        }
        pages.try_into().ok().unwrap()
    }

    async fn join_from(broker: &'a TestBroker, room: &str, address: &'static str) -> Self {
        let path = format!("/partytracks/sessions/new?correlationId={room}");
        let answer = Answer::of(sent(broker, Method::POST, &path, address)).await;
        Self::of(broker, &answer, address)
    }

    /// The page whose session this answer opens.
    fn of(broker: &'a TestBroker, answer: &Answer, address: &'static str) -> Self {
        assert_eq!(answer.status, 201, "{}", answer.text);
        let cookie = answer.header("set-cookie").map(|cookie| cookie.split(';').next().unwrap().to_owned());
        Self { broker, session: answer.json()["sessionId"].as_str().unwrap().to_owned(), cookie, address }
    }

    async fn call(&self, method: Method, call: &str, body: &Value) -> Answer {
        let path = format!("/partytracks/sessions/{}{call}", self.session);
        let request = sent(self.broker, method, &path, self.address).body(body.to_string());
        Answer::of(match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        })
        .await
    }

    async fn push(&self) -> Answer {
        let track = json!({ "location": "local", "trackName": "video", "mid": "0" });
        self.call(Method::POST, "/tracks/new", &json!({ "tracks": [track] })).await
    }

    /// Pulls one track, and connects with it.
    async fn pull(&self, from: &Self) -> Answer {
        self.pull_many(from, 1).await
    }

    /// Pulls so many tracks with one request, and connects with them. Returns the answer to the first call.
    async fn pull_many(&self, from: &Self, count: usize) -> Answer {
        let track = json!({ "location": "remote", "sessionId": from.session, "trackName": "video" });
        let answer = self.call(Method::POST, "/tracks/new", &json!({ "tracks": vec![track; count] })).await;
        if answer.status == 200 {
            assert_eq!(self.call(Method::PUT, "/renegotiate", &description("v=0")).await.status, 200);
        }
        answer
    }
}

/// The body of a `renegotiate`.
fn description(sdp: &str) -> Value {
    json!({ "sessionDescription": { "type": "answer", "sdp": sdp } })
}

/// The status and `errorCode` of an error in the SFU's form.
#[tokio::test]
async fn both_prefixes_pass_the_query_the_body_and_its_type_with_the_secret_of_the_app() {
    let (sfu, broker) = start(&[]).await;
    for prefix in PREFIXES {
        let query = "?CreatingSession&correlationId=r&x=%20a+b&";
        let mut request = broker.request(Method::POST, &format!("{prefix}/sessions/new{query}"));
        let of_client = [
            ("cookie", "theirs=1"),
            ("authorization", "Basic dGhlaXJz"),
            ("cf-connecting-ip", "203.0.113.9"),
            ("x-forwarded-for", "203.0.113.9"),
        ];
        for (name, value) in of_client {
            request = request.header(name, value);
        }
        let opened = Answer::of(request).await;
        assert_eq!(opened.status, 201);
        let session = opened.json()["sessionId"].as_str().unwrap().to_owned();
        let upstream = sfu.history().pop().unwrap();
        let known = query.replace("&x=%20a+b", "");
        assert_eq!(upstream.path, format!("/v1/apps/{SFU_APP}/sessions/new{known}"));
        let header = |name: &str| upstream.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("authorization"), Some(format!("Bearer {SFU_SECRET}")));
        assert_eq!(header("content-length").as_deref(), Some("0"));
        assert!(header("user-agent").unwrap().starts_with("turn-broker/"));
        for name in ["cookie", "cf-connecting-ip", "x-forwarded-for", "origin", "x-realtime-room"] {
            assert_eq!(header(name), None, "{name}");
        }
        assert!(!opened.text.contains(SFU_SECRET) && !format!("{:?}", opened.headers).contains(SFU_SECRET));
        let cookies: Vec<_> = opened.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies.len(), 1, "the SFU's own cookie stays here");
        let (cookie, attributes) = cookies[0].to_str().unwrap().split_once(';').unwrap();
        assert!(cookie.starts_with(&format!("partytracks-session-{session}=")), "{cookie}");
        let expected = format!("; HttpOnly; Secure; SameSite=Strict; Path={prefix};");
        assert!(attributes.ends_with(&expected), "{attributes}");

        let call = format!("sessions/{session}/renegotiate?");
        let request = broker.request(Method::PUT, &format!("{prefix}/{call}")).header("cookie", cookie);
        let request = request.header("content-type", "text/plain;charset=UTF-8");
        let sent = r#"{"sessionDescription": {"type":"answer","sdp":"v=0"} }"#;
        assert_eq!(Answer::of(request.body(sent)).await.text, "{}");
        let upstream = sfu.history().pop().unwrap();
        let path = format!("/v1/apps/{SFU_APP}/{call}");
        assert_eq!((upstream.method, upstream.path), (Method::PUT, path));
        assert_eq!(upstream.headers["content-type"], "text/plain;charset=UTF-8");
        assert_eq!(serde_json::from_slice::<Value>(&upstream.body).unwrap(), description("v=0"));
    }
}

#[tokio::test]
async fn a_refusal_of_a_new_session_is_never_json_and_never_a_redirect() {
    let (sfu, broker) = start(&[]).await;
    let open = async |fault| {
        sfu.next(fault);
        broker.send(Method::POST, "/partytracks/sessions/new?correlationId=r").await
    };
    for (fault, status, text) in [
        (SfuFault::Json(429), 429, "upstream_error: As the SFU says it"),
        (SfuFault::ErrorAt200, 200, "upstream_error: As the SFU says it"),
        (SfuFault::Html(503), 502, "sfu_bad_answer: The SFU's answer is not JSON."),
        (SfuFault::Redirect, 502, "sfu_unreachable: The SFU cannot be reached."),
        (SfuFault::Huge, 502, "sfu_unreachable: The SFU cannot be reached."),
    ] {
        let answer = open(fault).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (status, text));
        assert!(answer.header("content-type").unwrap().starts_with("text/"));
        assert!(answer.header("set-cookie").is_none() && answer.header("location").is_none());
    }
    assert_eq!(sfu.history().len(), 5, "nothing is sent twice");
    assert_eq!(broker.metric("turn_broker_places_taken{place=\"sfu_sessions\"}").await, Some(0));
    drop(sfu);
    let answer = broker.send(Method::POST, "/partytracks/sessions/new?correlationId=r").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (502, Some("text/plain; charset=utf-8"))
    );
}

#[tokio::test]
async fn other_answers_of_the_sfu_are_unchanged() {
    let (sfu, broker) = start(&[]).await;
    let page = Page::join(&broker, "r").await;
    for (fault, status, kind) in [
        (SfuFault::Json(400), 400, "application/json"),
        (SfuFault::Json(503), 503, "application/json"),
        (SfuFault::Html(500), 502, "application/json"),
        (SfuFault::ErrorAt200, 200, "application/json"),
    ] {
        sfu.next(fault);
        let answer = page.push().await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (status, Some(kind)));
        assert!(!answer.text.contains("requestId"), "{}", answer.text);
        assert!(answer.header("x-request-id").is_some());
    }
}

#[tokio::test]
async fn a_track_of_another_room_is_refused_before_the_sfu_is_asked() {
    let (sfu, broker) = start(&[]).await;
    let [a, b] = Page::of_room(&broker, "blue").await;
    let c = Page::join(&broker, "red").await;
    for page in [&a, &b, &c] {
        page.push().await;
    }
    assert_eq!(a.pull(&b).await.status, 200);
    let before = sfu.history().len();
    assert_eq!(a.pull(&c).await.error(), (403, "other_room"));
    let twice = json!({ "tracks": [], "Tracks": [{ "location": "remote", "sessionId": c.session }] });
    assert_eq!(a.call(Method::POST, "/tracks/new", &twice).await.error(), (400, "invalid_request"));
    let channel =
        json!({ "dataChannels": [{ "location": "remote", "sessionId": c.session, "dataChannelName": "x" }] });
    assert_eq!(a.call(Method::POST, "/datachannels/new", &channel).await.error(), (403, "other_room"));
    assert_eq!(sfu.history().len(), before);
}

#[tokio::test]
async fn the_header_names_the_room_for_a_page_without_a_query() {
    let (_sfu, broker) = start(&[]).await;
    let request = broker.request(Method::POST, "/partytracks/sessions/new").header("x-realtime-room", "r");
    assert_eq!(Answer::of(request).await.status, 201);
    let answer = broker.send(Method::POST, "/partytracks/sessions/new").await;
    assert_eq!(answer.status, 401, "no token and no room");
    assert!(answer.text.starts_with("unauthorized: "), "{}", answer.text);
    for none in ["no-grant", &user_token("ann")] {
        let request = broker.request(Method::POST, "/partytracks/sessions/new?correlationId=r");
        assert_eq!(Answer::of(request.bearer_auth(none)).await.status, 201, "{none} counts as none");
    }
    let page = Page::join(&broker, "r").await;
    for bad in ["r".repeat(129), "%07".to_owned(), "..".to_owned()] {
        let path = format!("/partytracks/sessions/new?correlationId={bad}");
        let answer = broker.send(Method::POST, &path).await;
        assert!(
            answer.status == 400 && answer.text.starts_with("invalid_request: Name the room"),
            "{}",
            answer.text
        );
    }
    assert_eq!(page.push().await.status, 200);
}

#[tokio::test]
async fn a_grant_opens_a_session_and_an_expired_one_counts_as_none() {
    let (sfu, broker) = start(&COTURN).await;
    let grant = broker.grant().await;
    let open = || broker.request(Method::POST, "/partytracks/sessions/new").bearer_auth(&grant);
    let opened = Answer::of(open()).await;
    assert_eq!(opened.status, 201);
    broker.advance(86_401);
    assert_eq!(Answer::of(open()).await.status, 401, "expired");
    assert_eq!(sfu.history().len(), 1);
    let named = broker.request(Method::POST, "/partytracks/sessions/new?correlationId=r").bearer_auth(&grant);
    assert_eq!(Answer::of(named).await.status, 201, "as without it");
    let path = format!("/partytracks/sessions/{}/renegotiate", opened.json()["sessionId"].as_str().unwrap());
    let cookie = opened.header("set-cookie").unwrap().split(';').next().unwrap();
    let call = broker.request(Method::PUT, &path).bearer_auth(grant).header("cookie", cookie);
    let call = call.body(description("v=0").to_string());
    assert_eq!(Answer::of(call).await.status, 200, "the lock outlives the grant");
}

#[tokio::test]
async fn a_body_may_have_1_mib() {
    let (sfu, broker) = start(&[]).await;
    let page = Page::join(&broker, "r").await;
    let around = description("").to_string().len();
    let body = |length: usize| description(&"x".repeat(length - around));
    assert_eq!(body(1_048_576).to_string().len(), 1_048_576);
    assert_eq!(page.call(Method::PUT, "/renegotiate", &body(1_048_576)).await.status, 200);
    let answer = page.call(Method::PUT, "/renegotiate", &body(1_048_577)).await;
    assert_eq!(answer.error(), (413, "payload_too_large"));
    let mut taken = broker.app.bodies.long.open(ClientKey::of(page.address.parse().unwrap()));
    assert!(taken.try_resize(LONG_BYTES_PER_CLIENT_MAX - 1_000_000));
    let answer = page.call(Method::PUT, "/renegotiate", &body(1_048_576)).await;
    assert_eq!(answer.error(), (503, "overloaded"));
    let other = Page::join_from(&broker, "r", "203.0.113.2").await;
    // Another address.
    assert_eq!(other.call(Method::PUT, "/renegotiate", &body(1_048_576)).await.status, 200);
    drop(taken);
    assert_eq!(page.call(Method::PUT, "/renegotiate", &body(1_048_576)).await.status, 200);
    assert_eq!(sfu.requests("/renegotiate").len(), 3);
}

#[tokio::test]
async fn ice_servers_are_minted_here_and_a_failure_is_a_list_of_stun_servers() {
    let (sfu, broker) = start(&[&COTURN[..], &[("RATE_LIMIT_REQUESTS", "2")]].concat()).await;
    for method in [Method::GET, Method::POST] {
        let answer = broker.send(method, "/partytracks/generate-ice-servers").await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, Some("no-store")));
        let body = answer.json();
        assert!(body["iceServers"][0]["username"].is_string(), "{body}");
        let expiry =
            body["iceServers"][0]["username"].as_str().unwrap().split(':').next().unwrap().to_owned();
        assert_eq!(expiry, (1_736_942_400 + 14_400).to_string(), "SIGNALING_TTL_SECONDS");
    }
    let over = broker.get("/api/calls/generate-ice-servers").await;
    assert_eq!(over.status, 200);
    assert!(over.json()["iceServers"][0].get("username").is_none(), "{}", over.text);
    assert!(over.text.contains("stun:"), "{}", over.text);
    // A mint counts against the mints, whichever route asked for it.
    assert_eq!(broker.mint().await.status, 429);
    assert!(sfu.history().is_empty());
}

#[tokio::test]
async fn a_foreign_page_opens_nothing_and_an_allowed_one_may_use_put() {
    let (sfu, broker) = start(&[("CLIENT_URL", "https://app.example")]).await;
    let path = "/partytracks/sessions/new?correlationId=r";
    let foreign = broker.request(Method::POST, path).header("origin", "https://evil.example");
    let foreign = Answer::of(foreign).await;
    assert!(foreign.status == 403 && foreign.text.starts_with("origin_not_allowed: "), "{}", foreign.text);
    assert_eq!(foreign.header("content-type"), Some("text/plain; charset=utf-8"), "partytracks tries again");
    assert!(sfu.history().is_empty());
    let own = Answer::of(broker.request(Method::POST, path).header("origin", "https://app.example")).await;
    assert_eq!(own.header("access-control-allow-origin"), Some("https://app.example"));
    let preflight = broker
        .request(Method::OPTIONS, "/partytracks/sessions/a/renegotiate")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "PUT")
        .header("access-control-request-headers", "authorization,x-realtime-room,x-of-the-page");
    let preflight = Answer::of(preflight).await;
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("PUT"));
    let allowed = preflight.header("access-control-allow-headers").unwrap();
    assert!(allowed.contains("x-realtime-room") && allowed.contains("x-of-the-page"), "{allowed}");
    let own = broker.request(Method::POST, path).header("origin", "https://app.example");
    assert_eq!(Answer::of(own.header("x-of-the-page", "7")).await.status, 201);
    assert!(sfu.history().iter().all(|request| !request.headers.contains_key("x-of-the-page")));
}
