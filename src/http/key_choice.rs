//! Which TURN key a mint asks for: `?region=` names it, or a trusted proxy states the country of the client. A client's own
//! header is never read, and neither choice lets anyone mint what the budget refuses.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Request};

use super::head::only_line;
use crate::app::App;
use crate::config::Country;
use turn_base::error::ApiError;
use turn_base::request::client_addr::is_trusted;
use turn_base::request::query::parameters;
use turn_ledger::KeyName;

/// The key of the country that a trusted proxy states, if that country has a key.
pub fn by_country(app: &App, request: &Request) -> Option<KeyName> {
    let countries = app.countries.as_ref().filter(|countries| !countries.keys.is_empty())?;
    let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    if !is_trusted(peer.ip(), &app.trusted_proxies) {
        return None;
    }
    let line = only_line(request.headers(), &countries.header)?;
    countries.keys.get(&Country::parse(line.as_bytes())?).copied()
}

/// The key that `?region=` names. An empty one is none.
pub(super) fn by_region(app: &App, query: Option<&str>) -> Result<Option<KeyName>, ApiError> {
    let invalid = || {
        ApiError::invalid("Set `region` to the name of a TURN key of this service, once, or leave it out.")
    };
    match parameters(query, "region").as_slice() {
        [] => Ok(None),
        [text] if text.is_empty() => Ok(None),
        [text] => {
            let named =
                KeyName::new(text).filter(|name| app.mint.turn_keys().iter().any(|key| key.group == *name));
            named.map(Some).ok_or_else(invalid)
        }
        _ => Err(invalid()),
    }
}
