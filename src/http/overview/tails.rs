//! How long credentials relay after their end, as the broker's trials show.

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use crate::app::App;
use crate::ice::key_name::KeyName;
use turn_base::schema::one_of;
use turn_ledger::{CredentialEnd, IceSource, IdDigest, TailEvidence, Timestamp};

/// The trials of one way in which credentials of a source end, of one TURN key where it has some.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TailBody {
    /// The source that relays.
    #[schema(value_type = String, example = "cloudflare")]
    source: IceSource,
    /// The name of the TURN key; null for a source without them.
    #[schema(value_type = Option<String>, required = true, example = "default")]
    key: Option<KeyName>,
    #[schema(schema_with = end_schema)]
    end: CredentialEnd,
    /// The tail in force, in seconds; null while it is not proven.
    #[schema(required = true, example = 900)]
    seconds: Option<u64>,
    /// When bytes after a proven tail were counted last: trials before prove nothing.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = json!(null))]
    contradicted_at: Option<Timestamp>,
    /// The trials that are remembered, the latest first.
    trials: Vec<TrialBody>,
}

/// What one trial has shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TrialBody {
    /// When it began.
    #[schema(value_type = String, format = DateTime, example = "2025-01-15T12:00:00Z")]
    began_at: Timestamp,
    /// The end of the last billed minute.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = "2025-01-15T12:11:00Z")]
    billed_until: Option<Timestamp>,
    /// When the last data came back.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = "2025-01-15T12:10:12Z")]
    relayed_until: Option<Timestamp>,
    /// When the server first refused the credential.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = "2025-01-15T12:05:12Z")]
    refused_at: Option<Timestamp>,
    /// The time from the end to the last billed minute, in seconds; null: it proves nothing.
    #[schema(required = true, example = 600)]
    tail_seconds: Option<u64>,
}

fn end_schema() -> RefOr<Schema> {
    one_of(["expiry", "revocation"], "How the credential of the trials ends.")
}

impl From<&TailEvidence> for TrialBody {
    fn from(shown: &TailEvidence) -> Self {
        let TailEvidence { began_at, billed_until, relayed_until, refused_at, tail } = *shown;
        let tail_seconds = tail.map(|tail| tail.as_secs());
        Self { began_at, billed_until, relayed_until, refused_at, tail_seconds }
    }
}

pub(super) fn tails(app: &App) -> Vec<TailBody> {
    let turn_key_of = |id: IdDigest| app.config.ice.turn_keys().find(|key| IdDigest::of(&key.id) == id);
    app.account.read(|books| {
        let now = books.now();
        let all = books.ledger().tail_trials();
        let bodies = all.filter_map(|(terms, end, trials)| {
            let proven = if terms.takes_proofs { trials.in_force(now) } else { None };
            // A TURN key that has left the settings has no name, so its trials are not shown.
            let key = match terms.owner.issuer {
                Some(id) => Some(turn_key_of(id)?.name),
                None => None,
            };
            Some(TailBody {
                source: terms.owner.source,
                key,
                end,
                seconds: proven.map(|proven| proven.tail.as_secs()),
                contradicted_at: trials.contradicted_at(),
                trials: trials.evidence().iter().rev().map(TrialBody::from).collect(),
            })
        });
        bodies.collect()
    })
}
