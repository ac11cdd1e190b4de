//! A panic in a handler of signaling is an error response, as in every other route.

use crate::support::prelude::*;

const OWN: &str = "https://app.example";

#[tokio::test]
async fn a_panic_in_a_route_of_signaling_becomes_a_500_and_the_next_request_is_served() {
    let directory = StateDir::new();
    let broker = TestBroker::start(&[
        ("SIGNALING", "ayame,p2pcf,rooms,sfu,reports"),
        ("CALLS_APP_ID", SFU_APP),
        ("CALLS_APP_SECRET", SFU_SECRET),
        ("REPORTS_DIR", directory.path()),
        ("CLIENT_URL", OWN),
    ])
    .await;
    let routes = [
        (Method::GET, "/signaling"),
        (Method::POST, "/p2pcf"),
        (Method::GET, "/parties/rooms/r"),
        (Method::PUT, "/partytracks/sessions/s/renegotiate"),
        (Method::POST, "/api/reportRefresh"),
    ];
    let ask = async |(method, path): &(Method, &str)| {
        let request = broker.request(method.clone(), path).header("origin", OWN);
        let request = request.header("cookie", "partytracks-session-s=a.b.c");
        let upgrade = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
        ];
        let is_socket = ["/signaling", "/parties/rooms/r"].contains(path);
        let upgrade = upgrade.into_iter().filter(|_| is_socket);
        Answer::of(upgrade.fold(request, |request, (name, value)| request.header(name, value))).await
    };
    broker.break_clock();
    for route in &routes {
        let answer = ask(route).await;
        assert_eq!(answer.error(), (500, "INTERNAL"), "{route:?}");
        let may_read = answer.header("access-control-allow-origin").is_some();
        let is_for_pages = ["/p2pcf", "/partytracks/sessions/s/renegotiate", "/api/reportRefresh"];
        assert_eq!(may_read, is_for_pages.contains(&route.1), "{route:?}");
    }
    broker.repair_clock();
    for route in &routes {
        assert_ne!(ask(route).await.status, 500, "{route:?}");
    }
    let panics = broker.metric("turn_broker_panics_total").await;
    assert_eq!(panics, u64::try_from(routes.len()).ok());
}
