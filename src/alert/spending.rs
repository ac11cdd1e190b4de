//! Who spends, and what it costs, as an alert states it. At most [`TOP_SPENDERS`] names of a bounded length.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rate::{Lately, WINDOW};
use turn_ledger::{
    Block, Books, ByteCount, Money, SpenderKey, SpenderKind, SpenderSums, Timestamp, forecast,
};

/// How many spenders an alert names.
pub const TOP_SPENDERS: usize = 3;
/// In percent. The operator first acts on a spender with a larger share of the last minutes or, at the limit, of the period.
pub(super) const LARGE_SPENDER_PERCENT: f64 = 25.0;

/// What is said of a spender who was ended: counts come later than bytes.
pub const COUNTED_LATER: &str = "What was relayed before may be counted later: if that can reach the limit, raise it: turn-broker limit GB.";

/// The kinds of spenders that an alert names, the preferred one first: those that are proven, and then those that a caller may choose, so
/// that to end one can end honest callers. Calls are left out: one call is small.
pub const NAMED_KINDS: [SpenderKind; 5] =
    [SpenderKind::User, SpenderKind::Key, SpenderKind::Address, SpenderKind::Label, SpenderKind::Origin];

/// Whether a caller cannot choose the name of a spender of this kind.
pub(super) const fn is_proven(kind: SpenderKind) -> bool {
    matches!(kind, SpenderKind::User | SpenderKind::Key | SpenderKind::Address)
}

/// The largest spenders of a period and its cost, at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// The kind of the spenders; `None` without spenders.
    pub by: Option<SpenderKind>,
    /// The largest, most bytes first.
    pub top: Vec<TopSpender>,
    /// Who spends most of what flows now.
    pub now: Option<SpenderNow>,
    /// What the period costs.
    pub cost: Option<AlertCost>,
}

/// The spender with the most bytes in the last minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpenderNow {
    /// The kind of the spender.
    pub by: SpenderKind,
    /// Who.
    pub spender: TopSpender,
    /// All bytes of that time.
    pub all: ByteCount,
    /// The time, in minutes.
    pub minutes: u64,
    /// The end of the provider's count, where the minutes end of those of whom that shows more.
    #[serde(default)]
    pub counted_until: Option<Timestamp>,
}

/// One spender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopSpender {
    /// Its user, label, origin or address; `None` for the bytes without one.
    pub key: Option<String>,
    /// Its bytes in this period, or in the last minutes.
    pub bytes: ByteCount,
    /// Its block, if it is blocked.
    #[serde(default)]
    pub block: Option<Block>,
    /// How many of its credentials can be used.
    #[serde(default)]
    pub usable: u64,
}

impl TopSpender {
    fn of(row: &SpenderSums, block_on: impl Fn(&SpenderKey) -> Option<Block>) -> Self {
        Self {
            key: row.key.as_ref().map(ToString::to_string),
            bytes: row.sums.bytes(),
            block: row.key.as_ref().and_then(block_on),
            usable: row.usable,
        }
    }

    /// Whether nothing is left to end.
    pub(super) const fn is_ended(&self) -> bool {
        self.block.is_some() && self.usable == 0
    }

    /// Whether it has a name and a large part of all bytes, and something is left to end.
    pub(super) fn is_to_be_ended(&self, all: ByteCount) -> bool {
        self.key.is_some() && self.is_large(all) && !self.is_ended()
    }

    /// Whether its part of all bytes is large.
    pub(super) fn is_large(&self, all: ByteCount) -> bool {
        self.bytes.percent_of(all) > LARGE_SPENDER_PERCENT
    }
}

/// What a period costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertCost {
    /// The currency's three letters.
    pub currency: String,
    /// The cost of the bytes so far.
    pub so_far: Money,
    /// The forecast for the end of the period; `None` in the first day of its use.
    pub forecast: Option<Forecast>,
}

/// The figures at the end of a period, if its average rate since its first use continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// Its bytes.
    pub used: ByteCount,
    /// Their cost.
    pub cost: Money,
}

impl Spending {
    /// The largest spenders of the period, all of one kind (see `explaining`), and who spends most now. In both maps, the rows of a kind
    /// have most bytes first, and the bytes without a name are one of the rows. The second map has all rows of the minutes beside it.
    pub fn new(
        of_period: &BTreeMap<SpenderKind, Vec<SpenderSums>>,
        recent: Option<&(Lately, BTreeMap<SpenderKind, Vec<SpenderSums>>)>,
        used: ByteCount,
        block_on: impl Fn(&SpenderKey) -> Option<Block>,
        cost: AlertCost,
    ) -> Self {
        let found = explaining(of_period, used, &block_on);
        let (by, top) = found.map_or_else(Default::default, |(kind, top)| (Some(kind), top));
        let now = recent.and_then(|(lately, recent)| SpenderNow::of(lately, recent, &block_on));
        Self { by, top, now, cost: Some(cost) }
    }
}

impl SpenderNow {
    /// A large spender who is proven and can be ended: a user, or else a key or an address that has more than twice as much. Without one,
    /// the first row of the kind that [`explaining`] finds, or the bytes that are in no row if these bytes are more. `None` without any bytes.
    fn of(
        lately: &Lately,
        recent: &BTreeMap<SpenderKind, Vec<SpenderSums>>,
        block_on: impl Fn(&SpenderKey) -> Option<Block>,
    ) -> Option<Self> {
        // Each kind has all bytes that are in a row of some kind.
        let sum = |rows: &Vec<SpenderSums>| {
            rows.iter().map(|row| row.sums.bytes()).fold(ByteCount::ZERO, ByteCount::plus)
        };
        let known = recent.values().map(sum).max()?;
        let all = known.max(lately.bytes());
        let mut culprit: Option<(SpenderKind, TopSpender)> = None;
        for kind in NAMED_KINDS.into_iter().filter(|kind| is_proven(*kind)) {
            let rows = recent.get(&kind).into_iter().flatten();
            let found = rows.map(|row| TopSpender::of(row, &block_on)).find(|of| of.is_to_be_ended(all));
            let is_more = |of: &TopSpender| {
                culprit.as_ref().is_none_or(|(_, than)| of.bytes > than.bytes.plus(than.bytes))
            };
            culprit = found.filter(is_more).map(|of| (kind, of)).or(culprit);
        }
        let unknown = TopSpender { key: None, bytes: all.minus(known), block: None, usable: 0 };
        let (by, spender) = culprit.unwrap_or_else(|| {
            let (by, top) = explaining(recent, all, block_on).unwrap_or((SpenderKind::User, vec![]));
            let first = top.into_iter().next().filter(|first| first.bytes >= unknown.bytes);
            (by, first.unwrap_or(unknown))
        });
        let is_used = spender.bytes > ByteCount::ZERO;
        let (minutes, counted_until) = (WINDOW.as_secs() / 60, lately.time.counted.map(|counted| counted.to));
        is_used.then_some(Self { by, spender, all, minutes, counted_until })
    }
}

/// The largest rows of the first kind whose names explain half of what is used, or else of the kind that explains most. If the largest row
/// of this kind has no name, but some kind has a large row with a name, the rows of that kind: the operator can end the named spender.
/// If no user is large and one server key has half, the server keys: who has a key can name any users.
/// `None` if none of the largest rows has a name.
fn explaining(
    rows: &BTreeMap<SpenderKind, Vec<SpenderSums>>,
    used: ByteCount,
    block_on: impl Fn(&SpenderKey) -> Option<Block>,
) -> Option<(SpenderKind, Vec<TopSpender>)> {
    let is_much = |bytes: ByteCount| bytes > ByteCount::ZERO && bytes.percent_of(used) >= 1.0;
    let largest = |kind| {
        let rows = rows.get(&kind).into_iter().flatten().take(TOP_SPENDERS);
        let top = rows.map(|row| TopSpender::of(row, &block_on));
        (kind, top.filter(|spender| is_much(spender.bytes)).collect::<Vec<_>>())
    };
    let half = ByteCount::new(used.get() / 2);
    let explained = |(_, top): &(SpenderKind, Vec<TopSpender>)| {
        let unnamed = top.iter().find(|spender| spender.key.is_none());
        used.minus(unnamed.map_or(ByteCount::ZERO, |unnamed| unnamed.bytes)).min(half)
    };
    let largest_named = |(_, top): &(SpenderKind, Vec<TopSpender>)| {
        top.iter().find(|spender| spender.key.is_some()).map(|spender| spender.bytes)
    };
    // In reverse, because `max_by_key` returns the last of equal kinds, and the first one is preferred.
    let kinds: Vec<_> =
        NAMED_KINDS.into_iter().rev().map(largest).filter(|of| largest_named(of).is_some()).collect();
    let is_large = |bytes: ByteCount| bytes.percent_of(used) > LARGE_SPENDER_PERCENT;
    let found @ (_, top) = kinds.iter().max_by_key(|of| explained(of))?;
    let of_keys = kinds.iter().find(|(kind, _)| *kind == SpenderKind::Key);
    if let Some(of_keys) = of_keys.filter(|of| largest_named(of).is_some_and(|bytes| bytes >= half))
        && !top.iter().any(|spender| is_large(spender.bytes))
    {
        return Some(of_keys.clone());
    }
    if top.first().is_some_and(|first| first.key.is_some()) {
        return Some(found.clone());
    }
    let with_largest = kinds.iter().max_by_key(|of| largest_named(of));
    with_largest.filter(|of| largest_named(of).is_some_and(is_large)).or(Some(found)).cloned()
}

impl AlertCost {
    /// The cost at this instant.
    pub fn of(books: &Books) -> Self {
        let budget = books.budget();
        let (so_far, tariff) = books.cost_of(budget.period);
        let (since, figures) = (budget.used_since(), budget.figures());
        let at_end = |used| forecast(figures.period, since, figures.now, used);
        let used = budget.used_by_source(figures.period);
        let forecast = at_end(figures.used).map(|all| {
            let later = used.iter().filter_map(|(source, bytes)| Some((*source, at_end(*bytes)?))).collect();
            Forecast { used: all, cost: tariff.cost_of(&later) }
        });
        Self { currency: tariff.currency, so_far, forecast }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_ledger::Sums;

    fn row(kind: SpenderKind, key: Option<&str>, bytes: u64) -> SpenderSums {
        let seen = [Timestamp::default(); 2];
        let sums = Sums::of_grant([bytes, 0, 0].map(ByteCount::new), seen);
        SpenderSums { key: key.map(|key| SpenderKey::parse(kind, key).unwrap()), sums, live: 0, usable: 0 }
    }

    const USED: ByteCount = ByteCount::new(600);

    fn cost() -> AlertCost {
        AlertCost { currency: "USD".into(), so_far: Money::default(), forecast: None }
    }

    /// What these rows say of a period, while nothing flows.
    fn of_rows(rows: impl Fn(SpenderKind) -> Vec<SpenderSums>, used: ByteCount) -> Spending {
        let of_period = NAMED_KINDS.map(|kind| (kind, rows(kind))).into();
        Spending::new(&of_period, None, used, |_| None, cost())
    }

    fn named(spending: &Spending) -> Vec<(String, u64)> {
        let name = |spender: &TopSpender| spender.key.clone().unwrap_or_else(|| "-".into());
        spending.top.iter().map(|spender| (name(spender), spender.bytes.get())).collect()
    }

    #[test]
    fn each_kind_of_spender_is_named_or_left_out_on_purpose() {
        let others = [SpenderKind::Call];
        assert!(SpenderKind::ALL.iter().all(|kind| NAMED_KINDS.contains(kind) != others.contains(kind)));
    }

    #[test]
    fn users_come_before_server_keys_then_addresses_labels_and_origins() {
        let keys = ["ann", "app", "203.0.113.9", "room-1", "https://a.example"];
        for first in 0..5 {
            let rows = |kind: SpenderKind| match NAMED_KINDS.iter().position(|by| *by == kind) {
                Some(at) if at >= first => vec![row(kind, Some(keys[at]), 7)],
                _ => vec![],
            };
            let spending = of_rows(rows, USED);
            assert_eq!(spending.by, Some(NAMED_KINDS[first]));
            assert_eq!(named(&spending), [(keys[first].into(), 7)]);
        }
        assert_eq!(of_rows(|_| vec![], USED), Spending { cost: Some(cost()), ..Spending::default() });
    }

    #[test]
    fn three_rows_are_shown_and_none_with_few_bytes() {
        let user = SpenderKind::User;
        let many = [(Some("a"), 9), (None, 8), (Some("b"), 7), (Some("c"), 6), (Some("d"), 5)];
        let rows = |kind| {
            let all = many.iter().filter(|_| kind == user);
            all.map(|(key, bytes)| row(kind, *key, *bytes)).collect::<Vec<_>>()
        };
        let shown =
            |spending: &Spending| spending.top.iter().map(|spender| spender.bytes.get()).collect::<Vec<_>>();
        assert_eq!(shown(&of_rows(rows, USED)), [9, 8, 7]);
        assert_eq!(shown(&of_rows(rows, ByteCount::new(750))), [9, 8], "7 is less than 1 %");
        let idle = |kind| if kind == user { vec![row(user, Some("a"), 0)] } else { vec![] };
        assert_eq!(of_rows(idle, USED).by, None);
        let unnamed = |kind| vec![row(kind, None, 600)];
        assert_eq!(of_rows(unnamed, USED).by, None, "nobody is named");
    }

    #[test]
    fn a_large_address_is_named_though_users_explain_half() {
        let rows = |kind| match kind {
            SpenderKind::User => {
                let users = (0..10).map(|nth| row(kind, Some(&format!("user-{nth}")), 31));
                [row(kind, None, 290)].into_iter().chain(users).collect()
            }
            SpenderKind::Address => [("203.0.113.9", 252), ("203.0.113.8", 200), ("203.0.113.7", 148)]
                .map(|(key, bytes)| row(kind, Some(key), bytes))
                .into(),
            _ => vec![],
        };
        let spending = of_rows(rows, USED);
        assert_eq!((spending.by, &*named(&spending)[0].0), (Some(SpenderKind::Address), "203.0.113.9"));
    }

    #[test]
    fn a_server_key_with_half_of_all_bytes_is_named_unless_one_of_its_users_is_large() {
        let of = |largest_user: u64| {
            let rows = |kind| match kind {
                SpenderKind::User => {
                    vec![
                        row(kind, Some("ann"), largest_user),
                        row(kind, Some("bob"), 60),
                        row(kind, Some("eve"), 60),
                    ]
                }
                SpenderKind::Key => vec![row(kind, Some("app"), 300), row(kind, None, 300)],
                _ => vec![],
            };
            of_rows(rows, USED).by
        };
        assert_eq!([151, 150].map(of), [Some(SpenderKind::User), Some(SpenderKind::Key)]);
    }

    #[test]
    fn the_kind_is_one_that_explains_half_of_the_bytes_or_else_most() {
        let of = |users: u64, origins: u64| {
            move |kind| {
                let (key, bytes) = match kind {
                    SpenderKind::User => ("ann", users),
                    SpenderKind::Origin => ("https://a.example", origins),
                    _ => return vec![row(kind, None, 600)],
                };
                let mut rows = vec![row(kind, Some(key), bytes), row(kind, None, 600 - bytes)];
                rows.sort_by_key(|row| std::cmp::Reverse(row.sums.bytes()));
                rows
            }
        };
        let found = |users, origins| of_rows(of(users, origins), USED);
        assert_eq!(found(300, 600).by, Some(SpenderKind::User), "users explain half");
        let spending = found(36, 400);
        assert_eq!(spending.by, Some(SpenderKind::Origin));
        assert_eq!(named(&spending), [("https://a.example".into(), 400), ("-".into(), 200)]);
        let spending = found(36, 30);
        assert_eq!(spending.by, Some(SpenderKind::User));
        assert_eq!(named(&spending), [("-".into(), 564), ("ann".into(), 36)], "most are without a user");
    }

    #[test]
    fn who_spends_now_is_the_largest_of_the_last_minutes() {
        let rows = |bytes: [u64; 2]| {
            let users =
                vec![row(SpenderKind::User, Some("bob"), bytes[0]), row(SpenderKind::User, None, bytes[1])];
            BTreeMap::from([(SpenderKind::User, users)])
        };
        let of = |lately, bytes| {
            let lately = Lately::reported(ByteCount::new(lately));
            let block_on = |spender: &SpenderKey| (spender.to_string() == "bob").then(Block::default);
            Spending::new(&BTreeMap::new(), Some(&(lately, rows(bytes))), USED, block_on, cost()).now
        };
        let now = |bytes| of(0, bytes);
        let spender = TopSpender {
            key: Some("bob".into()),
            bytes: ByteCount::new(30),
            block: Some(Block::default()),
            usable: 0,
        };
        assert_eq!(
            now([30, 10]),
            Some(SpenderNow {
                by: SpenderKind::User,
                spender,
                all: ByteCount::new(40),
                minutes: 5,
                counted_until: None
            })
        );
        assert_eq!(now([0, 0]), None);
        let most = |lately| of(lately, [30, 10]).map(|now| (now.spender.key, now.spender.bytes.get()));
        assert_eq!(most(70), Some((Some("bob".into()), 30)));
        assert_eq!(most(71), Some((None, 31)), "most of it is nobody's yet");
        assert_eq!(most(9_000), Some((None, 8_960)));
    }

    #[test]
    fn a_thief_is_named_by_what_is_proven_and_can_be_ended() {
        use SpenderKind::{Address, Key, Label, Origin, User};
        let now = |rows: &[(SpenderKind, Option<&str>, u64, u64)]| {
            let mut recent: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for (kind, key, bytes, usable) in rows {
                recent
                    .entry(*kind)
                    .or_default()
                    .push(SpenderSums { usable: *usable, ..row(*kind, *key, *bytes) });
            }
            let block_on = |spender: &SpenderKey| (spender.to_string() == "ended").then(Block::default);
            let now = SpenderNow::of(&Lately::reported(ByteCount::ZERO), &recent, block_on).unwrap();
            (now.by, now.spender.key.unwrap_or_default())
        };
        let (own, page) = ((Label, Some("acme"), 100, 35), (Origin, Some("https://a.example"), 100, 35));
        let is = |kind, key: &str| (kind, key.to_owned());
        let thief = (Address, Some("203.0.113.9"), 90, 30);
        assert_eq!(
            now(&[(User, None, 100, 35), thief, own, page]),
            is(Address, "203.0.113.9"),
            "a label that anybody sets"
        );
        assert_eq!(
            now(&[(User, Some("ann"), 30, 1), thief, own]),
            is(Address, "203.0.113.9"),
            "three times as much"
        );
        assert_eq!(now(&[(User, Some("bob"), 80, 1), thief, own]), is(User, "bob"));
        assert_eq!(now(&[(User, Some("u1"), 2, 1), (Key, Some("app"), 100, 9), thief]), is(Key, "app"));
        assert_eq!(
            now(&[(User, Some("ended"), 60, 0), (User, Some("bob"), 30, 1)]),
            is(User, "bob"),
            "the next one"
        );
        assert_eq!(
            now(&[(User, Some("ended"), 60, 1), (User, Some("bob"), 30, 1)]),
            is(User, "ended"),
            "it goes on"
        );
        assert_eq!(now(&[(User, Some("ended"), 60, 0)]), is(User, "ended"), "nobody else");
        let many: Vec<_> = (0..120).map(|nth| format!("203.0.113.{nth}")).collect();
        let many: Vec<_> = many.iter().map(|at| (Address, Some(&**at), 1, 1)).collect();
        assert_eq!(now(&[&many[..], &[(Label, Some("acme"), 120, 120)]].concat()), is(Label, "acme"));
    }

    #[test]
    fn a_spending_is_read_back() {
        let rows = |kind| if kind == SpenderKind::User { vec![row(kind, Some("ann"), 7)] } else { vec![] };
        let spending = of_rows(rows, USED);
        let stored = serde_json::to_string(&spending).unwrap();
        assert_eq!(serde_json::from_str::<Spending>(&stored).unwrap(), spending);
    }
}
