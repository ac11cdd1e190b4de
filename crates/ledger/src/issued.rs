//! The credentials that are out, each until it expires: what it takes to revoke one. A revoked grant renews no more; what
//! was promised for it stays promised, because relaying that is under way may go on. Bounded: where the table is full, a
//! credential is issued all the same and cannot be revoked.

use serde::{Deserialize, Serialize};

use crate::grant_table::GrantTable;
use crate::source::IceSource;
use crate::token::{Grant, GrantId};
use crate::units::Timestamp;

/// Credentials remembered at most. About 200 bytes each.
pub const ISSUED_MAX: usize = 200_000;

/// One credential, without its password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Who made it.
    pub source: IceSource,
    /// The TURN user name, by which the provider knows it; `None` where there is none.
    pub username: Option<Box<str>>,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// See the module's invariant.
#[derive(Debug, Default)]
pub struct IssuedTable {
    rows: GrantTable<Issued>,
}

impl IssuedTable {
    /// As it was stored.
    #[must_use]
    pub fn restore(rows: Vec<(GrantId, Issued)>) -> Self {
        Self { rows: GrantTable::restore(rows) }
    }

    /// What has changed since the last call; `None` is what is gone.
    pub fn take_unstored(&mut self) -> Vec<(GrantId, Option<Issued>)> {
        self.rows.take_unstored()
    }

    /// A credential is about to be handed out. Its row goes to disk with its grant, not with what has changed.
    pub fn add(&mut self, grant: &Grant, username: Option<&str>) {
        if self.rows.len() < ISSUED_MAX {
            let (source, expires_at) = (grant.source, grant.expires_at);
            let row = Issued { source, username: username.map(Into::into), expires_at, revoked_at: None };
            self.rows.insert(grant.id, row);
        }
    }

    /// It was not handed out after all.
    pub fn remove(&mut self, grant: GrantId) {
        self.rows.remove(grant);
    }

    /// What is known of a credential.
    #[must_use]
    pub fn get(&self, grant: GrantId) -> Option<&Issued> {
        self.rows.get(grant)
    }

    /// Whether it was revoked.
    #[must_use]
    pub fn is_revoked(&self, grant: GrantId) -> bool {
        self.rows.get(grant).is_some_and(|issued| issued.revoked_at.is_some())
    }

    /// Revokes a credential; the first time counts. `None` when none of that name is out.
    pub fn revoke(&mut self, grant: GrantId, now: Timestamp) -> Option<Issued> {
        let row = self.rows.get_mut(grant)?;
        row.revoked_at.get_or_insert(now);
        let row = row.clone();
        self.rows.note(grant);
        Some(row)
    }

    /// Forgets credentials that are over.
    pub fn forget_expired(&mut self, now: Timestamp) {
        self.rows.retain(|row| row.expires_at > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn grant(id: u8) -> Grant {
        Grant {
            id: GrantId::new([id; 16]),
            source: IceSource::Cloudflare,
            issued_at: at(0),
            expires_at: at(100),
        }
    }

    #[test]
    fn a_credential_that_is_out_can_be_revoked_once_and_for_all() {
        let mut table = IssuedTable::default();
        table.add(&grant(1), Some("user"));
        assert!(!table.is_revoked(grant(1).id));
        let revoked = table.revoke(grant(1).id, at(5)).unwrap();
        assert_eq!((revoked.username.as_deref(), revoked.revoked_at), (Some("user"), Some(at(5))));
        assert_eq!(table.revoke(grant(1).id, at(9)).unwrap().revoked_at, Some(at(5)));
        assert!(table.is_revoked(grant(1).id));
    }

    #[test]
    fn one_that_is_over_or_was_never_handed_out_is_unknown() {
        let mut table = IssuedTable::default();
        table.add(&grant(1), None);
        table.add(&grant(2), None);
        table.remove(grant(2).id);
        assert_eq!(table.revoke(grant(2).id, at(1)), None);
        table.forget_expired(at(99));
        assert!(table.get(grant(1).id).is_some());
        table.forget_expired(at(100));
        assert_eq!(table.get(grant(1).id), None);
    }

    #[test]
    fn what_changed_is_told_once_and_read_back() {
        let mut table = IssuedTable::restore(vec![]);
        table.add(&grant(1), Some("user"));
        table.add(&grant(2), None);
        table.remove(grant(2).id);
        let _ = table.revoke(grant(1).id, at(3));
        table.add(&grant(3), None);
        let changes = table.take_unstored();
        assert_eq!((changes.len(), table.take_unstored()), (2, vec![]), "a new one goes with its grant");
        assert!(changes.contains(&(grant(2).id, None)));
        let rows = changes.into_iter().filter_map(|(id, row)| Some((id, row?))).collect();
        assert!(IssuedTable::restore(rows).is_revoked(grant(1).id));
    }
}
