//! Schemas of the `OpenAPI` document.

use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

/// The schema of a string from a closed set.
pub fn one_of(names: impl IntoIterator<Item = &'static str>, description: &str) -> RefOr<Schema> {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(names))
        .description(Some(description))
        .build();
    schema.into()
}
