//! The relayed bytes by minute, and the evaluation of a selection.
//!
//! Invariant: an unknown argument, filter or field is an error, so that a misspelled query fails.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Duration, DurationRound, SecondsFormat, Utc};
use serde_json::Value;

use super::query::Field;

/// Maximum number of entries: two months of minutes. The oldest are removed first.
const ENTRIES_MAX: usize = 100_000;
/// How late the bytes of each credential are shown.
pub(super) const BY_IDENTIFIER_LATE: Duration = Duration::minutes(5);
/// The highest `limit` of a query: the number of groups.
const LIMIT_MAX: u64 = 10_000;

/// Which of the two datasets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dataset {
    Turn,
    Sfu,
}

#[derive(Default)]
pub(super) struct Usage {
    entries: VecDeque<Entry>,
}

struct Entry {
    /// The start of the minute.
    minute: DateTime<Utc>,
    dataset: Dataset,
    /// The TURN key, or the app of the SFU.
    owner: String,
    /// The identifier that the credential was minted with. Empty without one.
    identifier: String,
    egress: u64,
    ingress: u64,
}

/// The share of the usage that is returned.
#[derive(Clone, Copy)]
pub(super) struct Distortion {
    /// How many of the newest minutes are missing, counted from the newest entry.
    pub(super) late: u16,
    /// The longest span of a query, in days.
    pub(super) days_max: u16,
    /// The shortest span of a query, in hours.
    pub(super) hours_min: u16,
    /// The present, by which the bytes of each credential are late. `None`: they are not.
    pub(super) now: Option<DateTime<Utc>>,
}

/// Bytes as a test adds them.
pub(super) struct Relayed<'a> {
    /// The TURN key, or the app of the SFU.
    pub(super) owner: &'a str,
    pub(super) identifier: &'a str,
    /// RFC 3339.
    pub(super) at: &'a str,
    pub(super) egress: u64,
    pub(super) ingress: u64,
}

impl Dataset {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "callsTurnUsageAdaptiveGroups" => Some(Self::Turn),
            "callsUsageAdaptiveGroups" => Some(Self::Sfu),
            _ => None,
        }
    }
}

impl Distortion {
    pub(super) const NONE: Self = Self { late: 0, days_max: u16::MAX, hours_min: 0, now: None };
}

impl Usage {
    pub(super) fn add(&mut self, dataset: Dataset, relayed: &Relayed<'_>) {
        let &Relayed { owner, identifier, at, egress, ingress } = relayed;
        let at = instant(at).expect("the time of usage is RFC 3339");
        let minute = at.duration_trunc(Duration::minutes(1)).expect("a time can be truncated to the minute");
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
        }
        let (owner, identifier) = (owner.to_owned(), identifier.to_owned());
        self.entries.push_back(Entry { minute, dataset, owner, identifier, egress, ingress });
    }

    /// The groups of a selection of this dataset: one for each combination of the selected dimensions. Empty if nothing
    /// matches. The error message is for the client.
    pub(super) fn groups(
        &self,
        dataset: Dataset,
        field: &Field,
        distortion: Distortion,
    ) -> Result<Vec<Value>, String> {
        check(dataset, field)?;
        let limit = limit(field)?;
        let order = order(field)?;
        let conditions = conditions(dataset, field)?;
        if span(field).is_some_and(|span| span.num_days() > distortion.days_max.into()) {
            return Err("query time range is too large".to_owned());
        }
        if span(field).is_some_and(|span| span < Duration::hours(distortion.hours_min.into())) {
            return Err("no answer to a short query".to_owned());
        }
        let newest = self.entries.iter().map(|entry| entry.minute).max();
        let seen_until = newest.map(|newest| newest - Duration::minutes(distortion.late.into()));
        let dimensions = dimensions(field);
        let by_identifier = dimensions.contains(&"customIdentifier");
        let shown_until = distortion.now.filter(|_| by_identifier).map(|now| now - BY_IDENTIFIER_LATE);
        let mut groups = BTreeMap::<Vec<String>, (u64, u64)>::new();
        for entry in &self.entries {
            let is_shown = shown_until.is_none_or(|until| entry.minute < until);
            let seen = entry.dataset == dataset && Some(entry.minute) <= seen_until && is_shown;
            if seen && conditions.iter().all(|condition| condition.holds(entry)) {
                let of = dimensions.iter().map(|name| entry.dimension(name)).collect();
                let (egress, ingress) = groups.entry(of).or_default();
                *egress += entry.egress;
                *ingress += entry.ingress;
            }
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_cached_key(|(of, _)| order.iter().map(|at| of[*at].clone()).collect::<Vec<_>>());
        let group = |(of, (egress, ingress))| selected(field, of, egress, ingress);
        Ok(groups.into_iter().take(limit).map(group).collect())
    }
}

impl Entry {
    /// The value of a dimension that the dataset has.
    fn dimension(&self, name: &str) -> String {
        match name {
            "keyId" | "appId" => self.owner.clone(),
            "customIdentifier" => self.identifier.clone(),
            _ => self.minute.to_rfc3339_opts(SecondsFormat::Secs, true),
        }
    }
}

/// The time between the two instants of a selection's filter, if it has two.
fn span(field: &Field) -> Option<Duration> {
    let filter = field.arguments.get("filter")?.as_object()?;
    let of_time = filter.iter().filter(|(name, _)| name.starts_with("datetimeMinute"));
    let mut instants = of_time.filter_map(|(_, value)| value.as_str()).filter_map(instant);
    let (one, other) = (instants.next()?, instants.next()?);
    Some((one - other).abs())
}

/// Checks that the selection has at least one field, and only fields of the dataset.
fn check(dataset: Dataset, field: &Field) -> Result<(), String> {
    let without_selections = || "object field must have selections".to_owned();
    if field.selections.is_empty() {
        return Err(without_selections());
    }
    for part in &field.selections {
        let known: &[&str] = match (&*part.name, dataset) {
            ("sum", _) => &["egressBytes", "ingressBytes"],
            ("dimensions", Dataset::Turn) => &["datetimeMinute", "keyId", "customIdentifier"],
            ("dimensions", Dataset::Sfu) => &["datetimeMinute", "appId"],
            (unknown, _) => return Err(format!("unknown field {unknown:?}")),
        };
        if part.selections.is_empty() {
            return Err(without_selections());
        }
        if let Some(leaf) = part.selections.iter().find(|leaf| !known.contains(&&*leaf.name)) {
            return Err(format!("unknown field {:?}", leaf.name));
        }
    }
    Ok(())
}

/// The form of one group, with the names that the query gives. `of` are its dimensions, in the query's order.
fn selected(field: &Field, of: Vec<String>, egress: u64, ingress: u64) -> Value {
    let mut of = of.into_iter();
    let mut part = |part: &Field| {
        let leaf = |leaf: &Field| {
            let value: Value = match &*leaf.name {
                "egressBytes" => egress.into(),
                "ingressBytes" => ingress.into(),
                _ => of.next().into(),
            };
            (leaf.alias.clone(), value)
        };
        (part.alias.clone(), part.selections.iter().map(leaf).collect::<Value>())
    };
    field.selections.iter().map(&mut part).collect()
}

/// The names of the dimensions that make a group, in the query's order.
fn dimensions(field: &Field) -> Vec<&str> {
    let selected = field.selections.iter().filter(|part| part.name == "dimensions");
    selected.flat_map(|part| &part.selections).map(|leaf| &*leaf.name).collect()
}

fn limit(field: &Field) -> Result<usize, String> {
    let is_known = |name: &str| matches!(name, "limit" | "filter" | "orderBy");
    if let Some(unknown) = field.arguments.keys().find(|name| !is_known(name)) {
        return Err(format!("error parsing args for {:?}: unknown arg {unknown:?}", field.name));
    }
    let limit = field.arguments.get("limit").and_then(Value::as_u64);
    let limit = limit.filter(|limit| (1..=LIMIT_MAX).contains(limit));
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    limit.ok_or_else(|| format!("limit must be positive number and not greater than {LIMIT_MAX}"))
}

/// The places of the dimensions that groups are ordered by, ascending. Only selected dimensions can be ordered by.
fn order(field: &Field) -> Result<Vec<usize>, String> {
    let Some(order) = field.arguments.get("orderBy") else { return Ok(Vec::new()) };
    let bad = || format!("error parsing args for {:?}: \"orderBy\"", field.name);
    let names = dimensions(field);
    let place = |by: &Value| {
        let by = by.as_str().and_then(|by| by.strip_suffix("_ASC"));
        by.and_then(|by| names.iter().position(|name| *name == by)).ok_or_else(bad)
    };
    order.as_array().ok_or_else(bad)?.iter().map(place).collect()
}

/// One member of a filter.
enum Condition {
    Keys(Vec<String>),
    IdentifierAfter(String),
    IdentifierIn(Vec<String>),
    Minute(fn(&DateTime<Utc>, &DateTime<Utc>) -> bool, DateTime<Utc>),
}

impl Condition {
    fn holds(&self, entry: &Entry) -> bool {
        match self {
            Self::Keys(key_ids) => key_ids.contains(&entry.owner),
            Self::IdentifierAfter(cursor) => entry.identifier > *cursor,
            Self::IdentifierIn(identifiers) => identifiers.contains(&entry.identifier),
            Self::Minute(compare, than) => compare(&entry.minute, than),
        }
    }
}

fn conditions(dataset: Dataset, field: &Field) -> Result<Vec<Condition>, String> {
    let filter = field.arguments.get("filter").and_then(Value::as_object);
    let condition = |(name, value): (&String, &Value)| {
        let bad = || format!("error parsing args for {:?}: {name:?}", field.name);
        let texts = || {
            let texts = value.as_array().ok_or_else(bad)?.iter().map(|text| text.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().ok_or_else(bad)
        };
        match (&**name, dataset) {
            ("keyId_in", Dataset::Turn) => return texts().map(Condition::Keys),
            ("customIdentifier_in", Dataset::Turn) => return texts().map(Condition::IdentifierIn),
            _ => {}
        }
        let text = value.as_str().ok_or_else(bad)?;
        let compare = match (&**name, dataset) {
            ("keyId", Dataset::Turn) => return Ok(Condition::Keys(vec![text.to_owned()])),
            ("customIdentifier_gt", Dataset::Turn) => return Ok(Condition::IdentifierAfter(text.to_owned())),
            ("datetimeMinute_gt", _) => DateTime::gt,
            ("datetimeMinute_lt", _) => DateTime::lt,
            _ => return Err(bad()),
        };
        Ok(Condition::Minute(compare, instant(text).ok_or_else(bad)?))
    };
    filter.into_iter().flatten().map(condition).collect()
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}
