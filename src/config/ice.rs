//! Settings of the ICE sources. A source that `ICE_SOURCES` names has its settings, or the service does not start. There
//! are two exceptions: without Cloudflare's settings STUN answers in its place, and the relay in this process has defaults.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::manual::read_manual;
use super::names::{
    CLOUDFLARE_API_BASE, CLOUDFLARE_TURN_API_TOKEN, CLOUDFLARE_TURN_KEY_ID, CLOUDFLARE_TURN_KEYS,
    COTURN_SECRET, COTURN_URLS, ICE_SOURCES, ICE_URLS, KEY_ROTATION_DAYS, MANUAL_ICE_SERVERS, RELAY_LISTEN,
    RELAY_PUBLIC_IP, STUN_URLS, TURN_ENABLED, TURN_POOL_MAX, TURN_TTL_SECONDS, Variable,
};
use super::relay::RelayConfig;
use super::rotation::RotationConfig;
use super::settings::{Read, Settings};
use super::turn_keys::{CountryKeys, TurnKeyConfig, read_countries, read_keys};
use super::value::BOOLEANS;
use crate::ice::server::{IceServerList, UrlChoice};
use crate::ice::turn_keys::OwnKey;
use crate::ice::url::IceUrl;
use turn_ledger::IceSource;

/// The most URLs of one source; a response holds no more.
const URLS_MAX: usize = 64;

/// Settings of all ICE sources.
#[derive(Clone, Debug)]
pub struct IceConfig {
    /// The kill switch: with `false` every response is STUN only. `TURN_ENABLED`; true when unset.
    pub enabled: bool,
    /// The order of attempts, each source once. `ICE_SOURCES`; cloudflare, then stun when unset.
    pub sources: Vec<IceSource>,
    /// How many URLs of a source a response has. `ICE_URLS`; short when unset.
    pub urls: UrlChoice,
    /// The longest and usual lifetime of a credential, 60 s to 48 h. `TURN_TTL_SECONDS`; 24 h when unset.
    pub ttl_max: Duration,
    /// The most Cloudflare credentials minted ahead of callers, 0 (none) to 4,096. `TURN_POOL_MAX`; 256 when unset.
    pub pool_max: u64,
    /// The degraded response: 1 to 64 `stun:` or `stuns:` URLs, none twice, none on port 53. `STUN_URLS`; two of Google's
    /// when unset.
    pub stun: Vec<IceUrl>,
    /// Cloudflare's TURN keys; `None` when no key is set.
    pub cloudflare: Option<CloudflareConfig>,
    /// The operator's coturn; `None` when neither URLs nor secret are set.
    pub coturn: Option<CoturnConfig>,
    /// The relay in this process; `None` when `ICE_SOURCES` does not name it.
    pub relay: Option<RelayConfig>,
    /// A fixed list. `MANUAL_ICE_SERVERS`, a JSON list of `RTCIceServer`; none when unset.
    pub manual: Option<IceServerList>,
}

/// Cloudflare's TURN keys and API.
#[derive(Clone, Debug)]
pub struct CloudflareConfig {
    /// The keys. `CLOUDFLARE_TURN_KEYS`, or the one of `CLOUDFLARE_TURN_KEY_ID` and `CLOUDFLARE_TURN_API_TOKEN`.
    pub keys: Vec<TurnKeyConfig>,
    /// Which key serves which country.
    pub countries: CountryKeys,
    /// How the key named `default` is replaced; `None` without `KEY_ROTATION_DAYS`.
    pub rotation: Option<RotationConfig>,
    /// The base of the API, `http:` or `https:`; its path ends in `/`, so that `join` appends. `CLOUDFLARE_API_BASE`;
    /// `https://rtc.live.cloudflare.com/` when unset.
    pub api_base: Url,
}

/// The operator's coturn with `use-auth-secret`.
#[derive(Clone, Debug)]
pub struct CoturnConfig {
    /// Its URLs: at most 64, none twice, none on port 53, at least one `turn:` or `turns:`. `COTURN_URLS`.
    pub urls: Vec<IceUrl>,
    /// Its `static-auth-secret`. `COTURN_SECRET`.
    pub secret: SecretString,
}

impl IceConfig {
    pub(super) fn read(settings: &mut Settings<'_>) -> Read<Self> {
        let enabled = settings.word(TURN_ENABLED, BOOLEANS);
        let sources = read_sources(settings);
        let urls = settings.word(ICE_URLS, &[("short", UrlChoice::Short), ("all", UrlChoice::All)]);
        let ttl_max = settings.seconds(TURN_TTL_SECONDS, 60..=172_800);
        let pool_max = settings.number(TURN_POOL_MAX, 0..=4_096);
        let stun = read_stun(settings);
        let cloudflare = CloudflareConfig::read(settings);
        let coturn = CoturnConfig::read(settings);
        let relay = RelayConfig::read(settings);
        let manual = read_manual(settings);
        let (sources, relay, urls, coturn) = (sources?, relay?, urls?, coturn?);
        let left_out = coturn.as_ref().map_or(0, |coturn| coturn.left_out(urls));
        if left_out > 0 {
            settings.warn(format!(
                "ICE_URLS=short leaves out {left_out} of COTURN_URLS: set ICE_URLS=all if each is another server"
            ));
        }
        Ok(Self {
            enabled: enabled?,
            relay: sources.contains(&IceSource::Relay).then_some(relay),
            sources,
            urls,
            ttl_max: ttl_max?,
            pool_max: pool_max?,
            stun: stun?,
            cloudflare: cloudflare?,
            coturn,
            manual: manual?,
        })
    }
}

impl CloudflareConfig {
    /// The keys as far as a count of bytes needs them.
    #[must_use]
    pub fn own_keys(&self) -> Vec<OwnKey> {
        self.keys.iter().map(|key| OwnKey { name: key.name, id: key.id.as_str().into() }).collect()
    }

    fn read(settings: &mut Settings<'_>) -> Read<Option<Self>> {
        let keys = read_keys(settings);
        let rotation = RotationConfig::read(settings);
        let is_rotated = rotation.as_ref().is_ok_and(Option::is_some);
        let countries = read_countries(settings, keys.as_deref().unwrap_or_default(), is_rotated);
        let api_base = settings.base_url(CLOUDFLARE_API_BASE);
        let (keys, rotation, countries, api_base) = (keys?, rotation?, countries?, api_base?);
        let has_keys = !keys.is_empty() || rotation.is_some();
        Ok(has_keys.then_some(Self { keys, countries, rotation, api_base }))
    }
}

impl CoturnConfig {
    /// How many of the URLs no response has.
    fn left_out(&self, choice: UrlChoice) -> usize {
        let all = IceServerList::of_turn(self.urls.clone(), String::new(), String::new());
        self.urls.len() - all.choose(choice).urls().count()
    }

    fn read(settings: &mut Settings<'_>) -> Read<Option<Self>> {
        let urls = read_urls(settings, COTURN_URLS, "stun:, stuns:, turn: or turns: URLs", |_| true);
        let secret = settings.secret(COTURN_SECRET, "text without control characters", |_| true);
        settings.both_or_neither(COTURN_URLS, COTURN_SECRET)?;
        let urls = urls?;
        if urls.as_ref().is_some_and(|urls| !urls.iter().any(IceUrl::relays)) {
            return Err(settings.refuse(COTURN_URLS.name(), "expected at least one turn: or turns: URL"));
        }
        Ok(urls.zip(secret?).map(|(urls, secret)| Self { urls, secret }))
    }
}

fn read_sources(settings: &mut Settings<'_>) -> Read<Vec<IceSource>> {
    let choices = IceSource::NAMED.map(|source| (source.name(), source));
    let sources = settings.words(ICE_SOURCES, &choices)?.unwrap_or_default();
    let mut outcome = Ok(());
    for source in IceSource::NAMED {
        let Some(needs) = needs_of(source, settings) else { continue };
        let (variables, is, has) = (needs.variables, needs.is, needs.has);
        match (sources.contains(&source), needs.is_set) {
            (true, false) if !needs.has_defaults => {
                let text = format!("names {source}, but {variables} {is} not set");
                outcome = Err(settings.refuse(ICE_SOURCES.name(), text));
            }
            (false, true) => {
                settings.warn(format!("{variables} {has} no effect: ICE_SOURCES does not name {source}"));
            }
            _ => {}
        }
    }
    outcome.map(|()| sources)
}

/// The variables of a source, for messages.
struct Needs {
    variables: &'static str,
    is: &'static str,
    has: &'static str,
    /// Whether the source may be named with none of them set.
    has_defaults: bool,
    /// Whether any of the variables is set.
    is_set: bool,
}

/// `None` for a source without settings.
fn needs_of(source: IceSource, settings: &Settings<'_>) -> Option<Needs> {
    match source {
        IceSource::Cloudflare if settings.is_secret_set(CLOUDFLARE_TURN_KEYS) => Some(Needs {
            variables: "CLOUDFLARE_TURN_KEYS",
            is: "is",
            has: "has",
            has_defaults: true,
            is_set: true,
        }),
        IceSource::Cloudflare
            if settings.is_set(KEY_ROTATION_DAYS) && !settings.is_set(CLOUDFLARE_TURN_KEY_ID) =>
        {
            Some(Needs {
                variables: "KEY_ROTATION_DAYS",
                is: "is",
                has: "has",
                has_defaults: true,
                is_set: true,
            })
        }
        IceSource::Cloudflare => Some(Needs {
            variables: "CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN",
            is: "are",
            has: "have",
            has_defaults: true,
            is_set: settings.is_set(CLOUDFLARE_TURN_KEY_ID)
                || settings.is_secret_set(CLOUDFLARE_TURN_API_TOKEN),
        }),
        IceSource::Coturn => Some(Needs {
            variables: "COTURN_URLS and COTURN_SECRET",
            is: "are",
            has: "have",
            has_defaults: false,
            is_set: settings.is_set(COTURN_URLS) || settings.is_secret_set(COTURN_SECRET),
        }),
        IceSource::Manual => Some(Needs {
            variables: "MANUAL_ICE_SERVERS",
            is: "is",
            has: "has",
            has_defaults: false,
            is_set: settings.is_secret_set(MANUAL_ICE_SERVERS),
        }),
        IceSource::Relay => Some(Needs {
            variables: "RELAY_LISTEN and RELAY_PUBLIC_IP",
            is: "are",
            has: "have",
            has_defaults: true,
            is_set: settings.is_set(RELAY_LISTEN) || settings.is_set(RELAY_PUBLIC_IP),
        }),
        IceSource::Stun | IceSource::Sfu => None,
    }
}

fn read_stun(settings: &mut Settings<'_>) -> Read<Vec<IceUrl>> {
    let urls = read_urls(settings, STUN_URLS, "stun: or stuns: URLs", |url| !url.relays())?;
    Ok(urls.unwrap_or_default())
}

/// URLs without duplicates and without those that browsers block.
fn read_urls(
    settings: &mut Settings<'_>,
    variable: Variable,
    expected: &str,
    is_good: impl Fn(&IceUrl) -> bool,
) -> Read<Option<Vec<IceUrl>>> {
    let parse = |text: &str| IceUrl::parse(text).ok().filter(|url| is_good(url));
    let Some(listed) = settings.list(variable, expected, parse)? else { return Ok(None) };
    let mut urls: Vec<IceUrl> = Vec::with_capacity(listed.len());
    for url in listed {
        if url.is_blocked_by_browsers() {
            settings.warn(format!("{} leaves {url} out: browsers block port 53", variable.name()));
        } else if !urls.contains(&url) {
            urls.push(url);
        }
    }
    if urls.is_empty() || urls.len() > URLS_MAX {
        let text = format!("expected 1 to {URLS_MAX} URLs that browsers accept, found {}", urls.len());
        return Err(settings.refuse(variable.name(), text));
    }
    Ok(Some(urls))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{assert_refused, load};

    const STUN: &str = "STUN_URLS: expected stun: or stuns: URLs";
    const COTURN: &str = "COTURN_URLS: expected stun:, stuns:, turn: or turns: URLs";
    const BASE: &str = "CLOUDFLARE_API_BASE: expected an http: or https: URL without user, query or fragment";

    #[test]
    fn cloudflare_may_be_named_without_its_key() {
        let ice = load([("ICE_SOURCES", "cloudflare")]).ice;
        assert_eq!(ice.sources, [IceSource::Cloudflare]);
        assert!(ice.cloudflare.is_none());
    }

    #[test]
    fn a_coturn_has_urls_and_a_secret() {
        let config = load([
            ("ICE_SOURCES", "coturn, STUN"),
            ("COTURN_URLS", "turn:a.example, stun:a.example,turn:a.example,turn:a.example:53"),
            ("COTURN_SECRET", "hush hush"),
        ]);
        let urls: Vec<&str> = config.ice.coturn.as_ref().unwrap().urls.iter().map(IceUrl::as_str).collect();
        assert_eq!(urls, ["turn:a.example", "stun:a.example"], "once each, and not on port 53");
        assert_eq!(config.ice.sources, [IceSource::Coturn, IceSource::Stun]);
        assert_eq!(config.warnings, ["COTURN_URLS leaves turn:a.example:53 out: browsers block port 53"]);
    }

    #[test]
    fn a_second_coturn_that_a_short_response_leaves_out_gives_a_warning() {
        let warnings = |urls, choice| {
            load([
                ("ICE_SOURCES", "coturn,stun"),
                ("COTURN_URLS", urls),
                ("COTURN_SECRET", "hush"),
                ("ICE_URLS", choice),
            ])
            .warnings
        };
        let one = "stun:a.example,turn:a.example,turn:a.example?transport=tcp,turns:a.example:443";
        let two = "turn:a.example,turn:b.example,turns:a.example";
        let expected =
            "ICE_URLS=short leaves out 1 of COTURN_URLS: set ICE_URLS=all if each is another server";
        assert_eq!(warnings(two, "short"), [expected]);
        assert!(warnings(two, "all").is_empty() && warnings(one, "short").is_empty());
        assert_refused([("ICE_URLS", "some")], &["ICE_URLS: expected short or all, found \"some\""]);
    }

    #[test]
    fn half_of_a_pair_is_a_problem_of_the_other_half() {
        for (set, value, missing) in [
            ("CLOUDFLARE_TURN_KEY_ID", "abc", "CLOUDFLARE_TURN_API_TOKEN"),
            ("CLOUDFLARE_TURN_API_TOKEN", "hush", "CLOUDFLARE_TURN_KEY_ID"),
            ("COTURN_URLS", "turn:a", "COTURN_SECRET"),
            ("COTURN_SECRET", "hush", "COTURN_URLS"),
        ] {
            let line = format!("{missing}: expected a value because {set} is set (both or neither)");
            assert_refused([(set, value)], &[&line]);
        }
    }

    #[test]
    fn a_named_source_needs_its_settings() {
        assert_refused(
            [("ICE_SOURCES", "coturn,manual,stun")],
            &[
                "ICE_SOURCES: names coturn, but COTURN_URLS and COTURN_SECRET are not set",
                "ICE_SOURCES: names manual, but MANUAL_ICE_SERVERS is not set",
            ],
        );
    }

    #[test]
    fn settings_of_an_unnamed_source_give_a_warning() {
        let config = load([
            ("ICE_SOURCES", "stun"),
            ("CLOUDFLARE_TURN_KEY_ID", "abc"),
            ("CLOUDFLARE_TURN_API_TOKEN", "hush"),
            ("MANUAL_ICE_SERVERS", r#"[{"urls": "stun:a"}]"#),
        ]);
        assert_eq!(
            config.warnings,
            [
                "CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN have no effect: ICE_SOURCES does not name cloudflare",
                "MANUAL_ICE_SERVERS has no effect: ICE_SOURCES does not name manual",
            ]
        );
    }

    #[test]
    fn an_http_base_gives_a_warning_unless_it_is_this_machine() {
        let warnings = load([("CLOUDFLARE_API_BASE", "http://proxy.example")]).warnings;
        assert_eq!(
            warnings,
            ["CLOUDFLARE_API_BASE is http: others on the network path can read the token; use https"]
        );
        assert!(load([("CLOUDFLARE_API_BASE", "http://127.0.0.1:9")]).warnings.is_empty());
    }

    #[test]
    fn the_kill_switch_accepts_the_words_for_yes_and_no() {
        for (word, enabled) in [("true", true), ("YES", true), ("1", true), ("on", true), ("", true)] {
            assert_eq!(load([("TURN_ENABLED", word)]).ice.enabled, enabled, "{word}");
        }
        for word in ["false", "No", "0", "OFF"] {
            assert!(!load([("TURN_ENABLED", word)]).ice.enabled, "{word}");
        }
    }

    #[test]
    fn each_bad_value_is_refused_with_what_was_expected() {
        let ttl = "TURN_TTL_SECONDS: expected a number from 60 to 172800";
        let enabled = "TURN_ENABLED: expected true, false, 1, 0, yes, no, on or off";
        for (name, value, line) in [
            ("TURN_TTL_SECONDS", "59", ttl),
            ("TURN_TTL_SECONDS", "172801", ttl),
            ("TURN_TTL_SECONDS", "24h", ttl),
            ("TURN_POOL_MAX", "-1", "TURN_POOL_MAX: expected a number from 0 to 4096"),
            ("TURN_POOL_MAX", "4097", "TURN_POOL_MAX: expected a number from 0 to 4096"),
            ("TURN_ENABLED", "maybe", enabled),
            ("ICE_SOURCES", "twilio", "ICE_SOURCES: expected cloudflare, coturn, relay, manual or stun"),
            ("STUN_URLS", "turn:a.example", STUN),
            ("STUN_URLS", "https://a.example", STUN),
            ("CLOUDFLARE_API_BASE", "rtc.live.cloudflare.com", BASE),
            ("CLOUDFLARE_API_BASE", "ftp://a.example", BASE),
            ("CLOUDFLARE_API_BASE", "https://a.example/?b", BASE),
        ] {
            assert_refused([(name, value)], &[&format!("{line}, found {value:?}")]);
        }
        let again = "ICE_SOURCES: expected each entry once, found a repeated entry";
        assert_refused([("ICE_SOURCES", "stun,cloudflare,stun")], &[again]);
        let none_left = "STUN_URLS: expected 1 to 64 URLs that browsers accept, found 0";
        assert_refused([("STUN_URLS", "stun:a.example:53")], &[none_left]);
        assert_refused(
            [("CLOUDFLARE_API_BASE", "https://me:hush@a.example")],
            &[&format!("{BASE}, found a value with an @, which is not shown")],
        );
    }

    #[test]
    fn a_bad_half_of_a_pair_is_one_problem() {
        let bad_token = "CLOUDFLARE_TURN_API_TOKEN: expected visible ASCII characters without spaces";
        assert_refused(
            [("CLOUDFLARE_TURN_KEY_ID", "a"), ("CLOUDFLARE_TURN_API_TOKEN", "hush hush")],
            &[bad_token],
        );
        let bad_id = "CLOUDFLARE_TURN_KEY_ID: expected 1 to 128 letters, digits, _ or -, found \"a/b\"";
        assert_refused([("CLOUDFLARE_TURN_KEY_ID", "a/b"), ("CLOUDFLARE_TURN_API_TOKEN", "hush")], &[bad_id]);
    }

    #[test]
    fn coturn_urls_are_ice_urls_with_at_least_one_turn_url() {
        let with = |urls| [("ICE_SOURCES", "coturn"), ("COTURN_URLS", urls), ("COTURN_SECRET", "hush")];
        assert_refused(with("stun:a.example"), &["COTURN_URLS: expected at least one turn: or turns: URL"]);
        assert_refused(with("turn:a,b"), &[&format!("{COTURN}, found \"b\"")]);
    }
}
