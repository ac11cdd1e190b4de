//! Hostile requests at the doors that take a server key, and hostile answers of another provider: whatever is sent, the answer is no fault of
//! the service, and no key is in a log line or in a response.

use super::{KEY, KEYS, with_keys};
use crate::support::prelude::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::string::string_regex;
use proptest::test_runner::{Config, TestRunner};

const PATHS: [&str; 11] = [
    "/v1/turn/keys/x/credentials/generate-ice-servers",
    "/v1/turn/keys/x/credentials/generate",
    "/v1/turn/keys/x/credentials/name/revoke",
    "/v1/turn/keys/%00/credentials/%ff/revoke",
    "/turn",
    "/ice",
    "/link",
    "/api/v1/turn/credentials",
    "/_matrix/client/v3/voip/turnServer",
    "/api/turn-credentials",
    "/api/connections",
];

/// A request, as its parts.
type Parts = (usize, bool, String, Option<String>, Option<String>, Vec<u8>);

fn any_request() -> impl Strategy<Value = Parts> {
    let token = prop_oneof![
        Just(format!("Bearer {KEY}")),
        Just(format!("bearer  {KEY} ")),
        Just(format!("Basic {KEY}")),
        "[ -~]{0,20}(:[ -~]{0,40})?".prop_map(|pair| format!("Basic {}", STANDARD.encode(pair))),
        Just(format!("Bearer {KEY}x")),
        "Bearer [!-~]{0,300}",
        "[ -~]{0,60}",
    ];
    let query = prop_oneof![
        Just(String::new()),
        Just(format!("service=turn&key={KEY}")),
        Just(format!("service=turn&api={KEY}&key={KEY}x&username=a")),
        "service=turn&(key|api|api_key|apiKey|user|username|label|ttl|customIdentifier)=[!-~]{0,40}(&[a-z]{1,9}=%[0-9a-f]{0,2})?",
        "[!-~]{0,80}",
    ];
    let json = r#"\{"(ttl|customIdentifier|user|label|connectionId|token)":("[ -~]{0,40}"|-?[0-9]{1,20}(\.[0-9])?|null|\[\]|\{\}|true)\}"#;
    let form = format!("(service=turn|key={KEY}|ttl=60|[a-z]{{1,8}}=[ -~]{{0,20}}|%|&){{0,6}}");
    let body = prop_oneof![
        Just(vec![]),
        json.prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..200),
        Just(format!("service=turn&key={KEY}&username=ann").into_bytes()),
        Just(format!(r#"{{"token":"{KEY}","connectionId":"c"}}"#).into_bytes()),
        string_regex(&form).unwrap().prop_map(String::into_bytes),
        Just(vec![b'['; 20_000]),
    ];
    let header = proptest::option::of("[ -~]{0,60}");
    (0..PATHS.len(), any::<bool>(), query, proptest::option::of(token), header, body)
}

fn built(broker: &TestBroker, (path, is_post, query, token, origin, body): Parts) -> Option<RequestBuilder> {
    let target = if query.is_empty() { PATHS[path].to_owned() } else { format!("{}?{query}", PATHS[path]) };
    let url = format!("http://{}{target}", broker.address);
    url.parse::<reqwest::Url>().ok()?;
    let method = if is_post { Method::POST } else { Method::GET };
    let mut request = broker.request(method, &target);
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    Some(if is_post { request.body(body) } else { request })
}

#[tokio::test]
async fn no_request_is_a_fault_and_no_key_is_repeated() {
    let (log, _logging) = Log::of_this_thread();
    let settings = [("SERVER_KEY_REQUESTS", "100000"), ("RATE_LIMIT_REQUESTS", "10000")];
    let (_cloudflare, broker) = with_keys(&settings).await;
    let mut runner = TestRunner::new(Config::default());
    let (mut answered, mut minted) = (0, 0);
    for case in 0..1_500 {
        let parts = any_request().new_tree(&mut runner).unwrap().current();
        let shown = format!("{case}: {parts:?}");
        let Some(request) = built(&broker, parts) else { continue };
        // Nobody is refused only because of its many wrong tokens.
        let from = format!("10.{}.{}.1", case / 250, case % 250);
        let answer = Answer::of(request.header("x-forwarded-for", from)).await;
        assert!(answer.status.as_u16() < 500, "{} {} to {shown}", answer.status, answer.text);
        assert!(!answer.text.contains(KEY), "{} to {shown}", answer.text);
        answered += 1;
        minted += u32::from(answer.status.is_success());
    }
    assert!(answered > 1_000 && minted > 100, "{minted} of {answered}");
    let text = log.text();
    let ours: Vec<_> = text.lines().filter(|line| line.contains(" turn_")).collect();
    assert!(ours.len() > 100, "{}", ours.len());
    assert!(ours.iter().all(|line| !line.contains(KEY)), "a key is in the log");
}

/// What a provider may answer: anything, and lists with fields of the wrong kind.
fn any_answer() -> impl Strategy<Value = String> {
    let field = r#""(urls|url|username|credential|ttl|iceServers|ice_servers|v)":("(turn|stun|turns)?:?[ -~&&[^"\\]]{0,40}"|-?[0-9]{1,20}(\.[0-9])?|null|\[\]|true)"#;
    let entry = proptest::collection::vec(field, 0..5).prop_map(|fields| format!("{{{}}}", fields.join(",")));
    let list = proptest::collection::vec(entry, 0..4).prop_map(|entries| format!("[{}]", entries.join(",")));
    prop_oneof![
        "[ -~]{0,200}",
        list.clone(),
        (list, "(1|-1|1e99|\"60\"|\"x\"|null|[0-9]{1,30})")
            .prop_map(|(list, ttl)| format!(r#"{{"ttl":{ttl},"iceServers":{list}}}"#)),
        Just("[".repeat(20_000)),
        Just(format!(r#"[{{"urls":"turn:{}","username":"u","credential":"c"}}]"#, "a".repeat(3_000))),
    ]
}

#[tokio::test]
async fn no_answer_of_another_provider_is_a_fault() {
    let (log, _logging) = Log::of_this_thread();
    let mut runner = TestRunner::new(Config::default());
    let answers: Vec<String> =
        (0..300).map(|_| any_answer().new_tree(&mut runner).unwrap().current()).collect();
    let plan: Vec<_> = answers.iter().map(|text| Reply::Text(text.clone().leak())).collect();
    let provider = FakeWebhook::start(&plan).await;
    let url = provider.url();
    let source =
        [("ICE_SOURCES", "http,stun"), ("HTTP_ICE_URL", url.as_str()), KEYS, ("SERVER_KEY_REQUESTS", "1000")];
    let broker = TestBroker::start(&source).await;
    for answer in &answers {
        let minted = broker.mint_with(KEY).await;
        assert_eq!(minted.status, 200, "{} to {answer}", minted.text);
        assert!(!minted.text.contains("hush"), "{}", minted.text);
        // Five failures open the breaker, for at most half a minute.
        broker.advance(31);
    }
    assert!(provider.history().len() >= answers.len(), "{}", provider.history().len());
    let text = log.text();
    let ours: Vec<_> = text.lines().filter(|line| line.contains(" turn_")).collect();
    assert!(ours.iter().all(|line| !line.contains(KEY) && !line.contains("hush")), "a secret is in the log");
}
