//! Settings of signaling. Each protocol is off until `SIGNALING` names it, because each one lets strangers hold sockets, and some
//! let them mint.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderName;
use secrecy::SecretString;
use turn_signaling::call::ProtocolName;
use url::Url;

use super::alert::WebhookUrl;
use super::names::{
    AUTHN_WEBHOOK_URL, CALLS_API_URL, CALLS_APP_ID, CALLS_APP_SECRET, COPY_WEBSOCKET_HEADER_NAMES,
    DISCONNECT_WEBHOOK_URL, FEEDBACK_URL, P2PCF_ORIGIN_QUOTA, P2PCF_PATH, PEERJS_KEY, READ_LIMIT_BYTES,
    REPORTS_DIR, ROOM_MEMBERS_MAX, ROOM_SWEEP_SECONDS, SFU_LOCK, SFU_PREFIXES, SFU_STRICT_PASSTHROUGH,
    SIGNALING, SIGNALING_SOCKETS_PER_CLIENT, SIGNALING_TTL_SECONDS, TYPE_MESSAGE, USER_HEADER, Variable,
    WEBHOOK_TIMEOUT_SEC, WS_PING_INTERVAL_SEC, WS_PONG_TIMEOUT_SEC, WS_READ_TIMEOUT_SEC,
};
use super::settings::{Read, Settings};
use super::signaling_modules::{MODULES, Module, is_at_or_below, is_of_module};
use super::value::{BOOLEANS, is_visible_ascii, parse_base, parse_identifier, parse_number};

/// The longest token or key of a provider, in characters.
const SECRET_CHARS_MAX: usize = 1_024;
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

const SFU_LOCKS: &[(&str, SfuLock)] = &[
    ("true", SfuLock::On),
    ("false", SfuLock::Off),
    ("auto", SfuLock::Auto),
    ("on", SfuLock::On),
    ("off", SfuLock::Off),
    ("1", SfuLock::On),
    ("0", SfuLock::Off),
    ("yes", SfuLock::On),
    ("no", SfuLock::Off),
];

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
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let modules = settings.words(SIGNALING, MODULES);
        let ttl = settings.seconds(SIGNALING_TTL_SECONDS, 60..=86_400);
        let sockets_per_client = settings.number(SIGNALING_SOCKETS_PER_CLIENT, 1..=4_096);
        let ayame = read_ayame(settings);
        let p2pcf = read_p2pcf(settings);
        let rooms = read_rooms(settings);
        let peerjs = read_peerjs_key(settings);
        let reports = read_reports(settings);
        let modules = modules.map(Option::unwrap_or_default);
        let has = |module: Module| modules.as_ref().is_ok_and(|modules| modules.contains(&module));
        let is_on = |protocol: ProtocolName| has(Module::Protocol(protocol));
        let sfu = read_sfu(settings, is_on(ProtocolName::Sfu));
        let (ttl, ayame, p2pcf, rooms, peerjs) = (ttl?, ayame?, p2pcf?, rooms?, peerjs?);
        let (sockets_per_client, reports, sfu) = (sockets_per_client?, reports?, sfu?);
        let prefixes = sfu.iter().flat_map(|sfu| &sfu.prefixes);
        let p2pcf_path = is_on(ProtocolName::P2pcf).then_some(&p2pcf.path);
        let peerjs_path = is_on(ProtocolName::Peerjs).then(|| format!("/{peerjs}"));
        if overlap(&prefixes.chain(p2pcf_path).chain(&peerjs_path).collect::<Vec<_>>()) {
            let expected = "expected paths of which none, P2PCF_PATH and /PEERJS_KEY included, equals or is below another one";
            return Err(settings.refuse(SFU_PREFIXES.name(), expected));
        }
        let signaling = Self {
            ttl,
            sockets_per_client,
            ayame: is_on(ProtocolName::Ayame).then_some(ayame),
            p2pcf: is_on(ProtocolName::P2pcf).then_some(p2pcf),
            sfu,
            rooms: is_on(ProtocolName::Rooms).then_some(rooms),
            peerjs: is_on(ProtocolName::Peerjs).then_some(peerjs),
            is_yjs_on: is_on(ProtocolName::Yjs),
            reports: has(Module::Reports).then_some(reports),
        };
        modules.map(|_| signaling)
    }
}

fn read_ayame(settings: &mut Settings<'_>) -> Read<AyameConfig> {
    let authn_webhook = WebhookUrl::read(settings, AUTHN_WEBHOOK_URL);
    let disconnect_webhook = WebhookUrl::read(settings, DISCONNECT_WEBHOOK_URL);
    let copied = settings.list(COPY_WEBSOCKET_HEADER_NAMES, "names of headers", parse_header);
    let type_message = settings.word(TYPE_MESSAGE, BOOLEANS);
    let ping_interval = settings.seconds(WS_PING_INTERVAL_SEC, 1..=3_600);
    let pong_timeout = settings.seconds(WS_PONG_TIMEOUT_SEC, 1..=3_600);
    let read_timeout = settings.seconds(WS_READ_TIMEOUT_SEC, 1..=3_600);
    let read_limit = settings.number(READ_LIMIT_BYTES, 1_024..=1_048_576);
    let webhook_timeout = settings.seconds(WEBHOOK_TIMEOUT_SEC, 1..=60);
    let mut copied_headers = copied?.unwrap_or_default();
    copied_headers.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    copied_headers.dedup();
    Ok(AyameConfig {
        authn_webhook: authn_webhook?,
        disconnect_webhook: disconnect_webhook?,
        copied_headers,
        type_message: type_message?,
        ping_interval: ping_interval?,
        pong_timeout: pong_timeout?,
        read_timeout: read_timeout?,
        read_limit: read_limit?,
        webhook_timeout: webhook_timeout?,
    })
}

fn read_p2pcf(settings: &mut Settings<'_>) -> Read<P2pcfConfig> {
    let path = read_path(settings, P2PCF_PATH);
    let quota = settings.optional(P2PCF_ORIGIN_QUOTA, "a whole number up to 1000000000", |text| {
        parse_number(text, &(0..=1_000_000_000))
    });
    Ok(P2pcfConfig { path: path?, origin_quota: quota?.unwrap_or(0) })
}

fn read_path(settings: &mut Settings<'_>, variable: Variable) -> Read<String> {
    settings.required(variable, PATH_EXPECTED, parse_path)
}

const PATH_EXPECTED: &str =
    "a path such as /calls that no other route has: letters, digits, - _ and . between slashes";

fn read_sfu(settings: &mut Settings<'_>, is_on: bool) -> Read<Option<SfuConfig>> {
    let prefixes = settings.list(SFU_PREFIXES, PATH_EXPECTED, parse_path);
    let id = settings.optional(CALLS_APP_ID, "letters, digits, - and _", parse_identifier);
    let expected = "1 to 1024 visible ASCII characters without spaces";
    let is_good = |text: &str| (1..=SECRET_CHARS_MAX).contains(&text.len()) && is_visible_ascii(text);
    let secret = settings.secret(CALLS_APP_SECRET, expected, is_good);
    let both = settings.both_or_neither(CALLS_APP_ID, CALLS_APP_SECRET);
    let api = settings.required(CALLS_API_URL, "an http: or https: URL", parse_base);
    let lock = settings.word(SFU_LOCK, SFU_LOCKS);
    let strict_passthrough = settings.word(SFU_STRICT_PASSTHROUGH, BOOLEANS);
    let (prefixes, id, secret, api, lock) = (prefixes?, id?, secret?, api?, lock?);
    let strict_passthrough = strict_passthrough?;
    both?;
    if !is_on {
        return Ok(None);
    }
    let (Some(app_id), Some(app_secret)) = (id, secret) else {
        let expected =
            "expected the id of your SFU app, and its CALLS_APP_SECRET, because SIGNALING names sfu";
        return Err(settings.refuse(CALLS_APP_ID.name(), expected));
    };
    let prefixes = prefixes.unwrap_or_default();
    Ok(Some(SfuConfig { prefixes, app_id, app_secret, api, lock, strict_passthrough }))
}

fn read_rooms(settings: &mut Settings<'_>) -> Read<RoomsConfig> {
    let user_header = settings.required(USER_HEADER, "the name of a header", parse_header);
    let members_max = settings.number(ROOM_MEMBERS_MAX, 2..=256);
    let sweep = settings.seconds(ROOM_SWEEP_SECONDS, 1..=300);
    Ok(RoomsConfig { user_header: user_header?, members_max: members_max?, sweep: sweep? })
}

fn read_peerjs_key(settings: &mut Settings<'_>) -> Read<String> {
    let expected = "1 to 64 letters, digits, - and _";
    let parse = |text: &str| parse_identifier(text).filter(|key| key.len() <= PEERJS_KEY_MAX);
    settings.required(PEERJS_KEY, expected, parse)
}

fn read_reports(settings: &mut Settings<'_>) -> Read<ReportsConfig> {
    let dir = settings.optional(REPORTS_DIR, "a directory", |text| Some(PathBuf::from(text)));
    let feedback = WebhookUrl::read(settings, FEEDBACK_URL);
    Ok(ReportsConfig { dir: dir?, feedback: feedback? })
}

fn parse_header(text: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(text.as_bytes()).ok()
}

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
fn overlap(paths: &[&String]) -> bool {
    paths
        .iter()
        .enumerate()
        .any(|(i, above)| paths.iter().enumerate().any(|(j, path)| i != j && is_at_or_below(path, above)))
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
        let expected = "SIGNALING: expected ayame, p2pcf, rooms, sfu, peerjs, yjs or reports, found \"sip\"";
        assert_refused([("SIGNALING", "sip")], &[expected]);
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
        for (word, is_on) in BOOLEANS {
            assert_eq!(lock(word), if *is_on { SfuLock::On } else { SfuLock::Off }, "{word}");
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

    #[test]
    fn a_path_has_plain_segments() {
        for (text, path) in [("/p2pcf", Some("/p2pcf")), ("/a/b.c/", Some("/a/b.c")), ("p2pcf", None)] {
            assert_eq!(parse_path(text).as_deref(), path, "{text}");
        }
        for bad in [
            "",
            "/",
            "//",
            "/a//b",
            "/..",
            "/{id}",
            "/a b",
            "/a?b",
            "/.ok",
            "/api",
            "/api/calls/x",
            "/health",
            "/turn/x",
            "/yjs",
            "/peerjs/x",
            "/call-quality-feedback",
        ] {
            assert_eq!(parse_path(bad), None, "{bad}");
        }
    }
}
