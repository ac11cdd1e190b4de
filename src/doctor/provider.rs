//! The check of each source: it mints one credential with the shortest lifetime and revokes it. The credential is not in
//! the ledger of a running service, so the finding states its worst-case cost.

use std::time::Duration;

use reqwest::{Client, StatusCode};

use super::finding::{Check, Finding, Remedy};
use crate::amounts::Shown;
use crate::clock::Clock;
use crate::config::{Config, TurnKeyConfig};
use crate::ice::cloudflare::{Cloudflare, DEADLINE, MintResponse, ProviderError};
use crate::ice::coturn::Coturn;
use crate::ice::server::IceServerList;
use crate::telemetry::cause::innermost;
use turn_ledger::{ByteCount, IceSource};

/// The lifetime of the credential: the shortest that a client can request.
pub(super) const TTL: Duration = Duration::from_secs(60);
/// A name that the provider stores with the credential, so that an operator can recognize the credential.
const IDENTIFIER: &str = "turn-broker-doctor";

/// The result of one source.
pub(super) struct Outcome {
    pub(super) finding: Finding,
    pub(super) servers: Option<IceServerList>,
}

/// A TURN key and the client that uses it.
pub(super) struct KeyClient {
    /// What the findings call it.
    subject: String,
    api: Cloudflare,
}

/// The clients of Cloudflare's API, one for each TURN key.
pub(super) fn cloudflare(config: &Config, client: &Client) -> Vec<KeyClient> {
    let Some(cloudflare) = &config.ice.cloudflare else { return Vec::new() };
    let is_only = cloudflare.keys.len() == 1;
    let of = |key: &TurnKeyConfig| {
        let source = IceSource::Cloudflare;
        let subject = if is_only { source.name().to_owned() } else { format!("{source} {}", key.name) };
        let api = Cloudflare::new(client.clone(), &cloudflare.api_base, &key.id, &key.token)?;
        Some(KeyClient { subject, api })
    };
    cloudflare.keys.iter().filter_map(of).collect()
}

/// Checks one source other than Cloudflare.
pub(super) fn check(source: IceSource, config: &Config, clock: &dyn Clock) -> Outcome {
    match source {
        IceSource::Cloudflare => none(not_configured()),
        IceSource::Coturn => match &config.ice.coturn {
            None => none(without_settings(source)),
            Some(coturn) => {
                let own = Coturn::new(coturn.urls.clone(), coturn.secret.clone());
                let servers = own.credential(IDENTIFIER, clock.now().plus(TTL));
                let seen = format!("computed from COTURN_SECRET; {}", cost(source, config));
                given(Finding::ok(Check::Provider, source.name(), seen), servers)
            }
        },
        IceSource::Manual => match config.ice.manual.clone() {
            None => none(without_settings(source)),
            Some(servers) if servers.relays() => {
                given(Finding::ok(Check::Provider, source.name(), "the fixed list relays"), servers)
            }
            Some(servers) => {
                given(Finding::ok(Check::Provider, source.name(), "the fixed list has STUN only"), servers)
            }
        },
        IceSource::Relay => none(Finding::skipped(
            Check::Provider,
            source.name(),
            "the relay in the service's process accepts only credentials of that process, so doctor cannot test it",
        )),
        IceSource::Stun | IceSource::Sfu => none(without_settings(source)),
    }
}

/// Mints a credential with one TURN key.
pub(super) async fn mint(key: &KeyClient, config: &Config, clock: &dyn Clock) -> Outcome {
    let began = clock.instant();
    let minted = key.api.mint(TTL, IDENTIFIER, DEADLINE, None).await;
    let took = clock.instant().saturating_duration_since(began);
    match minted {
        Ok(MintResponse { servers, .. }) => {
            let cost = cost(IceSource::Cloudflare, config);
            let seen = format!("minted a credential of {} s; {cost}", TTL.as_secs());
            given(Finding::ok(Check::Provider, &*key.subject, seen).after(took), servers)
        }
        Err(error) => {
            let seen = match innermost(&error) {
                Some(cause) => format!("{} ({cause})", text_of(&error)),
                None => text_of(&error),
            };
            none(Finding::fail(Check::Provider, &*key.subject, seen, remedy(&error)).after(took))
        }
    }
}

/// Revokes the credential. No figure depends on the revocation, because a revoked credential may work for a while.
pub(super) async fn revoke(key: &KeyClient, servers: &IceServerList) -> Option<Finding> {
    let username = servers.username()?;
    let subject = &*key.subject;
    Some(match key.api.revoke(username).await {
        Ok(true) => Finding::ok(Check::Revoke, subject, "the credential is revoked"),
        Ok(false) => Finding::ok(Check::Revoke, subject, "the provider no longer knows the credential"),
        Err(error) => Finding::warn(
            Check::Revoke,
            subject,
            format!("the credential could not be revoked: {}", text_of(&error)),
            "let this credential expire by itself; expect that an operator's revoke fails the same way",
        ),
    })
}

fn given(finding: Finding, servers: IceServerList) -> Outcome {
    Outcome { finding, servers: Some(servers) }
}

fn none(finding: Finding) -> Outcome {
    Outcome { finding, servers: None }
}

/// A warning and not a failure, because a service without a key starts and responds with STUN.
fn not_configured() -> Finding {
    Finding::warn(
        Check::Provider,
        IceSource::Cloudflare.name(),
        "Cloudflare TURN not configured: responses are STUN only and degraded, unless another source serves",
        "set both CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN (names are case-sensitive; .env is read from the \
         working directory), or remove cloudflare from ICE_SOURCES",
    )
}

fn without_settings(source: IceSource) -> Finding {
    Finding::skipped(Check::Provider, source.name(), "it has no settings")
}

/// The most that the credential can relay, tail included.
fn cost(source: IceSource, config: &Config) -> String {
    let tail = config.budget.expiry_tail.unwrap_or(source.expiry_tail());
    let rate = config.budget.liability_rate;
    let bytes = ByteCount::saturating(rate.over_millis((TTL + tail).as_millis()));
    format!(
        "outside the ledger: {} GB at worst ({rate} until {} s after its expiry)",
        bytes.gb_up(),
        tail.as_secs()
    )
}

/// The error without the advice of its log text, because the remedy contains the advice.
fn text_of(error: &ProviderError) -> String {
    match error {
        ProviderError::Status(status) => format!("the provider answered {status}"),
        other => other.to_string(),
    }
}

fn remedy(error: &ProviderError) -> Remedy {
    match error {
        ProviderError::Connect(_) => Remedy::sure(
            "see dns and tls above; try `curl --noproxy '*'` to the same host from here; to use a proxy, set \
             CLOUDFLARE_API_BASE to the URL of a proxy that forwards requests (HTTPS_PROXY is ignored)",
        ),
        ProviderError::Timeout => Remedy::sure(
            "run doctor again (nothing was charged); if it is still slow, check the route and https://www.cloudflarestatus.com",
        ),
        ProviderError::Broken(_) => Remedy::guess(
            "run doctor again, and from another network: something on the path closes connections",
        ),
        ProviderError::Status(status) => by_status(*status),
        ProviderError::TooLong | ProviderError::Shape | ProviderError::Servers(_) => Remedy::sure(
            "check that CLOUDFLARE_API_BASE leads to Cloudflare's API and not to a page of a proxy; if it does, the API has \
             changed: docs/PROVIDER.md lists the known formats",
        ),
    }
}

fn by_status(status: StatusCode) -> Remedy {
    match status.as_u16() {
        401 => Remedy::guess(
            "compare CLOUDFLARE_TURN_API_TOKEN with the token that the dashboard showed: it may be mistyped or revoked; if they \
             are the same, make a new TURN key (dashboard: Media → Realtime → TURN Server), set its token and \
             CLOUDFLARE_TURN_KEY_ID, and restart",
        ),
        403 => Remedy::guess(
            "use the token that came with the TURN key, or recreate it with Calls Edit: the token lacks a permission, or \
             this client is blocked (error code 1010); check your public address, and proxies that rewrite User-Agent",
        ),
        404 => Remedy::sure(
            "compare CLOUDFLARE_TURN_KEY_ID with the dashboard's Turn Token ID, then compare the token: a wrong id and a \
             wrong token both give 404",
        ),
        429 => Remedy::sure("wait, and find out who mints too fast"),
        300..=399 => Remedy::sure("check CLOUDFLARE_API_BASE: redirects are not followed"),
        500..=599 => Remedy::guess("wait; if the error continues, see https://www.cloudflarestatus.com"),
        _ => Remedy::guess("check CLOUDFLARE_API_BASE; docs/PROVIDER.md describes the API"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn config(pairs: &[(&str, &str)]) -> Config {
        Config::from_env(&Environment::from_pairs(pairs.iter().copied())).unwrap()
    }

    #[test]
    fn the_worst_case_cost_includes_the_tail() {
        let seen = cost(IceSource::Cloudflare, &config(&[]));
        // 2 Mbps for 7,260 s.
        assert_eq!(seen, "outside the ledger: 1.82 GB at worst (2 Mbps until 7200 s after its expiry)");
        let short = config(&[("LIABILITY_MBPS_PER_GRANT", "100"), ("TURN_EXPIRY_TAIL_SECONDS", "0")]);
        assert!(cost(IceSource::Cloudflare, &short).contains("0.75 GB at worst (100 Mbps until 0 s"));
    }

    #[test]
    fn every_status_has_a_remedy_and_guesses_are_marked() {
        for (status, is_guess, names) in [
            (401, true, "new TURN key"),
            (403, true, "Calls Edit"),
            (404, false, "Turn Token ID"),
            (429, false, "too fast"),
            (302, false, "redirects"),
            (503, true, "cloudflarestatus"),
            (418, true, "PROVIDER.md"),
        ] {
            let remedy = by_status(StatusCode::from_u16(status).unwrap());
            assert_eq!(remedy.is_guess, is_guess, "{status}");
            assert!(remedy.text.contains(names), "{status}: {}", remedy.text);
        }
    }

    #[test]
    fn the_status_is_shown_without_the_advice_for_the_log() {
        let error = ProviderError::Status(StatusCode::UNAUTHORIZED);
        assert_eq!(text_of(&error), "the provider answered 401 Unauthorized");
    }
}
