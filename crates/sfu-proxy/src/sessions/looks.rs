//! When the SFU is asked for the state of a session, and what its answer changes.

use std::time::Duration;

use super::Sessions;
use crate::{Session, SessionId, SfuAnswer};

/// A look at one session: the SFU is asked for its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// The session.
    pub id: SessionId,
    /// When it begins.
    pub began: Duration,
}

impl Sessions {
    /// The looks that are due, at most `max`. The next look at each of these sessions is due after the interval.
    pub(crate) fn take_looks(&mut self, max: usize, now: Duration) -> Vec<Look> {
        let mut looks = vec![];
        while looks.len() < max
            && let Some(id) = self.looks.pop(now)
        {
            self.looks.set(id.clone(), now.saturating_add(self.terms.look_interval));
            looks.push(Look { id, began: now });
        }
        looks
    }

    /// Makes the look at a session due at once: the SFU may have closed something, or nobody knows what it did.
    pub(crate) fn look_now(&mut self, id: &SessionId, now: Duration) {
        if self.rows.contains_key(id) {
            self.looks.set(id.clone(), now);
        }
    }

    /// The SFU has reported the state of a session. A session without tracks leaves its call. If it was opened before a restart,
    /// it is over.
    pub(crate) fn looked(&mut self, look: &Look, state: &SfuAnswer, now: Duration) {
        let Some(may_go_on) = self.amend(&look.id, |session| session.see(state, look.began)) else { return };
        self.report(&look.id, true);
        if !may_go_on {
            self.end(&look.id, now);
        }
        let Some(session) = self.rows.get(&look.id).filter(|session| is_empty(session)) else { return };
        if session.is_restored() {
            self.remove(&look.id);
        } else {
            self.looks.clear(&look.id);
        }
    }

    /// A look has failed. After several in a row the session is over: its tracks are closed by force.
    pub(crate) fn look_failed(&mut self, id: &SessionId, now: Duration) {
        let Some(session) = self.rows.get_mut(id) else { return };
        if !session.look_failed() {
            self.end(id, now);
        }
    }

    /// Ends the life of a session: the next [`Self::elapse`] removes it, or returns it to be closed.
    pub(super) fn end(&mut self, id: &SessionId, now: Duration) {
        self.ends.set(id.clone(), now);
        self.report(id, false);
    }
}

/// Whether a session has no tracks and asks for none.
fn is_empty(session: &Session) -> bool {
    let load = session.load();
    load.tracks == 0 && load.calls == 0 && load.taken.kbps == 0
}
