//! What holders have: sockets, entries, sessions. Each share of a holder has a row while something is counted in it, so the bound on what
//! all of them have bounds the table.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::holder::{Holder, Share};

/// What is counted in each share.
#[derive(Clone, Debug, Default)]
pub struct Held<T>(HashMap<Share, T>);

impl<T: Default> Held<T> {
    /// The first share of a holder that is used up; `None` if there is room. `is_full` gets what is counted in a share, and how many
    /// times as large as that of one client it is.
    pub fn full(&self, holder: impl Into<Holder>, is_full: impl Fn(&T, usize) -> bool) -> Option<Share> {
        let nothing = T::default();
        let is_full = |share: &Share, factor| is_full(self.0.get(share).unwrap_or(&nothing), factor);
        let holder = holder.into();
        let mut shares = holder.shares().map(|(share, factor)| (share, usize::try_from(factor).unwrap_or(1)));
        shares.find(|(share, factor)| is_full(share, *factor)).map(|(share, _)| share)
    }

    /// Changes what a holder has, in each of its shares. `change` returns whether anything is left.
    pub fn change(&mut self, holder: impl Into<Holder>, mut change: impl FnMut(&mut T) -> bool) {
        for (share, _) in holder.into().shares() {
            match self.0.entry(share) {
                Entry::Occupied(mut row) => {
                    if !change(row.get_mut()) {
                        row.remove();
                    }
                }
                Entry::Vacant(row) => {
                    let mut nothing = T::default();
                    if change(&mut nothing) {
                        row.insert(nothing);
                    }
                }
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
impl Held<usize> {
    /// Whether a share of a holder is used up: `max` for each client, and as many times as much as a share is larger.
    pub fn is_full(&self, holder: impl Into<Holder>, max: usize) -> bool {
        self.full(holder, |count, factor| *count >= max.saturating_mul(factor)).is_some()
    }

    /// A holder has one more.
    pub fn add(&mut self, holder: impl Into<Holder>) {
        self.change(holder, |count| {
            *count += 1;
            true
        });
    }

    /// A holder has one less.
    pub fn remove(&mut self, holder: impl Into<Holder>) {
        self.change(holder, |count| {
            *count = count.saturating_sub(1);
            *count > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use turn_ledger::{ClientKey, User};

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
        let share = |client| Some(Share::Client(client));
        assert_eq!([full(&held, 1), full(&held, 2), full(&held, 3)], [share(one), share(one), None]);
        change(&mut held, other, 7);
        assert_eq!(full(&held, 3), one.wider().map(Share::Client), "the /48 has 12, which is four times 3");
        let get = |held: &Held<usize>, client| held.get(&Share::Client(client)).copied();
        assert_eq!((get(&held, one), get(&held, client("192.0.2.1"))), (Some(2), None));
        assert!(held.is_full(one, 3) && !held.is_full(one, 4));
        held.remove(one);
        held.add(other);
        assert_eq!((get(&held, one), get(&held, other)), (Some(1), Some(11)));
        held.add(one);
        held.remove(other);
        change(&mut held, one, -2);
        change(&mut held, other, -10);
        assert!(held.is_empty());
    }

    #[test]
    fn a_user_has_as_much_as_a_client_and_the_users_of_a_client_ten_times_as_much() {
        let at = |last: u8| ClientKey::V4([192, 0, 2, last].into());
        let user = |last, name: &str| Holder::new(at(last), User::new(name));
        let mut held = Held::<usize>::default();
        (1..=4).for_each(|last| held.add(user(last, "maria")));
        assert!(held.is_full(user(9, "maria"), 4) && !held.is_full(user(9, "jo"), 4), "on any address");
        (1..=39).for_each(|n| held.add(user(1, &n.to_string())));
        assert!(held.is_full(user(1, "jo"), 4) && !held.is_full(user(2, "jo"), 4));
        assert!(!held.is_full(at(1), 1), "users take nothing from others");
        (1..=4).for_each(|last| held.remove(user(last, "maria")));
        (1..=39).for_each(|n| held.remove(user(1, &n.to_string())));
        assert!(held.is_empty());
    }
}
