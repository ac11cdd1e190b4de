//! One credential from each source that relays, of the shortest life that there is, and its end. It goes past the ledger
//! of a service that runs: what it could cost at worst is said.

use std::time::Duration;

use reqwest::{Client, StatusCode};

use super::finding::{Check, Finding, Remedy};
use crate::clock::Clock;
use crate::config::Config;
use crate::ice::cloudflare::{Cloudflare, ProviderError};
use crate::ice::coturn::Coturn;
use crate::ice::server::IceServerList;
use crate::telemetry::cause::innermost;
use turn_ledger::source::IceSource;
use turn_ledger::units::ByteCount;

/// The life of the credential: the shortest that a client can ask for.
pub(super) const TTL: Duration = Duration::from_secs(60);
/// The provider keeps it beside the credential: so one of doctor's can be told from a client's.
const IDENTIFIER: &str = "turn-broker-doctor";

/// What one source gave.
pub(super) struct Given {
    pub(super) finding: Finding,
    pub(super) servers: Option<IceServerList>,
}

/// The way to Cloudflare, where it is configured and named as a source.
pub(super) fn cloudflare(config: &Config, client: &Client) -> Option<Cloudflare> {
    let key = config.ice.cloudflare.as_ref()?;
    Cloudflare::new(client.clone(), &key.api_base, &key.key_id, &key.api_token)
}

/// Asks one source, which is not STUN.
pub(super) async fn check(
    source: IceSource,
    config: &Config,
    cloudflare: Option<&Cloudflare>,
    clock: &dyn Clock,
) -> Given {
    match source {
        IceSource::Cloudflare => match cloudflare {
            None => none(not_configured()),
            Some(api) => mint(api, config, clock).await,
        },
        IceSource::Coturn => match &config.ice.coturn {
            None => none(not_there(source)),
            Some(coturn) => {
                let own = Coturn::new(coturn.urls.clone(), coturn.secret.clone());
                let servers = own.credential(IDENTIFIER, clock.now().plus(TTL));
                let seen = format!("computed from COTURN_SECRET; {}", cost(source, config));
                given(Finding::ok(Check::Provider, source.name(), seen), servers)
            }
        },
        IceSource::Manual => match config.ice.manual.clone() {
            None => none(not_there(source)),
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
            "the relay in the service's process takes that process's credentials alone, and cannot be tried from here",
        )),
        IceSource::Stun => none(not_there(source)),
    }
}

async fn mint(api: &Cloudflare, config: &Config, clock: &dyn Clock) -> Given {
    let began = clock.instant();
    let minted = api.mint(TTL, IDENTIFIER).await;
    let took = clock.instant().saturating_duration_since(began);
    let source = IceSource::Cloudflare;
    match minted {
        Ok(servers) => {
            let seen = format!("minted a credential of {} s; {}", TTL.as_secs(), cost(source, config));
            given(Finding::ok(Check::Provider, source.name(), seen).after(took), servers)
        }
        Err(error) => {
            let seen = match innermost(&error) {
                Some(cause) => format!("{} ({cause})", said(&error)),
                None => said(&error),
            };
            none(Finding::fail(Check::Provider, source.name(), seen, remedy(&error)).after(took))
        }
    }
}

/// Withdraws what was minted. No figure rests on it: a revoked credential may go on for a while.
pub(super) async fn revoke(api: &Cloudflare, servers: &IceServerList) -> Option<Finding> {
    let username = servers.username()?;
    let subject = IceSource::Cloudflare.name();
    Some(match api.revoke(username).await {
        Ok(true) => Finding::ok(Check::Revoke, subject, "the credential is withdrawn"),
        Ok(false) => {
            Finding::ok(Check::Revoke, subject, "the provider does not know the credential any more")
        }
        Err(error) => Finding::warn(
            Check::Revoke,
            subject,
            format!("the credential could not be withdrawn: {}", said(&error)),
            "nothing has to be done for this one, it ends by itself; an operator's revoke may fail the same way",
        ),
    })
}

fn given(finding: Finding, servers: IceServerList) -> Given {
    Given { finding, servers: Some(servers) }
}

fn none(finding: Finding) -> Given {
    Given { finding, servers: None }
}

/// A service without a key starts and answers with STUN, so this is no failure; but it is hardly what somebody wants who
/// names the source.
fn not_configured() -> Finding {
    Finding::warn(
        Check::Provider,
        IceSource::Cloudflare.name(),
        "Cloudflare TURN not configured: answers are STUN only, degraded, unless another source serves",
        "set both CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN (names are case-sensitive; .env is read from the \
         working directory), or take cloudflare out of ICE_SOURCES",
    )
}

fn not_there(source: IceSource) -> Finding {
    Finding::skipped(Check::Provider, source.name(), "it has no settings")
}

/// What it could relay at worst, tail included.
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

/// The error without the advice that its text has for the log: that stands in the remedy.
fn said(error: &ProviderError) -> String {
    match error {
        ProviderError::Status(status) => format!("the provider answered {status}"),
        other => other.to_string(),
    }
}

fn remedy(error: &ProviderError) -> Remedy {
    match error {
        ProviderError::Connect(_) => Remedy::sure(
            "see dns and tls above; try `curl --noproxy '*'` to the same host from here; HTTPS_PROXY is not honoured, \
             CLOUDFLARE_API_BASE may point at a proxy that passes on",
        ),
        ProviderError::Timeout => Remedy::sure(
            "nothing was charged; run doctor again, and if it stays slow look at the way there and at \
             https://www.cloudflarestatus.com",
        ),
        ProviderError::Broken(_) => {
            Remedy::guess("something on the way cuts connections: run doctor again, try from elsewhere")
        }
        ProviderError::Status(status) => by_status(*status),
        ProviderError::TooLong | ProviderError::Shape | ProviderError::Servers(_) => Remedy::sure(
            "see that CLOUDFLARE_API_BASE leads to Cloudflare's API and not to a page of something on the way; if it \
             does, the API has changed: docs/PROVIDER.md has the forms that are known",
        ),
    }
}

fn by_status(status: StatusCode) -> Remedy {
    match status.as_u16() {
        401 => Remedy::guess(
            "the token is mistyped or withdrawn: compare CLOUDFLARE_TURN_API_TOKEN with what the dashboard showed; if it is \
             right, make a new TURN key (dashboard: Media → Realtime → TURN Server), set both it and \
             CLOUDFLARE_TURN_KEY_ID, restart",
        ),
        403 => Remedy::guess(
            "the token lacks a right, or this client is blocked (error code 1010): use the token that came with the TURN \
             key, or recreate it with Calls Edit; look at the address from which you go out and at proxies that rewrite \
             User-Agent",
        ),
        404 => Remedy::sure(
            "wrong key id, or wrong token (both give 404): compare CLOUDFLARE_TURN_KEY_ID with the dashboard's Turn Token \
             ID, then the token",
        ),
        429 => Remedy::sure("minting too fast: see who mints so much, and wait"),
        300..=399 => Remedy::sure("redirects are not followed: check CLOUDFLARE_API_BASE"),
        500..=599 => Remedy::guess("it passes by itself; if not, see https://www.cloudflarestatus.com"),
        _ => Remedy::guess("check CLOUDFLARE_API_BASE; docs/PROVIDER.md says what is known of the API"),
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
    fn what_the_credential_could_cost_is_said_with_its_tail() {
        let seen = cost(IceSource::Cloudflare, &config(&[]));
        // 2 Mbps for 7,260 s.
        assert_eq!(seen, "outside the ledger: 1.82 GB at worst (2 Mbps until 7200 s after its expiry)");
        let short = config(&[("LIABILITY_MBPS_PER_GRANT", "100"), ("TURN_EXPIRY_TAIL_SECONDS", "0")]);
        assert!(cost(IceSource::Cloudflare, &short).contains("0.75 GB at worst (100 Mbps until 0 s"));
    }

    #[test]
    fn every_status_has_a_remedy_and_a_guess_is_called_one() {
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
    fn the_status_is_said_without_the_logs_advice() {
        let error = ProviderError::Status(StatusCode::UNAUTHORIZED);
        assert_eq!(said(&error), "the provider answered 401 Unauthorized");
    }
}
