//! The sums of this period by who spends: one row for each user, label, origin, client address and call. A grant's share in its rows
//! changes with the grant's figures, so the rows of a kind always add up to the shares of all grants that name a key of that kind,
//! and a sum stays exact after its grant has left the table of grants.
//!
//! The rows of each kind are bounded. When they are full, an idle row makes room: one without live grants, with the fewest bytes,
//! and of those the one that was seen first. Its sums go into one row of "others", which has no key. If no row is idle, the new
//! key's sums go there. With a limit for each user, the row of a user with bytes or promises stays, and a new user is refused.
//! Otherwise a user whose row was removed could use the whole limit again. There a mint holds a row for its user before the
//! credential is made, so two users never get the same free row.
//!
//! Only the shares of grants that have left the table are stored. A start computes the others from the grants' rows.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod key;
mod listing;
mod promised;
mod sums;
mod user;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::dirty::Dirty;
use crate::dirty::Rows;
use crate::minute::Minute;
use crate::units::{ByteCount, Timestamp};

pub(crate) use key::Keys;
pub use key::{SpenderKey, SpenderKind};
pub use listing::{Place, SpenderSums};
pub(crate) use promised::PromisedMinutes;
pub use sums::{Evidence, Sums};
pub use user::UserPromises;

/// Most users with a row of their own.
pub const USERS_MAX: usize = 100_000;
/// Most labels with a row of their own, and as many origins, client addresses and calls.
pub const KEYS_MAX: usize = 20_000;

const KINDS: usize = SpenderKind::ALL.len();

/// The key of a stored row: `None` is the row of others.
pub type RowKey = (SpenderKind, Option<SpenderKey>);

/// The sums of one key.
#[derive(Clone, Debug, Default)]
struct Row {
    /// Of all grants in this period.
    total: Sums,
    /// The part of it that belongs to grants which have left the table.
    kept: Option<Box<Sums>>,
    /// Where this user's grants may relay; for a limit of each user.
    promised: Option<Box<PromisedMinutes>>,
    live: i64,
    /// Credentials of this user that are being minted; with a limit for each user. They keep the row.
    minting: u32,
}

/// An idle row's rank: the first makes room first.
type Rank = (ByteCount, Timestamp);

impl Row {
    /// Whether a live grant, a promise or a mint keeps the row.
    fn is_in_use(&self) -> bool {
        self.live > 0 || self.promised.is_some() || self.minting > 0
    }

    /// `None` while the row is in use.
    fn idle_rank(&self) -> Option<Rank> {
        (!self.is_in_use()).then(|| (self.total.bytes().max(self.total.settled()), self.total.last_seen))
    }

    fn is_empty(&self) -> bool {
        !self.is_in_use() && self.kept.is_none() && self.total.is_empty()
    }
}

/// How many rows of a kind there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpenderBounds {
    /// Users.
    pub users: usize,
    /// Labels, origins, client addresses and calls, each.
    pub others: usize,
}

impl Default for SpenderBounds {
    fn default() -> Self {
        Self { users: USERS_MAX, others: KEYS_MAX }
    }
}

/// Most ended grants that are kept.
pub const ENDED_GRANTS_MAX: usize = 50_000;

/// What of a client's address is kept with a grant for the sums. The limits of a client do not depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeptAddresses {
    /// The whole address.
    Full,
    /// An IPv4 address, or the first 64 bits of an IPv6 address.
    #[default]
    Prefix,
    /// Nothing.
    None,
}

/// How the sums are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpenderTerms {
    /// Bytes that one user may use in a period; `None`: no limit.
    pub user_limit: Option<ByteCount>,
    /// What of a client's address is kept.
    pub addresses: KeptAddresses,
    /// How many rows there may be.
    pub bounds: SpenderBounds,
    /// How many ended grants are kept.
    pub ended_max: usize,
}

impl Default for SpenderTerms {
    fn default() -> Self {
        let (user_limit, addresses) = (None, KeptAddresses::default());
        Self { user_limit, addresses, bounds: SpenderBounds::default(), ended_max: ENDED_GRANTS_MAX }
    }
}

/// See the module's invariant.
#[derive(Debug, Default)]
pub struct Spenders {
    rows: HashMap<SpenderKey, Row>,
    bounds: SpenderBounds,
    /// Whether a user's row must stay while the user has bytes.
    keeps_users: bool,
    counts: [usize; KINDS],
    /// The rows that can make room, in order.
    idle: [BTreeSet<(Rank, SpenderKey)>; KINDS],
    /// The sums of keys without a row, and what of them is stored.
    others: [(Sums, Sums); KINDS],
    /// How many keys gave up their row in this period.
    folded: [u64; KINDS],
    /// When the promises of all users were last looked through.
    swept_at: Minute,
    dirty: Dirty<RowKey>,
}

impl Spenders {
    /// No sums.
    pub(crate) fn new(bounds: SpenderBounds, keeps_users: bool) -> Self {
        Self { bounds, keeps_users, ..Self::default() }
    }

    /// Restores the stored shares. From here on, changes are recorded.
    pub(crate) fn restore(&mut self, stored: BTreeMap<RowKey, Sums>) {
        for ((kind, key), sums) in stored {
            match key {
                Some(key) => {
                    self.keep(&only(key.clone()), &sums);
                    self.add_to(&key, &sums, false);
                }
                None => {
                    if let Some((total, kept)) = self.others.get_mut(kind.index()) {
                        total.add(&sums);
                        kept.add(&sums);
                    }
                }
            }
        }
        self.dirty = Dirty::tracking();
    }

    /// Stored shares that have changed since the last call; `None` for a row that is gone.
    pub(crate) fn take_changes(&mut self) -> Rows<RowKey, Sums> {
        let stored = |(kind, key): &RowKey| match key {
            Some(key) => self.rows.get(key).and_then(|row| row.kept.as_deref().copied()),
            None => self.others.get(kind.index()).map(|(_, kept)| *kept).filter(|kept| !kept.is_empty()),
        };
        let keys = self.dirty.take().into_keys();
        keys.map(|key| (key.clone(), stored(&key))).collect()
    }

    /// Begins a period: nothing has been spent in it. What was promised stays, and the rows of users whose credentials are being
    /// minted.
    pub(crate) fn clear(&mut self) {
        let rows = std::mem::take(&mut self.rows);
        (self.counts, self.folded, self.idle) = Default::default();
        for (key, row) in rows {
            if row.kept.is_some() {
                self.dirty.note_removed((key.kind(), Some(key.clone())));
            }
            let Row { promised, minting, .. } = row;
            if promised.is_some() || minting > 0 {
                self.count(key.kind(), usize::saturating_add);
                self.rows.insert(key, Row { promised, minting, ..Row::default() });
            }
        }
        for kind in SpenderKind::ALL {
            if self.others.get(kind.index()).is_some_and(|(_, kept)| !kept.is_empty()) {
                self.dirty.note_removed((kind, None));
            }
        }
        self.others = Default::default();
    }

    /// Adds the share of a grant, or of a connection without one.
    pub(crate) fn add(&mut self, keys: &Keys, share: &Sums, is_live: bool) {
        for key in keys.iter().flatten() {
            self.add_to(key, share, is_live);
        }
    }

    /// Reverses [`Self::add`].
    pub(crate) fn remove(&mut self, keys: &Keys, share: &Sums, is_live: bool) {
        for key in keys.iter().flatten() {
            let change = |row: &mut Row| {
                row.total.remove(share);
                row.live = row.live.saturating_sub(is_live.into());
            };
            if !self.change(key, change) {
                self.other(key.kind()).0.remove(share);
            }
            self.forget_if_empty(key);
        }
    }

    /// Replaces the share of a grant.
    pub(crate) fn replace(&mut self, keys: &Keys, before: &Sums, after: &Sums) {
        for key in keys.iter().flatten() {
            let change = |total: &mut Sums| {
                total.remove(before);
                total.add(after);
            };
            if !self.change(key, |row| change(&mut row.total)) {
                change(&mut self.other(key.kind()).0);
            }
        }
    }

    /// A live grant has ended.
    pub(crate) fn end(&mut self, keys: &Keys) {
        for key in keys.iter().flatten() {
            self.change(key, |row| row.live = row.live.saturating_sub(1));
        }
    }

    /// A grant that had ended is live again.
    pub(crate) fn revive(&mut self, keys: &Keys) {
        for key in keys.iter().flatten() {
            self.change(key, |row| row.live = row.live.saturating_add(1));
        }
    }

    /// A grant has left the table. Its share stays, and is stored from now on.
    pub(crate) fn keep(&mut self, keys: &Keys, share: &Sums) {
        for key in keys.iter().flatten() {
            let kind = key.kind();
            if self.ensure(key) {
                self.change(key, |row| row.kept.get_or_insert_default().add(share));
                self.dirty.note((kind, Some(key.clone())));
            } else {
                self.other(kind).1.add(share);
                self.dirty.note((kind, None));
            }
        }
    }

    /// Adds the share of something that never was in the table of grants.
    pub(crate) fn add_kept(&mut self, keys: &Keys, share: &Sums) {
        self.add(keys, share, false);
        self.keep(keys, share);
    }

    fn add_to(&mut self, key: &SpenderKey, share: &Sums, is_live: bool) {
        let change = |row: &mut Row| {
            row.total.add(share);
            row.live = row.live.saturating_add(is_live.into());
        };
        if self.ensure(key) {
            self.change(key, change);
        } else {
            self.other(key.kind()).0.add(share);
        }
    }

    /// Changes a row. `false` if there is none.
    fn change(&mut self, key: &SpenderKey, change: impl FnOnce(&mut Row)) -> bool {
        let Some(row) = self.rows.get_mut(key) else { return false };
        let before = row.idle_rank();
        change(row);
        let after = row.idle_rank();
        if before != after
            && let Some(idle) = self.idle.get_mut(key.kind().index())
        {
            if let Some(rank) = before {
                idle.remove(&(rank, key.clone()));
            }
            if let Some(rank) = after {
                idle.insert((rank, key.clone()));
            }
        }
        true
    }

    /// Makes sure that a key has a row. `false` if there is no room.
    fn ensure(&mut self, key: &SpenderKey) -> bool {
        if self.rows.contains_key(key) {
            return true;
        }
        let kind = key.kind();
        if self.is_full(kind) && !self.make_room(kind) {
            return false;
        }
        let row = Row::default();
        if let (Some(idle), Some(rank)) = (self.idle.get_mut(kind.index()), row.idle_rank()) {
            idle.insert((rank, key.clone()));
        }
        self.rows.insert(key.clone(), row);
        self.count(kind, usize::saturating_add);
        true
    }

    fn is_full(&self, kind: SpenderKind) -> bool {
        let most = if kind == SpenderKind::User { self.bounds.users } else { self.bounds.others };
        self.counts.get(kind.index()).is_none_or(|count| *count >= most)
    }

    /// The row that would make room for another one.
    fn first_idle(&self, kind: SpenderKind) -> Option<&SpenderKey> {
        let ((weight, _), key) = self.idle.get(kind.index())?.first()?;
        let must_stay = self.keeps_users && kind == SpenderKind::User && *weight > ByteCount::ZERO;
        (!must_stay).then_some(key)
    }

    /// Moves an idle row into the others. `false` if none may go.
    fn make_room(&mut self, kind: SpenderKind) -> bool {
        let Some(key) = self.first_idle(kind).cloned() else { return false };
        let Some(row) = self.take_row(&key) else { return false };
        let (total, kept) = self.other(kind);
        total.add(&row.total);
        if let Some(gone) = row.kept {
            kept.add(&gone);
            self.dirty.note((kind, None));
            self.dirty.note_removed((kind, Some(key)));
        }
        if let Some(folded) = self.folded.get_mut(kind.index()) {
            *folded = folded.saturating_add(1);
        }
        true
    }

    fn forget_if_empty(&mut self, key: &SpenderKey) {
        if self.rows.get(key).is_some_and(Row::is_empty) {
            self.take_row(key);
        }
    }

    fn take_row(&mut self, key: &SpenderKey) -> Option<Row> {
        let row = self.rows.remove(key)?;
        self.count(key.kind(), usize::saturating_sub);
        if let (Some(idle), Some(rank)) = (self.idle.get_mut(key.kind().index()), row.idle_rank()) {
            idle.remove(&(rank, key.clone()));
        }
        Some(row)
    }

    fn count(&mut self, kind: SpenderKind, by: impl Fn(usize, usize) -> usize) {
        if let Some(count) = self.counts.get_mut(kind.index()) {
            *count = by(*count, 1);
        }
    }

    fn other(&mut self, kind: SpenderKind) -> &mut (Sums, Sums) {
        let [user, label, origin, address, call] = &mut self.others;
        match kind {
            SpenderKind::User => user,
            SpenderKind::Label => label,
            SpenderKind::Origin => origin,
            SpenderKind::Address => address,
            SpenderKind::Call => call,
        }
    }
}

/// This key and no other.
pub(crate) fn only(key: SpenderKey) -> Keys {
    let mut keys = Keys::default();
    if let Some(place) = keys.get_mut(key.kind().index()) {
        *place = Some(key);
    }
    keys
}
