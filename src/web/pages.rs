//! The pages and the files they load. They contain no data. A page loads nothing from another site and runs no script that
//! is not one of its files. No other site may frame a page or load its files.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, Request};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION, REFERRER_POLICY, VARY,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use super::unless_cached;
use crate::app::App;
use crate::http::route::Route;
use turn_base::{ApiError, entries};

/// Scripts, styles and requests of this origin only. No policy applies to relayed connections: they are not requests.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// A page and its files must be of one version, so each request revalidates.
const PAGE_CACHE: &str = "no-cache";
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Name and content. The extension of the name gives the content type.
type File = (&'static str, &'static str);

/// Files of one folder, by their names.
macro_rules! files {
    ($folder:literal: $($name:literal),+) => {
        &[$(($name, include_str!(concat!($folder, "/", $name)))),+]
    };
}

/// The HTML of a page: the head that all pages share, then its own part.
macro_rules! html {
    ($page:literal) => {
        concat!(include_str!("head.html"), include_str!(concat!($page, "/index.html")))
    };
}

/// What every page loads.
const SHARED: &[File] = files!(".": "page.css", "page.js");

/// The chart library.
const UPLOT: &[File] = &[
    ("uplot.css", include_str!("vendor/uplot/uPlot.min.css")),
    ("uplot.js", include_str!("vendor/uplot/uPlot.iife.min.js")),
    ("uplot-license.txt", include_str!("vendor/uplot/LICENSE")),
];

/// A page under a path of one name, and its files below that path.
pub struct Page {
    link: Link,
    html: &'static str,
    files: &'static [&'static [File]],
}

/// The operator's page.
pub static DASHBOARD: Page = Page {
    link: Link { path: "/dashboard", title: "Dashboard" },
    html: html!("dashboard"),
    files: &[
        SHARED,
        UPLOT,
        files!("dashboard":
            "dashboard.css", "plots.css", "main.js", "actions.js", "alerts.js", "blocked.js", "broker.js", "calls.js",
            "confirm.js", "connections.js", "format.js", "plots.js", "rows.js", "series.js", "spenders.js", "spending.js", "table.js", "verdicts.js",
            "view.js"
        ),
    ],
};

/// Checks the ICE servers from a browser.
pub static RELAY_CHECK: Page = Page {
    link: Link { path: "/relay-check", title: "Relay check" },
    html: html!("relay-check"),
    files: &[
        SHARED,
        files!("relay-check": "relay-check.css", "main.js", "gather.js", "findings.js", "report.js"),
    ],
};

/// The page of `turn-broker demo`. It also loads files of the dashboard.
pub static DEMO: Page = Page {
    link: Link { path: "/demo", title: "Demo" },
    html: html!("demo"),
    files: &[
        SHARED,
        files!("demo": "demo.css", "main.js", "call.js", "guest.js", "host.js", "plot.js", "scene.js", "signaling.js", "stage.js", "words.js"),
    ],
};

/// Links to the pages that this process serves, the start page first.
pub fn served(app: &App) -> Vec<Link> {
    let demo = app.config.is_demo.then_some(&DEMO);
    let dashboard = app.operator_token.is_some().then_some(&DASHBOARD);
    demo.into_iter().chain(dashboard).chain([&RELAY_CHECK]).map(|page| page.link).collect()
}

impl Page {
    /// The page, with links to all `served` pages, and its files.
    pub fn routes(&'static self, served: &[Link]) -> [Route; 2] {
        let html: Arc<str> = self.html.replacen(MARK, &links(served, self.link), 1).into();
        let get_page = async move |headers: HeaderMap| {
            let policies = [(CONTENT_SECURITY_POLICY, POLICY), (OPENER_POLICY, "same-origin")];
            (policies, same_origin("index.html", &html, &headers))
        };
        let get_file = async move |Path(name): Path<String>, headers: HeaderMap| {
            let mut files = self.files.iter().copied().flatten();
            match files.find(|(known, _)| *known == name) {
                Some((name, text)) => same_origin(name, text, &headers),
                None => ApiError::no_route().into_response(),
            }
        };
        [
            Route::new(self.link.path, get(get_page)),
            Route::new(format!("{}/{{file}}", self.link.path), get(get_file)),
        ]
    }
}

/// Rejects requests for the operator's page if `OPERATOR_TOKEN` is not set.
pub fn only_with_operator(app: &App, _: &Request) -> Result<(), ApiError> {
    app.operator_token.as_ref().map(|_| ()).ok_or_else(ApiError::no_operator)
}

/// A file that only pages of this origin may load.
fn same_origin(name: &str, text: &str, request: &HeaderMap) -> Response {
    let content_type = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    };
    let headers =
        [(CACHE_CONTROL, PAGE_CACHE), (RESOURCE_POLICY, "same-origin"), (REFERRER_POLICY, "no-referrer")];
    (headers, unless_cached(text.as_bytes(), request, ([(CONTENT_TYPE, content_type)], text.to_owned())))
        .into_response()
}

// The links between the pages, and `/`, which leads a browser to the first page. Both are made from one list: the pages that
// this process serves. Links are relative, so they work behind a proxy that adds a path.

/// The place of the links in the HTML of a page.
pub(super) const MARK: &str = "<!-- navigation -->";

/// What a link needs of a page.
#[derive(Clone, Copy)]
pub struct Link {
    /// The path of the page: `/` and one name.
    pub path: &'static str,
    /// Its name in the navigation.
    pub title: &'static str,
}

/// Links to all pages. The link to `current` is marked.
pub(super) fn links(pages: &[Link], current: Link) -> String {
    let mut html = String::from("<nav class=\"pages\" aria-label=\"Pages\">");
    for page in pages {
        let mark = if page.path == current.path { " aria-current=\"page\"" } else { "" };
        write!(html, "<a href=\"{}\"{mark}>{}</a>", relative(*page), page.title).unwrap_or_default();
    }
    html + "</nav>"
}

/// `/`: redirects a browser to the first of `pages`. For other clients the path does not exist.
pub fn start(pages: &[Link]) -> MethodRouter<Arc<App>> {
    let first = pages.first().copied();
    get(async move |headers: HeaderMap| match first.filter(|_| accepts_html(&headers)) {
        Some(page) => redirect(page),
        None => ApiError::no_route().into_response(),
    })
}

fn redirect(page: Link) -> Response {
    let headers = [(LOCATION, relative(page)), (VARY, "accept"), (CACHE_CONTROL, "no-store")];
    (StatusCode::SEE_OTHER, headers).into_response()
}

/// The path of a page, relative to `/` and to every page.
fn relative(page: Link) -> &'static str {
    page.path.trim_start_matches('/')
}

fn accepts_html(headers: &HeaderMap) -> bool {
    entries(headers, &ACCEPT).any(|range| range.starts_with("text/html"))
}
