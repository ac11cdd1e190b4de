//! Files for browsers: the module, and the [pages] of the broker.

pub(crate) mod pages;

use std::io::Read;

use crate::support::prelude::*;
use flate2::read::GzDecoder;
use tar::Archive;

const PACKAGE: &str = "/turn-client.tgz";

const FILES: [(&str, &str, &str); 3] = [
    ("/openapi.json", "application/json", "\"openapi\": \"3.1.0\""),
    ("/turn-client.js", "text/javascript; charset=utf-8", "export function createTurnClient("),
    ("/turn-client.d.ts", "application/typescript; charset=utf-8", "export function createTurnClient("),
];

#[tokio::test]
async fn texts_are_gzipped_for_who_reads_that() {
    let broker = TestBroker::start(&[]).await;
    for path in ["/openapi.json", "/turn-client.js", "/turn-client.d.ts"] {
        let plain = broker.get_with(path, &[("accept-encoding", "br, gzip;q=0")]).await;
        assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("accept-encoding")));
        let request = broker.request(Method::GET, path).header("accept-encoding", "br, gzip;q=0.5");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        let mut text = String::new();
        GzDecoder::new(&*answer.bytes().await.unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, plain.text, "{path}");
    }
}

#[tokio::test]
async fn a_client_keeps_the_module_its_types_and_the_document_for_an_hour_and_then_revalidates() {
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

    for (path, ..) in FILES {
        let first = broker.get(path).await;
        assert_eq!(first.header("cache-control"), Some("public, max-age=3600"), "{path}");
        let tag = first.header("etag").unwrap();
        for known in [tag.to_owned(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = broker.get_with(path, &[("if-none-match", &known)]).await;
            assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{known}");
            for name in ["etag", "cache-control", "access-control-allow-origin"] {
                assert_eq!(again.header(name), first.header(name), "{name}");
            }
        }
        let other = broker.get_with(path, &[("if-none-match", "\"other\"")]).await;
        assert_eq!((other.status.as_u16(), other.text), (200, first.text.clone()));
    }
}

#[tokio::test]
async fn any_origin_may_load_the_module_and_the_document() {
    let broker = TestBroker::start(&[("CLIENT_URL", "https://app.example")]).await;
    for (path, ..) in FILES {
        let answer = broker.get_with(path, &[("origin", "https://elsewhere.example")]).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
}

/// The files of the npm package, by their names.
async fn package(broker: &TestBroker) -> (Vec<u8>, BTreeMap<String, String>) {
    let response = broker.request(Method::GET, PACKAGE).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/gzip");
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert!(response.headers().contains_key("etag"));
    let bytes = response.bytes().await.unwrap().to_vec();
    let mut files = BTreeMap::new();
    for entry in Archive::new(GzDecoder::new(bytes.as_slice())).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(name, text);
    }
    (bytes, files)
}

#[tokio::test]
async fn the_package_has_the_module_the_brokers_version_and_a_readme_with_links_to_its_own_files() {
    let broker = TestBroker::start(&[]).await;
    let (_, files) = package(&broker).await;
    let names: Vec<_> = files.keys().filter_map(|name| name.strip_prefix("package/")).collect();
    let examples = ["examples/plain.html", "examples/reporter.mjs", "examples/useWebRTC.tsx"];
    let others = ["package.json", "turn-client.cjs", "turn-client.d.ts", "turn-client.js"];
    assert_eq!(names, [&["README.md"], &examples[..], &others].concat());
    assert_eq!(files["package/turn-client.js"], broker.get("/turn-client.js").await.text);
    let script = format!("{}console.log(module.exports)", files["package/turn-client.cjs"]);
    if let Ok(output) = std::process::Command::new("node").args(["-e", &script]).output() {
        let exports = "{\n  TurnClientError: [class TurnClientError extends Error],\n  createTurnClient: [Function: createTurnClient]\n}\n";
        assert_eq!(String::from_utf8(output.stdout).unwrap(), exports);
    }
    assert_eq!(files["package/turn-client.d.ts"], broker.get("/turn-client.d.ts").await.text);
    let exports = files["package/package.json"].split_once("\"exports\"").unwrap().1;
    assert!(exports.find("types") < exports.find("default"), "TypeScript requires `types` first: {exports}");
    let manifest: serde_json::Value = serde_json::from_str(&files["package/package.json"]).unwrap();
    assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json!([manifest["name"], manifest["type"]]), json!(["turn-broker-client", "module"]));
    let exported =
        json!({"types": "./turn-client.d.ts", "require": "./turn-client.cjs", "default": "./turn-client.js"});
    assert_eq!(manifest["exports"]["."], exported);

    let links = files["package/README.md"].split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0);
    let own: Vec<_> = links.filter(|link| !link.starts_with("https://") && !link.starts_with('#')).collect();
    assert!(own.len() >= 3, "{own:?}");
    for link in own {
        assert!(files.contains_key(&format!("package/{link}")), "{link}");
    }
}

#[tokio::test]
async fn npm_finds_the_bytes_of_the_package_unchanged_after_a_restart() {
    // npm refuses a file whose hash is not that of its lock file. So no time of the build or of the start is in it.
    let bytes = package(&TestBroker::start(&[]).await).await.0;
    assert_eq!(bytes[4..8], [0; 4], "no time in the head of the gzip file");
    let mut archive = Archive::new(GzDecoder::new(bytes.as_slice()));
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.mode().unwrap()), (0, 0, 0o644));
    }
    assert_eq!(package(&TestBroker::start(&[]).await).await.0, bytes);
}
