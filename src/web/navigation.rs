//! The links between the pages, and `/`, which leads a browser to the first page. Both are made from one list: the pages that
//! this process serves. Links are relative, so they work behind a proxy that adds a path.

use std::fmt::Write;
use std::sync::Arc;

use axum::http::header::{ACCEPT, CACHE_CONTROL, LOCATION, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};

use crate::app::App;
use turn_base::error::ApiError;
use turn_base::request::header::entries;

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
