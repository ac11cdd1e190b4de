//! A person is removed from the table: the name, the labels and the addresses. Tests: `src/books/spending/tests/forgetting.rs`.
//! The bytes stay, in rows and sums without a name. A label or an address that a row of somebody else has stays in the sums: it is not of
//! this person alone.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Grants;
use super::row::GrantRow;
use crate::clients::Holder;
use crate::spender::{Spender, User};
use crate::spenders::key::SpenderKey;
use crate::spenders::limited::Limited;
use crate::units::Timestamp;

impl Grants {
    /// Removes a user from all rows, with the labels and the addresses in them, and adds these to `names`. The grants are revoked, and have no
    /// open connection. Returns how many rows there were. Reads every row.
    pub(crate) fn unname(&mut self, user: &User, now: Timestamp, names: &mut BTreeSet<SpenderKey>) -> usize {
        let of_user = self.rows.iter().filter(|(_, row)| row.user() == Some(user));
        let rows: Vec<_> = of_user.map(|(id, row)| (*id, (**row).clone())).collect();
        for (id, before) in &rows {
            names.extend(names_in(before));
            self.edit(*id, |row| {
                row.spender = row.spender.take().and_then(|spender| (*spender).clone().unnamed().known());
                row.client = None;
                if let Some(extra) = &mut row.extra {
                    extra.address = None;
                }
            });
            let holder = Holder { client: before.client, user: Some(user), ..Holder::default() };
            self.clients.forget_idle(holder, now);
        }
        self.recent.unname(user);
        rows.len()
    }

    /// Removes these names from the sums, except those that a row still has. What stays in `names` is nowhere any more.
    pub(crate) fn forget_names(&mut self, names: &mut BTreeSet<SpenderKey>) {
        for (_, row) in self.rows.iter() {
            for name in names_in(row) {
                names.remove(&name);
            }
        }
        for name in &*names {
            if let SpenderKey::User(user) = name {
                self.limited.forget(&Limited::User(user.clone()));
            }
        }
        self.left.unname(names);
    }
}

impl Spender {
    /// The same without what names a person.
    pub(crate) fn unnamed(self) -> Self {
        Self { user: None, label: None, signed_in_until: None, ..self }
    }
}

/// The label and the address in a row, in each form in which sums have it.
fn names_in(row: &GrantRow) -> impl Iterator<Item = SpenderKey> {
    let label = row.spender.as_ref().and_then(|spender| spender.label.clone()).map(SpenderKey::Label);
    let whole = row.extra().address.map(|address| SpenderKey::Address(IpAddr::V6(address)));
    [label, whole, row.client.map(SpenderKey::Client)].into_iter().flatten()
}
