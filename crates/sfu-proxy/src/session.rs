//! One session: its owner, its room and its tracks. The room never changes. What the session takes from others is the sum of the tracks
//! that it has asked for and the SFU has not refused. A track counts from before the SFU is asked until a look does not find it, whoever
//! closed it.

use turn_limits::{Bucket, Rate};

use super::answer::Entry;
use super::name::Name;
use crate::prelude::*;

/// Calls of one session. A page that joins a large room makes some dozens within a second.
pub const CALLS: Rate = Rate::per_second(100, 20);
/// After so many looks in a row without an answer, or without a track that is active, the tracks of a session are closed by force.
pub const FAILED_LOOKS_MAX: u32 = 3;

/// Who calls, as far as the request proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user, by a token of the application's sign-in or by the grant.
    pub user: Option<User>,
    /// The grant, by its token.
    pub grant: Option<GrantId>,
    /// The address that the request comes from.
    pub address: ClientKey,
}

impl Caller {
    /// Whose shares its sessions take.
    pub fn holder(&self) -> Holder {
        Holder::new(self.address, self.user.clone())
    }
}

/// A session as it was opened, or as its row says after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedSession {
    /// Its id.
    pub id: SessionId,
    /// Its room. Without one it can only push.
    pub room: Option<Arc<str>>,
    /// Who opened it.
    pub owner: Caller,
    /// Who spends what it takes.
    pub spender: Option<Arc<Spender>>,
    /// How long it may live from the opening or the restart.
    pub life: Duration,
    /// What it takes from others at that time.
    pub taken: Taken,
}

/// What a session has and does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SessionLoad {
    /// Its tracks and data channels, with those that are asked for.
    pub(super) tracks: usize,
    /// Its calls that are on their way to the SFU.
    pub(super) calls: usize,
    /// What it takes from others.
    pub(super) taken: Taken,
}

/// A session, with the tracks that were asked for and that the SFU has not refused.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The session as it was opened, or as its row says after a restart. A look that finds no track after a restart clears `taken`.
    pub(super) opened: OpenedSession,
    /// When it was opened or, after a restart, restored.
    pub(super) since: Duration,
    tracks: Vec<Track>,
    video: VideoRates,
    /// Only after a restart: a look that begins earlier cannot show that no track is left.
    settles_at: Option<Duration>,
    calls_in_progress: usize,
    calls_so_far: u64,
    rate: Bucket,
    failed_looks: u32,
    /// Whether an operator has ended its room: from then on no page may use it.
    pub(super) is_room_ended: bool,
}

impl Session {
    /// `settles_at`: only for a session that was opened before a restart. Until a look finds no track, such a session takes what its row
    /// says.
    pub(super) fn new(
        session: &OpenedSession,
        settles_at: Option<Duration>,
        since: Duration,
        video: VideoRates,
    ) -> Self {
        Self {
            opened: session.clone(),
            since,
            tracks: vec![],
            video,
            settles_at,
            calls_in_progress: 0,
            calls_so_far: 0,
            rate: Bucket::default(),
            failed_looks: 0,
            is_room_ended: false,
        }
    }

    /// Whether a page may use it.
    pub(super) fn may_be_used(&self) -> bool {
        !self.is_room_ended && !self.is_restored()
    }

    /// Whether it was opened before a restart: no page may use it any more.
    pub(super) fn is_restored(&self) -> bool {
        self.settles_at.is_some()
    }

    pub(super) fn holder(&self) -> Holder {
        self.opened.owner.holder()
    }

    pub(super) fn load(&self) -> SessionLoad {
        SessionLoad { tracks: self.tracks.len(), calls: self.calls_in_progress, taken: self.taken() }
    }

    /// What it takes from others: after a restart what its row says, otherwise the sum of its tracks.
    fn taken(&self) -> Taken {
        if self.is_restored() {
            return self.opened.taken;
        }
        self.tracks.iter().filter(|track| track.is_pulled()).fold(Taken::default(), |taken, track| {
            // The SFU has confirmed a track that has an id.
            let charged = if track.id.is_some() { track.kind.kbps(self.video.estimated) } else { 0 };
            Taken {
                kbps: taken.kbps.saturating_add(track.kind.kbps(self.video.assumed)),
                charged_kbps: taken.charged_kbps.saturating_add(charged),
            }
        })
    }

    /// How many tracks and data channels it is charged for.
    pub(super) fn charged(&self) -> usize {
        self.tracks.iter().filter(|track| track.is_pulled() && track.id.is_some()).count()
    }

    /// Whether others may reply on a data channel that it sends. `None` if it sends none of this name.
    pub(super) fn replies(&self, channel: &Name) -> Option<Replies> {
        self.tracks.iter().find(|track| track.is_own_channel(channel)).map(|track| track.replies)
    }

    /// Sets whether others may reply on a data channel that it sends. What the SFU has granted to one session, it does not take back when
    /// it refuses another one.
    pub(super) fn set_replies(&mut self, channel: &Name, replies: Replies) {
        let own = self.tracks.iter_mut().filter(|track| track.is_own_channel(channel));
        for track in own.filter(|track| track.replies != Replies::Granted) {
            track.replies = replies;
        }
    }

    /// Whether this change could give a track that the session takes a kind with a higher rate. The change is that of the track at its mid.
    /// A track whose id is not known can be that track, and so can any track if the mid is a reference. Without a mid, nothing changes.
    pub(super) fn would_take_more(&self, change: &Pull) -> bool {
        let Some(mid) = &change.mid else { return false };
        let mut pulled = self.tracks.iter().filter(|track| track.direction == Direction::Remote);
        pulled.any(|known| {
            let is_meant = known.id.is_none()
                || mid.is_reference()
                || known.id.as_ref() == Some(&TrackId::Mid(mid.clone()));
            is_meant && known.kind != change.kind && known.kind == MediaKind::Audio
        })
    }

    /// The kind of what it sends under a name; video if that is not known, or if there are several.
    pub(super) fn kind_of(&self, name: &Name) -> MediaKind {
        let sent = self.tracks.iter().filter(|track| track.direction == Direction::Local);
        let sent = sent.filter(|track| track.name.as_ref() == Some(name));
        MediaKind::of_all(sent.map(|track| track.kind).filter(|kind| *kind != MediaKind::Data))
    }

    pub(super) fn has(&self, mid: &Name) -> bool {
        self.tracks.iter().any(|track| track.id.as_ref() == Some(&TrackId::Mid(mid.clone())))
    }

    /// What can be closed at the SFU: the ids of its tracks and data channels, as far as they are known.
    pub(super) fn ids(&self) -> Vec<TrackId> {
        let mut ids: Vec<_> = self.tracks.iter().filter_map(|track| track.id.clone()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Counts a call, or refuses it because the session makes calls too fast.
    pub(super) fn call_begins(&mut self, now: Duration) -> SfuResult<()> {
        if !self.rate.take(CALLS, now) {
            return Err(SfuFault::TOO_FAST);
        }
        self.calls_in_progress = self.calls_in_progress.saturating_add(1);
        Ok(())
    }

    /// Counts what a call asks for. A push with the mid, the name and the kind of a track that the session sends already is that track.
    /// Returns the number of the call.
    pub(super) fn ask(&mut self, wanted: &RequestedTracks) -> u64 {
        let call = self.calls_so_far.saturating_add(1);
        let channel = || Track::pushed(None, None, MediaKind::Data);
        let pushed = wanted.pushed.iter().map(|push| {
            let mid = push.mid.clone().filter(|mid| !mid.is_reference());
            Track::pushed(mid.map(TrackId::Mid), push.name.clone(), push.kind)
        });
        let is_new = |new: &Track| {
            let is_same = |known: &Track| {
                (&known.id, &known.name, known.kind, known.direction)
                    == (&new.id, &new.name, new.kind, new.direction)
            };
            new.id.is_none() || !self.tracks.iter().any(is_same)
        };
        let asked = pushed
            .filter(is_new)
            .chain(wanted.pulled.iter().map(Track::pulled))
            .chain(std::iter::repeat_with(channel).take(wanted.channel_count));
        let asked: Vec<_> = asked.map(|track| Track { call, ..track }).collect();
        self.tracks.extend(asked);
        self.calls_so_far = call;
        call
    }

    /// Takes the SFU's answer to a call. `None`: the SFU has refused all of it.
    pub(super) fn answered(&mut self, call: u64, answer: Option<&SfuAnswer>) {
        let Some(answer) = answer else {
            return self.tracks.retain(|track| track.call != call);
        };
        for entry in &answer.entries {
            let is_asked = |track: &Track| track.call == call && track.may_be(entry);
            if entry.is_refused {
                let is_meant =
                    |track: &Track| is_asked(track) && (track.id.is_none() || track.has_id_of(entry));
                if let Some(nth) = self.tracks.iter().position(is_meant) {
                    self.tracks.remove(nth);
                }
            } else {
                let by_id = |track: &Track| is_asked(track) && track.has_id_of(entry);
                let no_id = |track: &Track| is_asked(track) && track.id.is_none();
                let nth = self.tracks.iter().position(by_id).or_else(|| self.tracks.iter().position(no_id));
                if let Some(mut track) = nth.map(|nth| self.tracks.remove(nth)) {
                    if track.id.is_none() {
                        // The track that had this id before is gone.
                        let is_other =
                            |other: &Track| other.direction != track.direction || !other.has_id_of(entry);
                        self.tracks.retain(is_other);
                    }
                    track.confirm(entry);
                    self.tracks.push(track);
                }
            }
        }
    }

    /// A call has ended. A look that begins before `settles_at` cannot show that what the call asked for is gone.
    pub(super) fn call_ends(&mut self, call: u64, settles_at: Duration) {
        self.calls_in_progress = self.calls_in_progress.saturating_sub(1);
        for track in self.tracks.iter_mut().filter(|track| track.call == call) {
            track.settles_at = Some(settles_at);
        }
    }

    /// Takes the state that the SFU reports to a look, which began at `began`. A track that nobody has asked for counts as video, and so
    /// does a track in whose place the SFU reports another one. A state in which every track is inactive counts as a failed look. Returns
    /// whether the session may go on.
    pub(super) fn see(&mut self, state: &SfuAnswer, began: Duration) -> bool {
        for entry in state.entries.iter().filter(|entry| entry.id.is_some()) {
            let known = self.tracks.iter().position(|track| track.has_id_of(entry));
            let asked = || self.tracks.iter().position(|track| track.id.is_none() && track.may_be(entry));
            let nth = known.or_else(asked).unwrap_or(self.tracks.len());
            // No track of the session fits, so nobody has asked for this one.
            if nth == self.tracks.len() {
                let kind = if entry.is_channel { MediaKind::Data } else { MediaKind::Video };
                let direction = entry.direction.unwrap_or(Direction::Local);
                let settles_at = Some(began);
                self.tracks.push(Track { direction, settles_at, ..Track::pushed(None, None, kind) });
            }
            self.tracks[nth].confirm(entry);
        }
        self.tracks.retain(|track| {
            let is_settled = track.settles_at.is_some_and(|at| at <= began);
            !is_settled || state.entries.iter().any(|entry| track.has_id_of(entry))
        });
        if self.tracks.is_empty() && self.settles_at.is_some_and(|at| at <= began) {
            self.opened.taken = Taken::default();
        }
        let is_inactive = !state.entries.is_empty() && state.entries.iter().all(|entry| entry.is_inactive);
        if is_inactive {
            return self.look_failed();
        }
        self.failed_looks = 0;
        true
    }

    /// Counts a failed look. Returns whether the session may go on.
    pub(super) fn look_failed(&mut self) -> bool {
        self.failed_looks = self.failed_looks.saturating_add(1);
        self.failed_looks < FAILED_LOOKS_MAX
    }
}

// A track or a data channel that a session has, or has asked for. Tests: `src/sessions_tests`.

/// A track or a data channel of a session.
#[derive(Clone, Debug)]
struct Track {
    /// What names it. `None` until the SFU has said so.
    id: Option<TrackId>,
    direction: Direction,
    kind: MediaKind,
    /// The session that sends it, if it is another one.
    from: Option<SessionId>,
    /// The name under which others pull it.
    name: Option<Name>,
    /// Whether other sessions may reply on it, a data channel that this session sends. This session takes the replies.
    replies: Replies,
    /// The number of the call that asked for it.
    call: u64,
    /// A look that begins earlier cannot show that the track is gone. `None` while its call is in progress.
    settles_at: Option<Duration>,
}

impl Track {
    /// A track that the session sends. The caller sets its call.
    fn pushed(id: Option<TrackId>, name: Option<Name>, kind: MediaKind) -> Self {
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
    fn pulled(pull: &Pull) -> Self {
        let (direction, from) = (Direction::Remote, Some(pull.session.clone()));
        Self { direction, from, ..Self::pushed(None, pull.name.clone(), pull.kind) }
    }

    /// Whether the session takes something with it: the track itself, or replies.
    fn is_pulled(&self) -> bool {
        self.direction == Direction::Remote || self.replies != Replies::Refused
    }

    /// Whether it is a data channel of this name that the session sends.
    fn is_own_channel(&self, name: &Name) -> bool {
        self.direction == Direction::Local && self.kind == MediaKind::Data && self.name.as_ref() == Some(name)
    }

    /// Whether the SFU has given it the id of this entry, and the entry does not state the other direction.
    fn has_id_of(&self, entry: &Entry) -> bool {
        self.id.is_some()
            && self.id == entry.id
            && entry.direction.is_none_or(|direction| direction == self.direction)
    }

    /// Whether an entry can be this track, as far as both are known. The ids are not compared.
    fn may_be(&self, entry: &Entry) -> bool {
        let agree = |is_known: bool, is_stated: bool, is_same: bool| !is_known || !is_stated || is_same;
        (self.kind == MediaKind::Data) == entry.is_channel
            && entry.direction.is_none_or(|direction| direction == self.direction)
            && agree(self.from.is_some(), entry.session.is_some(), self.from == entry.session)
            && agree(self.name.is_some(), entry.name.is_some(), self.name == entry.name)
    }

    /// Takes the id, the name and the sending session that the SFU gives to this track. If the entry cannot be what was asked for, the
    /// track can be of any kind, and is charged as video.
    fn confirm(&mut self, entry: &Entry) {
        if !self.may_be(entry) && self.kind == MediaKind::Audio {
            self.kind = MediaKind::Video;
        }
        self.id.clone_from(&entry.id);
        self.name = entry.name.clone().or_else(|| self.name.take());
        self.from = entry.session.clone().or_else(|| self.from.take());
    }
}
