//! Files for browsers: the module, and the [pages] of the broker.

mod api_types;
mod pages;

use crate::support::{Answer, TestBroker};
use reqwest::Method;

const FILES: [(&str, &str, &str); 2] = [
    ("/turn-client.js", "text/javascript; charset=utf-8", "export function createTurnClient("),
    ("/turn-client.d.ts", "application/typescript; charset=utf-8", "export function createTurnClient("),
];

async fn ask(broker: &TestBroker, path: &str, header: (&str, &str)) -> Answer {
    Answer::of(broker.request(Method::GET, path).header(header.0, header.1)).await
}

#[tokio::test]
async fn the_module_and_its_types_have_their_content_types() {
    let broker = TestBroker::start(&[]).await;
    for (path, content_type, holds) in FILES {
        let answer = broker.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some(content_type));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.text.contains(holds), "{path}");
    }
    let script = broker.get("/turn-client.js").await;
    assert_eq!(script.header("x-typescript-types"), Some("/turn-client.d.ts"));
}

#[tokio::test]
async fn any_origin_may_import_the_module() {
    let broker = TestBroker::start(&[("CLIENT_URL", "https://app.example")]).await;
    for (path, ..) in FILES {
        let answer = ask(&broker, path, ("origin", "https://elsewhere.example")).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
}

#[tokio::test]
async fn a_client_keeps_the_module_for_an_hour_and_then_revalidates() {
    let broker = TestBroker::start(&[]).await;
    for (path, ..) in FILES {
        let first = broker.get(path).await;
        assert_eq!(first.header("cache-control"), Some("public, max-age=3600"), "{path}");
        let tag = first.header("etag").unwrap();
        for known in [tag.to_owned(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = ask(&broker, path, ("if-none-match", &known)).await;
            assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{known}");
            for name in ["etag", "cache-control", "access-control-allow-origin"] {
                assert_eq!(again.header(name), first.header(name), "{name}");
            }
        }
        let other = ask(&broker, path, ("if-none-match", "\"other\"")).await;
        assert_eq!((other.status.as_u16(), other.text), (200, first.text.clone()));
    }
}

#[tokio::test]
async fn the_module_and_its_types_have_different_tags() {
    let broker = TestBroker::start(&[]).await;
    let [script, types] = FILES.map(|(path, ..)| path);
    let (script, types) = (broker.get(script).await, broker.get(types).await);
    assert_ne!(script.header("etag").unwrap(), types.header("etag").unwrap());
}
