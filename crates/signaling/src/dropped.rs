//! What the bounds of the protocols cost a client. Each loss is counted by protocol and reason, so none is silent.

/// Why something of a client was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// It sends more than its rate: its socket is closed.
    Flood,
    /// A frame is too long: its socket is closed.
    TooLong,
    /// A message finds no place among those that wait.
    NotKept,
    /// A message has waited too long for somebody who did not come.
    Expired,
    /// A message to many would exceed what they may be sent.
    FanOut,
    /// A subscription exceeds a bound: its socket is closed.
    Subscription,
    /// A room, a user or an entry finds no place.
    NoPlace,
    /// The oldest socket of a user gives way to a new one.
    OldSocket,
    /// The requests of its origin in this month are used up.
    Quota,
    /// A full table has lost a row, or has not taken one.
    Forgotten,
}

impl Dropped {
    /// The reason, as the metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::TooLong => "too_long",
            Self::NotKept => "not_kept",
            Self::Expired => "expired",
            Self::FanOut => "fan_out",
            Self::Subscription => "subscription",
            Self::NoPlace => "no_place",
            Self::OldSocket => "old_socket",
            Self::Quota => "quota",
            Self::Forgotten => "forgotten",
        }
    }
}
