//! Lists in the order of their keys, for tables of a few rows. Tests: `../ledger/src/clients_tests.rs`.
//! They take less memory than a map.

/// Changes the value of a key. A key with the default value is not in the list.
pub fn change<K: Ord, V: Default + PartialEq>(list: &mut Vec<(K, V)>, key: K, change: impl FnOnce(&mut V)) {
    let place = list.binary_search_by(|(at, _)| at.cmp(&key)).unwrap_or_else(|place| {
        list.insert(place, (key, V::default()));
        place
    });
    if let Some((_, value)) = list.get_mut(place) {
        change(value);
        if *value == V::default() {
            list.remove(place);
        }
    }
}
