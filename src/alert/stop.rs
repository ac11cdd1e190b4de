//! Whether a metered credential would be issued now, and if not, why. Pure. This is the one statement about it: the status, `/ready`, the
//! 503 of a mint, `turn-broker status`, the dashboard and the alerts show it. Tests: `src/account/stop_tests.rs`.

use serde::Serialize;
use serde_json::Value;
use strum::VariantArray;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

use super::{Fault, FoundFault};
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

/// The metered sources of `ICE_SOURCES`, taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeteredSources {
    /// None has its settings.
    Absent,
    /// One of them mints, as far as is known.
    Up,
    /// None mints: each of the operator's own relays that is not drained has used what it may.
    UsedUp,
    /// None mints. What is known of the cause, in a sentence; empty if nothing.
    Down(String),
}

/// What decides about a metered mint besides the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintFacts {
    /// `TURN_ENABLED`.
    pub is_enabled: bool,
    /// Whether a grant can be recorded.
    pub is_writable: bool,
    /// Why no grant can be recorded, in a sentence; empty if that is not known.
    pub ledger_failure: String,
    /// The metered sources.
    pub sources: MeteredSources,
}

impl Default for MintFacts {
    /// Nothing stops a mint.
    fn default() -> Self {
        let ledger_failure = String::new();
        Self { is_enabled: true, is_writable: true, ledger_failure, sources: MeteredSources::Up }
    }
}

/// Whether a metered credential would be issued now. Of several reasons against it, the error is the one that a mint meets first.
pub fn minting(snapshot: &Snapshot, facts: &MintFacts) -> Result<(), MintStop> {
    if snapshot.frozen {
        return Err(MintStop::of(StopCode::Frozen, &Fault::MintingOff.found("The operator has stopped it.")));
    }
    if !facts.is_enabled {
        return Err(MintStop::of(StopCode::Disabled, &Fault::MintingOff.found("TURN_ENABLED is false.")));
    }
    if facts.sources == MeteredSources::Absent {
        return Err(MintStop::not_configured());
    }
    if !facts.is_writable {
        return Err(MintStop::unwritable(facts.ledger_failure.clone()));
    }
    match snapshot.refusal {
        None => {}
        Some(NotAdmitted::ClockInDoubt) => return Err(MintStop::clock_ahead()),
        Some(NotAdmitted::TooManyGrants) => return Err(MintStop::grants_full()),
        Some(_) if snapshot.figures.is_spent() => return Err(MintStop::spent(snapshot)),
        Some(why) => return Err(MintStop::promised_in_full(why)),
    }
    if facts.sources == MeteredSources::UsedUp {
        return Err(MintStop::used_up(snapshot));
    }
    if let MeteredSources::Down(cause) = &facts.sources {
        return Err(MintStop::of(StopCode::ProviderUnavailable, &Fault::ProviderDown.found(cause)));
    }
    Ok(())
}

impl MintStop {
    fn of(code: StopCode, found: &FoundFault) -> Self {
        Self { code, message: found.message(), until: None }
    }

    fn not_configured() -> Self {
        let message = "No metered source is configured. Set CLOUDFLARE_TURN_KEY_ID and CLOUDFLARE_TURN_API_TOKEN, or another of ICE_SOURCES.";
        Self { code: StopCode::NotConfigured, message: message.to_owned(), until: None }
    }

    /// The ledger cannot be written.
    pub fn unwritable(failure: String) -> Self {
        Self::of(StopCode::LedgerUnavailable, &Fault::LedgerFailing.found(failure))
    }

    /// The clock is more than two days ahead of the ledger's time.
    pub fn clock_ahead() -> Self {
        Self::of(StopCode::ClockDisagrees, &Fault::ClockAhead.found(""))
    }

    /// There is no room for another grant.
    pub fn grants_full() -> Self {
        Self::of(StopCode::GrantsFull, &Fault::GrantsFull.found("They take all."))
    }

    fn spent(snapshot: &Snapshot) -> Self {
        Self::until_reset(
            snapshot,
            "The limit is reached. Raise the limit, or find out who spends: run turn-broker spenders.",
        )
    }

    fn promised_in_full(why: NotAdmitted) -> Self {
        let until = if let NotAdmitted::Refused(refusal) = why { refusal.until() } else { None };
        Self { until, ..Self::of(StopCode::BudgetExhausted, &Fault::PromisedInFull.found("")) }
    }

    fn used_up(snapshot: &Snapshot) -> Self {
        Self::until_reset(
            snapshot,
            "Each relay has used what it may. Raise COTURN_LIMITS, or add a source to ICE_SOURCES.",
        )
    }

    fn until_reset(snapshot: &Snapshot, message: &str) -> Self {
        let until = Some(snapshot.figures.period.end);
        Self { code: StopCode::BudgetExhausted, message: message.to_owned(), until }
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
