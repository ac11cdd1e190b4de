//! Settings of signaling. Each protocol is off until `SIGNALING` names it, because each one lets strangers hold sockets, and some
//! let them mint.

use axum::http::HeaderName;
use turn_sfu_proxy::SfuConfig;
use turn_signaling::{AyameSettings, ProtocolName, rooms};
use turn_signaling_server::{AyameConfig, P2pcfConfig, Protocols, ReportsConfig, RoomsConfig};

use super::budget::rate;
use super::form::{IDENTIFIER_MAX, header, identifier, visible};
use super::prelude::*;
use super::signaling_modules::{MODULES, Module, are_at, is_fixed_path};
use crate::bounds::{SFU_LOOK_INTERVAL, TTL_MIN};

/// The longest `PEERJS_KEY`, in bytes.
const PEERJS_KEY_MAX: usize = 64;
/// Headers that say where a message goes and where it ends. Copied into another message, they would be wrong there.
const FRAMING_HEADERS: [&str; 8] =
    ["connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];
/// Headers that clients themselves send.
const OF_CLIENTS: [&str; 7] =
    ["authorization", "cookie", "host", "origin", "referer", "user-agent", "x-forwarded-for"];
/// The longest path of a setting, in bytes.
const PATH_MAX: usize = 100;

/// Signaling. A protocol that is `None` is off.
#[derive(Clone, Debug)]
pub struct SignalingConfig {
    /// What `SIGNALING` names.
    pub(super) modules: Vec<Module>,
    /// The life of a credential that is minted for a call; a shorter `TURN_TTL_SECONDS` shortens the default. `SIGNALING_TTL_SECONDS`, 60
    /// to 86,400; 14,400 when unset.
    pub ttl: Duration,
    /// The settings of all protocols except the proxy of the SFU.
    pub protocols: Protocols,
    /// The proxy of the SFU.
    pub sfu: Option<SfuConfig>,
}

impl SignalingConfig {
    /// Reads every setting, also those of a protocol that is off, so that a mistake is found before the protocol is turned on.
    pub(super) fn read(settings: &mut Settings<'_>) -> Self {
        let modules = settings.words("SIGNALING", None, &MODULES.map(|(name, module, _)| (name, module)));
        let is_on = |protocol: ProtocolName| modules.contains(&Module::Protocol(protocol));
        let peerjs = settings.get("PEERJS_KEY", "peerjs", identifier(PEERJS_KEY_MAX));
        let signaling = Self {
            ttl: settings.get("SIGNALING_TTL_SECONDS", "14400", seconds(TTL_MIN.get().as_secs()..=86_400)),
            protocols: Protocols {
                sockets_per_client: settings.get("SIGNALING_SOCKETS_PER_CLIENT", "64", number(1..=4_096)),
                ayame: is_on(ProtocolName::Ayame).then_some(ayame(settings)),
                p2pcf: is_on(ProtocolName::P2pcf).then_some(p2pcf(settings)),
                rooms: is_on(ProtocolName::Rooms).then_some(rooms(settings, is_on(ProtocolName::Rooms))),
                peerjs: is_on(ProtocolName::Peerjs).then_some(peerjs),
                is_yjs_on: is_on(ProtocolName::Yjs),
                reports: modules.contains(&Module::Reports).then_some(reports(settings)),
            },
            sfu: sfu(settings, is_on(ProtocolName::Sfu)),
            modules,
        };
        let setting = if signaling.sfu.is_some() { "SFU_PREFIXES" } else { "P2PCF_PATH" };
        let expected = "expected paths (SFU_PREFIXES, P2PCF_PATH, /PEERJS_KEY) of which none equals or is below another one";
        settings.refuse_if(setting, overlap(&signaling.chosen_paths()), expected);
        signaling
    }

    /// The paths of the modules that are on, as far as settings choose them.
    fn chosen_paths(&self) -> Vec<String> {
        let sfu = self.sfu.iter().flat_map(|sfu| sfu.prefixes.iter().cloned());
        let p2pcf = self.protocols.p2pcf.iter().map(|p2pcf| p2pcf.path.clone());
        let peerjs = self.protocols.peerjs.iter().map(|key| format!("/{key}"));
        sfu.chain(p2pcf).chain(peerjs).collect()
    }

    /// The path that clients of a module are given; `None` if the module is off.
    fn path<'a>(&'a self, module: Module, usual: &[&'a str]) -> Option<&'a str> {
        match module {
            _ if !self.modules.contains(&module) => None,
            Module::Protocol(ProtocolName::P2pcf) => Some(&self.protocols.p2pcf.as_ref()?.path),
            Module::Protocol(ProtocolName::Sfu) => Some(self.sfu.as_ref()?.prefixes.first()?),
            _ => usual.first().copied(),
        }
    }

    /// The modules that are on, with their addresses below `base`, a URL with a slash at its end.
    pub fn addresses(&self, base: &str) -> Vec<String> {
        let address = |(name, module, usual): &(&str, Module, &[&'static str])| {
            let path = self.path(*module, usual)?.trim_start_matches('/');
            // `PeerJS` has `WebSockets` too, but its clients are given `http`.
            let with_ws = [ProtocolName::Ayame, ProtocolName::Rooms, ProtocolName::Yjs].map(Module::Protocol);
            let base =
                if with_ws.contains(module) { base.replacen("http", "ws", 1) } else { base.to_owned() };
            Some(format!("{name} at {base}{path}"))
        };
        MODULES.iter().filter_map(address).collect()
    }

    /// What to set so that `reports` serves `path`. A route that takes reports needs a place for them; the route that shows kept reports
    /// needs `REPORTS_DIR`. `None` if nothing is missing, or if `reports` is off.
    pub fn lacks_at(&self, path: &str) -> Option<&'static str> {
        let reports = self.protocols.reports.as_ref()?;
        match path {
            "/api/debugInfo" if reports.dir.is_none() => Some("REPORTS_DIR"),
            "/api/bugReport" | "/api/deadTrack" if reports.dir.is_none() && reports.feedback.is_none() => {
                Some("REPORTS_DIR or FEEDBACK_URL")
            }
            _ => None,
        }
    }

    /// The module that is off and would serve `path`: `path` is one of its usual paths, or below one.
    pub fn off_at(&self, path: &str) -> Option<&'static str> {
        let mut off = MODULES.iter().filter(|(_, module, usual)| self.path(*module, usual).is_none());
        off.find(|(.., usual)| are_at(usual, path)).map(|(name, ..)| *name)
    }
}

fn ayame(settings: &mut Settings<'_>) -> AyameConfig {
    let copyable = form(format!("the name of a header other than {}", FRAMING_HEADERS.join(", ")), |text| {
        header(text).ok().filter(|name| !FRAMING_HEADERS.contains(&name.as_str()))
    });
    let mut copied = settings.list("COPY_WEBSOCKET_HEADER_NAMES", None, copyable).unwrap_or_default();
    copied.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    copied.dedup();
    let authn_webhook = settings.webhook("AUTHN_WEBHOOK_URL", "keys of clients");
    let disconnect_webhook = settings.webhook("DISCONNECT_WEBHOOK_URL", "who was connected");
    let of_protocol = AyameSettings {
        has_authn_webhook: authn_webhook.is_some(),
        has_disconnect_webhook: disconnect_webhook.is_some(),
        type_message: settings.get("TYPE_MESSAGE", "false", switch),
        ping_interval: settings.get("WS_PING_INTERVAL_SEC", "5", seconds(1..=3_600)),
        pong_timeout: settings.get("WS_PONG_TIMEOUT_SEC", "60", seconds(1..=3_600)),
        read_timeout: settings.get("WS_READ_TIMEOUT_SEC", "90", seconds(1..=3_600)),
        read_limit: settings.get("READ_LIMIT_BYTES", "1048576", number(1_024..=1_048_576)),
    };
    AyameConfig { authn_webhook, disconnect_webhook, copied_headers: copied, settings: of_protocol }
}

fn p2pcf(settings: &mut Settings<'_>) -> P2pcfConfig {
    let quota = settings.optional("P2PCF_ORIGIN_QUOTA", number(0..=1_000_000_000));
    P2pcfConfig {
        path: settings.get("P2PCF_PATH", "/p2pcf", form(PATH_EXPECTED, parse_path)),
        origin_quota: quota.unwrap_or(0),
    }
}

/// The settings of the proxy. `None` if the proxy is off, or if a setting that it needs is missing or refused.
fn sfu(settings: &mut Settings<'_>, is_on: bool) -> Option<SfuConfig> {
    let path = form(PATH_EXPECTED, parse_path);
    let prefixes = settings.list("SFU_PREFIXES", Some("/partytracks,/api/calls"), path);
    let app_id = settings.optional("CALLS_APP_ID", identifier(IDENTIFIER_MAX));
    let app_secret = settings.secret("CALLS_APP_SECRET", visible(1..=1_024));
    let api = settings.base_url("CALLS_API_URL", "https://rtc.live.cloudflare.com/v1");
    let rooms_by_token = settings.get("SFU_ROOMS", "any", one_of(&[("any", false), ("token", true)]));
    let is_locked = settings.get("SFU_LOCK", "true", switch);
    let client_rate = settings.about_money().get("SFU_MBPS_PER_CLIENT", "100", rate);
    settings.both_or_neither("CALLS_APP_ID", "CALLS_APP_SECRET");
    if !is_on {
        return None;
    }
    let has_app = settings.is_set("CALLS_APP_ID") || settings.is_set("CALLS_APP_SECRET");
    let expected = "expected the id of your SFU app, and its CALLS_APP_SECRET, because SIGNALING names sfu";
    settings.refuse_if("CALLS_APP_ID", !has_app, expected);
    let has_keys = settings.is_set("AUTH_JWT_SECRET") || settings.is_set("AUTH_JWKS_URL");
    let expected =
        "expected any because neither AUTH_JWT_SECRET nor AUTH_JWKS_URL is set: no token could name a room";
    settings.refuse_if("SFU_ROOMS", rooms_by_token && !has_keys, expected);
    Some(SfuConfig {
        prefixes: prefixes?,
        app_id: app_id?,
        app_secret: app_secret?,
        api,
        look_interval: SFU_LOOK_INTERVAL.get(),
        rooms_by_token,
        is_locked,
        client_rate,
    })
}

/// The name of a header in which a proxy names the user. Clients themselves send what every browser does.
fn user_header(text: &str) -> Formed<HeaderName> {
    let expected =
        "the name of a header that only your proxy sets, such as Cf-Access-Authenticated-User-Email";
    let is_of_proxy = |name: &HeaderName| !OF_CLIENTS.contains(&name.as_str());
    form(expected, |text| text.parse().ok().filter(is_of_proxy))(text)
}

fn rooms(settings: &mut Settings<'_>, is_on: bool) -> RoomsConfig {
    let user_header = settings.optional("USER_HEADER", user_header);
    if is_on
        && settings.is_set("TRUSTED_PROXIES")
        && let Some(name) = &user_header
    {
        settings.warn(format!(
            "USER_HEADER is believed: each of TRUSTED_PROXIES must remove {name} from what clients send, and set it only for users whom it has signed in"
        ));
    }
    RoomsConfig {
        user_header,
        settings: rooms::Settings {
            members_max: settings.get("ROOM_MEMBERS_MAX", "64", number(2..=256)),
            sweep: settings.get("ROOM_SWEEP_SECONDS", "15", seconds(1..=300)),
        },
    }
}

fn reports(settings: &mut Settings<'_>) -> ReportsConfig {
    ReportsConfig {
        dir: settings.optional("REPORTS_DIR", path("a directory")),
        feedback: settings.webhook("FEEDBACK_URL", "reports"),
    }
}

const PATH_EXPECTED: &str =
    "a path such as /calls that no other route has: letters, digits, - _ and . between slashes";

/// The first parts of the paths of all routes outside signaling.
const OTHER_ROUTES: &str = "_matrix api dashboard demo health ice leader link metrics openapi.json ready \
    relay-check turn turn-client.d.ts turn-client.js turn-client.tgz v1";
/// The one path below `/api` that a protocol may have. Older versions of Orange use it.
const OLDER_SFU: &str = "/api/calls";

/// The path that a text states, if no other route has it. A slash at the end of the text is dropped.
fn parse_path(text: &str) -> Option<String> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_allowed);
    let mut segments = path.strip_prefix('/')?.split('/');
    let is_of_another = |first| OTHER_ROUTES.split(' ').any(|route| route == first);
    let is_taken = is_fixed_path(path) || segments.clone().next().is_some_and(is_of_another);
    let is_free = path == OLDER_SFU || !is_taken;
    (path.len() <= PATH_MAX && is_free && segments.all(is_segment)).then(|| path.to_owned())
}

/// Whether one of the paths is the same as another one or below it, so that both would serve it.
fn overlap(paths: &[String]) -> bool {
    // With a slash at its end, a path is a prefix of exactly the paths that are equal or below it. It sorts directly before one of these,
    // if there are any.
    let mut sorted: Vec<String> = paths.iter().map(|path| format!("{path}/")).collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| matches!(pair, [above, path] if path.starts_with(above)))
}

#[cfg(test)]
mod tests {
    use crate::config::testing::load;

    #[test]
    fn a_module_that_is_on_has_an_address_and_one_that_is_off_has_its_usual_paths() {
        let config = load([
            ("SIGNALING", "ayame,p2pcf,rooms,sfu,peerjs,yjs"),
            ("P2PCF_PATH", "/small/rooms"),
            ("SFU_PREFIXES", "/meet"),
            ("CALLS_APP_ID", "app"),
            ("CALLS_APP_SECRET", "s3cret"),
        ]);
        let base = "https://turn.example/base/";
        assert_eq!(
            config.signaling.addresses(base),
            [
                "ayame at wss://turn.example/base/signaling",
                "p2pcf at https://turn.example/base/small/rooms",
                "rooms at wss://turn.example/base/parties",
                "sfu at https://turn.example/base/meet",
                "peerjs at https://turn.example/base/peerjs",
                "yjs at wss://turn.example/base/yjs",
            ]
        );
        assert_eq!(config.signaling.off_at("/api/debugInfo"), Some("reports"));
        assert_eq!(config.signaling.off_at("/yjs"), None);
        let none = load([]).signaling;
        assert!(none.addresses(base).is_empty());
        assert_eq!(none.off_at("/yjs/room-1"), Some("yjs"));
        assert_eq!(none.off_at("/yjs-1"), None);
    }
}
