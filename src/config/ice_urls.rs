//! The form of a setting that lists ICE URLs.

use super::form::form;
use super::settings::Settings;
use crate::ice::url::IceUrl;

/// The most URLs of one source; a response holds no more.
const URLS_MAX: usize = 64;

/// URLs without duplicates and without those that browsers block.
pub(super) fn read_urls(
    settings: &mut Settings<'_>,
    name: &'static str,
    default: Option<&'static str>,
    expected: &str,
    is_good: impl Fn(&IceUrl) -> bool,
) -> Option<Vec<IceUrl>> {
    let url = form(expected, |text| IceUrl::parse(text).ok().filter(|url| is_good(url)));
    let listed = settings.list(name, default, url)?;
    let mut urls: Vec<IceUrl> = Vec::with_capacity(listed.len());
    for url in listed {
        if url.is_blocked_by_browsers() {
            settings.warn(format!("{name} leaves {url} out: browsers block port 53"));
        } else if !urls.contains(&url) {
            urls.push(url);
        }
    }
    if (1..=URLS_MAX).contains(&urls.len()) {
        return Some(urls);
    }
    settings
        .refuse(name, format!("expected 1 to {URLS_MAX} URLs that browsers accept, found {}", urls.len()));
    None
}
