//! The row of the keys of grant tokens: the key that signs, then each earlier one with its end.

use turn_budget::Timestamp;
use turn_ledger::{EarlierKey, Stored, TokenKey, TokenKeys};

use super::{KEY_COPIED, KEY_TOKEN_KEY, StoreError, WriteRows, replace_named};

/// The content of the mark of a copy ([`KEY_COPIED`]) that has its own key. If the copy still shares the key of the original, the mark is
/// empty.
const OWN_KEY: &[u8] = b"own key";

/// Writes the keys. A copy notes that they are its own, so that its next start does not replace them again.
pub fn write_keys(to: &mut impl WriteRows, keys: &TokenKeys, stored: &Stored) -> Result<(), StoreError> {
    let mut row = keys.signing.expose().to_vec();
    for EarlierKey { key, until } in &keys.earlier {
        row.extend_from_slice(key.expose());
        row.extend_from_slice(&until.as_millis().to_be_bytes());
    }
    replace_named(to, KEY_TOKEN_KEY, Some(row))?;
    if stored.is_copy { replace_named(to, KEY_COPIED, Some(OWN_KEY.into())) } else { Ok(()) }
}

/// The keys in their row; `None` if it does not have this form.
pub(super) fn read_keys(row: &[u8]) -> Option<TokenKeys> {
    let (signing, rest) = row.split_first_chunk::<64>()?;
    let (earlier, rest) = rest.as_chunks::<72>();
    let earlier = earlier.iter().filter_map(|row| {
        let (key, until) = row.split_first_chunk::<64>()?;
        let until = Timestamp::from_millis(i64::from_be_bytes(until.try_into().ok()?));
        Some(EarlierKey { key: TokenKey::new(*key), until })
    });
    rest.is_empty().then(|| TokenKeys { signing: TokenKey::new(*signing), earlier: earlier.collect() })
}
