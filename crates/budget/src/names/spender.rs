//! Who spends what a grant relays: a user, a label, an origin, a call and a server key, each of limited length, so a row stays small.
//! Tests: below.
//! The caller has verified the user. The label is the application's free text, and nobody verifies it. The call is one of the
//! broker's own signaling. A [`Spender`] goes as a whole from the request into the row of its grant, so anything new that a request says of
//! its grant belongs here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strum::EnumCount;

use crate::units::Timestamp;

/// The longest user, in characters: as long as the `sub` of `OpenID` Connect may be.
pub const USER_MAX: usize = 255;
/// What a user is, for messages.
pub const USER_FORM: &str = "1 to 255 characters, none of them a control character, and not `.` or `..`";
/// The longest token that says who the user is, in bytes, on every route and in every protocol. In the query of a request it fits into the
/// 8 KiB that nginx reads of a request line.
pub const SIGN_IN_MAX: usize = 8_000;
/// The longest label, in bytes.
pub const LABEL_MAX: usize = 64;
/// The longest origin, in bytes. A host name has at most 253.
pub const ORIGIN_MAX: usize = 270;
/// The longest call, in bytes. The longest room of a protocol has 255.
pub(crate) const CALL_MAX: usize = 270;

/// Whether clients remove `text` from a URL's path, so that no request can name it there.
pub fn is_dots(text: &str) -> bool {
    matches!(text, "." | "..")
}

/// How the names of users begin whom another program has named to a relay whose secret it knows. Nobody signs in with such a name.
const AT_RELAY: &str = "relay:";

/// A user: 1 to [`USER_MAX`] characters, none of them a control character. Not `.` or `..`: see [`is_dots`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct User(Arc<str>);

impl User {
    /// Somebody who signs in, or whom an app server names. `None` if the text is empty, too long, a dot segment of a path, has a control
    /// character, or is the name of a user at a relay.
    pub fn new(text: &str) -> Option<Self> {
        Self::parse(text).filter(|_| !text.starts_with(AT_RELAY))
    }

    /// The user whom another program has named so to a relay. A long name is shortened.
    pub fn at_relay(name: &str) -> Option<Self> {
        let text = format!("{AT_RELAY}{name}");
        Self::parse(&text.chars().take(USER_MAX).collect::<String>())
    }

    /// Any user, for the operator.
    pub fn parse(text: &str) -> Option<Self> {
        let is_good = (1..=USER_MAX).contains(&text.chars().count())
            && !text.chars().any(char::is_control)
            && !is_dots(text);
        is_good.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A label: 1 to [`LABEL_MAX`] characters of `[A-Za-z0-9._:@/-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Label(Arc<str>);

impl Label {
    /// `None` if the text is empty, too long, or has another character.
    pub fn new(text: &str) -> Option<Self> {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"._:@/-".contains(&b);
        let is_good = (1..=LABEL_MAX).contains(&text.len()) && text.bytes().all(is_allowed);
        is_good.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A call of the broker's own signaling: the protocol and the room, such as `ayame/room-1`. 1 to [`CALL_MAX`] bytes without control
/// characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Call(Arc<str>);

impl Call {
    /// The call in a room of a protocol. A name that is too long is cut, and control characters are replaced, so that every call
    /// has a name.
    pub fn of(protocol: &str, room: &str) -> Self {
        let shown = room.replace(char::is_control, "\u{fffd}");
        let name = format!("{protocol}/{shown}");
        let ends = name.char_indices().map(|(at, c)| at.saturating_add(c.len_utf8()));
        let end = ends.take_while(|end| *end <= CALL_MAX).last().unwrap_or(0);
        Self(name.get(..end).unwrap_or_default().into())
    }

    /// `None` if the text is empty, too long, or has a control character.
    pub fn new(text: &str) -> Option<Self> {
        let is_good = (1..=CALL_MAX).contains(&text.len()) && !text.contains(char::is_control);
        is_good.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Who spends. What is not known is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spender {
    /// Named by a verified token or by an app server.
    pub user: Option<User>,
    /// Named by the application.
    pub label: Option<Label>,
    /// The origin of the page that asked for the credential.
    pub origin: Option<Arc<str>>,
    /// The call that the credential was minted for.
    pub call: Option<Call>,
    /// The name of the server key that asked for the credential.
    pub server: Option<Label>,
    /// When the sign-in of the user expires. A renewal that comes with a later token takes the token's expiry.
    pub signed_in_until: Option<Timestamp>,
}

impl Spender {
    /// Whether nobody answers for it: neither a user nor a server key.
    pub const fn is_nobody(&self) -> bool {
        self.user.is_none() && self.server.is_none()
    }

    /// The spender of a renewal: what it does not say is taken from the renewed grant. The user and the server key are always those of the
    /// renewed grant.
    #[must_use]
    pub fn renewing(self, renewed: Option<&Self>) -> Self {
        let renewed = renewed.cloned().unwrap_or_default();
        Self {
            user: renewed.user,
            label: self.label.or(renewed.label),
            origin: self.origin.or(renewed.origin),
            call: self.call.or(renewed.call),
            server: renewed.server,
            signed_in_until: self.signed_in_until.max(renewed.signed_in_until),
        }
    }

    /// The value to store: nothing if nothing is known.
    pub fn known(self) -> Option<Arc<Self>> {
        (self != Self::default()).then(|| Arc::new(self))
    }
}

/// What a sum is grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[derive(serde::Serialize, serde::Deserialize, strum::EnumCount, strum::EnumString, strum::IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum SpenderKind {
    /// By user.
    User,
    /// By label.
    Label,
    /// By origin.
    Origin,
    /// By client address.
    Address,
    /// By call of the broker's own signaling.
    Call,
    /// By server key.
    Key,
}

impl SpenderKind {
    /// All kinds.
    pub const ALL: [Self; Self::COUNT] =
        [Self::User, Self::Label, Self::Origin, Self::Address, Self::Call, Self::Key];

    /// Whether its sums are kept after their period.
    pub const fn is_kept(self) -> bool {
        match self {
            Self::User | Self::Label | Self::Key => true,
            Self::Origin | Self::Address | Self::Call => false,
        }
    }

    /// The name in queries, responses and stored rows.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spender(user: Option<&str>, label: Option<&str>, origin: Option<&str>) -> Spender {
        Spender {
            user: user.and_then(User::new),
            label: label.and_then(Label::new),
            origin: origin.map(Into::into),
            ..Spender::default()
        }
    }

    #[test]
    fn a_user_is_1_to_255_characters_without_control_characters() {
        for good in ["a", "auth0|507f", "Zoë 😀", &"ü".repeat(255)] {
            assert_eq!(User::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a\nb", "a\u{7f}", "\u{85}", &"u".repeat(256), &"ü".repeat(256)] {
            assert_eq!(User::new(bad), None, "{bad:?}");
        }
        let at_relay = User::at_relay("ann").unwrap();
        // Nobody signs in as that.
        assert_eq!((at_relay.as_str(), User::new("relay:ann")), ("relay:ann", None));
        assert_eq!(User::parse("relay:ann"), Some(at_relay));
        assert_eq!(User::at_relay(&"u".repeat(500)).unwrap().as_str().len(), USER_MAX);
        assert!(USER_FORM.contains(&USER_MAX.to_string()));
    }

    #[test]
    fn a_label_is_1_to_64_of_the_allowed_characters() {
        for good in ["a", "room-1/team:a@b.c_d", &"l".repeat(64)] {
            assert_eq!(Label::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "ü", "a\0", "<a>", "a,b", &"l".repeat(65)] {
            assert_eq!(Label::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_renewal_adds_no_user_and_inherits_what_it_omits() {
        let renewed = spender(Some("ann"), Some("room-1"), Some("https://a.example"));
        assert_eq!(Spender::default().renewing(Some(&renewed)), renewed);
        let says = spender(Some("eve"), Some("room-2"), None).renewing(Some(&renewed));
        assert_eq!(says, spender(Some("ann"), Some("room-2"), Some("https://a.example")));
        assert_eq!(spender(Some("eve"), None, None).renewing(None), Spender::default());
    }

    #[test]
    fn a_call_is_its_protocol_and_its_room_in_at_most_270_bytes() {
        assert_eq!(Call::of("ayame", "room-1").as_str(), "ayame/room-1");
        assert_eq!(Call::of("ayame", "a\nb").as_str(), "ayame/a\u{fffd}b");
        let long = Call::of("rooms", &"ü".repeat(200));
        assert_eq!((long.as_str().len(), Call::new(long.as_str())), (270, Some(long)));
        for bad in ["", "a\n", &"c".repeat(271)] {
            assert_eq!(Call::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_renewal_keeps_the_call() {
        let of_call = Spender { call: Some(Call::of("ayame", "r")), ..Spender::default() };
        assert_eq!(Spender::default().renewing(Some(&of_call)), of_call);
        let stored = postcard::to_allocvec(&of_call).unwrap();
        assert_eq!(postcard::from_bytes::<Spender>(&stored).unwrap(), of_call);
    }

    #[test]
    fn what_is_unknown_is_not_stored() {
        assert_eq!(Spender::default().known(), None);
        let stored = postcard::to_allocvec(&spender(Some("ann"), None, None)).unwrap();
        assert_eq!(stored, *b"\x01\x03ann\0\0\0\0\0");
        assert_eq!(postcard::from_bytes::<Spender>(&stored).unwrap(), spender(Some("ann"), None, None));
    }
}
