//! The ledger in `PostgreSQL`, and what several replicas need to find each other.

use super::database_url::DatabaseUrl;
use super::form::parse_base;
use super::prelude::*;
use turn_base::Trust;

/// The longest name of a schema, in bytes: `PostgreSQL` cuts a longer one.
const SCHEMA_MAX: usize = 63;
const ADDRESS_EXPECTED: &str = "an address such as http://10.0.0.7:3001";

/// The ledger in `PostgreSQL`.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// The database. `DATABASE_URL`; there is no database when unset.
    pub url: DatabaseUrl,
    /// The authorities of `CA_FILE`, which are trusted for the database besides those of the program and the system.
    pub trust: Trust,
    /// The schema of the tables. `DATABASE_SCHEMA`; `turn_broker` when unset.
    pub schema: String,
    /// Where the other replicas reach this one. `ADVERTISE_URL`; when unset, this machine's address on its connection to the database, with
    /// `PORT`.
    pub advertise_url: Option<Url>,
    /// The silence of a leader after which another replica leads, 2 to 60 s. `LEASE_SECONDS`; 5 s when unset.
    pub lease: Duration,
}

impl DatabaseConfig {
    /// `trust`: the authorities of `CA_FILE`.
    pub(super) fn read(settings: &mut Settings<'_>, trust: &Trust) -> Option<Self> {
        let url = settings.secret("DATABASE_URL", DatabaseUrl::parse);
        let schema = settings.about_money().get("DATABASE_SCHEMA", "turn_broker", schema);
        let advertise_url = settings.optional("ADVERTISE_URL", form(ADDRESS_EXPECTED, parse_address));
        let lease = settings.get("LEASE_SECONDS", "5", seconds(2..=60));
        if !settings.is_set("DATABASE_URL") {
            for name in ["DATABASE_SCHEMA", "ADVERTISE_URL", "LEASE_SECONDS"] {
                let no_effect = format!("{name} has no effect: DATABASE_URL is not set");
                settings.warn_if(settings.is_set(name), no_effect);
            }
        }
        url.map(|url| Self { url, trust: trust.clone(), schema, advertise_url, lease })
    }

    /// Refuses settings for what only one machine has, because replicas could not share it. The caller has read every setting before.
    pub(super) fn refuse_what_is_of_one_machine(settings: &mut Settings<'_>, sources: &[IceSource]) {
        if !settings.is_set("DATABASE_URL") {
            return;
        }
        let expected = "expected no value because DATABASE_URL is set: the ledger is in the database. In the image, set STATE_DIR to nothing";
        settings.refuse_if("STATE_DIR", settings.is_set("STATE_DIR"), expected);
        let expected =
            "expected no value because DATABASE_URL is set: the files of one replica are not at the others";
        settings.refuse_if("REPORTS_DIR", settings.is_set("REPORTS_DIR"), expected);
        let expected =
            "expected no relay because DATABASE_URL is set: its calls end with the process that leads";
        settings.refuse_if("ICE_SOURCES", sources.contains(&IceSource::Relay), expected);
    }
}

/// A name that needs no quotes in SQL.
fn schema(text: &str) -> Formed<String> {
    let is_inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let is_good = |text: &str| {
        text.len() <= SCHEMA_MAX
            && text.bytes().all(is_inside)
            && !text.starts_with(|first: char| first.is_ascii_digit())
            && !text.starts_with("pg_")
    };
    form("1 to 63 small letters, digits or _, that begin with no digit and not with pg_", |text| {
        is_good(text).then(|| text.to_owned())
    })(text)
}

/// The address of a machine: other replicas append the paths of requests.
fn parse_address(text: &str) -> Option<Url> {
    parse_base(text).filter(|url| url.scheme() == "http" && url.path() == "/")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_commands_about_a_ledger_accept_a_directory_and_a_database() {
        let environment = crate::config::Environment::from_pairs([
            ("DATABASE_URL", "postgres://db/x"),
            ("STATE_DIR", "/a"),
        ]);
        assert!(crate::config::Config::from_env(&environment).is_err());
        let config = crate::config::Config::for_ledger(&environment).unwrap();
        assert!(config.database.is_some() && config.budget.state_dir.is_some());
    }
}
