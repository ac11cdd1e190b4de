//! Schemas that several bodies share.

use utoipa::openapi::{RefOr, Schema};

use crate::alert::Severity;
use turn_base::one_of;
use turn_ledger::IceSource;

/// The schema of a field that names the source of a grant. A session of the SFU has a grant, too, with the source `sfu`.
pub fn grant_source_schema() -> RefOr<Schema> {
    one_of(IceSource::ALL.map(IceSource::name), "An entry of `ICE_SOURCES`, or `sfu`.")
}

/// The schema of a field that names an entry of `ICE_SOURCES`.
pub fn source_schema() -> RefOr<Schema> {
    one_of(IceSource::named().map(IceSource::name), "An entry of `ICE_SOURCES`.")
}

/// The schema of a severity.
pub fn severity_schema() -> RefOr<Schema> {
    one_of([Severity::Info, Severity::Warning, Severity::Critical].map(Severity::name), "The severity.")
}
