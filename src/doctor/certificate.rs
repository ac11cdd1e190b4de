//! The expiry of a certificate, read from its DER form. Pure. The TLS library decides whether a certificate is valid.

use chrono::NaiveDateTime;

use turn_ledger::units::Timestamp;

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of the certificate's validity. `None` if the bytes are not an RFC 5280 certificate.
pub(super) fn expiry(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate, _) = element(der)?;
    let (_, mut fields, _) = element(certificate)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (SEQUENCE, validity, _) = element(fields)? else { return None };
    let (kind, text, _) = element(element(validity)?.2)?;
    instant(kind, std::str::from_utf8(text).ok()?)
}

/// The tag and content of the first DER element, and the bytes after it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// A year of two digits is in 1950 to 2049.
fn instant(kind: u8, text: &str) -> Option<Timestamp> {
    let full = match kind {
        GENERALIZED_TIME => text.to_owned(),
        UTC_TIME => {
            let century = if text.get(..2)?.parse::<u8>().ok()? < 50 { "20" } else { "19" };
            format!("{century}{text}")
        }
        _ => return None,
    };
    let at = NaiveDateTime::parse_from_str(&full, "%Y%m%d%H%M%SZ").ok()?;
    Some(at.and_utc().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minimal certificate with this expiry.
    fn certificate(has_version: bool, not_after: (u8, &str)) -> Vec<u8> {
        let wrap = |tag: u8, content: &[u8]| {
            let length = u8::try_from(content.len()).unwrap();
            let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
            [&head[..], content].concat()
        };
        let begin = wrap(UTC_TIME, b"250101000000Z");
        let validity = wrap(SEQUENCE, &[begin, wrap(not_after.0, not_after.1.as_bytes())].concat());
        let version = if has_version { wrap(VERSION, &wrap(2, &[2])) } else { vec![] };
        let issuer = wrap(SEQUENCE, &[0x0c; 90]);
        let fields =
            [version, wrap(2, &[1; 16]), wrap(SEQUENCE, &[]), issuer, validity, wrap(SEQUENCE, &[9; 9])];
        let fields = wrap(SEQUENCE, &fields.concat());
        [wrap(SEQUENCE, &fields), b"rest".to_vec()].concat()
    }

    #[test]
    fn the_expiry_is_read_in_both_time_formats_with_and_without_a_version() {
        for (kind, text, read) in [
            (UTC_TIME, "260301123456Z", "2026-03-01T12:34:56.000Z"),
            (UTC_TIME, "491231235959Z", "2049-12-31T23:59:59.000Z"),
            (UTC_TIME, "500101000000Z", "1950-01-01T00:00:00.000Z"),
            (GENERALIZED_TIME, "20510101000000Z", "2051-01-01T00:00:00.000Z"),
        ] {
            for has_version in [false, true] {
                let expiry = expiry(&certificate(has_version, (kind, text))).unwrap();
                assert_eq!(expiry.to_string(), read);
            }
        }
    }

    #[test]
    fn bytes_that_are_not_a_certificate_have_no_expiry() {
        let good = certificate(true, (UTC_TIME, "260301123456Z"));
        for length in 0..good.len() - b"rest".len() {
            assert_eq!(expiry(&good[..length]), None, "truncated at {length}");
        }
        assert_eq!(expiry(&certificate(true, (UTC_TIME, "never"))), None);
        assert_eq!(expiry(&certificate(true, (0x0c, "260301123456Z"))), None);
        assert_eq!(expiry(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
    }
}
