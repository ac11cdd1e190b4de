//! Settings of the source `http`: any other provider or server that answers a request with a list of ICE servers.

use std::time::Duration;

use axum::http::HeaderValue;
use reqwest::Method;

use super::form::{form, is_plain, seconds};
use super::settings::Settings;
use crate::ice::http_ice::ListRequest;

/// The methods of known providers.
const METHODS: [Method; 3] = [Method::GET, Method::POST, Method::PUT];
/// The longest value of the header `Authorization`, in bytes.
const AUTHORIZATION_MAX: usize = 4_096;

/// The request, and how long the credentials live. Its `Debug` form shows only method and host of the request.
#[derive(Clone, Debug)]
pub struct HttpIceConfig {
    /// The request.
    pub request: ListRequest,
    /// How long a credential works at most, 60 s to 48 h. `HTTP_ICE_TTL_SECONDS`; `TURN_TTL_SECONDS` when unset.
    pub life: Option<Duration>,
}

impl HttpIceConfig {
    /// `None` without a URL.
    pub(super) fn read(settings: &mut Settings<'_>) -> Option<Self> {
        let url = settings.webhook("HTTP_ICE_URL", "the credentials");
        let parse_method =
            |text: &str| METHODS.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text));
        let method = settings.get("HTTP_ICE_METHOD", "GET", form("GET, POST or PUT", parse_method));
        let authorization =
            settings.secret("HTTP_ICE_AUTHORIZATION", form(AUTHORIZATION, parse_authorization));
        let life = settings.about_money().optional("HTTP_ICE_TTL_SECONDS", seconds(60..=172_800));
        Some(Self { request: ListRequest { url: url?, method, authorization }, life })
    }
}

const AUTHORIZATION: &str = "the value of a header, such as Basic dXNlcjpwYXNzd29yZA== or Bearer TOKEN";

fn parse_authorization(text: &str) -> Option<HeaderValue> {
    let is_good = text.is_ascii() && is_plain(text) && text.len() <= AUTHORIZATION_MAX;
    let mut value = HeaderValue::from_str(text).ok().filter(|_| is_good)?;
    value.set_sensitive(true);
    Some(value)
}
