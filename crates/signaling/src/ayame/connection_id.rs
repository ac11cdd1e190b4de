//! The id of a connection: a ULID, which is 48 bits of time and 80 random bits in 26 characters of Crockford's base32. Ids
//! sort by time.

use std::sync::Arc;

const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHARACTERS: u32 = 26;
const BITS_EACH: u32 = 5;
const RANDOM_BITS: u32 = 80;

/// The id of a connection that opens now.
pub(super) fn ulid(wall_millis: u64, random: u128) -> Arc<str> {
    let random = random & ((1 << RANDOM_BITS) - 1);
    let bits = (u128::from(wall_millis) << RANDOM_BITS) | random;
    let digit = |position: u32| {
        let value = usize::try_from((bits >> (BITS_EACH * position)) & 31).unwrap_or_default();
        char::from(DIGITS[value])
    };
    (0..CHARACTERS).rev().map(digit).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_ulid() {
        // The example of the specification, https://github.com/ulid/spec.
        let random = 0xD676_4C61_EFB9_9302_BD5B_u128;
        assert_eq!(&*ulid(1_469_922_850_259, random), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
        assert_eq!(&*ulid(0, 0), "00000000000000000000000000");
        assert_eq!(&*ulid((1 << 48) - 1, u128::MAX), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    }
}
