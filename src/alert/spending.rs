//! Who spends, and what it costs, as an alert states it. At most [`TOP_SPENDERS`] names of a bounded length.

use serde::{Deserialize, Serialize};

use crate::cost::{Money, Price, forecast};
use turn_ledger::spenders::{SpenderKind, SpenderSums};
use turn_ledger::units::ByteCount;
use turn_ledger::verdict::Figures;

/// How many spenders an alert names.
pub const TOP_SPENDERS: usize = 3;

/// Users, else labels, else origins, else addresses: the first kind with a spender is named.
const BY: [SpenderKind; 4] =
    [SpenderKind::User, SpenderKind::Label, SpenderKind::Origin, SpenderKind::Address];

/// The largest spenders of a period and its cost, at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spending {
    /// What the spenders are; `None` without any.
    #[serde(with = "by_name", skip_serializing_if = "Option::is_none")]
    pub by: Option<SpenderKind>,
    /// The largest, most bytes first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<TopSpender>,
    /// What the period costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<AlertCost>,
}

/// One spender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopSpender {
    /// Its user, label, origin or address.
    pub key: String,
    /// Its bytes in this period.
    pub bytes: ByteCount,
}

/// What a period costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertCost {
    /// The currency's three letters.
    pub currency: String,
    /// The cost of the bytes so far.
    pub so_far: Money,
    /// The end of the period; `None` in its first day.
    pub forecast: Option<Forecast>,
}

/// The end of a period if its average rate continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// Its bytes.
    pub used: ByteCount,
    /// Their cost.
    pub cost: Money,
}

impl Spending {
    /// The largest of the rows of the first kind that has any with a hundredth of what is used. `rows`: the first so many rows of a
    /// kind, most bytes first.
    #[must_use]
    pub fn new(
        rows: impl Fn(SpenderKind, usize) -> Vec<SpenderSums>,
        used: ByteCount,
        cost: AlertCost,
    ) -> Self {
        let is_much = |bytes: ByteCount| bytes > ByteCount::ZERO && bytes.percent_of(used) >= 1.0;
        let largest = |kind| {
            // One more, because the sums of all without a row of their own are not one spender.
            let rows = rows(kind, TOP_SPENDERS.saturating_add(1)).into_iter();
            let named = rows
                .filter_map(|row| Some(TopSpender { key: row.key?.to_string(), bytes: row.sums.bytes() }));
            named.filter(|spender| is_much(spender.bytes)).take(TOP_SPENDERS).collect::<Vec<_>>()
        };
        let found = BY.into_iter().map(|kind| (kind, largest(kind))).find(|(_, top)| !top.is_empty());
        let (by, top) = found.map_or_else(Default::default, |(kind, top)| (Some(kind), top));
        Self { by, top, cost: Some(cost) }
    }
}

impl AlertCost {
    /// The cost at this instant.
    #[must_use]
    pub fn of(price: &Price, currency: &str, figures: &Figures) -> Self {
        let at_end = forecast(figures.period, figures.now, figures.used);
        Self {
            currency: currency.to_owned(),
            so_far: price.of(figures.used),
            forecast: at_end.map(|used| Forecast { used, cost: price.of(used) }),
        }
    }
}

/// A kind is stored under its name. A name of a later version is read as none.
mod by_name {
    use super::SpenderKind;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(by: &Option<SpenderKind>, to: S) -> Result<S::Ok, S::Error> {
        by.map(SpenderKind::name).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SpenderKind>, D::Error> {
        let name = Option::<String>::deserialize(from)?;
        Ok(name.as_deref().and_then(SpenderKind::from_name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_ledger::spenders::{SpenderKey, Sums};
    use turn_ledger::units::Timestamp;

    fn row(kind: SpenderKind, key: Option<&str>, bytes: u64) -> SpenderSums {
        let seen = [Timestamp::default(); 2];
        let sums = Sums::of_grant(ByteCount::new(bytes), ByteCount::ZERO, ByteCount::ZERO, seen);
        SpenderSums { key: key.map(|key| SpenderKey::parse(kind, key).unwrap()), sums, live: 0 }
    }

    const USED: ByteCount = ByteCount::new(600);

    fn cost() -> AlertCost {
        AlertCost { currency: "USD".into(), so_far: Money::default(), forecast: None }
    }

    fn named(spending: &Spending) -> Vec<(&str, u64)> {
        spending.top.iter().map(|spender| (&*spender.key, spender.bytes.get())).collect()
    }

    #[test]
    fn users_come_before_labels_labels_before_origins_and_origins_before_addresses() {
        let keys = ["ann", "room-1", "https://a.example", "203.0.113.9"];
        for first in 0..4 {
            let rows = |kind: SpenderKind, _| match BY.iter().position(|by| *by == kind) {
                Some(at) if at >= first => vec![row(kind, Some(keys[at]), 7)],
                _ => vec![],
            };
            let spending = Spending::new(rows, USED, cost());
            assert_eq!(spending.by, Some(BY[first]));
            assert_eq!(named(&spending), [(keys[first], 7)]);
        }
        assert_eq!(
            Spending::new(|_, _| vec![], USED, cost()),
            Spending { cost: Some(cost()), ..Spending::default() }
        );
    }

    #[test]
    fn three_are_named_and_neither_the_others_nor_one_without_bytes() {
        let user = SpenderKind::User;
        let many = [(Some("a"), 9), (None, 8), (Some("b"), 7), (Some("c"), 6), (Some("d"), 5)];
        let rows = |kind, limit: usize| {
            let all = many.iter().filter(|_| kind == user).take(limit);
            all.map(|(key, bytes)| row(kind, *key, *bytes)).collect::<Vec<_>>()
        };
        assert_eq!(named(&Spending::new(rows, USED, cost())), [("a", 9), ("b", 7), ("c", 6)]);
        let more = ByteCount::new(650);
        assert_eq!(
            named(&Spending::new(rows, more, cost())),
            [("a", 9), ("b", 7)],
            "the others have less than 1 %"
        );
        let idle = |kind, _| if kind == user { vec![row(user, Some("a"), 0)] } else { vec![] };
        assert_eq!(Spending::new(idle, USED, cost()).by, None);
    }

    #[test]
    fn a_spending_is_read_back_and_an_unknown_kind_is_read_as_none() {
        let spending = Spending::new(|kind, _| vec![row(kind, Some("ann"), 7)], USED, cost());
        let stored = serde_json::to_string(&spending).unwrap();
        assert_eq!(
            stored,
            r#"{"by":"user","top":[{"key":"ann","bytes":7}],"cost":{"currency":"USD","so_far":0,"forecast":null}}"#
        );
        assert_eq!(serde_json::from_str::<Spending>(&stored).unwrap(), spending);
        assert_eq!(serde_json::from_str::<Spending>("{}").unwrap(), Spending::default());
        assert_eq!(serde_json::from_str::<Spending>(r#"{"by":"planet"}"#).unwrap().by, None);
    }
}
