//! The form of a setting that lists ICE URLs.

use super::form::Formed;
use super::settings::Settings;
use crate::ice::url::IceUrl;

/// The most URLs of one source; a response holds no more.
const URLS_MAX: usize = 64;

/// The URLs of a list, without duplicates and without those that browsers block. `None` if the setting is unset and has no default, or if
/// it is refused. `N`: what an entry says besides its URL.
pub(super) fn read_urls<N>(
    settings: &mut Settings<'_>,
    name: &'static str,
    default: Option<&'static str>,
    form: impl Fn(&str) -> Formed<(N, IceUrl)>,
) -> Option<Vec<(N, IceUrl)>> {
    let listed = settings.list(name, default, form)?;
    let mut urls: Vec<(N, IceUrl)> = Vec::with_capacity(listed.len());
    for (besides, url) in listed {
        if url.is_blocked_by_browsers() {
            settings.warn(format!("{name} leaves {url} out: browsers block port 53"));
        } else if urls.iter().all(|(_, other)| *other != url) {
            urls.push((besides, url));
        }
    }
    if (1..=URLS_MAX).contains(&urls.len()) {
        return Some(urls);
    }
    settings
        .refuse(name, format!("expected 1 to {URLS_MAX} URLs that browsers accept, found {}", urls.len()));
    None
}
