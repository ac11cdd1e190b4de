//! The forms of parameters in the `OpenAPI` document. A value of another form is refused, and one of this form is accepted. The
//! exception is a cursor: no pattern can say which texts a page before has returned. An empty text in a query is the same as none.

use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use turn_ledger::{LABEL_MAX, USER_MAX};

pub(super) const BY: [&str; 6] = ["user", "label", "origin", "address", "call", "grant"];

/// The query of the sums by who spends.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
pub(super) struct SpendersQuery {
    /// What to group by; `user` by default.
    #[param(inline, value_type = ByOrNone, required = false, example = "label")]
    by: Option<String>,
    /// Rows of a page; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
    /// The `next` of the page before, with the same `by`.
    #[param(inline, value_type = CursorOrNone, required = false)]
    cursor: Option<String>,
}

/// The query of the grants.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query for the OpenAPI document")]
pub(super) struct GrantsQuery {
    /// Only grants of this user.
    #[param(inline, value_type = UserOrNone, required = false)]
    user: Option<String>,
    /// Only grants with this label.
    #[param(inline, value_type = LabelOrNone, required = false)]
    label: Option<String>,
    /// Only grants of pages of this origin. Any text is accepted.
    #[param(example = "https://app.example.com")]
    origin: Option<String>,
    /// Only grants of this client address, as `GET /api/spenders?by=address` shows it.
    #[param(inline, value_type = AddressOrNone, required = false)]
    address: Option<String>,
    /// Only grants of this call. Any text is accepted.
    #[param(example = "ayame/room-1")]
    call: Option<String>,
    /// Only grants that count as alive, or only those that do not.
    live: Option<bool>,
    /// Rows of a page; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
    /// The `next` of the page before.
    #[param(inline, value_type = CursorOrNone, required = false)]
    cursor: Option<String>,
}

/// A text without control characters that is not a dot segment of a path. Written without a lookahead, which not every reader
/// of a pattern knows.
fn user_pattern() -> String {
    let control = r"\u0000-\u001f\u007f-\u009f";
    format!(r"([^.{control}]|\.[^.{control}]|\.\.[^{control}])[^{control}]*")
}

/// Makes a type for a form, because only a type leaves a parameter its description.
macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident = $schema:expr;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl ToSchema for $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                Schema::from($schema).into()
            }
        }
    )*};
}

forms! {
    /// A user in a path.
    UserInPath = text().min_length(Some(1)).max_length(Some(USER_MAX)).pattern(Some(format!("^{}$", user_pattern())));
    /// A user in a query.
    UserOrNone = text().max_length(Some(USER_MAX)).pattern(Some(format!("^({})?$", user_pattern())));
    /// A label.
    LabelOrNone = text().max_length(Some(LABEL_MAX)).pattern(Some("^[A-Za-z0-9._:@/-]*$"));
    /// What to group by.
    ByOrNone = text().enum_values(Some(BY.into_iter().chain([""])));
    /// An address, or a prefix in the form in which prefixes are shown.
    AddressOrNone = AnyOfBuilder::new()
        .item(text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Ipv4))))
        .item(text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Ipv6))))
        .item(text().pattern(Some(r"^((:|([0-9a-f]{1,4}:){1,4}):/(48|64))?$")))
        .build();
    /// The place after which a page begins.
    CursorOrNone = text().pattern(Some("^[A-Za-z0-9_-]*$"));
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}
