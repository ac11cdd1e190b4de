//! The cookie that remembers which name a visitor has chosen. It is signed, so that only `/set-username` makes one, and expires.
//! It proves a choice, not a person. Its random number tells visitors with the same name apart.

use crate::prelude::*;

/// How long a name is remembered.
pub const LIFE: Duration = Duration::from_secs(30 * 86_400);
/// The longest value that is read, in bytes. The longest name has 512 bytes, which are 683 characters here.
const VALUE_MAX: usize = 1_024;
const NAME: &str = "turn-broker-room-user";
/// The path of rooms. The cookie is sent nowhere else.
const PATH: &str = "/parties/";
/// Separates this key from other keys that are derived from the same secret.
const USE: &[u8] = b"turn-broker room user";

/// A visitor of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// The name.
    pub user: User,
    /// A random number that only this visitor has, if it chose the name itself. 0 if a token proves the name, and 1 if a trusted proxy
    /// names the user.
    pub number: u128,
}

/// The key that signs names.
#[derive(Clone, Debug)]
pub struct UserKey(SigningKey);

impl UserKey {
    /// The key for names, derived from a secret of the service.
    pub fn derived_from(secret: &[u8]) -> Self {
        Self(SigningKey::derived(secret, USE))
    }

    /// The value of `Set-Cookie` for a name. `is_secure`: the browser sends it only over https. `wall`: the time since 1970.
    pub fn set_cookie(&self, visitor: &Visitor, is_secure: bool, wall: Duration) -> String {
        let Visitor { user, number } = visitor;
        let name = URL_SAFE_NO_PAD.encode(user.as_str());
        let value = self.0.sign(&format!("{name}.{}.{number:x}", (wall + LIFE).as_secs()));
        let secure = if is_secure { "; Secure" } else { "" };
        let seconds = LIFE.as_secs();
        format!("{NAME}={value}; Path={PATH}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }

    /// The visitor in the `Cookie` lines of a request; `None` without a valid one.
    pub fn visitor<'a>(&self, lines: impl Iterator<Item = &'a str>, wall: Duration) -> Option<Visitor> {
        let mut values = signing::cookies(lines).filter(|(name, _)| *name == NAME);
        values.find_map(|(_, value)| self.verified(value, wall))
    }

    fn verified(&self, value: &str, wall: Duration) -> Option<Visitor> {
        if value.len() > VALUE_MAX {
            return None;
        }
        let (name, rest) = self.0.signed(value)?.split_once('.')?;
        let (expires, number) = rest.split_once('.')?;
        let expires = Duration::from_secs(expires.parse().ok()?);
        let name = String::from_utf8(URL_SAFE_NO_PAD.decode(name).ok()?).ok()?;
        let number = u128::from_str_radix(number, 16).ok()?;
        User::new(&name).filter(|_| wall < expires).map(|user| Visitor { user, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Duration = Duration::from_secs(1_736_942_400);

    fn key() -> UserKey {
        UserKey::derived_from(b"secret")
    }

    fn visitor(name: &str) -> Visitor {
        Visitor { user: User::new(name).unwrap(), number: 0xabc }
    }

    /// What a browser sends back.
    fn cookie(name: &str) -> String {
        let set = key().set_cookie(&visitor(name), false, NOON);
        set.split(';').next().unwrap().to_owned()
    }

    #[test]
    fn a_name_comes_back_until_it_expires() {
        for name in ["ann", "Zoë 😀; a=b", &"😀".repeat(128)] {
            let cookie = cookie(name);
            let line = format!("other=1; {cookie}; last=2");
            assert_eq!(key().visitor([line.as_str()].into_iter(), NOON), Some(visitor(name)));
            let end = NOON + LIFE;
            let last = end.saturating_sub(Duration::from_nanos(1));
            assert_eq!(key().visitor([cookie.as_str()].into_iter(), last), Some(visitor(name)));
            assert_eq!(key().visitor([cookie.as_str()].into_iter(), end), None);
        }
    }

    #[test]
    fn a_changed_cookie_names_no_visitor() {
        let good = cookie("ann");
        let other_key = UserKey::derived_from(b"other");
        assert_eq!(other_key.visitor([good.as_str()].into_iter(), NOON), None);
        let name = |line: &str| key().visitor([line].into_iter(), NOON);
        assert_eq!(name(&good.replace("YW5u", "Ym9i")), None);
        assert_eq!(name(&good.replace(".1739534400.", ".9739534400.")), None);
        assert_eq!(name(&good.replace(".abc.", ".abd.")), None);
        assert_eq!(name(&format!("{good}A")), None);
        for bad in ["", "turn-broker-room-user", "turn-broker-room-user=", "turn-broker-room-user=a.b.c"] {
            assert_eq!(name(bad), None, "{bad}");
        }
        assert_eq!(name(&format!("turn-broker-room-user=forged; {good}")), Some(visitor("ann")));
    }
}
