//! The time in which a grant counts as alive: until its credential has expired and the tail after that has passed.
//!
//! That time only becomes longer. Each extension is a change of usage, which the caller applies to the ledger.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::time::Duration;

use super::{Grants, note_key_end};
use crate::minute::Minute;
use crate::source::IceSource;
use crate::token::GrantId;
use crate::units::Timestamp;
use crate::usage_change::ChangeKind;

/// How long grants count as alive.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// For each source, how long a grant without a row counts as alive after its expiry. Grants of a source that is
    /// missing here cost nothing.
    pub after_expiry: Vec<(IceSource, Duration)>,
    /// Whether a later report extends the time in which a grant counts as alive. If not, a late report only shows that
    /// the bound's assumption is wrong.
    pub extends: bool,
}

impl Coverage {
    pub(super) fn alive_until(&self, source: IceSource, expires_at: Timestamp) -> Option<Minute> {
        let covered = self.after_expiry.iter().find(|(of, _)| *of == source);
        covered.map(|(_, after)| Minute::from_end(expires_at.plus(*after)))
    }
}

impl Grants {
    /// Notes that a connection of a grant relays until `until`, by its client's report. Returns a change if the grant
    /// does not count as alive until then.
    pub fn extend(&mut self, id: GrantId, until: Timestamp) -> Option<ChangeKind> {
        let until = Minute::from_end(until);
        let from = self.rows.get(&id)?.alive_until.filter(|alive_until| *alive_until < until)?;
        if !self.coverage.extends {
            return Some(ChangeKind::Outlived { until: until.start() });
        }
        self.change(id, |row| row.alive_until = Some(until));
        if let Some(row) = self.rows.get(&id) {
            note_key_end(&mut self.key_ends, row);
        }
        Some(ChangeKind::ExtendGrant { from, until })
    }

    /// Extends every grant of a source that counts as alive for less than `after_expiry`, if it could still relay at `now`.
    pub fn extend_tails(
        &mut self,
        source: IceSource,
        after_expiry: Duration,
        now: Timestamp,
    ) -> Vec<ChangeKind> {
        let mut changes = vec![];
        for (id, row) in self.rows.iter_mut().filter(|(_, row)| row.source == source && !row.released) {
            let until = Minute::from_end(row.latest_expiry().plus(after_expiry));
            if let Some(from) = row.alive_until.filter(|from| *from < until && until.start() > now) {
                let user = row.spender.as_deref().and_then(|spender| spender.user.as_ref());
                if let Some(user) = user.filter(|_| self.spending.promises()) {
                    let start = row.promised_minutes().start;
                    self.spenders.withdraw(user, source, &(start..from));
                    self.spenders.promise(user, source, &(start..until));
                }
                row.alive_until = Some(until);
                note_key_end(&mut self.key_ends, row);
                if let Some(client) = row.client.filter(|_| row.reserved_minutes > 0) {
                    self.clients.release(client, from, row.reserved_minutes);
                    row.reserved_minutes = row.reserved_minutes.saturating_add(until.since(from));
                    self.clients.reserve(client, until, row.reserved_minutes);
                }
                self.dirty.note(*id);
                changes.push(ChangeKind::ExtendGrant { from, until });
            }
        }
        changes
    }

    /// Until when the last grant counts as alive.
    #[must_use]
    pub fn alive_until(&self) -> Timestamp {
        self.rows.values().filter_map(|row| row.alive_until).max().unwrap_or_default().start()
    }
}
