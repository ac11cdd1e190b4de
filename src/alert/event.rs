//! Operator alerts as values. An [`Alert`] is complete when it is made. Its id is the same on every delivery attempt
//! and after a restart, so a receiver can drop repeats. The only texts from outside are names of spenders; the message
//! shows them in a form that no chat interprets.

use std::sync::LazyLock;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fault::{Fault, Severity};
use super::spending::Spending;
use crate::config::PERCENT_MAX;
use crate::rate::PresentRate;
use turn_ledger::{ByteCount, GrantId, OverLimit, SpenderKey, SpenderKind, Timestamp};

/// The names of the alerts about a part of the limit, by percent.
static USED_NAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| (0..=PERCENT_MAX).map(|percent| format!("budget.used_{percent}")).collect());

/// One message to the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// `<first day of the period>/<event>/<which>`, for example `2025-01-01/budget-used-80/1000000000000`. ASCII
    /// without a full stop, because full stops separate the parts of the signed text.
    pub id: String,
    /// The kind of event.
    pub kind: AlertKind,
    /// When the event was noticed, in the books' time.
    pub at: Timestamp,
    /// What happened, in one sentence.
    pub what: String,
    /// What it means for callers, in one sentence.
    pub callers: String,
    /// The budget at that instant.
    pub budget: BudgetFigures,
    /// The largest spenders and the cost at that instant. Nothing in a recovery.
    pub spending: Spending,
    /// The rate at that instant. Only in an alert about the limit.
    pub rate: Option<PresentRate>,
    /// Whom the commands end in an alert about a credential: its user, or its address.
    #[serde(default)]
    pub ends: Option<(SpenderKind, String)>,
}

impl Alert {
    /// Adds who spends, if this kind of alert shows it. Adds the cost only to an alert about the limit: what a period costs says nothing
    /// about a fault.
    pub(super) fn with_spending(self, spending: &Spending) -> Self {
        if !self.kind.shows_spending() {
            return self;
        }
        let cost = spending.cost.clone().filter(|_| self.kind.is_about_usage());
        Self { spending: Spending { cost, ..spending.clone() }, ..self }
    }
}

/// The budget as an alert shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetFigures {
    /// Best figure of this period.
    pub used: ByteCount,
    /// The limit.
    pub limit: ByteCount,
    /// The most by which the live credentials can still take usage past the limit.
    pub overshoot_bound: ByteCount,
    /// The same, without the bytes of calls that the broker ends at the limit.
    pub uncut_overshoot: ByteCount,
    /// The same as `uncut_overshoot`, at the highest hourly rate that counts have shown; `None` without a count.
    pub likely_overshoot: Option<ByteCount>,
    /// When the period ends.
    pub reset: Timestamp,
}

/// A chain of renewals that was revoked because it relayed more than `GRANT_LIMIT_GB`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentGrant {
    /// The last grant of the chain.
    pub grant: GrantId,
    /// Who spent: user, label and address, as far as they are known.
    pub who: Vec<SpenderKey>,
    /// What was counted of the whole chain in this period, or vouched for.
    pub counted: ByteCount,
}

impl SpentGrant {
    /// What an alert says of it.
    pub fn of(OverLimit { grant, row, address, counted, .. }: &OverLimit) -> Self {
        let spender = row.spender.as_deref().cloned().unwrap_or_default();
        let (user, label) = (spender.user.map(SpenderKey::User), spender.label.map(SpenderKey::Label));
        let who = [user, label, address.clone()].into_iter().flatten().collect();
        Self { grant: *grant, who, counted: *counted }
    }
}

/// Every kind of alert. Names are stored and sent, so the meaning of a name never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::EnumCount)]
pub enum AlertKind {
    /// This many percent of the limit are used, 1 to [`PERCENT_MAX`].
    Used(u16),
    /// A fault has begun.
    Began(Fault),
    /// A fault is over.
    Ended(Fault),
    /// A credential relayed more than `GRANT_LIMIT_GB`, and was revoked.
    GrantLimit,
    /// A test message. Never stored.
    Test,
}

impl AlertKind {
    /// Every kind. Of [`Self::Used`], only those of the default percents.
    pub fn all() -> impl Iterator<Item = Self> {
        let of_faults = Fault::alerted().flat_map(|fault| [Self::Began(fault), Self::Ended(fault)]);
        [50, 80, 95, 100].map(Self::Used).into_iter().chain(of_faults).chain([Self::GrantLimit, Self::Test])
    }

    /// Whether both kinds are about the same condition. Alerts about one condition are delivered in order.
    pub fn has_condition_of(self, other: Self) -> bool {
        match (self, other) {
            (Self::Used(_), Self::Used(_)) => true,
            (Self::Began(fault) | Self::Ended(fault), Self::Began(of) | Self::Ended(of)) => fault == of,
            _ => self == other,
        }
    }

    /// The name on the wire, in metrics and in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Used(percent) => &USED_NAMES[usize::from(percent.min(PERCENT_MAX))],
            Self::Began(fault) => fault.facts().events.map_or(fault.facts().code, |(begins, _)| begins),
            Self::Ended(fault) => fault.facts().events.map_or(fault.facts().code, |(_, ends)| ends),
            Self::GrantLimit => "grant.limit",
            Self::Test => "test",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        (1..=PERCENT_MAX).map(Self::Used).chain(Self::all()).find(|kind| kind.name() == name)
    }

    /// How urgent this kind is.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Used(..80) | Self::Ended(_) | Self::Test => Severity::Info,
            Self::Used(80..95) | Self::GrantLimit => Severity::Warning,
            Self::Used(95..) => Severity::Critical,
            Self::Began(fault) => fault.facts().severity,
        }
    }
}

impl Serialize for AlertKind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for AlertKind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        Self::from_name(&name).ok_or_else(|| D::Error::custom("unknown kind of alert"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::mem::discriminant;

    use strum::EnumCount;

    use super::*;

    #[test]
    fn the_list_of_alerts_leaves_no_kind_out() {
        let kinds: HashSet<_> = AlertKind::all().map(|kind| discriminant(&kind)).collect();
        assert_eq!(kinds.len(), AlertKind::COUNT);
    }

    #[test]
    fn a_kind_is_stored_under_its_name_on_the_wire() {
        for kind in AlertKind::all() {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert_eq!(serde_json::from_value::<AlertKind>(kind.name().into()).unwrap(), kind);
            let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_');
            assert!(kind.name().bytes().all(is_plain), "{}", kind.name());
        }
    }
}
