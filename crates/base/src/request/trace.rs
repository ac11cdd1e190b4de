//! The trace that a request belongs to, from the header `traceparent` (W3C Trace Context). It joins the log lines of several
//! services. A value that breaks the format is ignored: a caller can put anything into a header.

use std::fmt;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::header::only_line;

/// The header.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The length of a value of version 00. Bytes.
const LENGTH: usize = 55;

/// A valid `traceparent`. `Display` is its form in version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: u128,
    parent: u64,
    flags: u8,
}

impl TraceParent {
    /// The trace of a request. `None` without a valid header, or with several.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(only_line(headers, &TRACEPARENT)?.as_bytes())
    }

    /// A version after 00 may append fields, each after a dash. Version ff is forbidden.
    fn parse(value: &[u8]) -> Option<Self> {
        let (fields, rest) = value.split_at_checked(LENGTH)?;
        let mut fields = fields.split(|byte| *byte == b'-');
        let mut next = |digits| fields.next().and_then(|field| hex(field, digits));
        let (version, trace, parent, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        let may_end_here = rest.is_empty() || (version > 0 && rest.starts_with(b"-"));
        let is_valid = version < 0xff && trace != 0 && parent != 0 && may_end_here;
        let parts = (u64::try_from(parent), u8::try_from(flags));
        let (Ok(parent), Ok(flags)) = parts else { return None };
        is_valid.then_some(Self { trace, parent, flags })
    }

    /// The trace id, as in the log: 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The header for a request to another service. This service reports no spans of its own, so the parent stays the same.
    pub fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.to_string()).ok()
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.parent, self.flags)
    }
}

/// A number of exactly so many lower-case hexadecimal digits.
fn hex(field: &[u8], digits: usize) -> Option<u128> {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let text = std::str::from_utf8(field).ok()?;
    (field.len() == digits && field.iter().all(is_hex)).then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, value.parse().unwrap());
        }
        TraceParent::of(&headers).map(|trace| trace.to_string())
    }

    #[test]
    fn a_valid_value_is_passed_on_unchanged() {
        assert_eq!(of(&[VALID]).as_deref(), Some(VALID));
        let trace = TraceParent::parse(VALID.as_bytes()).unwrap();
        assert_eq!(trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.header().unwrap(), VALID);
    }

    #[test]
    fn a_later_version_becomes_version_00() {
        for later in [format!("cc{}", &VALID[2..]), format!("01{}-more-fields", &VALID[2..])] {
            assert_eq!(of(&[&later]).as_deref(), Some(VALID), "{later}");
        }
    }

    #[test]
    fn every_invalid_value_is_ignored() {
        for wrong in [
            "",
            "00",
            &VALID[..54],
            &VALID.replace("0af", "0AF"),
            &VALID.replace("0af", "0ag"),
            &VALID.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            &VALID.replace("b7ad6b7169203331", "0000000000000000"),
            &VALID.replace("00-", "ff-"),
            &VALID.replace("00-", "0--"),
            &format!("{VALID}-"),
            &format!("{VALID}0"),
            &format!("01{}.more", &VALID[2..]),
            &VALID.replace("-b7", "b-7"),
        ] {
            assert_eq!(of(&[wrong]), None, "{wrong}");
        }
        assert_eq!(of(&[VALID, VALID]), None, "two headers");
        assert_eq!(of(&[]), None);
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_read_back_as_itself(bytes in "[0-9a-f-]{55,60}", any in prop::collection::vec(any::<u8>(), 0..80)) {
            for value in [bytes.as_bytes(), &any] {
                if let Some(trace) = TraceParent::parse(value) {
                    prop_assert_eq!(TraceParent::parse(trace.to_string().as_bytes()), Some(trace));
                }
            }
        }
    }
}
