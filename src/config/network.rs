//! How this process reaches other services: one set of authorities for every connection, and a proxy for requests.

use std::net::IpAddr;

use ipnet::IpNet;

use super::form::{form, path};
use super::settings::Settings;
use turn_base::{HttpsProxy, Network, Trust};

pub(super) fn read(settings: &mut Settings<'_>) -> Network {
    let expected = "the URL of a proxy such as http://proxy.example:3128";
    let proxy = settings.optional("HTTPS_PROXY", form(expected, HttpsProxy::parse));
    let expected = "a name such as example.com, which includes the names below it, an address, a CIDR, or * for all; without port";
    let except = settings.list("NO_PROXY", None, form(expected, direct_host)).unwrap_or_default();
    let is_all = except.iter().any(|host| host == "*");
    Network {
        trust: read_authorities(settings),
        proxy: proxy.filter(|_| !is_all).map(|proxy| proxy.except(&except.join(","))),
    }
}

/// An entry of `NO_PROXY` that means here what it means to curl. Refused: `*.example.com` and `example.com:443`, which curl ignores.
fn direct_host(text: &str) -> Option<String> {
    let is_network = text.parse::<IpNet>().is_ok() || text.parse::<IpAddr>().is_ok();
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    (is_network || is_name || text == "*").then(|| text.to_owned())
}

fn read_authorities(settings: &mut Settings<'_>) -> Trust {
    let file = settings.optional("CA_FILE", path("a file"));
    let read = file.map_or(Ok(Trust::COMMON), |file| Trust::of_file(&file));
    read.unwrap_or_else(|why| {
        settings.refuse("CA_FILE", format!("expected a file with PEM certificates, but {why}"));
        Trust::COMMON
    })
}
