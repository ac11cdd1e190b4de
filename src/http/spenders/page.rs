//! Pages of rows. A cursor has the bytes and the key of the last row of a page, so it stays valid while figures change.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use turn_base::ApiError;
use turn_ledger::{ByteCount, GrantId, GrantPlace, ListedGrant, Place, SpenderKey, SpenderKind};

/// The first `limit` of the rows, and the cursor of the page after them. `rows` has one more row if there is such a page.
pub(super) fn page<T>(
    mut rows: Vec<T>,
    limit: usize,
    cursor: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = if has_more { rows.last().map(cursor) } else { None };
    (rows, next)
}

pub(super) fn cursor_of(bytes: ByteCount, key: Option<&SpenderKey>) -> String {
    let key = key.map(ToString::to_string).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(format!("{}:{key}", bytes.get()))
}

pub(super) fn grant_cursor(grant: &ListedGrant) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{}", grant.spent.bytes().get(), grant.id))
}

/// Bytes and key of a cursor.
fn parts(cursor: &str) -> Option<(ByteCount, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (bytes, key) = text.split_once(':')?;
    Some((ByteCount::new(bytes.parse().ok()?), key.to_owned()))
}

/// The place that a cursor names in a list of this kind of spender. An empty key is that of the row for all other bytes. `None` if the text
/// is no such cursor.
pub(super) fn place(kind: SpenderKind, cursor: &str) -> Option<Place> {
    let (bytes, key) = parts(cursor)?;
    let key = if key.is_empty() { None } else { Some(SpenderKey::parse(kind, &key)?) };
    Some(Place { bytes, key })
}

pub(super) fn grant_place(cursor: &str) -> Option<GrantPlace> {
    let (bytes, id) = parts(cursor)?;
    Some((bytes, id.parse::<GrantId>().ok()?))
}

/// The place after which a page begins. `None` without a cursor: the first page.
pub(super) fn place_after<T>(
    cursor: Option<String>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let Some(text) = cursor.filter(|text| !text.is_empty()) else { return Ok(None) };
    let wrong = || ApiError::invalid("Set `cursor` to the `next` of the page before.");
    parse(&text).map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back() {
        for (kind, key) in [(SpenderKind::User, "a:b"), (SpenderKind::Address, "2001:db8::/64")] {
            let key = SpenderKey::parse(kind, key);
            assert!(key.is_some());
            let cursor = cursor_of(ByteCount::new(7), key.as_ref());
            assert_eq!(place(kind, &cursor), Some(Place { bytes: ByteCount::new(7), key }));
        }
        let others = cursor_of(ByteCount::new(1), None);
        assert_eq!(place(SpenderKind::Label, &others), Some(Place { bytes: ByteCount::new(1), key: None }));
        for bad in ["", "!", "Nw", "eDp5"] {
            assert_eq!((place(SpenderKind::User, bad), grant_place(bad)), (None, None), "{bad}");
        }
    }

    #[test]
    fn a_page_has_a_next_one_only_if_there_are_more_rows() {
        let cursor = |row: &u8| row.to_string();
        assert_eq!(page(vec![3, 2, 1], 2, cursor), (vec![3, 2], Some("2".into())));
        assert_eq!(page(vec![3, 2], 2, cursor), (vec![3, 2], None));
        assert_eq!(page(vec![], 2, cursor), (vec![], None));
    }
}
