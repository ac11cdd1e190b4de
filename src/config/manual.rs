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
        (error != IceServersError::Empty).then(|| format!("entry {number}: {}", without_text(&error)))
    };
    let problems: Vec<String> = servers.iter().zip(1..).filter_map(problem).collect();
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    let is_blocked = |url: &&String| IceUrl::parse(url).is_ok_and(|url| url.is_blocked_by_browsers());
    let blocked = servers.iter().flat_map(RawIceServer::urls).filter(is_blocked).count();
    let list = IceServerList::clean(servers, OnBadUrl::Refuse).map_err(|error| without_text(&error))?;
    Ok((list, blocked))
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
        let json = "expected a JSON list of RTCIceServer objects, cannot read it at line 1, column";
        let no_credential = "expected username and credential with a turn: or turns: URL";
        for (list, why) in [
            ("hush", format!("{json} 1")),
            (r#"{"urls": "stun:a"}"#, format!("{json} 0")),
            (r#"[{"urls": "stun:a"}"#, format!("{json} 19")),
            (r#"[{"urls": "stun:a"}, {"url": "stun:hush"}]"#, format!("{json} 41")),
            (
                r#"[{"urls": "turn:a"}, {"urls": "stun:a"}, {"urls": "hush"}]"#,
                format!("entry 1: {no_credential}; entry 3: expected a stun:, stuns:, turn: or turns: URL"),
            ),
            (r#"[{"urls": "turn:a", "credential": "hush"}]"#, format!("entry 1: {no_credential}")),
            (r#"[{"urls": "turn:u:hush@a"}]"#, "entry 1: expected a port from 1 to 65535".into()),
            ("[]", "expected at least one URL that browsers accept".into()),
        ] {
            assert_refused(with(list), &[&format!("MANUAL_ICE_SERVERS: {why}")]);
        }
    }
}
