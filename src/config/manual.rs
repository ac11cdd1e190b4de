//! `MANUAL_ICE_SERVERS`: a fixed list of `RTCIceServer`. It holds passwords, so a message states the number of the entry and
//! what was expected, and never repeats the text.

use super::form::Formed;
use super::settings::Settings;
use crate::ice::server::{IceServerList, IceServersError, OnBadUrl, RawIceServer};
use crate::ice::url::IceUrl;

/// Reads the list, with a warning if URLs are left out.
pub(super) fn read_manual(settings: &mut Settings<'_>) -> Option<IceServerList> {
    let (list, blocked) = settings.secret("MANUAL_ICE_SERVERS", parse_list)?;
    if blocked > 0 {
        settings.warn(format!("MANUAL_ICE_SERVERS leaves {blocked} of its URLs out: browsers block port 53"));
    }
    Some(list)
}

/// The list, and how many URLs are left out. All bad entries are one problem.
fn parse_list(text: &str) -> Formed<(IceServerList, usize)> {
    let servers: Vec<RawIceServer> = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!(
            "expected a JSON list of RTCIceServer objects, cannot read it at line {line}, column {column}"
        )
    })?;
    let problem = |(server, number): (&RawIceServer, u32)| {
        let error = IceServerList::clean(vec![server.clone()], OnBadUrl::Refuse).err()?;
        // An entry may have no usable URL if another one has.
        (error != IceServersError::Empty).then(|| format!("entry {number}: {error}"))
    };
    let problems: Vec<String> = servers.iter().zip(1..).filter_map(problem).collect();
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    let is_blocked = |url: &&String| IceUrl::parse(url).is_ok_and(|url| url.is_blocked_by_browsers());
    let blocked = servers.iter().flat_map(RawIceServer::urls).filter(is_blocked).count();
    let list = IceServerList::clean(servers, OnBadUrl::Refuse).map_err(|error| error.to_string())?;
    Ok((list, blocked))
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_setting_has_a_default_a_form_and_a_message() {
        crate::config::testing::assert_cases(
            r#"
            ICE_SOURCES=manual; MANUAL_ICE_SERVERS=[{"urls": "stun:a"}, {"urls": ["turn:b", "turns:b"], "username": "u", "credential": "hush"}]
            ICE_SOURCES=manual; MANUAL_ICE_SERVERS=[{"urls": ["stun:a", "stun:a:53"]}, {"urls": "stun:b:053"}]
            ? MANUAL_ICE_SERVERS leaves 2 of its URLs out: browsers block port 53
            ICE_SOURCES=manual; MANUAL_ICE_SERVERS=hush
            ! MANUAL_ICE_SERVERS: expected a JSON list of RTCIceServer objects, cannot read it at line 1, column 1
            ICE_SOURCES=manual; MANUAL_ICE_SERVERS={"urls": "stun:a"}
            ! MANUAL_ICE_SERVERS: expected a JSON list of RTCIceServer objects, cannot read it at line 1, column 0
            ICE_SOURCES=manual; MANUAL_ICE_SERVERS=[{"urls": "stun:a"}, {"url": "stun:hush"}]
            ! MANUAL_ICE_SERVERS: expected a JSON list of RTCIceServer objects, cannot read it at line 1, column 41
            ICE_SOURCES=manual; MANUAL_ICE_SERVERS=[{"urls": "turn:a"}, {"urls": "stun:a"}, {"urls": "hush"}]
            ! MANUAL_ICE_SERVERS: entry 1: expected username and credential with a turn: or turns: URL; entry 3: expected a stun:, stuns:, turn: or turns: URL
            ICE_SOURCES=manual; MANUAL_ICE_SERVERS=[{"urls": "turn:a", "credential": "hush"}]
            ! MANUAL_ICE_SERVERS: entry 1: expected username and credential with a turn: or turns: URL
            ICE_SOURCES=manual; MANUAL_ICE_SERVERS=[{"urls": "turn:u:hush@a"}]
            ! MANUAL_ICE_SERVERS: entry 1: expected a port from 1 to 65535
            ICE_SOURCES=manual; MANUAL_ICE_SERVERS=[]
            ! MANUAL_ICE_SERVERS: expected at least one URL that browsers accept
            "#,
        );
    }
}
