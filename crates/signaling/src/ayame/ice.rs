//! ICE servers for an `accept`. One that a browser refuses is left out, because the web SDK ends the whole session then.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::object;

#[derive(Deserialize, Serialize)]
struct IceServer {
    urls: Urls,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Urls {
    One(String),
    Many(Vec<String>),
}

impl IceServer {
    fn is_usable(&self) -> bool {
        let urls = self.urls.as_slice();
        let has = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
        !urls.is_empty()
            && (!urls.iter().any(|url| is_turn(url)) || (has(&self.username) && has(&self.credential)))
    }
}

impl Urls {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(url) => std::slice::from_ref(url),
            Self::Many(urls) => urls,
        }
    }
}

fn is_turn(url: &str) -> bool {
    let scheme = url.split(':').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("turn") || scheme.eq_ignore_ascii_case("turns")
}

/// The servers that a browser can use; `None` if there is none. `urls` is always an array. What needs no change keeps its bytes.
pub(super) fn usable(servers: &RawValue) -> Result<Option<Box<RawValue>>, serde_json::Error> {
    let entries: Vec<&RawValue> = serde_json::from_str(servers.get())?;
    let mut kept = Vec::new();
    let mut is_changed = false;
    for entry in entries {
        let server: IceServer = serde_json::from_str(entry.get())?;
        match &server.urls {
            _ if !server.is_usable() => is_changed = true,
            Urls::Many(_) => kept.push(entry.get().to_owned()),
            Urls::One(url) => {
                kept.push(object::json(&IceServer { urls: Urls::Many(vec![url.clone()]), ..server }));
                is_changed = true;
            }
        }
    }
    if kept.is_empty() {
        return Ok(None);
    }
    if !is_changed {
        return Ok(Some(servers.to_owned()));
    }
    RawValue::from_string(format!("[{}]", kept.join(","))).map(Some)
}

/// The servers of both lists, those of the application first.
pub(super) fn joined(first: Option<Box<RawValue>>, second: Option<Box<RawValue>>) -> Option<Box<RawValue>> {
    let (Some(one), Some(other)) = (&first, &second) else { return first.or(second) };
    let lists = [one, other].map(|servers| serde_json::from_str::<Vec<&RawValue>>(servers.get()));
    let entries: Vec<_> = lists.iter().flatten().flatten().map(|entry| entry.get()).collect();
    RawValue::from_string(format!("[{}]", entries.join(","))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usable_text(servers: &str) -> Option<String> {
        let servers = RawValue::from_string(servers.to_owned()).unwrap();
        usable(&servers).unwrap().map(|servers| servers.get().to_owned())
    }

    #[test]
    fn good_servers_keep_their_bytes() {
        let servers = r#"[ {"urls": ["turn:t:3478","stun:s"], "username":"u", "credential":"ü", "x": 1.50 },{"urls":["stun:s"]}]"#;
        assert_eq!(usable_text(servers).as_deref(), Some(servers));
    }

    #[test]
    fn a_single_url_becomes_an_array_and_other_entries_keep_their_bytes() {
        let servers = r#"[{"urls":"stun:s"}, {"urls": ["stun:s"], "x":1}, {"credential":"c","urls":"turns:t","username":"u"}]"#;
        let expected = r#"[{"urls":["stun:s"]},{"urls": ["stun:s"], "x":1},{"urls":["turns:t"],"username":"u","credential":"c"}]"#;
        assert_eq!(usable_text(servers).as_deref(), Some(expected));
    }

    #[test]
    fn a_server_that_a_browser_refuses_is_left_out() {
        for bad in [
            r#"{"urls":["turn:t"]}"#,
            r#"{"urls":["stun:s","TURNS:t"],"username":"u"}"#,
            r#"{"urls":"turn:t","username":"u","credential":""}"#,
            r#"{"urls":"turn:t","username":null,"credential":"c"}"#,
            r#"{"urls":[]}"#,
        ] {
            assert_eq!(usable_text(&format!("[{bad}]")), None, "{bad}");
            let kept = usable_text(&format!(r#"[{bad},{{"urls":["stun:s"]}}]"#));
            assert_eq!(kept.as_deref(), Some(r#"[{"urls":["stun:s"]}]"#), "{bad}");
        }
        assert_eq!(usable_text("[]"), None);
    }

    #[test]
    fn what_is_not_a_list_of_servers_is_an_error() {
        for bad in ["{}", "null", "7", "[7]", "[{}]", r#"[{"urls":7}]"#, r#"[{"urls":[7]}]"#] {
            assert!(usable(&RawValue::from_string(bad.to_owned()).unwrap()).is_err(), "{bad}");
        }
        let bad = r#"[{"urls":["stun:s"],"username":7}]"#;
        assert!(usable(&RawValue::from_string(bad.to_owned()).unwrap()).is_err());
    }
}
