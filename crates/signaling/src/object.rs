//! JSON objects. `serde` alone would also accept an array with the right values.

use crate::prelude::*;

pub(crate) fn is_object(json: &str) -> bool {
    json.trim_start().starts_with('{')
}

/// The members of an object. `None` for anything else.
pub(crate) fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    if is_object(json) { serde_json::from_str(json).ok() } else { None }
}

pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts, numbers and raw JSON can always be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_has_members() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Members {
            a: u8,
        }
        assert_eq!(parse("\n {\"a\":1, \"b\":2}"), Some(Members { a: 1 }));
        for other in ["[1]", "1", "null", "{", "{}", r#"{"a":1}{"#, ""] {
            assert_eq!(parse::<Members>(other), None, "{other}");
        }
    }
}
