//! Whether a metered credential would be issued now, and if not, why. Pure. This is the one statement about it: the status, `/ready`, the
//! 503 of a mint, `turn-broker status`, the dashboard and the alerts show it. Tests: `src/account/stop_tests.rs`.

use serde::Serialize;
use serde_json::Value;
use strum::VariantArray;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

use super::Fault;
use turn_ledger::{NotAdmitted, Snapshot, Timestamp};

/// Why no metered credential is issued, for programs. The refusal of a mint has the same code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum StopCode {
    /// The operator has stopped it.
    Frozen,
    /// The settings have stopped it.
    Disabled,
    /// No metered source has its settings.
    NotConfigured,
    /// The ledger cannot be written.
    LedgerUnavailable,
    /// The clock is too far ahead.
    ClockDisagrees,
    /// The limit is reached, or reserved in full.
    BudgetExhausted,
    /// There are too many live credentials.
    GrantsFull,
    /// No metered source mints.
    ProviderUnavailable,
}

impl StopCode {
    /// The reasons of degraded responses.
    pub const REASONS: [Self; 5] = [
        Self::NotConfigured,
        Self::Disabled,
        Self::ProviderUnavailable,
        Self::BudgetExhausted,
        Self::LedgerUnavailable,
    ];

    /// Why the books admit no caller. `None` if they refuse only this caller, who is blocked or has no room in its own limit.
    pub fn of(why: &NotAdmitted) -> Option<Self> {
        match why {
            NotAdmitted::Blocked(_) | NotAdmitted::AddressLimit { .. } => None,
            NotAdmitted::Refused(refusal) if refusal.limited.is_some() => None,
            NotAdmitted::Refused(_) | NotAdmitted::TooManyUsers => Some(Self::BudgetExhausted),
            NotAdmitted::ClockInDoubt => Some(Self::ClockDisagrees),
            NotAdmitted::Uncut => Some(Self::ProviderUnavailable),
            NotAdmitted::TooManyGrants => Some(Self::GrantsFull),
            NotAdmitted::NotRecorded => Some(Self::LedgerUnavailable),
            NotAdmitted::Stopped => Some(Self::Frozen),
        }
    }

    /// The reason on the wire of a response that is degraded because of this. One of [`Self::REASONS`].
    pub fn reason(self) -> &'static str {
        let reason = match self {
            Self::Frozen | Self::Disabled => Self::Disabled,
            Self::LedgerUnavailable | Self::ClockDisagrees | Self::GrantsFull => Self::LedgerUnavailable,
            Self::NotConfigured | Self::BudgetExhausted | Self::ProviderUnavailable => self,
        };
        reason.into()
    }
}

/// Why no metered credential is issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintStop {
    /// For programs.
    pub code: StopCode,
    /// The cause and the first step.
    pub message: String,
    /// When minting goes on, if that is known.
    pub until: Option<Timestamp>,
}

/// What decides about a metered mint besides the books. By default, nothing stops it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MintFacts {
    /// Whether `TURN_ENABLED` is false.
    pub is_disabled: bool,
    /// Whether no grant can be recorded.
    pub is_unwritable: bool,
    /// Why none of the metered sources of `ICE_SOURCES` mints. `None` if one does, as far as is known.
    pub sources: Option<StopCode>,
    /// Why no grant can be recorded or else a source does not mint, in a sentence; empty if that is not known.
    pub failure: String,
    /// When the pause ends for which a provider that does not mint has asked.
    pub paused_until: Option<Timestamp>,
}

/// Why relays with a limit of their own mint nothing.
pub(super) const RELAYS_USED_UP: &str =
    "Each relay has used what it may. Raise COTURN_LIMITS, or add a source to ICE_SOURCES.";

/// Whether a metered credential would be issued now. Of several reasons against it, the error is the one that a mint meets first.
pub fn minting(snapshot: &Snapshot, facts: &MintFacts) -> Result<(), MintStop> {
    let of_books = snapshot.refusal.as_ref().and_then(StopCode::of);
    let code = if snapshot.frozen {
        StopCode::Frozen
    } else if facts.is_disabled {
        StopCode::Disabled
    } else if facts.sources == Some(StopCode::NotConfigured) {
        StopCode::NotConfigured
    } else if facts.is_unwritable {
        StopCode::LedgerUnavailable
    } else if let Some(code) = of_books.or(facts.sources) {
        code
    } else {
        return Ok(());
    };
    let stop = MintStop::of(code, &facts.failure);
    let spent = match snapshot.refusal {
        _ if code == StopCode::ProviderUnavailable => {
            return Err(MintStop { until: facts.sources.and(facts.paused_until), ..stop });
        }
        _ if code != StopCode::BudgetExhausted => return Err(stop),
        Some(NotAdmitted::Refused(refusal)) if !snapshot.figures.is_spent() => {
            return Err(MintStop { until: refusal.until(), ..stop });
        }
        Some(_) => "The limit is reached. Raise the limit, or find out who spends: run turn-broker spenders.",
        None => RELAYS_USED_UP,
    };
    Err(MintStop { code, message: spent.to_owned(), until: Some(snapshot.figures.period.end) })
}

impl MintStop {
    /// The stop with this code. `failure`: why the ledger cannot be written, or why the source does not mint; empty if that is not known.
    pub fn of(code: StopCode, failure: &str) -> Self {
        let found = match code {
            StopCode::Frozen => Fault::MintingOff.found("The operator has stopped it."),
            StopCode::Disabled => Fault::MintingOff.found("TURN_ENABLED is false."),
            StopCode::NotConfigured => {
                let message = "No metered source is configured. Set CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN, or another of ICE_SOURCES.";
                return Self { code, message: message.to_owned(), until: None };
            }
            StopCode::LedgerUnavailable => Fault::LedgerFailing.found(failure),
            StopCode::ClockDisagrees => Fault::ClockAhead.found(""),
            StopCode::BudgetExhausted => Fault::PromisedInFull.found(""),
            StopCode::GrantsFull => Fault::GrantsFull.found(""),
            StopCode::ProviderUnavailable => Fault::ProviderDown.found(failure),
        };
        Self { code, message: found.message(), until: None }
    }
}

/// Whether a metered credential would be issued now, and why not.
#[derive(Debug, Serialize, ToSchema)]
pub struct MintingBody {
    /// Whether one would be issued.
    #[schema(example = true)]
    on: bool,
    /// Why none is, for programs: where a mint is refused, it has this code. Null if one is.
    #[schema(schema_with = code_schema)]
    code: Option<&'static str>,
    /// The cause and the first step. Null if one is.
    #[schema(required = true, example = json!(null))]
    message: Option<String>,
    /// When that ends, if it is known.
    #[schema(value_type = Option<String>, format = DateTime, required = true, example = json!(null))]
    until: Option<Timestamp>,
}

impl From<Result<(), MintStop>> for MintingBody {
    fn from(minting: Result<(), MintStop>) -> Self {
        match minting {
            Ok(()) => Self { on: true, code: None, message: None, until: None },
            Err(MintStop { code, message, until }) => {
                Self { on: false, code: Some(code.into()), message: Some(message), until }
            }
        }
    }
}

fn code_schema() -> RefOr<Schema> {
    let names = StopCode::VARIANTS.iter().map(|code| Value::from(<&str>::from(code)));
    let schema = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some(names.chain([Value::Null])))
        .description(Some(
            "Why none is, for programs: where a mint is refused, it has this code. Null if one is.",
        ))
        .build();
    schema.into()
}
