//! The pages over HTTP: their policies, their size, and when they exist.

use crate::support::prelude::*;
use turn_ledger::SpenderKind;

const PAGES: [&str; 2] = ["/dashboard", "/relay-check"];
/// The size of a page with all its files, uncompressed.
const PAGE_BYTES_MAX: usize = 195_500;

pub(crate) const POLICY: [&str; 8] = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
];

/// The text after each `begin`, up to the next quote.
fn quoted<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    text.split(begin).skip(1).filter_map(|rest| rest.split(['"', '\'']).next()).collect()
}

/// Path and response of the page and of all files that it loads, including imported scripts.
pub(crate) async fn everything(broker: &Api, page: &str) -> Vec<(String, Answer)> {
    let mut loaded = vec![(page.to_owned(), broker.get(page).await)];
    let mut next = 0;
    while next < loaded.len() {
        let (path, answer) = &loaded[next];
        let base = reqwest::Url::parse(&format!("http://broker{path}")).unwrap();
        let begins = if next == 0 {
            ["<link rel=\"stylesheet\" href=\"", "<script src=\""]
        } else {
            [" from '", "import '"]
        };
        let names = begins.iter().flat_map(|begin| quoted(&answer.text, begin));
        let paths: Vec<_> = names.map(|name| base.join(name).unwrap().path().to_owned()).collect();
        for path in paths {
            if loaded.iter().all(|(known, _)| *known != path) {
                let answer = broker.get(&path).await;
                loaded.push((path, answer));
            }
        }
        next += 1;
    }
    loaded
}

#[tokio::test]
async fn a_page_may_run_only_its_own_files_which_exist_are_small_and_have_the_right_type() {
    let broker = TestBroker::start(&[]).await;
    for page in PAGES {
        let loaded = everything(&broker, page).await;
        assert!(loaded.len() > 4, "{page} loads more than {}", loaded.len());
        let (_, answer) = &loaded[0];
        assert_eq!(answer.status, 200, "{page}");
        let policy = answer.header("content-security-policy").unwrap();
        assert_eq!(policy.split("; ").collect::<Vec<_>>(), POLICY);
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cross-origin-opener-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{page}");
        }
        for inline in ["<style", " style=", " onclick=", "<script>", "javascript:"] {
            assert!(!answer.text.contains(inline), "{page} has {inline}");
        }
        for (path, answer) in &loaded[1..] {
            assert_eq!(answer.status, 200, "{path}");
            let is_style = path.rsplit('.').next() == Some("css");
            let kind = if is_style { "css" } else { "javascript" };
            for (name, value) in [
                ("content-type", Some(format!("text/{kind}; charset=utf-8"))),
                ("cross-origin-resource-policy", Some("same-origin".to_owned())),
                ("access-control-allow-origin", None),
                ("x-content-type-options", Some("nosniff".to_owned())),
            ] {
                assert_eq!(answer.header(name), value.as_deref(), "{path}");
            }
        }
        let bytes: usize = loaded.iter().map(|(_, answer)| answer.text.len()).sum();
        assert!(bytes < PAGE_BYTES_MAX, "{page} loads {bytes} bytes");
    }
}

#[tokio::test]
async fn a_browser_revalidates_a_page_and_its_files_each_time() {
    let broker = TestBroker::start(&[]).await;
    for path in ["/dashboard", "/dashboard/main.js", "/relay-check", "/relay-check/page.css"] {
        let first = broker.get(path).await;
        let tag = first.header("etag").unwrap();
        let again = broker.get_with(path, &[("if-none-match", tag)]).await;
        assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{path}");
        assert_eq!(again.header("content-security-policy"), first.header("content-security-policy"));
    }
}

/// The links of the navigation: their targets, and which one is that of the page itself.
fn links(page: &str) -> Vec<(String, bool)> {
    let (_, rest) = page.split_once("<nav class=\"pages\"").expect("a navigation");
    let (navigation, _) = rest.split_once("</nav>").unwrap();
    let links = navigation.split("<a ").skip(1);
    links
        .map(|link| (quoted(link, "href=\"")[0].to_owned(), link.contains("aria-current=\"page\"")))
        .collect()
}

#[tokio::test]
async fn every_page_links_to_all_pages_and_marks_itself() {
    let broker = TestBroker::start(&[]).await;
    for page in PAGES {
        let expected = ["dashboard", "relay-check"].map(|name| (name.into(), page.ends_with(name)));
        assert_eq!(links(&broker.get(page).await.text), expected, "{page}");
    }
    let broker = TestBroker::start(&[("OPERATOR_TOKEN", "")]).await;
    let expected = [("relay-check".into(), true)];
    assert_eq!(links(&broker.get("/relay-check").await.text), expected, "there is no dashboard");
}

#[tokio::test]
async fn a_browser_is_led_from_the_root_to_the_first_page() {
    for (token, first) in [("an-operator-token-of-a-test-0123", "dashboard"), ("", "relay-check")] {
        let broker = TestBroker::start(&[("OPERATOR_TOKEN", token)]).await;
        let browser = client_builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let url = broker.request(Method::GET, "/").build().unwrap().url().clone();
        let accept = "text/html,application/xhtml+xml,*/*;q=0.8";
        let answer = Answer::of(browser.get(url).header("accept", accept)).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (303, Some(first)));
        assert_eq!(
            (answer.header("vary"), answer.header("cache-control")),
            (Some("accept"), Some("no-store"))
        );
        assert_eq!(broker.get("/").await.error(), (404, "NOT_FOUND"), "a program gets an error in JSON");
    }
}

#[tokio::test]
async fn an_unknown_file_and_the_demo_are_not_found_and_a_page_accepts_only_reads() {
    let broker = TestBroker::start(&[]).await;
    let unknown = "/dashboard/ /dashboard/index.html /dashboard/..%2fmod.rs /dashboard/api.d.ts /relay-check/uplot.js \
                   /relay-check/x/y /docs /docs/main.js /demo /demo/main.js";
    for path in unknown.split(' ') {
        assert_eq!(broker.get(path).await.error(), (404, "NOT_FOUND"), "{path}");
    }
    for path in PAGES {
        let posted = broker.send(Method::POST, path).await;
        assert_eq!(posted.error(), (405, "METHOD_NOT_ALLOWED"), "{path}");
    }
}

#[tokio::test]
async fn the_chart_library_has_its_license() {
    let broker = TestBroker::start(&[]).await;
    let page = broker.get("/dashboard").await;
    assert!(page.text.contains("href=\"dashboard/uplot-license.txt\""));
    let licence = broker.get("/dashboard/uplot-license.txt").await;
    assert!(licence.text.contains("MIT License") && licence.text.contains("Leon Sorokin"));
    assert_eq!(licence.header("content-type"), Some("text/plain; charset=utf-8"));
}

#[test]
fn the_dashboard_offers_earlier_months_of_the_kinds_of_spenders_that_are_kept() {
    let kept = SpenderKind::ALL.into_iter().filter(|kind| kind.is_kept());
    let is_one = kept.map(|kind| format!("by === '{}'", kind.name())).collect::<Vec<_>>().join(" || ");
    let script = include_str!("../../../src/web/dashboard/spending.js");
    assert!(script.contains(&format!("isKept = (by) => {is_one};")), "{is_one}");
}
