//! A track or a data channel that a session has, or has asked for. Tests: `src/sessions_tests`.

use std::time::Duration;

use crate::answer::Entry;
use crate::name::Name;
use crate::{Direction, MediaKind, Pull, Replies, SessionId, TrackId};

/// A track or a data channel of a session.
#[derive(Clone, Debug)]
pub(super) struct Track {
    /// What names it. `None` until the SFU has said so.
    pub(super) id: Option<TrackId>,
    pub(super) direction: Direction,
    pub(super) kind: MediaKind,
    /// The session that sends it, if it is another one.
    pub(super) from: Option<SessionId>,
    /// The name under which others pull it.
    pub(super) name: Option<Name>,
    /// Whether other sessions may reply on it, a data channel that this session sends. This session takes the replies.
    pub(super) replies: Replies,
    /// The number of the call that asked for it.
    pub(super) call: u64,
    /// A look that begins earlier cannot show that the track is gone. `None` while its call is in progress.
    pub(super) settles_at: Option<Duration>,
}

impl Track {
    /// A track that the session sends. The caller sets its call.
    pub(super) fn pushed(id: Option<TrackId>, name: Option<Name>, kind: MediaKind) -> Self {
        Self {
            id,
            direction: Direction::Local,
            kind,
            from: None,
            name,
            replies: Replies::Refused,
            call: 0,
            settles_at: None,
        }
    }

    /// A track that the session takes. The caller sets its call.
    pub(super) fn pulled(pull: &Pull) -> Self {
        let (direction, from) = (Direction::Remote, Some(pull.session.clone()));
        Self { direction, from, ..Self::pushed(None, pull.name.clone(), pull.kind) }
    }

    /// Whether the session takes something with it: the track itself, or replies.
    pub(super) fn is_pulled(&self) -> bool {
        self.direction == Direction::Remote || self.replies != Replies::Refused
    }

    /// Whether it is a data channel of this name that the session sends.
    pub(super) fn is_own_channel(&self, name: &Name) -> bool {
        self.direction == Direction::Local && self.kind == MediaKind::Data && self.name.as_ref() == Some(name)
    }

    /// Whether the SFU has given it the id of this entry, and the entry does not state the other direction.
    pub(super) fn has_id_of(&self, entry: &Entry) -> bool {
        self.id.is_some()
            && self.id == entry.id
            && entry.direction.is_none_or(|direction| direction == self.direction)
    }

    /// Whether an entry can be this track, as far as both are known. The ids are not compared.
    pub(super) fn may_be(&self, entry: &Entry) -> bool {
        let agree = |is_known: bool, is_stated: bool, is_same: bool| !is_known || !is_stated || is_same;
        (self.kind == MediaKind::Data) == entry.is_channel
            && entry.direction.is_none_or(|direction| direction == self.direction)
            && agree(self.from.is_some(), entry.session.is_some(), self.from == entry.session)
            && agree(self.name.is_some(), entry.name.is_some(), self.name == entry.name)
    }

    /// Takes the id, the name and the sending session that the SFU gives to this track. If the entry cannot be what was asked for, the
    /// track can be of any kind, and is charged as video.
    pub(super) fn confirm(&mut self, entry: &Entry) {
        if !self.may_be(entry) && self.kind == MediaKind::Audio {
            self.kind = MediaKind::Video;
        }
        self.id.clone_from(&entry.id);
        self.name = entry.name.clone().or_else(|| self.name.take());
        self.from = entry.session.clone().or_else(|| self.from.take());
    }
}
