//! ICE servers for an `accept`. A server that a browser refuses is left out, because otherwise the web SDK ends the whole session.

use crate::prelude::*;
use serde_json::value::to_raw_value;

/// Those servers of a list that a browser can use. `urls` is always an array. An entry that needs no change keeps its bytes.
#[derive(Deserialize)]
#[serde(try_from = "Vec<Box<RawValue>>")]
pub(super) struct IceServers(pub(super) Vec<Box<RawValue>>);

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
        let has_credential = has(&self.username) && has(&self.credential);
        !urls.is_empty() && urls.iter().all(|url| is_usable(url, has_credential))
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

/// Whether a URL has a scheme of RFC 7064 or RFC 7065, a host, and the credential that it needs.
fn is_usable(url: &str, has_credential: bool) -> bool {
    let (scheme, rest) = url.split_once(':').unwrap_or_default();
    let needs_credential = match scheme.to_ascii_lowercase().as_str() {
        "stun" | "stuns" => false,
        "turn" | "turns" => true,
        _ => return false,
    };
    !rest.is_empty() && !rest.starts_with(['/', '?', ':']) && (has_credential || !needs_credential)
}

impl TryFrom<Vec<Box<RawValue>>> for IceServers {
    type Error = serde_json::Error;

    fn try_from(entries: Vec<Box<RawValue>>) -> Result<Self, serde_json::Error> {
        let mut usable = Vec::new();
        for entry in entries {
            let server: IceServer = serde_json::from_str(entry.get())?;
            match &server.urls {
                _ if !server.is_usable() => {}
                Urls::Many(_) => usable.push(entry),
                Urls::One(url) => {
                    let urls = Urls::Many(vec![url.clone()]);
                    usable.push(to_raw_value(&IceServer { urls, ..server })?);
                }
            }
        }
        Ok(Self(usable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries that are left.
    fn usable(servers: &str) -> Vec<String> {
        let IceServers(usable) = serde_json::from_str(servers).unwrap();
        usable.iter().map(|entry| entry.get().to_owned()).collect()
    }

    #[test]
    fn a_single_url_becomes_an_array_and_other_entries_keep_their_bytes() {
        let good = r#"{"urls": ["turn:t:3478","stun:s"], "username":"u", "credential":"ü", "x": 1.50 }"#;
        let servers = format!(
            r#"[ {good}, {{"urls":"stun:s"}}, {{"credential":"c","urls":"turns:t","username":"u"}}]"#
        );
        let arrays = [r#"{"urls":["stun:s"]}"#, r#"{"urls":["turns:t"],"username":"u","credential":"c"}"#];
        assert_eq!(usable(&servers), [good, arrays[0], arrays[1]]);
    }

    #[test]
    fn a_server_that_a_browser_refuses_is_left_out() {
        for bad in [
            r#"{"urls":["turn:t"]}"#,
            r#"{"urls":["stun:s","TURNS:t"],"username":"u"}"#,
            r#"{"urls":"turn:t","username":"u","credential":""}"#,
            r#"{"urls":"turn:t","username":null,"credential":"c"}"#,
            r#"{"urls":[]}"#,
            r#"{"urls":["http://x","stun:"]}"#,
            r#"{"urls":["stun:s","http://x"]}"#,
            r#"{"urls":["stun:s","stun:"]}"#,
            r#"{"urls":"stun://s"}"#,
            r#"{"urls":"turn:?transport=udp","username":"u","credential":"c"}"#,
            r#"{"urls":"s"}"#,
        ] {
            let kept = usable(&format!(r#"[{bad},{{"urls":["stun:s"]}}]"#));
            assert_eq!(kept, [r#"{"urls":["stun:s"]}"#], "{bad}");
        }
    }

    #[test]
    fn what_is_not_a_list_of_servers_is_an_error() {
        for bad in [
            "{}",
            "null",
            "7",
            "[7]",
            "[{}]",
            r#"[{"urls":7}]"#,
            r#"[{"urls":[7]}]"#,
            r#"[{"urls":["stun:s"],"username":7}]"#,
        ] {
            assert!(serde_json::from_str::<IceServers>(bad).is_err(), "{bad}");
        }
    }
}
