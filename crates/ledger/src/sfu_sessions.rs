//! The sessions of the SFU that are open, so that a restart knows them. A row is written when a session begins and removed when
//! it ends. The tracks of a session are not here: the SFU knows them, and is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::client::ClientKey;
use crate::dirty::{Dirty, Rows};
use crate::spender::User;
use crate::token::GrantId;
use crate::units::Timestamp;

/// The id of a session, as the SFU made it.
pub type SfuSessionId = Arc<str>;

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SfuSession {
    /// Its room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<Arc<str>>,
    /// Who opened it, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// The grant whose token opened it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The client that opened it.
    pub client: ClientKey,
    /// When its life is over.
    pub ends_at: Timestamp,
    /// Since when what it takes is not charged, because no process has learned yet what that is. Only the ledger sets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncharged_since: Option<Timestamp>,
}

/// See the module's description. The proxy bounds their number.
#[derive(Debug, Default)]
pub(crate) struct SfuSessions {
    rows: BTreeMap<SfuSessionId, SfuSession>,
    dirty: Dirty<SfuSessionId>,
}

impl SfuSessions {
    /// The sessions as stored at `charged_until`, the last write of the process before. From here on, changes are recorded.
    pub(crate) fn restore(mut rows: BTreeMap<SfuSessionId, SfuSession>, charged_until: Timestamp) -> Self {
        let mut dirty = Dirty::tracking();
        for (id, row) in &mut rows {
            // The process before may not have learned it either.
            row.uncharged_since.get_or_insert(charged_until);
            dirty.note(id.clone());
        }
        Self { rows, dirty }
    }

    /// Remembers a session, or forgets it.
    pub(crate) fn set(&mut self, id: SfuSessionId, session: Option<SfuSession>) {
        match session {
            Some(session) => {
                let uncharged_since = self.rows.get(&id).and_then(|row| row.uncharged_since);
                let session = SfuSession { uncharged_since, ..session };
                if self.rows.insert(id.clone(), session).is_none() {
                    self.dirty.note_added(id);
                } else {
                    self.dirty.note(id);
                }
            }
            None => {
                if self.rows.remove(&id).is_some() {
                    self.dirty.note_removed(id);
                }
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&SfuSessionId, &SfuSession)> {
        self.rows.iter()
    }

    /// What a session takes is known from now on. Returns since when it was not charged.
    pub(crate) fn found(&mut self, id: &str) -> Option<Timestamp> {
        let (id, _) = self.rows.get_key_value(id)?;
        let id = id.clone();
        let since = self.rows.get_mut(&id)?.uncharged_since.take()?;
        self.dirty.note(id);
        Some(since)
    }

    pub(crate) fn take_changes(&mut self) -> Rows<SfuSessionId, SfuSession> {
        let changed = self.dirty.take().into_keys();
        changed.map(|id| (id.clone(), self.rows.get(&id).cloned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(room: &str) -> SfuSession {
        SfuSession {
            room: Some(room.into()),
            user: None,
            grant: None,
            client: "192.0.2.1".parse().unwrap(),
            ends_at: Timestamp::from_millis(1_737_115_200_000),
            uncharged_since: None,
        }
    }

    fn restored(rows: &[(&str, SfuSession)]) -> SfuSessions {
        let rows = rows.iter().map(|(id, row)| (SfuSessionId::from(*id), row.clone()));
        let mut sessions = SfuSessions::restore(rows.collect(), Timestamp::from_millis(7));
        sessions.take_changes();
        sessions
    }

    #[test]
    fn a_session_is_stored_once_and_removed_when_it_ends() {
        let mut sessions = restored(&[("old", session("r"))]);
        assert!(sessions.take_changes().is_empty(), "it is stored already");
        sessions.set("new".into(), Some(session("r")));
        sessions.set("old".into(), None);
        sessions.set("unknown".into(), None);
        let changes = [("new".into(), Some(session("r"))), ("old".into(), None)];
        assert_eq!(sessions.take_changes(), changes.into());
        assert!(sessions.take_changes().is_empty());
        sessions.set("new".into(), Some(session("s")));
        assert_eq!(sessions.take_changes(), [("new".into(), Some(session("s")))].into());
        assert_eq!(sessions.iter().count(), 1);
    }

    #[test]
    fn what_a_stored_session_takes_is_not_charged_since_the_first_restart_until_it_is_found() {
        let since = |sessions: &SfuSessions| sessions.rows["a"].uncharged_since;
        let mut sessions = restored(&[("a", session("r"))]);
        assert_eq!(since(&sessions), Some(Timestamp::from_millis(7)));
        sessions.set("a".into(), Some(session("s")));
        let rows = sessions.take_changes().into_iter().filter_map(|(id, row)| Some((id, row?)));
        let mut again = SfuSessions::restore(rows.collect(), Timestamp::from_millis(9));
        assert_eq!(again.take_changes().len(), 1);
        assert_eq!(again.found("a"), Some(Timestamp::from_millis(7)));
        assert_eq!((again.found("a"), again.found("b")), (None, None));
        assert_eq!(again.take_changes(), [("a".into(), Some(session("s")))].into());
        again.set("new".into(), Some(session("r")));
        assert_eq!(again.found("new"), None);
    }

    #[test]
    fn a_session_that_was_never_stored_leaves_no_row() {
        let mut sessions = restored(&[]);
        sessions.set("short".into(), Some(session("r")));
        sessions.set("short".into(), None);
        assert!(sessions.take_changes().is_empty());
    }

    #[test]
    fn a_row_is_json_in_which_what_is_not_known_is_absent() {
        let row = r#"{"room":"r","client":"192.0.2.1","ends_at":"2025-01-17T12:00:00.000Z"}"#;
        assert_eq!(serde_json::to_string(&session("r")).unwrap(), row);
        assert_eq!(serde_json::from_str::<SfuSession>(row).unwrap(), session("r"));
    }
}
