//! The forms of mint responses, past and present, with credentials that look like real ones.
//!
//! Invariants: every credential is random and used for one response. The URLs are the provider's own, in its
//! order.

use serde::Serialize;
use serde_json::{Value, json};

const STUN: [&str; 1] = ["stun:stun.cloudflare.com:3478"];
const STUN_LEGACY: [&str; 2] = ["stun:stun.cloudflare.com:3478", "stun:stun.cloudflare.com:53"];
const TURN: [&str; 6] = [
    "turn:turn.cloudflare.com:3478?transport=udp",
    "turn:turn.cloudflare.com:443?transport=udp",
    "turn:turn.cloudflare.com:3478?transport=tcp",
    "turn:turn.cloudflare.com:80?transport=tcp",
    "turns:turn.cloudflare.com:5349?transport=tcp",
    "turns:turn.cloudflare.com:443?transport=tcp",
];
const TURN_LEGACY: [&str; 6] = [
    "turn:turn.cloudflare.com:3478?transport=udp",
    "turn:turn.cloudflare.com:3478?transport=tcp",
    "turns:turn.cloudflare.com:5349?transport=tcp",
    "turn:turn.cloudflare.com:53?transport=udp",
    "turn:turn.cloudflare.com:80?transport=tcp",
    "turns:turn.cloudflare.com:443?transport=tcp",
];

/// The form of `iceServers` in a correct response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A STUN entry, then a TURN entry.
    #[default]
    Current,
    /// The same with URLs on port 53, as returned until 2025.
    Legacy53,
    /// One entry with all URLs.
    Single,
    /// `iceServers` is that one entry itself, not an array.
    Object,
    /// One entry for each URL, with `urls` as a string.
    StringUrls,
}

/// The credential of one mint. The username is `g0` and 62 hex digits, the credential 64 hex digits.
#[derive(Clone)]
pub(super) struct Credential {
    pub(super) username: String,
    pub(super) credential: String,
}

impl Shape {
    /// The whole body of a mint response.
    pub(super) fn body(self, credential: &Credential) -> Value {
        let stun = json!({ "urls": STUN });
        let ice_servers = match self {
            Self::Current => json!([stun, credential.entry(TURN)]),
            Self::Legacy53 => json!([{ "urls": STUN_LEGACY }, credential.entry(TURN_LEGACY)]),
            Self::Single => json!([credential.entry([&STUN[..], &TURN[..]].concat())]),
            Self::Object => credential.entry([&STUN[..], &TURN[..]].concat()),
            Self::StringUrls => {
                let turn = TURN.iter().map(|url| credential.entry(url));
                std::iter::once(json!({ "urls": STUN[0] })).chain(turn).collect()
            }
        };
        json!({ "iceServers": ice_servers })
    }
}

impl Credential {
    pub(super) fn random() -> Self {
        Self { username: format!("g0{}", random_hex::<31>()), credential: random_hex::<32>() }
    }

    pub(super) fn entry(&self, urls: impl Serialize) -> Value {
        json!({ "urls": urls, "username": self.username, "credential": self.credential })
    }
}

fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).expect("the system returns random bytes");
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}
