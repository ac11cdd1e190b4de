//! The answer to a request, or its refusal, as a value. Refusals have the texts of the reference server where it has any.

use std::borrow::Cow;
use std::fmt::Display;

use crate::protocol::Text;

/// The answer to a request that is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum P2pcfResponse {
    /// The request concerns no room, and is not refused. The caller makes the answer.
    Admitted,
    /// The entries of the room and the packages for the page, as JSON.
    Listing(Text),
    /// The entry is deleted.
    Deleted,
}

/// The answer to a request, or why nothing was done.
pub type P2pcfAnswer = Result<P2pcfResponse, Refusal>;

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Pages of this origin are not served.
    #[error("Unauthorized")]
    Origin,
    /// The pages of this origin have sent as many requests as they may in this month.
    #[error("Over quota")]
    OverQuota,
    /// The body is not JSON.
    #[error("Expected content-type application/json")]
    MediaType,
    /// No such method.
    #[error("Method not allowed")]
    Method,
    /// No entry has this context, session and delete key.
    #[error("No delete key")]
    NoDeleteKey,
    /// The page's clock is wrong.
    #[error("Bad timestamp")]
    Timestamp,
    /// The request does not have the form that the protocol needs, as this text says.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// The room has as many entries as it may.
    #[error("Room is full")]
    RoomFull,
    /// The client, or all clients together, have stored as much as they may.
    #[error("Too many entries")]
    TooManyEntries,
}

impl Refusal {
    pub(super) const fn invalid(why: &'static str) -> Self {
        Self::Invalid(Cow::Borrowed(why))
    }

    pub(super) fn bad_room(room: &dyn Display) -> Self {
        Self::Invalid(format!("Bad room id{room}").into())
    }

    /// The status of the response.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Origin => 401,
            Self::NoDeleteKey => 404,
            Self::Method => 405,
            Self::OverQuota | Self::RoomFull | Self::TooManyEntries => 429,
            Self::MediaType | Self::Timestamp | Self::Invalid(_) => 400,
        }
    }
}
