//! The bounds on the sessions of one address or user, and on what those sessions have. The bounds of an IPv6 /48 are four times those of an
//! address, and the bounds of all users of an address ten times.

use turn_limits::{Counts, PerHolder, Rate, SHARES};

use crate::prelude::*;

/// The most sessions of one address or user. A page has one, so this is a large office.
pub(crate) const PER_ADDRESS_MAX: usize = 64;
/// The bounds on tracks and data channels.
pub(crate) const TRACKS: Bounds =
    Bounds { client_max: TRACKS_PER_ADDRESS_MAX, all_max: SHARES * TRACKS_PER_ADDRESS_MAX };
/// The bounds on calls of clients that are on their way to the SFU. Further calls are refused, so that they do not pile up while the SFU
/// does not answer.
const CALLS: Bounds = Bounds { client_max: CALLS_PER_ADDRESS_MAX, all_max: SHARES * CALLS_PER_ADDRESS_MAX };
/// The most tracks and data channels of the sessions of one address or user.
pub(crate) const TRACKS_PER_ADDRESS_MAX: usize = 8_192;
/// The most calls of one address or user that are on their way. A page waits for each of its calls, so this is a large office.
pub(crate) const CALLS_PER_ADDRESS_MAX: usize = 64;
/// The rate of new sessions of one address or user. A page that cannot connect asks again after 0.25 to 10 s.
pub(crate) const NEW_SESSIONS: Rate = Rate::per_second(20, 1);
/// Addresses that have a rate of their own, half for each address family.
pub(crate) const ADDRESSES_MAX: usize = 65_536;

/// What all holders of sessions have. A holder is an address or a user.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    /// The rate of each holder's new sessions: see [`NEW_SESSIONS`].
    pub(super) new_sessions: PerHolder,
    /// Sessions, with those that are being opened.
    pub(super) sessions: Counts,
    /// Tracks and data channels of the sessions, with those that are asked for.
    pub(super) tracks: Counts,
    /// Calls of clients that are on their way to the SFU, with those that open a session. Calls of the broker do not count, so that
    /// clients cannot prevent them.
    pub(super) calls: Counts,
    /// What the sessions take at assumed rates, in kbit/s.
    pub(super) kbps: Counts,
}

impl Default for Addresses {
    fn default() -> Self {
        let (sessions, tracks, calls, kbps) = Default::default();
        Self { new_sessions: PerHolder::new(NEW_SESSIONS, ADDRESSES_MAX), sessions, tracks, calls, kbps }
    }
}

impl Addresses {
    /// Checks that there is room for one more call of a holder, among the holder's calls and among those of all holders.
    pub(super) fn check_calls(&self, holder: &Holder) -> SfuResult<()> {
        if self.calls.full(holder, 1, CALLS).is_some() {
            return Err(SfuFault::TOO_FAST);
        }
        if self.calls.all() >= CALLS.all_max { Err(SfuFault::FULL) } else { Ok(()) }
    }

    /// Counts `after` in place of `before` for one session of the holder.
    pub(super) fn replace(&mut self, holder: &Holder, before: SessionLoad, after: SessionLoad) {
        self.tracks.replace(holder, before.tracks, after.tracks);
        self.calls.replace(holder, before.calls, after.calls);
        self.kbps.replace(holder, kbps(before), kbps(after));
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let counts = [&self.sessions, &self.tracks, &self.calls, &self.kbps];
        self.new_sessions.is_empty() && counts.iter().all(|counts| counts.is_empty())
    }
}

fn kbps(load: SessionLoad) -> usize {
    usize::try_from(load.taken.kbps).unwrap_or(usize::MAX)
}
