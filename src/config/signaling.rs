//! Settings of signaling. Each protocol is off until `SIGNALING` names it, because each one lets strangers hold sockets, and some
//! let them mint.

use std::time::Duration;

use turn_sfu_proxy::SfuConfig;
use turn_signaling::call::ProtocolName;
use turn_signaling_server::{AyameConfig, P2pcfConfig, Protocols, ReportsConfig, RoomsConfig};

use super::budget::rate;
use super::form::{IDENTIFIER_MAX, form, header, identifier, number, parsed, seconds, switch, visible};
use super::settings::Settings;
use super::signaling_modules::{MODULES, Module, is_of_module};

/// The longest `PEERJS_KEY`, in bytes.
const PEERJS_KEY_MAX: usize = 64;
/// Headers that say where a message goes and where it ends. Copied into another message, they would be wrong there.
const FRAMING_HEADERS: [&str; 8] =
    ["connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];
/// The longest path of a setting, in bytes.
const PATH_MAX: usize = 100;

/// Signaling. A protocol that is `None` is off.
#[derive(Clone, Debug)]
pub struct SignalingConfig {
    /// The life of a credential that is minted for a call. `SIGNALING_TTL_SECONDS`, 60 to 86,400; 14,400 when unset.
    pub ttl: Duration,
    /// All but the proxy of the SFU.
    pub protocols: Protocols,
    /// `sfu`.
    pub sfu: Option<SfuConfig>,
}

impl SignalingConfig {
    /// Reads every setting, also those of a protocol that is off, so that a mistake is found before the protocol is turned on.
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let modules = settings.words("SIGNALING", None, MODULES);
        let is_on = |protocol: ProtocolName| modules.contains(&Module::Protocol(protocol));
        let peerjs = settings.get("PEERJS_KEY", "peerjs", identifier(PEERJS_KEY_MAX));
        let signaling = Self {
            ttl: settings.get("SIGNALING_TTL_SECONDS", "14400", seconds(60..=86_400)),
            protocols: Protocols {
                sockets_per_client: settings.get("SIGNALING_SOCKETS_PER_CLIENT", "64", number(1..=4_096)),
                ayame: is_on(ProtocolName::Ayame).then_some(ayame(settings)),
                p2pcf: is_on(ProtocolName::P2pcf).then_some(p2pcf(settings)),
                rooms: is_on(ProtocolName::Rooms).then_some(rooms(settings)),
                peerjs: is_on(ProtocolName::Peerjs).then_some(peerjs),
                is_yjs_on: is_on(ProtocolName::Yjs),
                reports: modules.contains(&Module::Reports).then_some(reports(settings)),
            },
            sfu: sfu(settings, is_on(ProtocolName::Sfu)),
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
        let p2pcf = self.protocols.p2pcf.iter().map(|p2pcf| p2pcf.path.clone());
        let peerjs = self.protocols.peerjs.iter().map(|key| format!("/{key}"));
        sfu.chain(p2pcf).chain(peerjs).collect()
    }
}

fn ayame(settings: &mut Settings<'_>) -> AyameConfig {
    let copyable = form(format!("the name of a header other than {}", FRAMING_HEADERS.join(", ")), |text| {
        header(text).ok().filter(|name| !FRAMING_HEADERS.contains(&name.as_str()))
    });
    let mut copied = settings.list("COPY_WEBSOCKET_HEADER_NAMES", None, copyable).unwrap_or_default();
    copied.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    copied.dedup();
    AyameConfig {
        authn_webhook: settings.webhook("AUTHN_WEBHOOK_URL", "keys of clients"),
        disconnect_webhook: settings.webhook("DISCONNECT_WEBHOOK_URL", "who was connected"),
        copied_headers: copied,
        type_message: settings.get("TYPE_MESSAGE", "false", switch),
        ping_interval: settings.get("WS_PING_INTERVAL_SEC", "5", seconds(1..=3_600)),
        pong_timeout: settings.get("WS_PONG_TIMEOUT_SEC", "60", seconds(1..=3_600)),
        read_timeout: settings.get("WS_READ_TIMEOUT_SEC", "90", seconds(1..=3_600)),
        read_limit: settings.get("READ_LIMIT_BYTES", "1048576", number(1_024..=1_048_576)),
        webhook_timeout: settings.get("WEBHOOK_TIMEOUT_SEC", "5", seconds(1..=60)),
    }
}

fn p2pcf(settings: &mut Settings<'_>) -> P2pcfConfig {
    let quota = settings.optional("P2PCF_ORIGIN_QUOTA", number(0..=1_000_000_000));
    P2pcfConfig {
        path: settings.get("P2PCF_PATH", "/p2pcf", form(PATH_EXPECTED, parse_path)),
        origin_quota: quota.unwrap_or(0),
    }
}

/// `None` if it is off.
fn sfu(settings: &mut Settings<'_>, is_on: bool) -> Option<SfuConfig> {
    let path = form(PATH_EXPECTED, parse_path);
    let prefixes = settings.list("SFU_PREFIXES", Some("/partytracks,/api/calls"), path);
    let app_id = settings.optional("CALLS_APP_ID", identifier(IDENTIFIER_MAX));
    let app_secret = settings.secret("CALLS_APP_SECRET", visible(1..=1_024));
    let api = settings.base_url("CALLS_API_URL", "https://rtc.live.cloudflare.com/v1");
    let is_locked = settings.get("SFU_LOCK", "true", switch);
    let client_rate = settings.get("SFU_MBPS_PER_CLIENT", "100", rate);
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
    Some(SfuConfig { prefixes, app_id, app_secret, api, is_locked, client_rate })
}

fn rooms(settings: &mut Settings<'_>) -> RoomsConfig {
    RoomsConfig {
        user_header: settings.get("USER_HEADER", "Cf-Access-Authenticated-User-Email", header),
        members_max: settings.get("ROOM_MEMBERS_MAX", "64", number(2..=256)),
        sweep: settings.get("ROOM_SWEEP_SECONDS", "15", seconds(1..=300)),
    }
}

fn reports(settings: &mut Settings<'_>) -> ReportsConfig {
    ReportsConfig {
        dir: settings.optional("REPORTS_DIR", parsed("the path of a directory")),
        feedback: settings.webhook("FEEDBACK_URL", "reports"),
    }
}

const PATH_EXPECTED: &str =
    "a path such as /calls that no other route has: letters, digits, - _ and . between slashes";

/// The first parts of the paths of all routes outside signaling.
const OTHER_ROUTES: [&str; 16] = [
    "_matrix",
    "api",
    "dashboard",
    "demo",
    "docs",
    "health",
    "ice",
    "leader",
    "metrics",
    "openapi.json",
    "ready",
    "relay-check",
    "turn",
    "turn-client.d.ts",
    "turn-client.js",
    "turn-client.tgz",
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
    #[test]
    fn each_setting_has_a_default_a_form_and_a_message() {
        crate::config::testing::assert_cases(
            r#"
            PORT=
            = signaling: SignalingConfig { ttl: 14400s, protocols: Protocols { sockets_per_client: 64, ayame: None, p2pcf: None, rooms: None, peerjs: None, is_yjs_on: false, reports: None }, sfu: None }
            SIGNALING=ayame, P2PCF,rooms,peerjs,yjs,reports
            = ayame: Some(AyameConfig { authn_webhook: None, disconnect_webhook: None, copied_headers: [], type_message: false, ping_interval: 5s, pong_timeout: 60s, read_timeout: 90s, read_limit: 1048576, webhook_timeout: 5s })
            = p2pcf: Some(P2pcfConfig { path: "/p2pcf", origin_quota: 0 })
            = rooms: Some(RoomsConfig { user_header: "cf-access-authenticated-user-email", members_max: 64, sweep: 15s })
            = peerjs: Some("peerjs"), is_yjs_on: true, reports: Some(ReportsConfig { dir: None, feedback: None })
            SIGNALING=maybe
            ! SIGNALING: expected ayame, p2pcf, rooms, sfu, peerjs, yjs or reports, found <value>
            SIGNALING_TTL_SECONDS=61; SIGNALING_SOCKETS_PER_CLIENT=62
            = ttl: 61s, protocols: Protocols { sockets_per_client: 62
            SIGNALING_TTL_SECONDS from 60 to 86400
            SIGNALING_SOCKETS_PER_CLIENT from 1 to 4096

            SIGNALING=ayame; TYPE_MESSAGE=on; WS_PING_INTERVAL_SEC=1; WS_PONG_TIMEOUT_SEC=2; WS_READ_TIMEOUT_SEC=3; READ_LIMIT_BYTES=1025; WEBHOOK_TIMEOUT_SEC=4; COPY_WEBSOCKET_HEADER_NAMES=X-B, x-a ,X-A
            = copied_headers: ["x-a", "x-b"], type_message: true, ping_interval: 1s, pong_timeout: 2s, read_timeout: 3s, read_limit: 1025, webhook_timeout: 4s }
            SIGNALING=ayame; AUTHN_WEBHOOK_URL=https://a.example/hush; DISCONNECT_WEBHOOK_URL=https://b.example/hush
            = authn_webhook: Some(https://a.example/[redacted]), disconnect_webhook: Some(https://b.example/[redacted])
            AUTHN_WEBHOOK_URL=hooks.example | https://me:hush@hooks.example
            ! AUTHN_WEBHOOK_URL: expected an http: or https: URL without user
            DISCONNECT_WEBHOOK_URL=hooks.example
            ! DISCONNECT_WEBHOOK_URL: expected an http: or https: URL without user
            AUTHN_WEBHOOK_URL=http://localhost:8080/hush
            AUTHN_WEBHOOK_URL=http://app.example/hush
            ? AUTHN_WEBHOOK_URL is http: others on the network path can read keys of clients and the URL; use https
            DISCONNECT_WEBHOOK_URL=http://app.example/hush
            ? DISCONNECT_WEBHOOK_URL is http: others on the network path can read who was connected and the URL; use https
            COPY_WEBSOCKET_HEADER_NAMES=a b | Content-Length | transfer-encoding | HOST | connection | upgrade | te | trailer | keep-alive
            ! COPY_WEBSOCKET_HEADER_NAMES: expected the name of a header other than connection, content-length, host, keep-alive, te, trailer, transfer-encoding, upgrade, found <value>
            TYPE_MESSAGE=maybe
            ! TYPE_MESSAGE: expected true or false, found <value>
            WS_PING_INTERVAL_SEC from 1 to 3600
            WS_PONG_TIMEOUT_SEC from 1 to 3600
            WS_READ_TIMEOUT_SEC from 1 to 3600
            READ_LIMIT_BYTES from 1024 to 1048576
            WEBHOOK_TIMEOUT_SEC from 1 to 60

            SIGNALING=p2pcf; P2PCF_PATH=/a/b.c/; P2PCF_ORIGIN_QUOTA=7
            = p2pcf: Some(P2pcfConfig { path: "/a/b.c", origin_quota: 7 })
            P2PCF_PATH=p2pcf | / | // | /a//b | /.. | /{id} | /a b | /a?b | /.ok | /api | /api/calls/x | /health | /turn/x | /yjs | /peerjs/x | /call-quality-feedback
            ! P2PCF_PATH: expected a path such as /calls that no other route has: letters, digits, - _ and . between slashes, found <value>
            P2PCF_ORIGIN_QUOTA from 0 to 1000000000

            SIGNALING=sfu
            ! CALLS_APP_ID: expected the id of your SFU app, and its CALLS_APP_SECRET, because SIGNALING names sfu
            CALLS_APP_ID=app
            ! CALLS_APP_SECRET: expected a value because CALLS_APP_ID is set (both or neither)
            CALLS_APP_ID=app; CALLS_APP_SECRET=hush hush
            ! CALLS_APP_SECRET: expected 1 to 1024 visible ASCII characters without spaces
            CALLS_APP_SECRET=hush; CALLS_APP_ID=a.b
            ! CALLS_APP_ID: expected 1 to 128 letters, digits, _ or -, found <value>
            SIGNALING=sfu; CALLS_APP_SECRET=hush; CALLS_APP_ID=app
            = sfu: Some(SfuConfig { prefixes: ["/partytracks", "/api/calls"], app_id: "app",
            = host: Some(Domain("rtc.live.cloudflare.com")), port: None, path: "/v1/"
            = is_locked: true, client_rate: BitRate(100000000) }
            SIGNALING=sfu; CALLS_APP_SECRET=hush; CALLS_APP_ID=app; SFU_PREFIXES=/a,/ab; SFU_MBPS_PER_CLIENT=2.5; SFU_LOCK=no | off | 0
            = prefixes: ["/a", "/ab"]
            = is_locked: false, client_rate: BitRate(2500000) }
            SFU_LOCK=maybe
            ! SFU_LOCK: expected true or false, found <value>
            SFU_PREFIXES=/a//b | /yjs
            ! SFU_PREFIXES: expected a path such as /calls that no other route has: letters, digits, - _ and . between slashes, found <value>
            CALLS_API_URL=http://proxy.example
            ? CALLS_API_URL is http: others on the network path can read the token; use https
            CALLS_API_URL=example.com
            ! CALLS_API_URL: expected an http: or https: URL without user, query or fragment, found <value>
            SIGNALING=sfu,p2pcf; CALLS_APP_SECRET=hush; CALLS_APP_ID=app; SFU_PREFIXES=/a,/a/b | /p2pcf
            ! SFU_PREFIXES: expected paths of which none, P2PCF_PATH and /PEERJS_KEY included, equals or is below another one
            SIGNALING=sfu,p2pcf; CALLS_APP_SECRET=hush; CALLS_APP_ID=app; P2PCF_PATH=/partytracks/x
            ! SFU_PREFIXES: expected paths of which none, P2PCF_PATH and /PEERJS_KEY included, equals or is below another one
            SIGNALING=p2pcf,peerjs; P2PCF_PATH=/k/id; PEERJS_KEY=k
            ! SFU_PREFIXES: expected paths of which none, P2PCF_PATH and /PEERJS_KEY included, equals or is below another one

            SIGNALING=rooms; USER_HEADER=X-User; ROOM_MEMBERS_MAX=3; ROOM_SWEEP_SECONDS=4
            = rooms: Some(RoomsConfig { user_header: "x-user", members_max: 3, sweep: 4s })
            USER_HEADER=a b
            ! USER_HEADER: expected the name of a header, found <value>
            ROOM_MEMBERS_MAX from 2 to 256
            ROOM_SWEEP_SECONDS from 1 to 300
            SIGNALING=peerjs; PEERJS_KEY=key_-1
            = peerjs: Some("key_-1")
            PEERJS_KEY=a/b
            ! PEERJS_KEY: expected 1 to 64 letters, digits, _ or -, found <value>
            SIGNALING=reports; REPORTS_DIR=/a; FEEDBACK_URL=https://chat.example/hush
            = reports: Some(ReportsConfig { dir: Some("/a"), feedback: Some(https://chat.example/[redacted]) })
            FEEDBACK_URL=http://chat.example/hush
            ? FEEDBACK_URL is http: others on the network path can read reports and the URL; use https
            FEEDBACK_URL=chat.example
            ! FEEDBACK_URL: expected an http: or https: URL without user
            "#,
        );
    }
}
