//! Settings of signaling. Each protocol is off until `SIGNALING` names it, because each one lets strangers hold sockets, and some
//! let them mint.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderName;
use secrecy::SecretString;
use turn_signaling::call::ProtocolName;
use url::Url;

use super::alert::WebhookUrl;
use super::form::{
    Formed, IDENTIFIER_MAX, base_url, form, header, identifier, number, parsed, seconds, switch, visible,
};
use super::settings::Settings;
use super::signaling_modules::{MODULES, Module, is_of_module};

/// The longest `PEERJS_KEY`, in bytes.
const PEERJS_KEY_MAX: usize = 64;
/// The longest path of a setting, in bytes.
const PATH_MAX: usize = 100;

/// Signaling. A protocol that is `None` is off.
#[derive(Clone, Debug)]
pub struct SignalingConfig {
    /// The life of a credential that is minted for a call. `SIGNALING_TTL_SECONDS`, 60 to 86,400; 14,400 when unset.
    pub ttl: Duration,
    /// The most open sockets of one address. `SIGNALING_SOCKETS_PER_CLIENT`, 1 to 4,096; 64 when unset.
    pub sockets_per_client: usize,
    /// `ayame`.
    pub ayame: Option<AyameConfig>,
    /// `p2pcf`.
    pub p2pcf: Option<P2pcfConfig>,
    /// `sfu`.
    pub sfu: Option<SfuConfig>,
    /// `rooms`.
    pub rooms: Option<RoomsConfig>,
    /// `peerjs`: the key that clients name. `PEERJS_KEY`, 1 to 64 letters, digits, `-` and `_`; `peerjs` when unset.
    pub peerjs: Option<String>,
    /// `yjs`.
    pub is_yjs_on: bool,
    /// `reports`.
    pub reports: Option<ReportsConfig>,
}

/// Ayame, with the settings of its reference server.
#[derive(Clone, Debug)]
pub struct AyameConfig {
    /// Decides whether a client may join. `AUTHN_WEBHOOK_URL`; everybody may join when unset.
    pub authn_webhook: Option<WebhookUrl>,
    /// Is told when a socket has ended. `DISCONNECT_WEBHOOK_URL`.
    pub disconnect_webhook: Option<WebhookUrl>,
    /// Headers of the client's request that both webhooks get, in lower case. `COPY_WEBSOCKET_HEADER_NAMES`.
    pub copied_headers: Vec<HeaderName>,
    /// Whether `message` is passed on. `TYPE_MESSAGE`; false when unset.
    pub type_message: bool,
    /// `WS_PING_INTERVAL_SEC`, 1 to 3,600; 5 when unset.
    pub ping_interval: Duration,
    /// `WS_PONG_TIMEOUT_SEC`, 1 to 3,600; 60 when unset.
    pub pong_timeout: Duration,
    /// `WS_READ_TIMEOUT_SEC`, 1 to 3,600; 90 when unset.
    pub read_timeout: Duration,
    /// The longest message, in bytes. `READ_LIMIT_BYTES`, 1,024 to 1,048,576; 1,048,576 when unset.
    pub read_limit: usize,
    /// How long a webhook may take. `WEBHOOK_TIMEOUT_SEC`, 1 to 60; 5 when unset.
    pub webhook_timeout: Duration,
}

/// P2PCF.
#[derive(Clone, Debug)]
pub struct P2pcfConfig {
    /// `P2PCF_PATH`, without a slash at its end; `/p2pcf` when unset.
    pub path: String,
    /// Requests a month of each origin that `CLIENT_URL` does not list. `P2PCF_ORIGIN_QUOTA`; none when unset.
    pub origin_quota: u64,
}

/// The proxy of Cloudflare's SFU.
#[derive(Clone, Debug)]
pub struct SfuConfig {
    /// The paths that are proxied, without slashes at their ends. `SFU_PREFIXES`.
    pub prefixes: Vec<String>,
    /// `CALLS_APP_ID`.
    pub app_id: String,
    /// `CALLS_APP_SECRET`.
    pub app_secret: SecretString,
    /// The base of the API, with a slash at its end. `CALLS_API_URL`.
    pub api: Url,
    /// Whether only the browser that opened a session may use it. `SFU_LOCK`: `true`, `false` or `auto`; true when unset.
    pub lock: SfuLock,
    /// Whether a refusal of a new session stays JSON. `SFU_STRICT_PASSTHROUGH`; false when unset.
    pub strict_passthrough: bool,
}

/// Whether only the browser that opened a session of the SFU may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SfuLock {
    /// Always.
    On,
    /// Never: pages of other origins send no cookies.
    Off,
    /// Where the request came over https, because a browser keeps a `Secure` cookie only there.
    Auto,
}

/// Orange rooms.
#[derive(Clone, Debug)]
pub struct RoomsConfig {
    /// The header that names the user. It is read only from trusted proxies. `USER_HEADER`.
    pub user_header: HeaderName,
    /// `ROOM_MEMBERS_MAX`, 2 to 256; 64 when unset.
    pub members_max: usize,
    /// How long a user may be silent. `ROOM_SWEEP_SECONDS`, 1 to 300; 15 when unset.
    pub sweep: Duration,
}

/// Orange's reports.
#[derive(Clone, Debug)]
pub struct ReportsConfig {
    /// The directory that keeps reports. `REPORTS_DIR`; they are not kept when unset.
    pub dir: Option<PathBuf>,
    /// The chat webhook that gets a card for each bug report and dead track. `FEEDBACK_URL`.
    pub feedback: Option<WebhookUrl>,
}

impl SignalingConfig {
    /// Reads every setting, also those of a protocol that is off, so that a mistake is found before the protocol is turned on.
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let modules = settings.words("SIGNALING", None, MODULES);
        let is_on = |protocol: ProtocolName| modules.contains(&Module::Protocol(protocol));
        let peerjs = settings.get("PEERJS_KEY", "peerjs", identifier(PEERJS_KEY_MAX));
        let signaling = Self {
            ttl: settings.get("SIGNALING_TTL_SECONDS", "14400", seconds(60..=86_400)),
            sockets_per_client: settings.get("SIGNALING_SOCKETS_PER_CLIENT", "64", number(1..=4_096)),
            ayame: is_on(ProtocolName::Ayame).then_some(AyameConfig::read(settings)),
            p2pcf: is_on(ProtocolName::P2pcf).then_some(P2pcfConfig::read(settings)),
            sfu: SfuConfig::read(settings, is_on(ProtocolName::Sfu)),
            rooms: is_on(ProtocolName::Rooms).then_some(RoomsConfig::read(settings)),
            peerjs: is_on(ProtocolName::Peerjs).then_some(peerjs),
            is_yjs_on: is_on(ProtocolName::Yjs),
            reports: modules.contains(&Module::Reports).then_some(ReportsConfig::read(settings)),
        };
        if overlap(&signaling.chosen_paths()) {
            let expected = "expected paths of which none, P2PCF_PATH and /PEERJS_KEY included, equals or is below another one";
            settings.refuse("SFU_PREFIXES", expected);
        }
        signaling
    }

    /// The paths that settings choose.
    fn chosen_paths(&self) -> Vec<String> {
        let sfu = self.sfu.iter().flat_map(|sfu| sfu.prefixes.iter().cloned());
        let p2pcf = self.p2pcf.iter().map(|p2pcf| p2pcf.path.clone());
        let peerjs = self.peerjs.iter().map(|key| format!("/{key}"));
        sfu.chain(p2pcf).chain(peerjs).collect()
    }
}

impl AyameConfig {
    fn read(settings: &mut Settings<'_>) -> Self {
        let mut copied = settings.list("COPY_WEBSOCKET_HEADER_NAMES", None, header).unwrap_or_default();
        copied.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        copied.dedup();
        Self {
            authn_webhook: settings.secret("AUTHN_WEBHOOK_URL", WebhookUrl::form),
            disconnect_webhook: settings.secret("DISCONNECT_WEBHOOK_URL", WebhookUrl::form),
            copied_headers: copied,
            type_message: settings.get("TYPE_MESSAGE", "false", switch),
            ping_interval: settings.get("WS_PING_INTERVAL_SEC", "5", seconds(1..=3_600)),
            pong_timeout: settings.get("WS_PONG_TIMEOUT_SEC", "60", seconds(1..=3_600)),
            read_timeout: settings.get("WS_READ_TIMEOUT_SEC", "90", seconds(1..=3_600)),
            read_limit: settings.get("READ_LIMIT_BYTES", "1048576", number(1_024..=1_048_576)),
            webhook_timeout: settings.get("WEBHOOK_TIMEOUT_SEC", "5", seconds(1..=60)),
        }
    }
}

impl P2pcfConfig {
    fn read(settings: &mut Settings<'_>) -> Self {
        let quota = settings.optional("P2PCF_ORIGIN_QUOTA", number(0..=1_000_000_000));
        Self {
            path: settings.get("P2PCF_PATH", "/p2pcf", form(PATH_EXPECTED, parse_path)),
            origin_quota: quota.unwrap_or(0),
        }
    }
}

impl SfuConfig {
    /// `None` if it is off.
    fn read(settings: &mut Settings<'_>, is_on: bool) -> Option<Self> {
        let path = form(PATH_EXPECTED, parse_path);
        let prefixes = settings.list("SFU_PREFIXES", Some("/partytracks,/api/calls"), path);
        let app_id = settings.optional("CALLS_APP_ID", identifier(IDENTIFIER_MAX));
        let app_secret = settings.secret("CALLS_APP_SECRET", visible(1..=1_024));
        let api = settings.get("CALLS_API_URL", "https://rtc.live.cloudflare.com/v1", base_url);
        let lock = settings.get("SFU_LOCK", "true", sfu_lock);
        let strict_passthrough = settings.get("SFU_STRICT_PASSTHROUGH", "false", switch);
        settings.both_or_neither("CALLS_APP_ID", "CALLS_APP_SECRET");
        if !is_on {
            return None;
        }
        if !settings.is_set("CALLS_APP_ID") && !settings.is_set("CALLS_APP_SECRET") {
            let expected =
                "expected the id of your SFU app, and its CALLS_APP_SECRET, because SIGNALING names sfu";
            settings.refuse("CALLS_APP_ID", expected);
        }
        let (prefixes, app_id, app_secret) = (prefixes?, app_id?, app_secret?);
        Some(Self { prefixes, app_id, app_secret, api, lock, strict_passthrough })
    }
}

impl RoomsConfig {
    fn read(settings: &mut Settings<'_>) -> Self {
        Self {
            user_header: settings.get("USER_HEADER", "Cf-Access-Authenticated-User-Email", header),
            members_max: settings.get("ROOM_MEMBERS_MAX", "64", number(2..=256)),
            sweep: settings.get("ROOM_SWEEP_SECONDS", "15", seconds(1..=300)),
        }
    }
}

impl ReportsConfig {
    fn read(settings: &mut Settings<'_>) -> Self {
        Self {
            dir: settings.optional("REPORTS_DIR", parsed("the path of a directory")),
            feedback: settings.secret("FEEDBACK_URL", WebhookUrl::form),
        }
    }
}

fn sfu_lock(text: &str) -> Formed<SfuLock> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(SfuLock::Auto);
    }
    let is_on = switch(text).map_err(|_| "expected true, false or auto")?;
    Ok(if is_on { SfuLock::On } else { SfuLock::Off })
}

const PATH_EXPECTED: &str =
    "a path such as /calls that no other route has: letters, digits, - _ and . between slashes";

/// The first parts of the paths of all routes outside signaling.
const OTHER_ROUTES: [&str; 14] = [
    "_matrix",
    "api",
    "dashboard",
    "demo",
    "docs",
    "health",
    "ice",
    "metrics",
    "openapi.json",
    "ready",
    "relay-check",
    "turn",
    "turn-client.d.ts",
    "turn-client.js",
];
/// The one path below `/api` that a protocol may have. Older versions of Orange use it.
const OLDER_SFU: &str = "/api/calls";

/// A path without a slash at its end that no other route has.
fn parse_path(text: &str) -> Option<String> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_allowed);
    let mut segments = path.strip_prefix('/')?.split('/');
    let is_other =
        is_of_module(path) || segments.clone().next().is_some_and(|first| OTHER_ROUTES.contains(&first));
    let is_free = path == OLDER_SFU || !is_other;
    (path.len() <= PATH_MAX && is_free && segments.all(is_segment)).then(|| path.to_owned())
}

/// Whether one of the paths is the same as another one or below it, so that both would serve it.
fn overlap(paths: &[String]) -> bool {
    let mut sorted: Vec<String> = paths.iter().map(|path| format!("{path}/")).collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| matches!(pair, [above, path] if path.starts_with(above)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{assert_refused, load};

    #[test]
    fn every_protocol_is_off_until_it_is_named() {
        let off = load([]).signaling;
        assert!(off.ayame.is_none() && off.p2pcf.is_none() && off.sfu.is_none() && off.rooms.is_none());
        assert!(off.peerjs.is_none() && !off.is_yjs_on && off.reports.is_none());
        let on = load([("SIGNALING", "ayame, p2pcf,rooms,peerjs,yjs,reports")]).signaling;
        assert_eq!(on.ttl, Duration::from_secs(14_400));
        assert_eq!(on.sockets_per_client, 64);
        assert_eq!(on.ayame.unwrap().read_limit, 1_048_576);
        assert_eq!(on.p2pcf.unwrap().path, "/p2pcf");
        assert_eq!(on.rooms.unwrap().members_max, 64);
        assert_eq!(on.peerjs.as_deref(), Some("peerjs"));
        assert!(on.is_yjs_on && on.reports.is_some() && on.sfu.is_none());
    }

    #[test]
    fn the_sfu_needs_an_app() {
        let line = "CALLS_APP_ID: expected the id of your SFU app, and its CALLS_APP_SECRET, because SIGNALING names sfu";
        assert_refused([("SIGNALING", "sfu")], &[line]);
        let sfu = load([("SIGNALING", "sfu"), ("CALLS_APP_ID", "app"), ("CALLS_APP_SECRET", "s3cret")])
            .signaling
            .sfu;
        let sfu = sfu.unwrap();
        assert_eq!(sfu.prefixes, ["/partytracks", "/api/calls"]);
        assert_eq!((sfu.api.as_str(), sfu.lock), ("https://rtc.live.cloudflare.com/v1/", SfuLock::On));
        assert!(!sfu.strict_passthrough);
    }

    #[test]
    fn the_lock_is_a_switch_with_a_third_position() {
        let [on, id, secret] =
            [("SIGNALING", "sfu"), ("CALLS_APP_ID", "app"), ("CALLS_APP_SECRET", "s3cret")];
        let lock = |word| load([on, id, secret, ("SFU_LOCK", word)]).signaling.sfu.unwrap().lock;
        for (word, expected) in [("on", SfuLock::On), ("no", SfuLock::Off), ("0", SfuLock::Off)] {
            assert_eq!(lock(word), expected, "{word}");
        }
        assert_eq!(lock("auto"), SfuLock::Auto);
    }

    #[test]
    fn headers_are_copied_once_and_in_lower_case() {
        let pairs = [("SIGNALING", "ayame"), ("COPY_WEBSOCKET_HEADER_NAMES", "X-B, x-a ,X-A")];
        assert_eq!(load(pairs).signaling.ayame.unwrap().copied_headers, ["x-a", "x-b"]);
    }

    #[test]
    fn two_protocols_do_not_share_a_path() {
        let [on, id, secret] =
            [("SIGNALING", "sfu,p2pcf"), ("CALLS_APP_ID", "app"), ("CALLS_APP_SECRET", "s3cret")];
        let line = "SFU_PREFIXES: expected paths of which none, P2PCF_PATH and /PEERJS_KEY included, equals or is below another one";
        for (name, value) in
            [("SFU_PREFIXES", "/a,/a/b"), ("SFU_PREFIXES", "/p2pcf"), ("P2PCF_PATH", "/partytracks/x")]
        {
            assert_refused([on, id, secret, (name, value)], &[line]);
        }
        let _ = load([on, id, secret, ("SFU_PREFIXES", "/a,/ab")]);
        let of_peerjs = [("SIGNALING", "p2pcf,peerjs"), ("P2PCF_PATH", "/k/id"), ("PEERJS_KEY", "k")];
        assert_refused(of_peerjs, &[line]);
    }
}
