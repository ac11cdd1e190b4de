//! Lists in the order of their keys, for tables of a few rows. They take less memory than a map.

/// Changes the value of a key. A key without a value has the default one.
pub(crate) fn change<K: Ord, V: Default + PartialEq>(
    list: &mut Vec<(K, V)>,
    key: K,
    change: impl FnOnce(&mut V),
) {
    let place = list.binary_search_by(|(at, _)| at.cmp(&key));
    let known = place.ok().map(|at| list.remove(at).1);
    let mut value = known.unwrap_or_default();
    change(&mut value);
    if value != V::default() {
        list.insert(place.unwrap_or_else(|at| at), (key, value));
    }
}
