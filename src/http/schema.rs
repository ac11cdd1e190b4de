//! Schemas that several bodies share.

use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

use turn_ledger::IceSource;

/// The schema of a string from a closed set.
pub fn one_of(names: impl IntoIterator<Item = &'static str>, description: &str) -> RefOr<Schema> {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(names))
        .description(Some(description))
        .build();
    schema.into()
}

/// The schema of a field that names the source of a grant. A session of the SFU is one, too.
pub fn grant_source_schema() -> RefOr<Schema> {
    one_of(IceSource::ALL.map(IceSource::name), "An entry of `ICE_SOURCES`, or `sfu`.")
}

/// The schema of a field that names a source.
pub fn source_schema() -> RefOr<Schema> {
    one_of(IceSource::NAMED.map(IceSource::name), "An entry of `ICE_SOURCES`.")
}
