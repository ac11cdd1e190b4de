//! The ledger's terms and bounds, derived from the configuration.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::config::{Config, CoturnRelay, TurnKeyConfig, UsageConfig};
use crate::meter::coturn::CUT_TAIL;
use turn_ledger::{
    Bounds, BudgetMode, Charged, ClientTerms, CountOwner, EndedBy, IceSource, IdDigest, MeasuredUsage,
    ProofRule, Rates, SeenRate, Setup, SourceFacts, SourceTerms, SpenderTerms, Terms, USERS_MAX, UsageRules,
};

/// How to open the books.
pub fn setup(config: &Config) -> Setup {
    let budget = &config.budget;
    let UsageConfig { heartbeat, billed, estimated_rate, client_addresses: addresses, .. } =
        config.usage.clone();
    let rates = Rates {
        estimated: estimated_rate,
        liability: budget.liability_rate,
        promises_cap_claims: budget.mode == BudgetMode::Strict,
    };
    let client = ClientTerms {
        claims: config.usage.claims_per_client,
        reserved_percent: budget.reserved_percent_per_client,
    };
    let spenders = SpenderTerms {
        user_limit: budget.user_limit,
        grant_limit: budget.grant_limit,
        address_limit: budget.address_limit,
        addresses,
        // A row of a user takes less memory than one of a credential.
        users_max: USERS_MAX.max(budget.grants_max / 4),
        ..SpenderTerms::default()
    };
    Setup {
        terms: Terms {
            limit: budget.limit,
            billing_day: budget.billing_day,
            mode: budget.mode,
            rates,
            ends_calls: budget.revokes_at_limit,
        },
        sources: source_terms(config),
        turn_keys: config.ice.turn_keys().map(|key| key.id.as_str().into()).collect(),
        unseen: config.unseen.clone(),
        server_limits: config.server_keys.limits.clone(),
        rules: UsageRules { heartbeat, billed, estimated_rate },
        bounds: Bounds { client, spenders, grants: budget.grants_max, ..Bounds::default() },
        default_source: config.ice.sources.first().copied().unwrap_or(IceSource::Stun),
        tariff: config.tariff.clone(),
    }
}

/// A digest of the settings that decide figures, to compare the settings of replicas. Digests are comparable only within one version.
pub fn settings_digest(config: &Config) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(format!("{:?}", setup(config)))[..9])
}

/// The terms of every source that mints, and of every source that is only read. The margin of Cloudflare's count and the cutting of
/// coturn's sessions apply also after the source has been removed from `ICE_SOURCES`.
fn source_terms(config: &Config) -> Vec<SourceTerms> {
    let is_only_read = |source: &IceSource| {
        let counts_itself = source.facts().charged == Charged::Here;
        source.issues_credentials()
            && !config.ice.sources.contains(source)
            && !counts_itself
            && is_read(*source, config)
    };
    let read = IceSource::ALL.into_iter().filter(is_only_read);
    let sfu = config.signaling.sfu.as_ref().map(|_| IceSource::Sfu);
    let sources = minting_sources(config).chain(read).chain(sfu);
    sources.flat_map(|source| owners(source, config)).collect()
}

/// The terms of each owner of a count at a source: each TURN key, and the rest of the source.
fn owners(source: IceSource, config: &Config) -> Vec<SourceTerms> {
    let terms = terms_of(source, config);
    if source == IceSource::Coturn {
        return relays(terms, config);
    }
    let keys = config.ice.turn_keys().filter(|_| source == IceSource::Cloudflare);
    let proof = match (terms.is_read, config.meter.probes) {
        (true, true) => ProofRule::Probe,
        (true, false) => ProofRule::Missing,
        (false, _) => ProofRule::Unneeded,
    };
    let of_keys = keys.map(|key| SourceTerms { owner: owner_of(key), proof, ..terms });
    // The rest of the account has other bytes once there are other TURN keys, or another app of the SFU.
    let ids: BTreeSet<_> = config.ice.turn_keys().map(|key| key.id.as_str()).collect();
    let of_rest = format!("{} {ids:?}", config.signaling.sfu.as_ref().map_or("", |sfu| &sfu.app_id));
    let counted_in =
        if source == IceSource::Cloudflare { counted_in(config, &of_rest) } else { terms.counted_in };
    of_keys.chain([SourceTerms { counted_in, ..terms }]).collect()
}

/// The terms of each relay of the settings, and of the rest: what none of these relays carries. The sessions of an owner are read and cut
/// if an entry of `COTURN_CLI` lists them. Without relays in the settings, the entry lists the rest. If the settings have relays and all of
/// them are listed, the rest counts as read, too, because nothing else relays.
fn relays(listed: SourceTerms, config: &Config) -> Vec<SourceTerms> {
    let unlisted = SourceTerms { is_read: false, cut_tail: None, ..listed };
    let owners = config.ice.coturn.iter().map(CoturnRelay::owner).chain([IceSource::Coturn.into()]);
    let is_listed = |owner: CountOwner| config.meter.coturn_cli.iter().any(|cli| cli.owner() == owner);
    let are_all_listed = listed.is_read && config.unlisted().next().is_none();
    let rest = SourceTerms { is_read: are_all_listed, ..unlisted };
    let limit = |owner: CountOwner| config.ice.coturn.iter().find(|relay| relay.owner() == owner)?.limit;
    let terms = |owner: CountOwner| {
        if is_listed(owner) {
            SourceTerms { owner, ..listed }
        } else if owner.issuer.is_some() {
            SourceTerms { owner, ..unlisted }
        } else {
            rest
        }
    };
    owners.map(|owner| SourceTerms { limit: limit(owner), ..terms(owner) }).collect()
}

/// The owner of the count of a TURN key's bytes.
pub(super) fn owner_of(key: &TurnKeyConfig) -> CountOwner {
    CountOwner { source: IceSource::Cloudflare, issuer: Some(IdDigest::of(&key.id)) }
}

/// A digest of what is counted: the account, the billed directions, the SFU's app. If it changes, earlier counts are forgotten. `None`
/// without a meter of Cloudflare.
fn counted_in(config: &Config, app: &str) -> Option<IdDigest> {
    let account = &config.meter.analytics.as_ref()?.account_id;
    Some(IdDigest::of(&format!("{account} {:?} {app}", config.usage.billed.of(IceSource::Cloudflare))))
}

fn minting_sources(config: &Config) -> impl Iterator<Item = IceSource> {
    config.ice.sources.iter().copied().filter(|source| source.issues_credentials())
}

/// Whether counts of a source are read with these settings.
fn is_read(source: IceSource, config: &Config) -> bool {
    match source.facts().charged {
        Charged::Nothing | Charged::Uncounted => false,
        Charged::ByTurnKey | Charged::BySfuApp => config.meter.analytics.is_some(),
        Charged::Listings => !config.meter.coturn_cli.is_empty(),
        Charged::Here => true,
    }
}

/// The terms of a source as if all its bytes had one owner; [`owners`] changes what is different for a TURN key or a relay.
fn terms_of(source: IceSource, config: &Config) -> SourceTerms {
    let SourceFacts { charged, ended_by, .. } = source.facts();
    let is_read = is_read(source, config);
    let app = config.signaling.sfu.as_ref().map_or("", |sfu| &sfu.app_id);
    let (counted_in, sampling, proof) = match charged {
        Charged::ByTurnKey => (counted_in(config, ""), config.meter.sampling_percent, ProofRule::Unneeded),
        Charged::BySfuApp if is_read => {
            (counted_in(config, app), config.meter.sampling_percent, ProofRule::Bytes)
        }
        _ => (None, 0, ProofRule::Unneeded),
    };
    SourceTerms {
        owner: source.into(),
        tail: config.budget.tail_of(source),
        cut_tail: (is_read && ended_by == EndedBy::CommandLine)
            .then(|| config.budget.expiry_tail.unwrap_or(CUT_TAIL)),
        limit: None,
        sampling,
        is_read,
        proof,
        counted_in,
    }
}

/// The assumption behind the published bound: a rate, and how long relaying outlives a credential, as in
/// `2 Mbps per grant until 7200 s after expiry`. If counts have shown a higher rate, the text has that rate, and names the source unless it
/// is the only one. While the sessions of one of our relays are not cut, the text has the long tail.
/// `foreign_sessions`: whether other programs have sessions at a coturn.
pub fn bound_assumes(config: &Config, measured: &MeasuredUsage, foreign_sessions: bool) -> String {
    let MeasuredUsage { raised, restored_tail, unprobed, .. } = *measured;
    let uncut = measured.uncut || config.unlisted().next().is_some();
    let sfu = config.signaling.sfu.as_ref().map(|_| IceSource::Sfu);
    let metered = minting_sources(config).filter(|source| source.is_metered()).chain(sfu);
    let all_terms: Vec<SourceTerms> = metered.map(|source| terms_of(source, config)).collect();
    let tail = |terms: &SourceTerms| {
        let source = terms.owner.source;
        let is_restored = restored_tail.is_some_and(|(_, of)| of == source);
        let long = if is_restored { source.expiry_tail() } else { terms.tail };
        if uncut { long } else { terms.cut_tail.unwrap_or(long) }
    };
    let Some(until) = in_seconds(&all_terms, tail) else {
        return "no metered source is configured".into();
    };
    let seen = restored_tail.map_or(String::new(), |(seen, _)| {
        format!(" (the default: bytes were counted {} s after an expiry)", seen.as_secs())
    });
    let unproven = if unprobed { ", and that counts without bytes are right" } else { "" };
    let others = if foreign_sessions {
        ", and that sessions of other programs relay nothing more than the last listing shows"
    } else {
        ""
    };
    let assumed = config.budget.liability_rate;
    let rate = raised.map_or(format!("{assumed} per grant"), |SeenRate { rate, source }| {
        let is_only = all_terms.iter().all(|terms| terms.owner.source == source);
        let place = if is_only { String::new() } else { format!(" at {source}") };
        format!("{rate} per grant (observed{place}; {assumed} were assumed)")
    });
    format!("{rate} until {until} after expiry{seen}{unproven}{others}")
}

/// The tails of some sources: one, or a list if they differ.
fn in_seconds(terms: &[SourceTerms], tail: impl Fn(&SourceTerms) -> Duration) -> Option<String> {
    let first = tail(terms.first()?);
    if terms.iter().all(|terms| tail(terms) == first) {
        return Some(format!("{} s", first.as_secs()));
    }
    let each = terms.iter().map(|terms| format!("{} s ({})", tail(terms).as_secs(), terms.owner));
    Some(each.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use turn_ledger::{BitRate, Head, Stored, Timestamp};

    #[test]
    fn a_count_is_not_stale_because_no_process_ran() {
        let environment = Environment::from_pairs([
            ("CLOUDFLARE_TURN_KEY_ID", "key-id"),
            ("CLOUDFLARE_TURN_API_TOKEN", "token"),
            ("CLOUDFLARE_ACCOUNT_ID", "account"),
            ("CLOUDFLARE_ANALYTICS_TOKEN", "token"),
        ]);
        let config = Config::from_env(&environment).expect("a valid configuration");
        // 2025-01-15T12:00:00Z
        let then = Timestamp::from_millis(1_736_942_400_000);
        let now = then.plus_millis(3_600_000);
        let head = Some(Head { now: then, ..Head::default() });
        let mut books = setup(&config).open(Some(Stored { head, ..Stored::default() }), now);
        assert_eq!(books.snapshot().figures.now, now);
        assert!(!books.snapshot().measured.is_stale());
        books.advance(now.plus_millis(600_001));
        assert!(books.snapshot().measured.is_stale());
    }

    #[test]
    fn while_coturn_is_not_cut_the_bound_assumes_its_long_tail() {
        let environment = Environment::from_pairs([
            ("COTURN_URLS", "turn:turn.example.com:3478"),
            ("COTURN_SECRET", "0123456789abcdef0123456789abcdef"),
            ("COTURN_CLI", "127.0.0.1:5766"),
            ("COTURN_CLI_PASSWORD", "0123456789abcdef"),
            ("ICE_SOURCES", "coturn"),
        ]);
        let config = Config::from_env(&environment).expect("a valid configuration");
        let measured = |uncut| MeasuredUsage { uncut, ..MeasuredUsage::default() };
        let stated = |uncut, others| bound_assumes(&config, &measured(uncut), others);
        assert_eq!(stated(false, false), "2 Mbps per grant until 30 s after expiry");
        assert_eq!(stated(true, false), "2 Mbps per grant until 7200 s after expiry");
        let others = "2 Mbps per grant until 30 s after expiry, and that sessions of other programs relay nothing more than the last listing shows";
        assert_eq!(stated(false, true), others);
    }

    #[test]
    fn the_bound_assumes_an_observed_rate_only_at_its_source() {
        let environment = Environment::from_pairs([
            ("CLOUDFLARE_TURN_KEY_ID", "key-id"),
            ("CLOUDFLARE_TURN_API_TOKEN", "token"),
            ("COTURN_URLS", "turn:turn.example.com:3478"),
            ("COTURN_SECRET", "0123456789abcdef0123456789abcdef"),
            ("ICE_SOURCES", "cloudflare,coturn"),
        ]);
        let both = Config::from_env(&environment).expect("a valid configuration");
        let environment = environment.with("ICE_SOURCES", "coturn");
        let one = Config::from_env(&environment).expect("a valid configuration");
        let rate = BitRate::new(13_600_000);
        // The sessions of a coturn that is not cut contradict no rate. A short time may average more without a contradiction.
        let uncut = MeasuredUsage { observed: Some(rate), uncut: true, ..MeasuredUsage::default() };
        assert_eq!(bound_assumes(&both, &uncut, false), "2 Mbps per grant until 7200 s after expiry");
        let at_coturn = |config| {
            let raised = Some(SeenRate { rate, source: IceSource::Coturn });
            bound_assumes(config, &MeasuredUsage { raised, ..uncut }, false)
        };
        let expected =
            "13.6 Mbps per grant (observed at coturn; 2 Mbps were assumed) until 7200 s after expiry";
        assert_eq!(at_coturn(&both), expected);
        let expected = "13.6 Mbps per grant (observed; 2 Mbps were assumed) until 7200 s after expiry";
        assert_eq!(at_coturn(&one), expected);
    }
}
