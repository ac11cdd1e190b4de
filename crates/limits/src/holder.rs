//! Holders, and the shares in which they count. A holder is a client address, or a user who has signed in. What a user holds counts for
//! the user on any address, and for all users of the address together. It does not count for the address itself.

use turn_budget::{ClientKey, USERS_FACTOR, User};

/// Who holds something, or asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    client: ClientKey,
    user: Option<User>,
}

/// A share of what all may have together. What a holder has counts in several shares.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Share {
    /// Of a client or a /48. What its users hold does not count in it.
    Client(ClientKey),
    /// Of a user, on any address.
    User(User),
    /// Of all users of a client or of a /48.
    UsersOf(ClientKey),
}

impl Share {
    /// How many times as large as the share of one client this share is.
    pub fn factor(&self) -> usize {
        let factor = match self {
            Self::Client(key) => key.factor(),
            Self::User(_) => 1,
            Self::UsersOf(key) => key.factor().saturating_mul(USERS_FACTOR),
        };
        usize::try_from(factor).unwrap_or(1)
    }
}

impl Holder {
    /// A client, and its user if one has signed in. A name that somebody has only chosen is no user here.
    pub fn new(client: ClientKey, user: Option<User>) -> Self {
        Self { client, user }
    }

    /// The address.
    pub fn client(&self) -> ClientKey {
        self.client
    }

    /// Who has signed in.
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// The shares in which the holder counts. The holder's own is the first: that of the user on any address; without a user, that of
    /// the address.
    pub fn shares(&self) -> impl Iterator<Item = Share> {
        let own = self.user.clone().map(Share::User);
        let of_address = self.client.with_wider().map(|key| match self.user {
            None => Share::Client(key),
            Some(_) => Share::UsersOf(key),
        });
        own.into_iter().chain(of_address)
    }

    /// Whether the holder counts in a share.
    pub fn is_in(&self, share: &Share) -> bool {
        self.shares().any(|own| own == *share)
    }
}

/// A client without a user.
impl From<ClientKey> for Holder {
    fn from(client: ClientKey) -> Self {
        Self::new(client, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_counts_for_itself_and_for_the_users_of_the_address() {
        let client = ClientKey::of("2001:db8:1:2::3".parse().unwrap());
        let group = client.wider().unwrap();
        let maria = User::new("maria").unwrap();
        let [anonymous, signed_in] = [None, Some(maria.clone())].map(|user| Holder::new(client, user));
        let shares = |holder: &Holder| {
            holder.shares().map(|share| (share.clone(), share.factor())).collect::<Vec<_>>()
        };
        assert_eq!(shares(&anonymous), [(Share::Client(client), 1), (Share::Client(group), 4)]);
        let of_users = [(Share::UsersOf(client), 10), (Share::UsersOf(group), 40)];
        assert_eq!(shares(&signed_in), [&[(Share::User(maria), 1)], &of_users[..]].concat());
        assert!(signed_in.is_in(&Share::UsersOf(group)) && !signed_in.is_in(&Share::Client(client)));
    }

    #[test]
    fn a_user_is_the_same_on_any_address() {
        let at = |last: u8| ClientKey::V4([192, 0, 2, last].into());
        let user = |last, name| Holder::new(at(last), User::new(name));
        let own = |holder: Holder| holder.shares().next().unwrap();
        assert_eq!(own(user(1, "maria")), own(user(2, "maria")));
        assert_ne!(own(user(1, "maria")), own(user(1, "jo")));
        assert_ne!(own(user(1, "jo")), own(at(1).into()));
        assert_ne!(own(at(1).into()), own(at(2).into()));
    }
}
