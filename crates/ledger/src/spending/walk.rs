//! Who spends, summed over the rows in steps. Tests: `src/books/spending/tests`.
//! The sums of this period are those of all grants in the table, and of what left it. The row without a key has what the other rows leave
//! of the period's bytes, so the rows of a kind add up to the period.

use std::hash::{BuildHasher, RandomState};

use turn_budget::{ByteCount, Day, PeriodBytes, SpenderKind, Timestamp, Walk};

use super::{LOOKED_AT_ONCE, LeftKey, RecentTime, SpenderSums, Spent, Sums};
use crate::grants::{Grants, key_of};

/// The bits of the lower half of a number in [`SpenderWalk::places`]: an index into `found`. They are enough for every index.
const PLACE: u64 = 0xffff_ffff;

/// A search for what each spender of a kind has spent. It goes in steps: [`Self::look`] is called until it returns true, and others can
/// change the table between two steps. What changes meanwhile counts as it was or as it is. [`Self::rows`] needs no grants, so it is called
/// without the lock.
#[derive(Debug)]
pub struct SpenderWalk {
    kind: SpenderKind,
    recent: Option<RecentTime>,
    /// The first day of the earlier period that is summed; `None` for this period.
    past: Option<Day>,
    grants: Walk,
    /// Whether the first of two parts is over. The first part has the grants, the second one all else. In an earlier period the grants come
    /// second.
    is_in_second_part: bool,
    /// The last sum of what left the table that was looked at.
    last: Option<LeftKey>,
    /// An entry for each grant and each sum that was looked at, if it has a key.
    found: Vec<SpenderSums>,
    /// The sum of all grants and sums without a key.
    rest: SpenderSums,
    /// For each entry of `found` the upper half of its key's hash and, as the lower half, its index. Sorting these numbers takes less time
    /// than looking up a million keys in a hash table that is larger than the processor's cache.
    places: Vec<u64>,
    hasher: RandomState,
}

impl SpenderWalk {
    /// A search that has found nothing yet. With `recent`, only what was spent then is summed: minutes longer ago than
    /// [`super::recent::RECENT_MAX`] are not known.
    pub fn new(kind: SpenderKind, recent: Option<RecentTime>) -> Self {
        Self {
            kind,
            recent,
            past: None,
            grants: Walk::default(),
            is_in_second_part: false,
            last: None,
            found: vec![],
            rest: SpenderSums::default(),
            places: vec![],
            hasher: RandomState::default(),
        }
    }

    /// A search in the earlier period that began at this instant.
    pub fn of_past(kind: SpenderKind, start: Timestamp) -> Self {
        Self { past: Some(Day::of(start)), ..Self::new(kind, None) }
    }

    /// Looks at the next grants or sums. `true` if these are the last ones.
    pub fn look(&mut self, grants: &Grants) -> bool {
        if let Some(day) = self.past {
            return self.look_at_past(grants, day);
        }
        if !self.is_in_second_part {
            self.is_in_second_part = self.look_at_grants(grants);
            return false;
        }
        if let Some(time) = self.recent {
            let seen = [time.reported.from, time.reported.to];
            for (spender, spent) in grants.recent_others(time) {
                let (key, sums) = (key_of(&spender, self.kind), sums_of(&spent, seen).of_part());
                self.add(SpenderSums { key, sums, ..SpenderSums::default() });
            }
            return true;
        }
        let day = Day::of(grants.period.start);
        let left_sums: Vec<_> =
            grants.left.after(day, self.kind, self.last.as_ref()).take(LOOKED_AT_ONCE).collect();
        for ((_, _, key), sums) in &left_sums {
            self.push(SpenderSums { key: key.clone(), sums: **sums, ..SpenderSums::default() });
        }
        let is_last = left_sums.len() < LOOKED_AT_ONCE;
        self.last = left_sums.last().map(|(of, _)| (*of).clone());
        is_last
    }

    /// One step in an earlier period: first all sums, then the grants. So bytes that move from a grant to the sums meanwhile are in no row,
    /// rather than in two. `true` if this was the last step.
    fn look_at_past(&mut self, grants: &Grants, day: Day) -> bool {
        if !std::mem::replace(&mut self.is_in_second_part, true) {
            for ((_, _, key), sums) in grants.left.of_past(day, self.kind) {
                self.push(SpenderSums { key: key.clone(), sums: *sums, ..SpenderSums::default() });
            }
            return false;
        }
        let rows = self.grants.next(&grants.rows, LOOKED_AT_ONCE);
        let is_last = rows.len() < LOOKED_AT_ONCE;
        let rows = rows.into_iter().map(|(_, row)| row);
        for row in rows.filter(|row| row.figures_since == day && row.source.is_metered()) {
            let (key, sums) = (grants.terms.key(row, self.kind), grants.terms.share(row, &row.spent()));
            self.add(SpenderSums { key, sums, ..SpenderSums::default() });
        }
        is_last
    }

    /// Looks at the next grants. `true` if these are the last ones.
    fn look_at_grants(&mut self, grants: &Grants) -> bool {
        let (rows, is_last) = grants.next_metered(&mut self.grants, self.recent.is_some());
        if self.recent.is_none() && self.found.is_empty() {
            // With room for what comes during the walk: to grow, the vectors would be copied while the lock is held.
            let count = grants.rows.len();
            let room = count.saturating_add(count / 8);
            self.found.reserve(room);
            self.places.reserve(room);
        }
        for (id, row) in rows {
            let spent = grants.spent_lately(id, row, self.recent);
            let sums = sums_of(&spent, [row.issued_at, row.issued_at.max(spent.seen_at)]);
            let is_live = !row.has_ended();
            let is_usable = is_live && row.extra().revoked_at.is_none();
            let key = grants.terms.key(row, self.kind);
            self.add(SpenderSums { key, sums, live: is_live.into(), usable: is_usable.into() });
        }
        is_last
    }

    /// Adds what was found, except what relayed nothing lately.
    fn add(&mut self, found: SpenderSums) {
        if self.recent.is_none() || found.sums.bytes() > ByteCount::ZERO {
            self.push(found);
        }
    }

    fn push(&mut self, found: SpenderSums) {
        if found.key.is_none() {
            return self.rest.join(&found);
        }
        let place = u64::try_from(self.found.len()).unwrap_or(0);
        self.places.push(self.hasher.hash_one(&found.key) & !PLACE | place);
        self.found.push(found);
    }

    /// One row for each spender that was found, and one for the rest, in no order. `period`: what the rows add up to without
    /// `recent`.
    pub fn rows(self, period: &PeriodBytes) -> Vec<SpenderSums> {
        let Self { recent, found: mut rows, rest, mut places, .. } = self;
        places.sort_unstable();
        // The first row of each key, among the rows with the same upper half of the hash. Almost always these rows have one key.
        let mut firsts: Vec<usize> = vec![];
        for same_hash in places.chunk_by(|a, b| a & !PLACE == b & !PLACE) {
            firsts.clear();
            for at in same_hash.iter().map(|of| usize::try_from(of & PLACE).unwrap_or(0)) {
                if let Some(first) = firsts.iter().find(|first| rows[**first].key == rows[at].key) {
                    // An empty row stays in its place, and is removed below.
                    let row = std::mem::take(&mut rows[at]);
                    rows[*first].join(&row);
                } else {
                    firsts.push(at);
                }
            }
        }
        if recent.is_some() {
            rows.push(rest);
        } else {
            fit(&mut rows, rest, period);
        }
        rows.retain(|row| !row.sums.is_empty());
        if rows.len() < rows.capacity() / 2 {
            rows.shrink_to_fit();
        }
        rows
    }
}

/// Makes the rows add up to the bytes of the period, together with a row without a key, which is added if it has bytes. `rest`: what was
/// found without a key.
fn fit(rows: &mut Vec<SpenderSums>, mut rest: SpenderSums, period: &PeriodBytes) {
    let mut all = rest.sums;
    for row in &*rows {
        all.add(&row.sums);
    }
    // What the rows with a key show: the measured bytes, and all bytes.
    let mut keyed = [ByteCount::ZERO; 2];
    for row in &mut *rows {
        row.sums = row.sums.within(&all, period);
        keyed = [keyed[0].plus(row.sums.measured()), keyed[1].plus(row.sums.bytes())];
    }
    rest.sums = rest.sums.as_rest(&all, keyed, period);
    if rest.sums.bytes() > ByteCount::ZERO {
        rows.push(rest);
    }
}

/// The sums of one grant that has spent this, or of one spender. Settled bytes are left out, because they are not shown. `seen`: when it
/// was seen first and last.
fn sums_of(spent: &Spent, seen: [Timestamp; 2]) -> Sums {
    Sums::of_grant([spent.measured, spent.claimed, ByteCount::ZERO], seen)
}
