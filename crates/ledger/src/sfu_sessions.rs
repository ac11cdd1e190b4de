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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Arc<str>>,
    /// Who opened it, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// The grant whose token opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// The client that opened it.
    pub client: ClientKey,
    /// When its life is over.
    pub ends_at: Timestamp,
}

/// See the module's description. The proxy bounds their number.
#[derive(Debug, Default)]
pub(crate) struct SfuSessions {
    rows: BTreeMap<SfuSessionId, SfuSession>,
    dirty: Dirty<SfuSessionId>,
    /// Until when the charge for the tracks of the stored sessions is in the ledger: the last write of the process before.
    charged_until: Timestamp,
}

impl SfuSessions {
    /// The sessions as stored at `charged_until`. From here on, changes are recorded.
    pub(crate) fn restore(rows: BTreeMap<SfuSessionId, SfuSession>, charged_until: Timestamp) -> Self {
        Self { rows, dirty: Dirty::tracking(), charged_until }
    }

    /// Remembers a session, or forgets it.
    pub(crate) fn set(&mut self, id: SfuSessionId, session: Option<SfuSession>) {
        match session {
            Some(session) => {
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

    pub(crate) fn charged_until(&self) -> Timestamp {
        self.charged_until
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
        }
    }

    fn restored(rows: &[(&str, SfuSession)]) -> SfuSessions {
        let rows = rows.iter().map(|(id, row)| (SfuSessionId::from(*id), row.clone()));
        SfuSessions::restore(rows.collect(), Timestamp::default())
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
