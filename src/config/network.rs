//! How this process reaches other services: one set of authorities for every connection, and a proxy for requests.

use super::form::{form, parsed, path};
use super::settings::Settings;
use turn_base::http_client::{HttpsProxy, Network};
use turn_base::trust::Trust;

pub(super) fn read(settings: &mut Settings<'_>) -> Network {
    settings.renamed("DATABASE_CA_FILE", "CA_FILE");
    let expected = "the URL of a proxy such as http://proxy.example:3128";
    let proxy = settings.optional("HTTPS_PROXY", form(expected, HttpsProxy::parse));
    let except: Option<String> = settings.optional("NO_PROXY", parsed("hosts"));
    Network {
        trust: read_authorities(settings),
        proxy: proxy.map(|proxy| proxy.except(except.as_deref().unwrap_or_default())),
    }
}

fn read_authorities(settings: &mut Settings<'_>) -> Trust {
    let file = settings.optional("CA_FILE", path("a file"));
    let read = file.map_or(Ok(Trust::COMMON), |file| Trust::of_file(&file));
    read.unwrap_or_else(|why| {
        settings.refuse("CA_FILE", format!("expected a file with PEM certificates, but {why}"));
        Trust::COMMON
    })
}
