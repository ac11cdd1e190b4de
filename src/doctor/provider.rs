//! The check of each source: it mints one credential with the shortest lifetime, and revokes it where the provider
//! can do that. The credential is not in the ledger of a running service, so the finding states how much it can relay at most.

use super::prelude::*;
use crate::config::{HttpIceConfig, TurnKeyConfig};
use crate::ice::api::MintingApi;
use crate::ice::call::DEADLINE;
use crate::ice::cloudflare::Cloudflare;
use crate::ice::http_ice::{HttpIce, Listed};
use turn_ledger::{ByteCount, RevocationAnswer};

/// The lifetime of the credential: the shortest that a client can request.
pub(super) const TTL: Duration = Duration::from_secs(60);
/// A name that the provider stores with the credential, so that an operator can recognize the credential.
const IDENTIFIER: &str = "turn-broker-doctor";

/// A verdict about a source, and its servers if it works.
pub(super) type Given = (Verdict, Option<IceServerList>);

/// A provider, with one TURN key if it is Cloudflare, and the client that uses it.
pub(super) struct KeyClient {
    /// What the findings call it.
    pub(super) subject: String,
    pub(super) api: MintingApi,
    pub(super) url: Url,
    /// The variable that sets the URL.
    pub(super) variable: &'static str,
}

/// The clients of the providers at a source, one for each TURN key. Empty without settings.
pub(super) fn providers(source: IceSource, config: &Config, client: &HttpClient) -> Vec<KeyClient> {
    match source {
        IceSource::Cloudflare => {
            let Some(CloudflareConfig { keys, api_base }) = &config.ice.cloudflare else { return vec![] };
            let of_key = |key: &TurnKeyConfig| {
                let is_only = keys.len() == 1;
                let subject = if is_only { source.to_string() } else { format!("{source} {}", key.name) };
                let api = Cloudflare::new(client.clone(), api_base, &key.id, &key.token);
                let (url, variable) = (api_base.clone(), "CLOUDFLARE_API_BASE");
                KeyClient { subject, api: MintingApi::Cloudflare(api), url, variable }
            };
            keys.iter().map(of_key).collect()
        }
        IceSource::Http => {
            let of_url = |http: &HttpIceConfig| {
                let api = HttpIce { client: client.clone(), request: http.request.clone() };
                let (url, variable) = (http.request.url.expose().clone(), "HTTP_ICE_URL");
                KeyClient { subject: source.to_string(), api: MintingApi::Http(api), url, variable }
            };
            config.ice.http.iter().map(of_url).collect()
        }
        IceSource::Coturn | IceSource::Relay | IceSource::Manual | IceSource::Stun | IceSource::Sfu => vec![],
    }
}

/// A credential of a source, minted with the key if there is one.
pub(super) async fn credential(
    source: IceSource,
    key: Option<&KeyClient>,
    config: &Config,
    clock: &dyn Clock,
) -> Given {
    if let Some(key) = key {
        return mint(key, config).await;
    }
    let none = (skipped("it has no settings"), None);
    match source {
        // A warning and not a failure, because a service without a key starts and responds with STUN.
        IceSource::Cloudflare => (
            warn(
                "Cloudflare TURN not configured: responses are STUN only and degraded, unless another source serves",
                "set both CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN, or remove cloudflare from ICE_SOURCES",
            ),
            None,
        ),
        IceSource::Coturn if config.ice.coturn.is_empty() => none,
        IceSource::Coturn => {
            let seen = format!("computed from COTURN_SECRET; {}", worst_case(source, TTL, config));
            let expires_at = clock.now().plus(TTL);
            let lists = config.ice.coturn.iter().map(|relay| relay.server.credential(IDENTIFIER, expires_at));
            (ok(seen), Some(IceServerList::joined(lists)))
        }
        IceSource::Manual => config.ice.manual.clone().map_or(none, |servers| {
            let what = if servers.relays() { "relays" } else { "has STUN only" };
            (ok(format!("the fixed list {what}")), Some(servers))
        }),
        IceSource::Relay => (
            skipped("the relay in the process accepts only its own credentials, so doctor cannot test it"),
            None,
        ),
        IceSource::Http | IceSource::Stun | IceSource::Sfu => none,
    }
}

/// Mints a credential with the client of a provider.
async fn mint(key: &KeyClient, config: &Config) -> Given {
    match key.api.mint(TTL, IDENTIFIER, DEADLINE).await {
        Ok(Listed { servers, life: stated }) => {
            let source = key.api.source();
            let most = config.ice.http.as_ref().and_then(|http| http.life).unwrap_or(config.ice.ttl_max);
            // If the source decides, the credential may live as long as the setting says or as the response states.
            let life = if source.decides_life() { most.max(stated.unwrap_or_default()) } else { TTL };
            let worst_case = worst_case(source, life, config);
            (ok(format!("minted a credential of {} s; {worst_case}", life.as_secs())), Some(servers))
        }
        Err(error) => (fail(error.to_string(), key.api.remedy(&error)), None),
    }
}

/// Revokes the credential. No figure depends on the revocation, because a revoked credential may work for a while.
pub(super) async fn revoke(key: &KeyClient, username: &str) -> Verdict {
    match key.api.revoke(username).await {
        Ok(RevocationAnswer::Revoked) => ok("the credential is revoked"),
        Ok(RevocationAnswer::Unknown) => ok("the provider no longer knows the credential"),
        Err(error) => warn(
            format!("the credential could not be revoked: {error}"),
            "let this credential expire by itself; expect that an operator's revoke fails the same way",
        ),
    }
}

/// Says how much the credential can relay at most, tail included.
fn worst_case(source: IceSource, life: Duration, config: &Config) -> String {
    let tail = config.budget.tail_of(source);
    let rate = config.budget.liability_rate;
    let bytes = ByteCount::saturating(rate.over_millis((life + tail).as_millis()));
    let (gb, tail) = (bytes.gb_up(), tail.as_secs());
    format!("outside the ledger: {gb} GB at worst ({rate} until {tail} s after its expiry)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn config(pairs: &[(&str, &str)]) -> Config {
        Config::from_env(&Environment::from_pairs(pairs.iter().copied())).unwrap()
    }

    #[test]
    fn the_worst_case_includes_the_tail() {
        let seen = worst_case(IceSource::Cloudflare, TTL, &config(&[]));
        // 2 Mbps for 7,260 s.
        assert_eq!(seen, "outside the ledger: 1.82 GB at worst (2 Mbps until 7200 s after its expiry)");
        let short = config(&[("LIABILITY_MBPS_PER_GRANT", "100"), ("TURN_EXPIRY_TAIL_SECONDS", "0")]);
        let seen = worst_case(IceSource::Cloudflare, TTL, &short);
        assert!(seen.contains("0.75 GB at worst (100 Mbps until 0 s"));
    }
}
