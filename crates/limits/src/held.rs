//! What clients hold: sockets, entries, sessions. Each client address and each IPv6 /48 has a row while it holds something, so the bound
//! on what all of them hold bounds the table.

use std::collections::HashMap;

use turn_ledger::ClientKey;

/// What each client and each /48 holds.
#[derive(Clone, Debug, Default)]
pub struct Held<T>(HashMap<ClientKey, T>);

impl<T: Default> Held<T> {
    /// The client or the /48 around it that has as much as it may; `None` if there is room. `is_full` gets what is held, and how many
    /// times as much as one client may be held.
    pub fn full(&self, client: ClientKey, is_full: impl Fn(&T, usize) -> bool) -> Option<ClientKey> {
        let factor = |key: ClientKey| usize::try_from(key.factor()).unwrap_or(1);
        let nothing = T::default();
        client.with_wider().find(|key| is_full(self.0.get(key).unwrap_or(&nothing), factor(*key)))
    }

    /// Changes what a client holds, and so what the /48 around it holds. `change` returns whether anything is left.
    pub fn change(&mut self, client: ClientKey, mut change: impl FnMut(&mut T) -> bool) {
        for key in client.with_wider() {
            if !change(self.0.entry(key).or_default()) {
                self.0.remove(&key);
            }
        }
    }

    /// What a client or a /48 holds. `None`: nothing.
    pub fn get(&self, key: ClientKey) -> Option<&T> {
        self.0.get(&key)
    }

    /// Whether nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Counts of what clients hold.
impl Held<usize> {
    /// Whether a client, or the /48 around it, holds as many as it may: `max`, and a /48 four times as many.
    pub fn is_full(&self, client: ClientKey, max: usize) -> bool {
        self.full(client, |count, factor| *count >= max.saturating_mul(factor)).is_some()
    }

    /// A client holds one more.
    pub fn add(&mut self, client: ClientKey) {
        self.change(client, |count| {
            *count += 1;
            true
        });
    }

    /// A client holds one less.
    pub fn remove(&mut self, client: ClientKey) {
        self.change(client, |count| {
            *count = count.saturating_sub(1);
            *count > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_and_its_48_have_rows_while_they_hold_something() {
        let client = |text: &str| ClientKey::of(text.parse().unwrap());
        let (one, other) = (client("2001:db8:1:1::1"), client("2001:db8:1:2::1"));
        let mut held = Held::<usize>::default();
        let change = |held: &mut Held<usize>, client, by| {
            held.change(client, |count| {
                *count = count.checked_add_signed(by).unwrap();
                *count > 0
            });
        };
        change(&mut held, one, 2);
        change(&mut held, other, 3);
        let full = |held: &Held<usize>, max| held.full(one, |count, factor| *count >= max * factor);
        assert_eq!([full(&held, 1), full(&held, 2), full(&held, 3)], [Some(one), Some(one), None]);
        change(&mut held, other, 7);
        assert_eq!(full(&held, 3), one.wider(), "the /48 has 12, which is four times 3");
        assert_eq!((held.get(one), held.get(client("192.0.2.1"))), (Some(&2), None));
        assert!(held.is_full(one, 3) && !held.is_full(one, 4));
        held.remove(one);
        held.add(other);
        assert_eq!((held.get(one), held.get(other)), (Some(&1), Some(&11)));
        held.add(one);
        held.remove(other);
        change(&mut held, one, -2);
        change(&mut held, other, -10);
        assert!(held.is_empty());
    }
}
