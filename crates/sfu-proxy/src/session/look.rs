//! What a look at the SFU's state says about a session: which tracks it has, and for how long each was active without being charged.

use std::time::Duration;

use super::{Session, Track};
use crate::answer::SfuAnswer;
use crate::session_id::SessionId;
use crate::taken::{Demand, LateTrack};
use crate::track::{Direction, MediaKind, TrackId, TrackKey};

/// A look at one session: the SFU must be asked for its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// The session.
    pub id: SessionId,
    /// The session's version. The answer only adds if it has changed.
    pub version: u64,
    /// Whether its time is random, so that no client knows it.
    pub is_random: bool,
}

impl Session {
    /// Takes the state that the SFU reports. `is_current`: nothing has changed since it was asked for. Otherwise the state only adds
    /// what is active, so that a client that calls all the time is charged too. `kinds`: those of its tracks, one for each, where the
    /// sender is known. A pull can be changed to another track, so one that has had two kinds counts as video. After a restart nobody says
    /// on which of its data channels others may reply: on as many as it needs to take what it took before.
    pub(crate) fn see(
        &mut self,
        look: &Look,
        state: &SfuAnswer,
        kinds: &[Option<MediaKind>],
        is_current: bool,
        now: Duration,
    ) {
        let last = self.looked_at.unwrap_or_default();
        self.charge_active(last, now);
        let mut before = self.tracks.clone();
        if is_current {
            self.tracks.clear();
            self.asked = Demand::default();
        }
        for (track, kind) in state.tracks.iter().zip(kinds) {
            let key =
                TrackKey { id: track.id.clone(), direction: track.direction.unwrap_or(Direction::Local) };
            if !is_current && !track.is_active {
                continue;
            }
            let is_channel = matches!(key.id, TrackId::Channel(_));
            let of_sender = kind.filter(|_| key.direction == Direction::Remote || is_channel);
            let mut seen = before.remove(&key).unwrap_or(Track {
                kind: of_sender.unwrap_or(MediaKind::Video),
                name: track.name.clone().filter(|_| key.direction == Direction::Local),
                takes_replies: false,
                is_active: false,
                looks: 0,
                added_at: self.looked_at.unwrap_or(now),
                charged: Duration::ZERO,
            });
            seen.kind = MediaKind::of_all([seen.kind].into_iter().chain(of_sender));
            if (key.direction == Direction::Remote || seen.takes_replies) && track.is_active {
                self.charge_late(&mut seen, look, last, now);
            }
            (seen.is_active, seen.looks) = (track.is_active, seen.looks.saturating_add(1));
            self.tracks.insert(key, seen);
        }
        let before_restart = self.unseen.take().unwrap_or_default().kbps;
        while self.taken().kbps < before_restart
            && let Some(channel) =
                self.tracks.values_mut().find(|track| track.is_own_channel() && !track.takes_replies)
        {
            channel.takes_replies = true;
        }
        if look.is_random {
            self.looked_at_random = now;
            self.tracks.values_mut().for_each(|track| track.charged = Duration::ZERO);
        }
        (self.looked_at, self.failed_looks) = (Some(now), 0);
    }

    /// What was active at the last look has been charged since.
    fn charge_active(&mut self, last: Duration, now: Duration) {
        for track in self.tracks.values_mut().filter(|track| track.is_active) {
            track.charged = track.charged.saturating_add(now.saturating_sub(last.max(track.added_at)));
        }
    }

    /// A track that a look shows active was active since the look before it, or since it was added. At a look at a random time that holds
    /// since the random look before: no client knows these times, so a track is active at that part of them which is the part of the
    /// time in which it is.
    fn charge_late(&mut self, track: &mut Track, look: &Look, last: Duration, now: Duration) {
        let since = |at: Duration| now.saturating_sub(at.max(track.added_at));
        let span = match (look.is_random, track.is_active) {
            (true, _) => since(self.looked_at_random).saturating_sub(track.charged),
            (false, true) => Duration::ZERO,
            (false, false) => since(last),
        };
        if !span.is_zero() {
            self.late.push(LateTrack { kbps: track.kind.kbps(self.video.estimated), span });
        }
        track.charged = track.charged.saturating_add(span);
    }

    /// A look has failed. Returns how many have failed in a row.
    pub(crate) fn look_failed(&mut self) -> u32 {
        self.failed_looks = self.failed_looks.saturating_add(1);
        self.failed_looks
    }
}
