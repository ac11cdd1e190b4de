//! The keys of grant tokens. Tests: below.
//! One key signs. Tokens that an earlier key has signed stay valid until the last of their grants has ended.

use std::fmt;

use turn_budget::{LIFE_MAX, Timestamp};

/// The most earlier keys that are kept. Tokens of an older key become invalid before their grants end.
const EARLIER_MAX: usize = 4;

/// A secret key. `Debug` prints nothing of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenKey([u8; 64]);

/// A key that signs no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlierKey {
    /// The key.
    pub key: TokenKey,
    /// The instant by which all grants have ended whose tokens this key has signed.
    pub until: Timestamp,
}

/// See the module's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenKeys {
    /// The key that signs.
    pub signing: TokenKey,
    /// Earlier keys, the latest first.
    pub earlier: Vec<EarlierKey>,
}

impl TokenKey {
    /// A key of these random bytes.
    pub const fn new(random: [u8; 64]) -> Self {
        Self(random)
    }

    /// The bytes, for code that signs with them or stores them.
    pub const fn expose(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

impl TokenKeys {
    /// The keys of a new ledger.
    pub const fn new(signing: TokenKey) -> Self {
        Self { signing, earlier: vec![] }
    }

    /// The keys after `signing` has replaced the signing key at `now`.
    #[must_use]
    pub fn replaced(&self, signing: TokenKey, now: Timestamp) -> Self {
        let mut earlier = vec![EarlierKey { key: self.signing, until: now.plus(LIFE_MAX) }];
        earlier.extend(self.at(now).earlier);
        earlier.truncate(EARLIER_MAX);
        Self { signing, earlier }
    }

    /// The keys that are needed at `now`: without earlier keys whose grants have all ended.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        let earlier = self.earlier.iter().copied().filter(|key| key.until > now).collect();
        Self { earlier, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> TokenKey {
        TokenKey::new([seed; 64])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn an_earlier_key_is_good_for_the_longest_life_of_a_credential() {
        let keys = TokenKeys::new(key(1)).replaced(key(2), at(100));
        let end = 100 + 172_800;
        assert_eq!(
            (keys.signing, &*keys.earlier),
            (key(2), &[EarlierKey { key: key(1), until: at(end) }][..])
        );
        assert_eq!(keys.at(at(end - 1)), keys);
        assert_eq!(keys.at(at(end)), TokenKeys::new(key(2)));
        let again = keys.replaced(key(3), at(end));
        assert_eq!(again.earlier.iter().map(|earlier| earlier.key).collect::<Vec<_>>(), [key(2)]);
    }

    #[test]
    fn the_latest_earlier_keys_are_kept() {
        let keys =
            (1..=9).fold(TokenKeys::new(key(0)), |keys, seed| keys.replaced(key(seed), at(seed.into())));
        let kept: Vec<_> = keys.earlier.iter().map(|earlier| earlier.key).collect();
        assert_eq!((keys.signing, kept), (key(9), vec![key(8), key(7), key(6), key(5)]));
    }

    #[test]
    fn no_key_is_printed() {
        let printed = format!("{:?}", TokenKeys::new(key(77)).replaced(key(78), at(0)));
        assert!(!printed.contains("77") && !printed.contains("78"), "{printed}");
    }
}
