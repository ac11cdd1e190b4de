//! What holders have: sockets, entries, sessions. A share has a row only while something is counted in it. So a bound on what all holders
//! have together bounds the table.

use std::collections::HashMap;

use crate::holder::{Holder, Share};

/// What is counted in each share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held<T>(HashMap<Share, T>);

impl<T: Default> Held<T> {
    /// The first share of a holder that is full. `None` if all of them have room. `is_full` gets what is counted in a share, and the
    /// [factor](Share::factor) of the share.
    pub fn full(&self, holder: impl Into<Holder>, is_full: impl Fn(&T, usize) -> bool) -> Option<Share> {
        let nothing = T::default();
        holder.into().shares().find(|share| is_full(self.get(share).unwrap_or(&nothing), share.factor()))
    }

    /// Changes what a holder has, in each of its shares. `change` returns whether anything is left.
    pub fn change(&mut self, holder: impl Into<Holder>, mut change: impl FnMut(&mut T) -> bool) {
        for share in holder.into().shares() {
            if !change(self.0.entry(share.clone()).or_default()) {
                self.0.remove(&share);
            }
        }
    }

    /// What is counted in a share. `None`: nothing.
    pub fn get(&self, share: &Share) -> Option<&T> {
        self.0.get(share)
    }

    /// What is counted in each share.
    pub fn iter(&self) -> impl Iterator<Item = (&Share, &T)> {
        self.0.iter()
    }

    /// Whether nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Counts of what holders have.
#[cfg(test)]
mod tests {
    use super::*;
    use turn_budget::ClientKey;

    #[test]
    fn a_client_and_its_48_have_rows_while_they_hold_something() {
        let client = |text: &str| ClientKey::of(text.parse().unwrap());
        let (one, other) = (client("2001:db8:1:1::1"), client("2001:db8:1:2::1"));
        let mut held = Held::<usize>::default();
        let add = |held: &mut Held<usize>, client, more: usize| {
            held.change(client, |count| {
                *count += more;
                true
            });
        };
        add(&mut held, one, 1);
        add(&mut held, other, 7);
        let full = |held: &Held<usize>, max| held.full(one, |count, factor| *count >= max * factor);
        assert_eq!(full(&held, 1), Some(Share::Client(one)));
        assert_eq!(full(&held, 2), one.wider().map(Share::Client), "the /48 has 8, which is four times 2");
        assert_eq!(full(&held, 3), None);
        let get = |client| held.get(&Share::Client(client)).copied();
        assert_eq!([get(one), get(other), get(client("192.0.2.1"))], [Some(1), Some(7), None]);
        held.change(one, |_| false);
        held.change(other, |_| false);
        assert!(held.is_empty());
    }
}
