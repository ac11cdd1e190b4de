//! Each source is where a person looks for it: what the table of facts (`crates/budget/src/source/facts.rs`) says, the documents, the
//! settings and a running broker say too.

use std::any::Any;

use turn_ledger::{DecidedBy, EndedBy, OnRevocation, SourceSettings};

use crate::support::prelude::*;

const EXAMPLE: &str = include_str!("../../.env.example");

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// The rows of the first table below a text.
fn table_below<'a>(document: &'a str, text: &str) -> Vec<&'a str> {
    let (_, below) = document.split_once(text).unwrap();
    let is_row = |line: &&str| line.starts_with('|');
    below.lines().skip_while(|line| !is_row(line)).take_while(is_row).collect()
}

#[test]
fn each_source_that_is_charged_has_its_row_at_the_limit_and_its_tail_in_the_documents() {
    let (runbook, budget) = (document("RUNBOOK.md"), document("BUDGET.md"));
    let at_limit = table_below(&runbook, "\n## At the limit\n");
    let assumptions = table_below(&budget, "The bound rests on these assumptions:");
    for source in IceSource::ALL.into_iter().filter(|source| source.is_metered()) {
        let facts = source.facts();
        // Without the article, which a list of several leaves out.
        let title = facts.title.trim_start_matches("the ").trim_start_matches("another ");
        let row = at_limit.iter().find(|row| row.split('|').nth(1).unwrap().contains(title));
        let row = row.unwrap_or_else(|| panic!("RUNBOOK.md, At the limit: no row of {title}"));
        let cells: Vec<_> = row.split('|').collect();
        assert!(cells[2].contains("go on"), "{source}, AT_LIMIT=none: {row}");
        assert_eq!(cells[3].contains("end within"), facts.ended_by != EndedBy::Nobody, "{source}: {row}");
        let seconds = facts.expiry_tail.as_secs();
        let value = format!(
            "{}{:03} s",
            if seconds < 1_000 { String::new() } else { format!("{},", seconds / 1_000) },
            seconds % 1_000
        );
        let has_tail = |row: &&str| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            cells[1].starts_with("tail, ") && cells[1].contains(title) && cells[2] == value
        };
        assert!(seconds == 0 || assumptions.iter().any(has_tail), "BUDGET.md: no tail of {title}, {value}");
    }
}

#[test]
fn each_setting_of_a_source_is_in_the_example_and_needs_the_source() {
    let named: Vec<_> = IceSource::named().map(IceSource::name).collect();
    assert!(EXAMPLE.contains(&format!("comma-separated: {}.", named.join(", "))));
    for source in IceSource::named() {
        let (own, is_required) = match source.facts().settings {
            SourceSettings::Shared => (&[][..], false),
            SourceSettings::Optional(own) => (own, false),
            SourceSettings::Required(own) => (own, true),
        };
        for name in own.iter().chain(source.facts().seen_with) {
            let is_set =
                |line: &str| line.trim_start_matches("# ").strip_prefix(name)?.strip_prefix('=').map(drop);
            assert!(EXAMPLE.lines().any(|line| is_set(line).is_some()), "{name} of {source}");
        }
        let alone = Config::from_env(&Environment::from_pairs([("ICE_SOURCES", source.name())]));
        assert_eq!(alone.is_err(), is_required, "{source}");
        // Strict mode needs to know how long its sessions last.
        let strict = [("ICE_SOURCES", source.name()), ("BUDGET_MODE", "strict")];
        let errors = Config::from_env(&Environment::from_pairs(strict)).err();
        let errors = errors.map(|errors| errors.to_string()).unwrap_or_default();
        for name in source.facts().seen_with {
            assert!(errors.contains(name), "{name}: {errors}");
        }
    }
}

/// A broker that mints at this source, and its provider.
async fn broker_of(source: IceSource) -> Option<(Box<dyn Any>, TestBroker)> {
    let broker = match source {
        // Its sessions have tests of their own: `signaling/sfu`.
        IceSource::Sfu => return None,
        IceSource::Cloudflare => {
            let (cloudflare, broker) = with_cloudflare().await;
            return Some((Box::new(cloudflare), broker));
        }
        IceSource::Http => {
            const LIST: &str = r#"[{"urls":"turn:a.example","username":"u","credential":"c"}]"#;
            let provider = FakeWebhook::start(&[Reply::Text(LIST)]).await;
            let settings = [("ICE_SOURCES", "http"), ("HTTP_ICE_URL", &*provider.url())];
            let broker = TestBroker::start(&settings).await;
            return Some((Box::new(provider), broker));
        }
        IceSource::Coturn => TestBroker::start(&COTURN).await,
        IceSource::Manual => TestBroker::start(&MANUAL).await,
        IceSource::Relay => {
            TestBroker::start(&[("ICE_SOURCES", "relay"), ("RELAY_LISTEN", "127.0.0.1:0")]).await
        }
        IceSource::Stun => TestBroker::start(&[("ICE_SOURCES", "stun")]).await,
    };
    Some((Box::new(()), broker))
}

#[tokio::test]
async fn the_status_reserves_what_a_charged_source_may_relay_and_states_its_tail() {
    for source in IceSource::ALL {
        let Some((_provider, broker)) = broker_of(source).await else { continue };
        assert_eq!(broker.mint().await.json()["source"], source.name());
        let status: Value = broker.status().await;
        let is_reserved = status["reservedGB"] != "0.00";
        assert_eq!(is_reserved, source.is_metered(), "{source}: {status}");
        let assumes = status["boundAssumes"].as_str().unwrap();
        let tail = format!("until {} s after expiry", source.facts().expiry_tail.as_secs());
        assert_eq!(assumes.contains(&tail), source.is_metered(), "{source}: {assumes}");
    }
}

#[tokio::test]
async fn who_names_a_credential_and_revokes_it_is_as_the_table_says() {
    // No row remembers a credential that costs nothing.
    for source in IceSource::named().filter(|source| source.is_metered()) {
        let facts = source.facts();
        let (_provider, broker) = broker_of(source).await.unwrap();
        let minted = broker.mint().await;
        let servers = minted.json()["iceServers"].to_string();
        let revoked = broker.revoke(&minted.grant()).await.json();
        let is_named_here = servers.contains(revoked["grant"].as_str().expect("an id"));
        assert_eq!(is_named_here, facts.names == DecidedBy::Broker, "{source}: {servers}");
        let is_asked = revoked["provider"] == "revoked";
        assert_eq!(is_asked, facts.on_revocation == OnRevocation::IsAsked, "{source}: {revoked}");
    }
}
