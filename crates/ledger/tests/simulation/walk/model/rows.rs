//! The row of each grant in the books.

use turn_ledger::{Books, GrantId, GrantRow, IceSource, Minute, PromisedTime, Timestamp};

use super::spending::{Claims, Counted};
use super::{Facts, Known, MINUTE, Model, minute_from, minute_of};

impl Known {
    fn of_row(id: GrantId, row: &GrantRow) -> Option<Self> {
        let time = row.promised?;
        Some(Self {
            id,
            source: row.source,
            issued_at: row.issued_at.as_millis(),
            expires_at: row.expires_at.as_millis(),
            ahead: 0,
            from: time.from.number(),
            reserved_from: time.from.number(),
            chain_before: 0,
            until: time.until.number(),
            due: time.until.number(),
            days: (0, 0),
            counted: Counted::default(),
            charged: 0,
            claims: Claims { is_rough: true, ..Claims::default() },
            per_minute: time.per_minute,
            user: None,
            client: None,
            was_renewed: row.extra().renewed,
            renewed_by: None,
            revoked_at: row.extra().revoked_at.map(Timestamp::as_millis),
            is_settled: true,
            is_released: false,
            is_live: !row.has_ended(),
            has_row: true,
            is_reported: false,
        })
    }

    /// What is promised for it, as its row must say.
    pub(super) fn promised(&self) -> PromisedTime {
        PromisedTime {
            from: Minute::new(self.from),
            reserved_from: Minute::new(self.reserved_from),
            chain_before: self.chain_before,
            until: Minute::new(self.until),
            per_minute: self.per_minute,
            is_held: false,
        }
    }

    /// Whether its row must be that of a live grant.
    fn must_live(&self, now: i64, is_open: bool) -> bool {
        self.until * MINUTE > now || self.latest_expiry() > now || is_open
    }

    /// What its row says wrong. `is_rough`: it is not known what its address may claim.
    fn differs(&mut self, row: &GrantRow, books: &Books, is_rough: bool) -> Option<String> {
        let found = (row.promised, row.source, row.issued_at.as_millis(), row.expires_at.as_millis());
        let expected = (Some(self.promised()), self.source, self.issued_at, self.expires_at);
        if found != expected {
            return Some(format!("a row says {found:?} instead of {expected:?}"));
        }
        let user = row.user().and_then(|user| user.as_str().parse().ok());
        let extra = row.extra();
        let revoked_at = extra.revoked_at.map(Timestamp::as_millis);
        let found = (extra.renewed, revoked_at, row.is_released(), extra.reported);
        let expected = (self.was_renewed, self.revoked_at, self.is_released, self.is_reported);
        if found != expected {
            return Some(format!("a row says {found:?} instead of {expected:?}"));
        }
        if (user, row.client) != (self.user, self.client) {
            return Some(format!("a row names {user:?} and {:?}", row.client));
        }
        let renewal = books.grants().with_renewals(self.id).nth(1);
        if renewal != self.renewed_by || extra.clock_ahead_millis != u64::try_from(self.ahead).unwrap_or(0) {
            return Some(format!("a row says that {renewal:?} renews it instead of {:?}", self.renewed_by));
        }
        let claimed = row.spent().claimed().get();
        if !is_rough && !self.claims.is_rough && claimed != self.claims.bytes {
            return Some(format!("a row says that {claimed} bytes are claimed"));
        }
        let measured = row.spent().measured().get();
        (!self.is_counted(measured)).then(|| format!("a row says that {measured} bytes are measured"))
    }
}

impl Model {
    /// Takes over the grants that the books have learned of since a copy was restored. Returns whether there is one. A full table
    /// takes none.
    pub(in super::super) fn adopt(&mut self, books: &Books) -> bool {
        if !self.lacks {
            return false;
        }
        let unknown =
            books.grants().iter().filter(|(id, row)| row.source != IceSource::Sfu && !self.now.has(**id));
        let unknown: Vec<_> = unknown.filter_map(|(id, row)| Known::of_row(*id, row)).collect();
        let is_later = books.snapshot().lacks_until.as_millis() > self.now.lacks_until;
        let is_any = !unknown.is_empty() || (books.grants().is_full() && is_later);
        self.now.grants.extend(unknown);
        is_any
    }

    /// Compares the rows of the books with the account. `is_tidy`: whether ended grants were just looked for.
    pub(in super::super) fn check_rows(
        &mut self,
        books: &Books,
        is_tidy: bool,
        is_limited: bool,
    ) -> Option<String> {
        let now = books.now().as_millis();
        let open: Vec<_> =
            books.connections().iter().filter_map(|connection| connection.name.grant()).collect();
        let rows: std::collections::BTreeMap<_, _> =
            books.grants().iter().map(|(id, row)| (*id, row)).collect();
        let is_known = |id: &GrantId| self.now.has(*id);
        if let Some((_, row)) = rows.iter().find(|(id, row)| row.source != IceSource::Sfu && !is_known(id)) {
            return Some(format!("the books have a grant that was never made: {row:?}"));
        }
        let (mut live, mut most, mut ended) = (0, 0, vec![]);
        let (period, is_rough) = (books.ledger().period(), self.now.is_rough);
        for known in &mut self.now.grants {
            let (is_open, row) = (open.contains(&known.id), rows.get(&known.id));
            let is_live = known.must_live(now, is_open);
            if row.is_none() {
                known.days.1 = known.days.1.min(now);
                Self::forget(known, books.grants().counted_until(known.source), period.end, is_limited);
            } else {
                known.is_of(period);
            }
            if known.is_live && row.is_none_or(|row| row.has_ended()) {
                ended.extend(known.holders());
            }
            (known.is_live, known.has_row) = (row.is_some_and(|row| !row.has_ended()), row.is_some());
            if is_tidy && is_live {
                known.due = known.due.max(minute_of(now) + 1);
            }
            let is_over = !is_live && known.due.max(minute_from(known.expires_at)) * MINUTE <= now;
            (live, most) = (live + usize::from(is_live), most + usize::from(!is_over));
            match row {
                None if is_live => return Some(format!("there is no row for {known:?}")),
                Some(row) if is_live && row.has_ended() => {
                    return Some(format!("it has not ended: {known:?}"));
                }
                Some(row) if is_tidy && is_over && !row.has_ended() => {
                    return Some(format!("it has ended: {known:?}"));
                }
                _ => {}
            }
            if let Some(differs) = row.and_then(|row| known.differs(row, books, is_rough)) {
                return Some(format!("{differs}: {known:?}"));
            }
        }
        for holder in ended {
            self.now.forget_saved(holder);
        }
        let has_pages = rows.values().any(|row| row.source == IceSource::Sfu);
        let count = books.grants().count();
        let is_right = (live..=most).contains(&count) || !is_tidy || has_pages;
        (!is_right).then(|| format!("{count} grants are live, not {live} to {most}"))
    }
}

impl Facts {
    /// Whether a grant is on the list.
    pub(in super::super) fn has(&self, id: GrantId) -> bool {
        self.grants.iter().any(|known| known.id == id)
    }
}
