//! How a person is removed from what is stored. Tests: `src/books/spending/tests/forgetting.rs`.

use crate::prelude::*;
use crate::spending::SpenderKey;

/// A person who is removed.
#[derive(Debug)]
pub struct Person {
    /// The user.
    pub user: User,
    /// The user, and those of the user's labels and addresses that nobody else has.
    pub names: BTreeSet<SpenderKey>,
    /// How many rows of grants had the user.
    pub rows: usize,
    /// When.
    pub(crate) at: Timestamp,
}

/// What can name a person, and is kept.
pub trait NamesPerson {
    /// Removes a person. The bytes stay. A row of the user adds its labels and addresses to the names of the person.
    fn forget(&mut self, who: &mut Person);
}

impl Person {
    /// A person who is removed at this instant, of whom only the user is known.
    pub fn new(user: &User, at: Timestamp) -> Self {
        Self { user: user.clone(), names: [SpenderKey::User(user.clone())].into(), rows: 0, at }
    }

    /// This spender without what names the person; `None` if it is not the person.
    pub(crate) fn removed_from(&mut self, spender: &Spender) -> Option<Spender> {
        let Spender { user, label, origin, call, server, signed_in_until: _ } = spender.clone();
        if user.as_ref() != Some(&self.user) {
            return None;
        }
        self.names.extend(label.map(SpenderKey::Label));
        Some(Spender { origin, call, server, ..Spender::default() })
    }
}
