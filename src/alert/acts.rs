//! What the broker does by itself that takes something from callers who keep the rules. One table: docs/adr/0018-acts.md is made of it, and
//! `tests/it/acts.rs` names the tests of each row. An act needs evidence equal to its harm, so one witness alone ends nothing that cannot be
//! undone.

use strum::VariantArray;

use super::AlertKind;

/// What is said about an act. Each text is of one sentence, or a part of one.
#[derive(Clone, Copy, Debug)]
pub struct ActFacts {
    /// What it takes, and from whom.
    pub takes: &'static str,
    /// On which evidence.
    pub evidence: &'static str,
    /// What confirms the evidence.
    pub confirmed_by: &'static str,
    /// Where it is stated, with its end.
    pub stated: &'static str,
    /// What undoes it.
    pub undone_by: &'static str,
}

macro_rules! acts {
    ($($act:ident: $takes:literal; $evidence:literal; $confirmed_by:literal; $stated:literal; $undone_by:literal;)*) => {
        /// An act: see the module's description.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, strum::IntoStaticStr)]
        #[expect(missing_docs, reason = "the facts of each say what it is")]
        #[strum(serialize_all = "kebab-case")]
        pub enum Act { $($act),* }

        impl Act {
            /// What is said about it.
            pub const fn facts(self) -> ActFacts {
                match self {
                    $(Self::$act => ActFacts {
                        takes: $takes,
                        evidence: $evidence,
                        confirmed_by: $confirmed_by,
                        stated: $stated,
                        undone_by: $undone_by,
                    }),*
                }
            }
        }
    };
}

// Each with what it takes, its evidence, what confirms that, where it is stated, and what undoes it.
acts! {
    StopMints:
        "new credentials";
        "one answer, or reports";
        "nothing: the next one decides again";
        "`minting`, hints, `/ready`";
        "the next answer";
    EndCalls:
        "calls, at the limit";
        "measured or vouched bytes";
        "a second answer 60 s later";
        "alert at 100 %";
        "a higher limit";
    EndChain:
        "a credential over `GRANT_LIMIT_GB`";
        "a count of it alone, or vouched bytes";
        "a second count";
        "`grant.limit`";
        "a new mint";
    RefuseAddress:
        "new credentials of an address";
        "its bytes of the day";
        "a count, where there is one";
        "`ADDRESS_LIMIT`";
        "the next UTC day";
    RaiseRate:
        "room in strict mode";
        "three clients (1 % of many) are faster";
        "two answers about each";
        "`ASSUMPTION_RAISED`";
        "the reset";
    WithholdRelay:
        "a relay";
        "two failed probes";
        "another one that works";
        "`RELAY_DOWN`";
        "two good probes";
    PauseProvider:
        "a provider";
        "its own answer, or five failures";
        "a request each 10 s";
        "`PROVIDER_DOWN`, `minting`";
        "an answer";
    ForgetAddress:
        "a name's address";
        "NXDOMAIN";
        "nothing";
        "`PROVIDER_DOWN`";
        "the next answer";
    LoseLead:
        "the lead";
        "no client answered in `LEASE_SECONDS`";
        "a replica that clients reach";
        "`LEADER_LOST`";
        "the next election";
    BeginPeriod:
        "the rest of a month's budget";
        "two of three clocks";
        "the provider's clock";
        "`CLOCK_WRONG`";
        "nothing";
}

impl Act {
    /// Its name in logs.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The act that an alert of this kind states; `None` if the broker does nothing.
    pub const fn stated_by(kind: AlertKind) -> Option<Self> {
        match kind {
            AlertKind::Used(100..) => Some(Self::EndCalls),
            AlertKind::GrantLimit => Some(Self::EndChain),
            AlertKind::Began(fault) => fault.facts().act,
            AlertKind::Used(_) | AlertKind::Ended(_) | AlertKind::Test => None,
        }
    }
}
