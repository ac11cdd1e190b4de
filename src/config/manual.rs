//! `MANUAL_ICE_SERVERS`: a fixed list of `RTCIceServer`. It holds passwords, so a message states the number of the entry and
//! what was expected, and never repeats the text.

use serde::Deserialize;
use serde_json::Value;

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
    let expected = "expected a JSON list of RTCIceServer objects";
    let entries = match serde_json::from_str(text) {
        Ok(Value::Array(entries)) => entries,
        Ok(_) => return Err(expected.to_owned()),
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            return Err(format!("{expected}, cannot read it at line {line}, column {column}"));
        }
    };
    let blocked = entries.iter().flat_map(urls_of).filter(is_blocked).count();
    let mut servers = Vec::with_capacity(entries.len());
    let mut problems = Vec::new();
    for (entry, number) in entries.into_iter().zip(1..) {
        match parse_entry(entry) {
            Ok(server) => servers.push(server),
            Err(why) => problems.push(format!("entry {number}: {why}")),
        }
    }
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    let list = IceServerList::clean(servers, OnBadUrl::Refuse).map_err(|error| without_text(&error))?;
    Ok((list, blocked))
}

/// One entry that is valid alone. It may have no usable URL if another entry has one.
fn parse_entry(entry: Value) -> Formed<RawIceServer> {
    let expected = "expected urls as a text or a list of texts, username and credential as texts";
    let server = RawIceServer::deserialize(entry).map_err(|_| expected.to_owned())?;
    match IceServerList::clean(vec![server.clone()], OnBadUrl::Refuse) {
        Ok(_) | Err(IceServersError::Empty) => Ok(server),
        Err(error) => Err(without_text(&error)),
    }
}

/// What was expected, without the text that was found, because people put passwords into URLs.
fn without_text(error: &IceServersError) -> String {
    match error {
        IceServersError::BadUrl { why, .. } => why.to_string(),
        IceServersError::MissingCredential => {
            "expected username and credential with a turn: or turns: URL".into()
        }
        IceServersError::Empty | IceServersError::NoRelay => {
            "expected at least one URL that browsers accept".into()
        }
        IceServersError::TooMany => format!("expected fewer URLs, found {error}"),
    }
}

fn urls_of(entry: &Value) -> impl Iterator<Item = &str> {
    let urls = entry.get("urls");
    let many = urls.and_then(Value::as_array).into_iter().flatten();
    urls.into_iter().chain(many).filter_map(Value::as_str)
}

fn is_blocked(url: &&str) -> bool {
    IceUrl::parse(url).is_ok_and(|url| url.is_blocked_by_browsers())
}

#[cfg(test)]
mod tests {
    use crate::config::testing::{assert_refused, load};

    fn with(list: &str) -> [(&str, &str); 2] {
        [("ICE_SOURCES", "manual"), ("MANUAL_ICE_SERVERS", list)]
    }

    #[test]
    fn an_rtc_ice_server_list_is_accepted() {
        let list =
            r#"[{"urls": "stun:a"}, {"urls": ["turn:b", "turns:b"], "username": "u", "credential": "hush"}]"#;
        let config = load(with(list));
        let manual = config.ice.manual.unwrap();
        assert_eq!(manual.as_slice().len(), 2);
        assert!(manual.relays() && config.warnings.is_empty());
    }

    #[test]
    fn urls_on_port_53_are_left_out_with_a_warning() {
        let config = load(with(r#"[{"urls": ["stun:a", "stun:a:53"]}, {"urls": "stun:b:053"}]"#));
        assert_eq!(config.warnings, ["MANUAL_ICE_SERVERS leaves 2 of its URLs out: browsers block port 53"]);
        assert_eq!(config.ice.manual.unwrap().as_slice().len(), 1);
    }

    #[test]
    fn a_bad_list_is_refused_by_entry_and_never_shown() {
        let shape = "expected urls as a text or a list of texts, username and credential as texts";
        let json = "expected a JSON list of RTCIceServer objects, cannot read it at line 1, column";
        let no_credential = "expected username and credential with a turn: or turns: URL";
        for (list, why) in [
            ("hush", format!("{json} 1")),
            (r#"{"urls": "stun:a"}"#, "expected a JSON list of RTCIceServer objects".into()),
            (r#"[{"urls": "stun:a"}"#, format!("{json} 19")),
            (r#""hush""#, "expected a JSON list of RTCIceServer objects".into()),
            (r#"["hush"]"#, format!("entry 1: {shape}")),
            (r#"[{"urls": "stun:a"}, {"url": "stun:hush"}]"#, format!("entry 2: {shape}")),
            (
                r#"[{"urls": "turn:a", "username": "u", "credential": {"hush": 1}}]"#,
                format!("entry 1: {shape}"),
            ),
            (r#"[{"urls": "turn:a", "credential": "hush"}]"#, format!("entry 1: {no_credential}")),
            (r#"[{"urls": "turn:u:hush@a"}]"#, "entry 1: expected a port from 1 to 65535".into()),
            (r#"[{"urls": "hush"}]"#, "entry 1: expected a stun:, stuns:, turn: or turns: URL".into()),
            ("[]", "expected at least one URL that browsers accept".into()),
        ] {
            assert_refused(with(list), &[&format!("MANUAL_ICE_SERVERS: {why}")]);
        }
    }
}
