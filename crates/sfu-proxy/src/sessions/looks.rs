//! When the SFU is asked for the state of a session, and what its answer changes.

use std::time::Duration;

use super::Sessions;
use crate::answer::SfuAnswer;
use crate::session::look::Look;
use crate::session::{FAILED_LOOKS_MAX, Session};
use crate::session_id::SessionId;

/// The shortest time between two looks at a session while its page connects, so that a page which takes tracks for some seconds
/// each is seen, too.
pub(crate) const LOOK_SOON_MIN: Duration = Duration::from_secs(2);
/// The longest one.
pub(crate) const LOOK_SOON_MAX: Duration = Duration::from_secs(10);
/// After a failed look the SFU is asked at once, and then after this time.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(10);

impl Sessions {
    /// A call may have changed what flows: the session is looked at, at once.
    pub(crate) fn may_have_changed(&mut self, id: &SessionId) {
        if self.rows.get(id).is_some_and(|session| session.size() > 0) {
            self.looks_now.insert(id.clone());
        }
    }

    /// The SFU has reported the state of a session.
    pub(crate) fn looked(&mut self, look: &Look, state: &SfuAnswer, now: Duration) {
        let Some(session) = self.rows.get(&look.id) else { return };
        let is_current = session.calls() == 0 && session.version() == look.version;
        let kinds: Vec<_> = state.tracks.iter().map(|track| self.kind_of(track)).collect();
        self.amend(&look.id, now, |session| session.see(look, state, &kinds, is_current, now));
        if is_current && self.rows.get(&look.id).is_some_and(|session| session.size() == 0) {
            self.looks.clear(&look.id);
        }
    }

    /// A look at a session that takes tracks of which no look has said that they are active.
    pub(crate) fn look_before_close(&self, id: &SessionId) -> Option<Look> {
        self.look_at(id).filter(|_| self.rows.get(id).is_some_and(Session::has_silent))
    }

    /// A look has failed. After [`FAILED_LOOKS_MAX`] in a row the session is over: its tracks are
    /// closed by force.
    pub(crate) fn look_failed(&mut self, id: &SessionId, now: Duration) {
        let Some(session) = self.rows.get_mut(id) else { return };
        let failed = session.look_failed();
        if failed >= FAILED_LOOKS_MAX {
            self.ends.set(id.clone(), now);
            self.changed.insert(id.clone());
        }
        self.looks.set(id.clone(), if failed == 1 { now } else { now.saturating_add(LOOK_AGAIN) });
    }

    /// A look at this session now.
    pub(crate) fn look_at(&self, id: &SessionId) -> Option<Look> {
        Some(Look { id: id.clone(), version: self.rows.get(id)?.version(), is_random: false })
    }

    /// The looks that are due, at most `max`: those at once, which move no other, and those at random times, each of which is due again
    /// at a random time.
    pub(crate) fn take_looks(&mut self, max: usize, now: Duration) -> Vec<Look> {
        let at_once: Vec<_> = std::iter::from_fn(|| self.looks_now.pop_first()).take(max).collect();
        let mut looks: Vec<_> = at_once.iter().filter_map(|id| self.look_at(id)).collect();
        while looks.len() < max
            && let Some(id) = self.looks.pop(now)
        {
            let next = now.saturating_add(self.look_after(&id));
            self.looks.set(id.clone(), next);
            looks.extend(self.look_at(&id).map(|look| Look { is_random: true, ..look }));
        }
        looks
    }

    /// The time until the next look at a session (splitmix64).
    pub(super) fn look_after(&mut self, id: &SessionId) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let (least, most) = match self.rows.get(id) {
            Some(session) if session.is_connecting() => (LOOK_SOON_MIN, LOOK_SOON_MAX),
            _ => (self.terms.look_after_max / 3, self.terms.look_after_max),
        };
        let choices = most.saturating_sub(least).as_secs().saturating_add(1);
        least.saturating_add(Duration::from_secs(
            (mixed ^ (mixed >> 31)).checked_rem(choices).unwrap_or_default(),
        ))
    }
}
