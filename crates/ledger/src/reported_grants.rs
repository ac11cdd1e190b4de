//! What is remembered of the grants that have reported a connection, each until it expires: how much it may still
//! claim, how many connections it has open, and how long it counts as alive. Bounded; a grant that nobody speaks for
//! takes no room here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::allowance::Allowance;
use crate::grant_table::GrantTable;
use crate::reports::{CONNECTIONS_PER_GRANT_MAX, OpenError};
use crate::source::IceSource;
use crate::token::{Grant, GrantId};
use crate::units::Timestamp;
use crate::usage_change::ChangeKind;

/// How long grants count as alive.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// For each source how long after its expiry a grant counts as alive by itself. Grants of a source that is not named
    /// here cost nothing.
    pub after_expiry: Vec<(IceSource, Duration)>,
    /// Whether a grant that is heard from later counts as alive for longer. Otherwise it only shows that what was assumed
    /// is wrong.
    pub extends: bool,
}

/// What is remembered of one grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrantRow {
    allowance: Allowance,
    expires_at: Timestamp,
    /// Up to where the ledger counts it as alive, a whole minute; `None` where it costs nothing.
    alive_until: Option<Timestamp>,
}

/// See the module's invariant.
#[derive(Debug)]
pub(crate) struct Grants {
    rows: GrantTable<GrantRow>,
    rows_max: usize,
    coverage: Coverage,
}

impl Grants {
    pub(crate) fn new(rows_max: usize, coverage: Coverage) -> Self {
        Self { rows: GrantTable::default(), rows_max, coverage }
    }

    /// As they were stored.
    pub(crate) fn restore(&mut self, rows: Vec<(GrantId, GrantRow)>) {
        self.rows = GrantTable::restore(rows);
    }

    /// Rows that have changed since the last call; `None` is what is gone.
    pub(crate) fn take_unstored(&mut self) -> Vec<(GrantId, Option<GrantRow>)> {
        self.rows.take_unstored()
    }

    /// A connection opens on a grant. The change says that it is the first one.
    pub(crate) fn open(&mut self, grant: &Grant, now: Timestamp) -> Result<Option<ChangeKind>, OpenError> {
        let is_first = !self.rows.contains(grant.id);
        if is_first && self.rows.len() >= self.rows_max {
            // Expired ones are forgotten from time to time; looking for them here would cost a walk for each refusal.
            return Err(OpenError::TableFull);
        }
        let new_row = self.new_row(grant);
        let row = self.rows.get_or_insert(grant.id, new_row);
        if row.allowance.open_count() >= CONNECTIONS_PER_GRANT_MAX {
            return Err(OpenError::TooManyOnGrant);
        }
        row.allowance.open(now);
        self.rows.note(grant.id);
        Ok(is_first.then_some(ChangeKind::GrantReported { expires_at: grant.expires_at }))
    }

    /// A connection of a grant is heard from: what its claims come out of.
    pub(crate) fn hear(&mut self, id: GrantId) -> Option<&mut Allowance> {
        self.rows.note(id);
        self.rows.get_mut(id).map(|row| &mut row.allowance)
    }

    /// A connection of a grant relays until `until`, for all we know: what that means where the grant does not count as
    /// alive for so long.
    pub(crate) fn relays_until(&mut self, id: GrantId, until: Timestamp) -> Option<ChangeKind> {
        let alive_until = self.rows.get_mut(id)?.alive_until.as_mut()?;
        let (from, until) = (*alive_until, until.minute_end());
        if until <= from {
            return None;
        }
        if !self.coverage.extends {
            return Some(ChangeKind::Outlived { until });
        }
        *alive_until = until;
        Some(ChangeKind::ExtendGrant { from, until })
    }

    /// A connection of a grant was open until `at`.
    pub(crate) fn close(&mut self, id: GrantId, at: Timestamp) {
        self.rows.note(id);
        if let Some(row) = self.rows.get_mut(id) {
            row.allowance.close(at);
        }
    }

    /// `grant` renews another: if that one has been heard from, this one counts as heard from too, and is not heard from
    /// a first time later. `false` when nobody has spoken for the other one, as far as it is remembered.
    pub(crate) fn inherit_reported(&mut self, renewed: GrantId, grant: &Grant) -> bool {
        let was_reported = self.rows.contains(renewed) && self.rows.len() < self.rows_max;
        if was_reported {
            let row = self.new_row(grant);
            self.rows.insert(grant.id, row);
            self.rows.note(grant.id);
        }
        was_reported
    }

    /// Forgets grants that have expired and have no open connection. Nothing is lost: they cannot open another.
    pub(crate) fn forget_expired(&mut self, now: Timestamp) {
        self.rows.retain(|row| row.expires_at > now || row.allowance.open_count() > 0);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// What is remembered of a grant from its first word on.
    fn new_row(&self, grant: &Grant) -> GrantRow {
        let covered = self.coverage.after_expiry.iter().find(|(source, _)| *source == grant.source);
        GrantRow {
            allowance: Allowance::default(),
            expires_at: grant.expires_at,
            alive_until: covered.map(|(_, after)| grant.expires_at.plus(*after).minute_end()),
        }
    }
}
