//! What is true of each source, as one table. All code that depends on the source reads this table. Whoever adds a source answers each
//! question here. Tests: below.

use std::time::Duration;

use super::IceSource;

/// The facts of one source.
#[derive(Clone, Copy, Debug)]
pub struct SourceFacts {
    /// What texts call it.
    pub title: &'static str,
    /// Its number in grant tokens. The meaning of a number never changes.
    pub token_number: u8,
    /// Its own settings.
    pub settings: SourceSettings,
    /// What its grants are.
    pub grants: GrantsAre,
    /// What is charged to the budget for what it relays.
    pub charged: Charged,
    /// Whether the bytes of each grant are counted, too.
    pub counts_grants: bool,
    /// Who ends its sessions when their grant is over or the budget is spent.
    pub ended_by: EndedBy,
    /// What it does with the credential of a revoked grant.
    pub on_revocation: OnRevocation,
    /// How long relaying may outlive a grant whose sessions nobody ends sooner.
    pub expiry_tail: Duration,
    /// Who chooses the user names of its credentials. A name that the broker chooses has the id of its grant.
    pub names: DecidedBy,
    /// Who decides how long a credential works. If the source does, strict mode admits its credentials whole or not at all.
    pub life: DecidedBy,
    /// Unless all these settings are set, its sessions may outlive every promise, and nobody sees it.
    pub seen_with: &'static [&'static str],
    /// What its calls do when the budget is spent, in an alert. Empty for a source that is not charged.
    pub at_limit: &'static str,
    /// What to do if a relay refuses a credential that was made just now. Empty if that cannot be tested.
    pub if_refused: &'static str,
}

/// The settings of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceSettings {
    /// None that matter to it alone.
    Shared,
    /// It has defaults, or the service starts without it.
    Optional(&'static [&'static str]),
    /// Without them, `ICE_SOURCES` cannot name it.
    Required(&'static [&'static str]),
}

/// What the grants of a source are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantsAre {
    /// There are none, because everybody may use it.
    Nothing,
    /// Credentials of an entry of `ICE_SOURCES`, which relay at the assumed rate.
    Credentials,
    /// Sessions that the broker opened. Their tracks say at what rate.
    Sessions,
}

/// What is charged to the budget for what a source relays. A count replaces what is promised and claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charged {
    /// Nothing.
    Nothing,
    /// What is promised and claimed: nobody counts.
    Uncounted,
    /// What Cloudflare's analytics count by TURN key, if they are read. They can be wrong, and their clock can differ from ours.
    ByTurnKey,
    /// The same by app of the SFU. A count by TURN key has these bytes, too.
    BySfuApp,
    /// What the listings of its sessions show, if they are read. They come from its command line.
    Listings,
    /// What this process relays.
    Here,
}

/// Who ends the sessions of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// Nobody. A TURN server checks the credential when an allocation is made, and a running allocation may be refreshed.
    Nobody,
    /// The broker, over the command line that lists them, if it is set.
    CommandLine,
    /// The relay in this process.
    ThisProcess,
    /// The broker, over the API that opened them.
    Api,
}

/// What a source does with the credential of a revoked grant. A session that was ended can begin again unless the credential is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnRevocation {
    /// It accepts the credential until it expires.
    Accepts,
    /// It is asked to revoke the credential by its user name, and may go on for a while.
    IsAsked,
    /// It refuses the credential from then on, and ends what runs with it.
    Refuses,
}

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecidedBy {
    /// The broker.
    Broker,
    /// The source.
    Source,
}

impl IceSource {
    /// What is true of it.
    #[expect(clippy::too_many_lines, reason = "a table with a row for each source")]
    pub const fn facts(self) -> SourceFacts {
        match self {
            Self::Cloudflare => SourceFacts {
                title: "Cloudflare",
                token_number: 1,
                // Without them STUN answers in its place.
                settings: SourceSettings::Optional(&[
                    "CLOUDFLARE_TURN_KEY_ID",
                    "CLOUDFLARE_TURN_API_TOKEN",
                    "CLOUDFLARE_TURN_KEYS",
                ]),
                grants: GrantsAre::Credentials,
                charged: Charged::ByTurnKey,
                counts_grants: true,
                ended_by: EndedBy::Nobody,
                on_revocation: OnRevocation::IsAsked,
                // It ends an allocation after about two hours (reported by others).
                expiry_tail: Duration::from_secs(7_200),
                names: DecidedBy::Source,
                life: DecidedBy::Broker,
                seen_with: &[],
                at_limit: "calls in progress over Cloudflare continue and are billed",
                if_refused: "run doctor again; if the error continues, make a new TURN key",
            },
            Self::Coturn => SourceFacts {
                title: "coturn",
                token_number: 2,
                settings: SourceSettings::Required(&["COTURN_URLS", "COTURN_SECRET"]),
                grants: GrantsAre::Credentials,
                charged: Charged::Listings,
                counts_grants: true,
                ended_by: EndedBy::CommandLine,
                on_revocation: OnRevocation::Accepts,
                // Too short without its command line: coturn 4.6 ends no allocation that is refreshed (measured).
                expiry_tail: Duration::from_secs(7_200),
                names: DecidedBy::Broker,
                life: DecidedBy::Broker,
                seen_with: &["COTURN_CLI", "COTURN_STATS_LISTEN"],
                at_limit: "calls over coturn are ended",
                if_refused: "set COTURN_SECRET to coturn's static-auth-secret, and compare both machines' clocks",
            },
            Self::Http => SourceFacts {
                title: "another provider",
                token_number: 7,
                settings: SourceSettings::Required(&["HTTP_ICE_URL"]),
                grants: GrantsAre::Credentials,
                charged: Charged::Uncounted,
                counts_grants: false,
                ended_by: EndedBy::Nobody,
                on_revocation: OnRevocation::Accepts,
                // Nothing is known of it.
                expiry_tail: Duration::from_secs(7_200),
                names: DecidedBy::Source,
                life: DecidedBy::Source,
                seen_with: &["HTTP_ICE_TTL_SECONDS", "TURN_EXPIRY_TAIL_SECONDS"],
                at_limit: "calls in progress at HTTP_ICE_URL continue",
                if_refused: "compare the credential with what the provider's dashboard gives",
            },
            Self::Relay => SourceFacts {
                title: "the built-in relay",
                token_number: 3,
                settings: SourceSettings::Optional(&["RELAY_LISTEN"]),
                grants: GrantsAre::Credentials,
                charged: Charged::Here,
                counts_grants: true,
                ended_by: EndedBy::ThisProcess,
                on_revocation: OnRevocation::Refuses,
                expiry_tail: Duration::ZERO,
                names: DecidedBy::Broker,
                life: DecidedBy::Broker,
                seen_with: &[],
                at_limit: "calls over the built-in relay are ended",
                // It accepts only what its own process mints.
                if_refused: "",
            },
            Self::Manual => SourceFacts {
                title: "a fixed list",
                token_number: 4,
                settings: SourceSettings::Required(&["MANUAL_ICE_SERVERS"]),
                grants: GrantsAre::Credentials,
                charged: Charged::Nothing,
                counts_grants: false,
                ended_by: EndedBy::Nobody,
                on_revocation: OnRevocation::Accepts,
                expiry_tail: Duration::ZERO,
                names: DecidedBy::Source,
                life: DecidedBy::Broker,
                seen_with: &[],
                at_limit: "",
                if_refused: "set the server's current user name and password in MANUAL_ICE_SERVERS",
            },
            Self::Stun => SourceFacts {
                title: "STUN",
                token_number: 5,
                // `STUN_URLS` is also the response when no source serves.
                settings: SourceSettings::Shared,
                grants: GrantsAre::Nothing,
                charged: Charged::Nothing,
                counts_grants: false,
                ended_by: EndedBy::Nobody,
                on_revocation: OnRevocation::Accepts,
                expiry_tail: Duration::ZERO,
                names: DecidedBy::Broker,
                life: DecidedBy::Broker,
                seen_with: &[],
                at_limit: "",
                if_refused: "",
            },
            Self::Sfu => SourceFacts {
                title: "the SFU",
                token_number: 6,
                // It uses the settings of signaling.
                settings: SourceSettings::Shared,
                grants: GrantsAre::Sessions,
                charged: Charged::BySfuApp,
                counts_grants: false,
                ended_by: EndedBy::Api,
                on_revocation: OnRevocation::Accepts,
                // The SFU ends a session only when its page leaves. The broker ends the others. If no broker runs for this time, promises
                // still cover the sessions that it would have ended.
                expiry_tail: Duration::from_secs(300),
                names: DecidedBy::Broker,
                life: DecidedBy::Broker,
                seen_with: &[],
                at_limit: "sessions of the SFU are ended",
                if_refused: "",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_source_is_listed_once_and_has_a_title_and_a_number_in_tokens_of_its_own() {
        assert_eq!(BTreeSet::from(IceSource::ALL).len(), IceSource::ALL.len());
        let numbers: BTreeSet<_> = IceSource::ALL.map(|source| source.facts().token_number).into();
        assert_eq!(numbers.len(), IceSource::ALL.len(), "{numbers:?}");
        let titles: BTreeSet<_> = IceSource::ALL.map(|source| source.facts().title).into();
        assert!(titles.len() == IceSource::ALL.len() && !titles.contains(""), "{titles:?}");
    }

    /// What follows from one fact about the others.
    #[test]
    fn the_facts_of_a_source_agree_with_each_other() {
        for source in IceSource::ALL {
            let facts = source.facts();
            let SourceFacts { grants, charged, counts_grants, ended_by, on_revocation, .. } = facts;
            let SourceFacts { expiry_tail, names, life, seen_with, at_limit, if_refused, .. } = facts;
            match charged {
                // Nobody counts or ends what it relays.
                Charged::Nothing => {
                    assert_eq!((seen_with, at_limit), (&[][..], ""), "{source}");
                    assert!(!counts_grants, "{source}");
                    assert_eq!(
                        (ended_by, on_revocation),
                        (EndedBy::Nobody, OnRevocation::Accepts),
                        "{source}"
                    );
                    assert_eq!(expiry_tail, Duration::ZERO, "{source}");
                }
                // Then the promise is all that there is: only with settings does it cover what is relayed.
                Charged::Uncounted => {
                    assert!(!seen_with.is_empty(), "{source}: nobody sees what it relays");
                    assert!(!counts_grants, "{source}");
                }
                Charged::ByTurnKey => {
                    assert_eq!(grants, GrantsAre::Credentials, "{source}");
                }
                Charged::BySfuApp => assert_eq!(grants, GrantsAre::Sessions, "{source}"),
                Charged::Listings => assert_eq!(ended_by, EndedBy::CommandLine, "{source}"),
                Charged::Here => assert_eq!(ended_by, EndedBy::ThisProcess, "{source}"),
            }
            match ended_by {
                EndedBy::Nobody => {}
                // Without its command line nobody sees its sessions.
                EndedBy::CommandLine => {
                    assert_eq!((charged, seen_with.len()), (Charged::Listings, 2), "{source}");
                }
                EndedBy::ThisProcess => {
                    assert_eq!((charged, expiry_tail), (Charged::Here, Duration::ZERO), "{source}");
                }
                EndedBy::Api => assert_eq!(grants, GrantsAre::Sessions, "{source}"),
            }
            // Only the process that relays can end what runs.
            let refuses = on_revocation == OnRevocation::Refuses;
            assert_eq!(refuses, ended_by == EndedBy::ThisProcess, "{source}");
            // A source is asked to revoke a credential by its name only if the source chose that name.
            assert!(on_revocation != OnRevocation::IsAsked || names == DecidedBy::Source, "{source}");
            assert!(life == DecidedBy::Broker || names == DecidedBy::Source, "{source}");
            // A session that nobody ends outlives its grant.
            let goes_on = ended_by == EndedBy::Nobody && source.is_metered();
            assert!(!goes_on || expiry_tail > Duration::ZERO, "{source}");
            let says = if goes_on { "continue" } else { "are ended" };
            assert_eq!(at_limit.contains(says), source.is_metered(), "{source}: {at_limit}");
            let is_tested = grants == GrantsAre::Credentials && ended_by != EndedBy::ThisProcess;
            assert_eq!(!if_refused.is_empty(), is_tested, "{source}");
            let is_set_up_here = !matches!(facts.settings, SourceSettings::Shared);
            assert_eq!(is_set_up_here, grants == GrantsAre::Credentials, "{source}");
        }
    }
}
