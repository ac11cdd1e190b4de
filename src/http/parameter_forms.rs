//! The queries of the lists, and the forms of parameters in the `OpenAPI` document. A value is accepted if it has the form of the document,
//! and refused otherwise. The exception is a cursor: no pattern can say which texts an earlier page has returned. An empty text in a query
//! counts as no text.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{AnyOf, AnyOfBuilder};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use turn_base::{ApiError, form_or_none};
use turn_ledger::{GRANT, LABEL_MAX, SpenderKey, SpenderKind, USER_MAX, spender_lists};

/// The longest block with an end.
const SPAN_MAX: Duration = Duration::from_secs(365 * 86_400);
/// Most rows of a page.
const PAGE_MAX: usize = 1_000;
/// The longest of the last minutes that may be asked for.
const SINCE_MAX: Duration = Duration::from_secs(15 * 60);

/// The query of the sums by who spends.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SpendersQuery {
    /// What to group by; `user` by default.
    // `None` for one row for each grant.
    #[param(inline, value_type = ByOrNone, required = false, example = "label")]
    #[serde(default = "by_user", deserialize_with = "by")]
    pub(super) by: Option<SpenderKind>,
    /// Only what was spent in the last minutes, as reported and, where it is young enough, as counted: `1m` to `15m`.
    #[param(inline, value_type = SinceOrNone, required = false, example = "5m")]
    #[serde(default, deserialize_with = "since")]
    pub(super) since: Option<Duration>,
    /// The month in which a period began: with `BILLING_DAY=15`, `2025-01` ends on 15 February. This one, or one of the twelve before it, of
    /// which users, labels and server keys are known.
    #[param(inline, value_type = MonthOrNone, required = false, example = "2025-01")]
    #[serde(default, deserialize_with = "month")]
    pub(super) period: Option<String>,
    /// Rows of a page; 100 by default.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
    #[serde(default = "page_size", deserialize_with = "rows")]
    pub(super) limit: usize,
    /// The `next` of the page before, with the same `by`, `since` and `period`.
    #[param(inline, value_type = CursorOrNone, required = false)]
    pub(super) cursor: Option<String>,
}

/// What sums are grouped by without `by`.
#[expect(clippy::unnecessary_wraps, reason = "it has the type of the field")]
const fn by_user() -> Option<SpenderKind> {
    Some(SpenderKind::User)
}

/// Makes a query that can name spenders, and has more parameters.
macro_rules! spender_query {
    ($(#[$doc:meta])* $name:ident { $($more:tt)* }) => {
        $(#[$doc])*
        #[derive(Deserialize, IntoParams)]
        #[into_params(parameter_in = Query)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// A user.
            #[param(inline, value_type = UserOrNone, required = false)]
            user: Option<String>,
            /// A label.
            #[param(inline, value_type = LabelOrNone, required = false)]
            label: Option<String>,
            /// A client address as `GET /api/spenders?by=address` shows it, or an IPv6 /64.
            #[param(inline, value_type = AddressOrNone, required = false)]
            address: Option<String>,
            /// The origin of pages.
            #[param(value_type = Option<String>, max_length = 270, example = "https://app.example.com")]
            origin: Option<String>,
            /// A call.
            #[param(value_type = Option<String>, max_length = 270, example = "ayame/room-1")]
            call: Option<String>,
            /// The name of a server key.
            #[param(inline, value_type = LabelOrNone, required = false)]
            key: Option<String>,
            $($more)*
        }

        impl $name {
            /// The spenders that it names.
            pub(super) fn spenders(&self) -> Result<Vec<SpenderKey>, ApiError> {
                let Self { user, label, origin, address, call, key, .. } = self;
                named_spenders([user, label, origin, address, call, key].map(Option::as_deref))
            }
        }
    };
}

spender_query! {
    /// The query of the grants: only those of all these spenders.
    GrantsQuery {
        /// Only grants that count as alive, or only those that do not.
        #[serde(default, deserialize_with = "live")]
        pub(super) live: Option<bool>,
        /// Rows of a page; 100 by default.
        #[param(value_type = Option<u64>, minimum = 1, maximum = 1000)]
        #[serde(default = "page_size", deserialize_with = "rows")]
        pub(super) limit: usize,
        /// The `next` of the page before.
        #[param(inline, value_type = CursorOrNone, required = false)]
        pub(super) cursor: Option<String>,
    }
}

spender_query! {
    /// The query of a change of one spender: exactly one of these.
    SpenderQuery {}
}

spender_query! {
    /// The query of a block: exactly one spender.
    BlockQuery {
        /// For how long, in minutes, hours or days: `1m` to `365d`. Without it, the block has no end.
        #[param(inline, value_type = TimeOrNone, required = false, example = "1h")]
        #[serde(rename = "for", default, deserialize_with = "lasting")]
        pub(super) lasting: Option<Duration>,
    }
}

/// The spenders that parameters name. `names`: in the order of the kinds.
fn named_spenders(names: [Option<&str>; SpenderKind::ALL.len()]) -> Result<Vec<SpenderKey>, ApiError> {
    let by_kind = SpenderKind::ALL.into_iter().zip(names.map(Option::unwrap_or_default));
    let parse = |(kind, name): (SpenderKind, &str)| {
        // Names of calls have no control characters: see `Call::of`.
        let name = name.replace(|c: char| kind == SpenderKind::Call && c.is_control(), "\u{fffd}");
        // An address that was copied from a browser ends with a slash.
        let name = if kind == SpenderKind::Origin { name.trim_end_matches('/') } else { &name };
        let expected = || format!("Set `{}` to one that `GET /api/spenders` shows.", kind.name());
        SpenderKey::parse(kind, name).ok_or_else(|| ApiError::invalid(expected()))
    };
    by_kind.filter(|(_, name)| !name.is_empty()).map(parse).collect()
}

/// The only spender that a query names.
pub(super) fn only(spenders: Vec<SpenderKey>) -> Result<SpenderKey, ApiError> {
    let one = <[_; 1]>::try_from(spenders).map(|[spender]| spender);
    let kinds = SpenderKind::ALL.map(|kind| format!("`{}`", kind.name()));
    one.map_err(|_| ApiError::invalid(format!("Send exactly one of {}.", kinds.join(", "))))
}

/// The query of a block whose path names the spender.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LastingQuery {
    /// For how long, in minutes, hours or days: `1m` to `365d`. Without it, the block has no end.
    #[param(inline, value_type = TimeOrNone, required = false, example = "1h")]
    #[serde(rename = "for", default, deserialize_with = "lasting")]
    pub(super) lasting: Option<Duration>,
}

fn by<'de, D: Deserializer<'de>>(text: D) -> Result<Option<SpenderKind>, D::Error> {
    let read = |text: &str| if text == GRANT { Some(None) } else { text.parse().ok().map(Some) };
    let by = form_or_none(text, read, &format!("one of {}", spender_lists().join(", ")))?;
    Ok(by.unwrap_or_else(by_user))
}

fn since<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Duration>, D::Error> {
    let parse = |text: &str| {
        let digits = text.strip_suffix('m').filter(|digits| !digits.starts_with(['0', '+']))?;
        let minutes: u8 = digits.parse().ok()?;
        Some(Duration::from_secs(60 * u64::from(minutes))).filter(|span| *span <= SINCE_MAX)
    };
    form_or_none(text, parse, "1m to 15m")
}

fn month<'de, D: Deserializer<'de>>(text: D) -> Result<Option<String>, D::Error> {
    let parse = |text: &str| {
        let (year, month) = text.split_once('-')?;
        let is_four_and_two_digits = (year.len(), month.len()) == (4, 2)
            && (year.to_owned() + month).bytes().all(|b| b.is_ascii_digit());
        (is_four_and_two_digits && ("01"..="12").contains(&month)).then(|| text.to_owned())
    };
    form_or_none(text, parse, "a month such as 2025-01")
}

/// A time in minutes, hours or days, `1m` to `365d`.
pub(crate) fn span(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let minutes = match unit {
        "m" => 1,
        "h" => 60,
        "d" => 24 * 60,
        _ => return None,
    };
    if count.starts_with(['0', '+']) {
        return None;
    }
    let count: u64 = count.parse().ok()?;
    Some(Duration::from_secs(count.checked_mul(60 * minutes)?)).filter(|span| *span <= SPAN_MAX)
}

fn lasting<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Duration>, D::Error> {
    form_or_none(text, span, "minutes, hours or days from 1m to 365d")
}

fn rows<'de, D: Deserializer<'de>>(text: D) -> Result<usize, D::Error> {
    let parse = |text: &str| text.parse().ok().filter(|rows| (1..=PAGE_MAX).contains(rows));
    Ok(form_or_none(text, parse, "a number from 1 to 1000")?.unwrap_or_else(page_size))
}

/// Rows of a page without `limit`.
const fn page_size() -> usize {
    100
}

fn live<'de, D: Deserializer<'de>>(text: D) -> Result<Option<bool>, D::Error> {
    form_or_none(text, |text| text.parse().ok(), "true or false")
}

/// The pattern of a user: a text without control characters that is not `.` or `..`. Written without a lookahead, which not every reader
/// of a pattern knows.
fn user_pattern() -> String {
    let control = r"\u0000-\u001f\u007f-\u009f";
    format!(r"([^.{control}]|\.[^.{control}]|\.\.[^{control}])[^{control}]*")
}

/// Makes a type for each form, because a parameter keeps its description only if its form is a type.
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
    /// A user that is named.
    UserInPath = text().min_length(Some(1)).max_length(Some(USER_MAX)).pattern(Some(format!("^{}$", user_pattern())));
    /// The kind of spender in the path of a block.
    KindInPath = text().enum_values(Some(["users", "addresses"]));
    /// For how long.
    TimeOrNone = text().pattern(Some("^([1-9][0-9]{0,2}[mh]|([1-9][0-9]?|[12][0-9][0-9]|3[0-5][0-9]|36[0-5])d)?$"));
    /// A user in a query.
    UserOrNone = text().max_length(Some(USER_MAX)).pattern(Some(format!("^({})?$", user_pattern())));
    /// A label.
    LabelOrNone = text().max_length(Some(LABEL_MAX)).pattern(Some("^[A-Za-z0-9._:@/-]*$"));
    /// The last minutes.
    SinceOrNone = text().pattern(Some("^(([1-9]|1[0-5])m)?$"));
    /// What to group by.
    ByOrNone = text().enum_values(Some(spender_lists().into_iter().chain([""])));
    /// A month.
    MonthOrNone = text().pattern(Some("^([0-9]{4}-(0[1-9]|1[0-2]))?$"));
    /// An address, or a prefix in the form in which prefixes are shown.
    AddressOrNone = address_forms(r"^((:|([0-9a-f]{1,4}:){1,4}):/(48|64))?$");
    /// The place after which a page begins.
    CursorOrNone = text().pattern(Some("^[A-Za-z0-9_-]*$"));
}

fn address_forms(prefix: &str) -> AnyOf {
    AnyOfBuilder::new()
        .item(text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Ipv4))))
        .item(text().format(Some(SchemaFormat::KnownFormat(KnownFormat::Ipv6))))
        .item(text().pattern(Some(prefix)))
        .build()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_listed_revoked_and_blocked_by_each_kind_of_spender() {
        let listed = GrantsQuery::into_params(|| None);
        let revoked = SpenderQuery::into_params(|| None);
        let blocked = BlockQuery::into_params(|| None);
        for (route, parameters) in
            [("/api/grants", listed), ("/api/revoke", revoked), ("/api/block", blocked)]
        {
            for kind in SpenderKind::ALL.map(SpenderKind::name) {
                assert!(parameters.iter().any(|parameter| parameter.name == kind), "{route} by {kind}");
            }
        }
    }
}
