//! Why a bound dropped something of a client. Each case is counted by protocol and reason, so none goes unnoticed.

/// Why a frame, a message, a socket or a row of a client was dropped. Its text is that of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Dropped {
    /// A client sends more than its rate, or causes more calls of webhooks than its rate: its socket is closed.
    Flood,
    /// A frame is too long: its socket is closed.
    TooLong,
    /// Too many messages wait already.
    NotKept,
    /// A message waited too long for a client that did not come.
    Expired,
    /// A message to many clients, or to one client from many, would exceed what may be sent.
    FanOut,
    /// A subscription exceeds a bound: its socket is closed a second later.
    Subscription,
    /// The table is full, so a user or an entry is refused.
    NoPlace,
    /// The oldest socket of a user gives way to a new one.
    OldSocket,
    /// The pages of its origin have used up their requests of this month.
    Quota,
    /// A full table has removed rows.
    Forgotten,
}
