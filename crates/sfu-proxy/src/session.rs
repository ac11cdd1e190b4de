//! One session: its owner, its room and its tracks. The room never changes. Each track that it pulls is charged by time from the look
//! at which the SFU reports it active, until one at which it does not.

mod in_call;
pub(crate) mod look;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use turn_ledger::{ClientKey, GrantId, User};
use turn_limits::{Bucket, Holder, Rate};

use super::answer::{ConfirmedTrack, SfuAnswer};
use super::fault::Fault;
use super::name::Name;
use super::request::{Pull, RequestedTracks};
use super::session_id::SessionId;
use super::taken::{Demand, LateTrack, Taken, VideoRates};
use super::track::{Direction, MediaKind, TrackId, TrackKey};
use turn_signaling::call::MemberId;

/// Calls of one session. A page that joins a large room makes some dozens within a second.
pub const CALLS: Rate = Rate::per_second(100, 20);
/// After so many looks in a row without an answer, the tracks of a session are closed by force: nobody knows what it takes.
pub const FAILED_LOOKS_MAX: u32 = 3;

/// So many looks at a new track come soon after each other: a page connects within seconds.
const CONNECTING_LOOKS: u8 = 3;

/// Who calls, as far as the request proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// By a token of the application's sign-in.
    pub user: Option<User>,
    /// By a grant token.
    pub grant: Option<GrantId>,
    /// The address that the request comes from.
    pub address: ClientKey,
}

impl Caller {
    /// Whose shares its sessions take.
    pub fn holder(&self) -> Holder {
        Holder::new(self.address, self.user.clone())
    }

    /// Whether `other` may use a session of this caller that no cookie locks. A user is recognised on any address.
    fn is_same_as(&self, other: &Self) -> bool {
        match (&self.user, self.grant) {
            (Some(user), _) => other.user.as_ref() == Some(user),
            (None, Some(grant)) if other.grant == Some(grant) => true,
            (None, _) => self.address == other.address,
        }
    }
}

/// A session to be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// Its room. Without one it can only push.
    pub room: Option<Arc<str>>,
    /// Who opened it.
    pub owner: Caller,
    /// How long it may live.
    pub life: Duration,
    /// What it takes from others. After a restart, what it took before.
    pub taken: Taken,
}

/// A session that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedSession {
    /// Its id.
    pub id: SessionId,
    /// As it is now; `None` if it has ended.
    pub now: Option<NewSession>,
    /// What it took before the SFU said so, since the last time that this was reported.
    pub late: Vec<LateTrack>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Track {
    kind: MediaKind,
    /// The name that a track which the session sends has for others.
    name: Option<Name>,
    /// Whether another session may reply on it: then a data channel that the session sends brings it something, too.
    takes_replies: bool,
    is_active: bool,
    /// How many looks have shown it.
    looks: u8,
    /// When it was added.
    added_at: Duration,
    /// For how long it was charged since the last look at a random time.
    charged: Duration,
}

impl Track {
    /// Whether it is a data channel that the session sends.
    fn is_own_channel(&self) -> bool {
        self.kind == MediaKind::Data && self.name.is_some()
    }
}

/// A session, with its tracks as the SFU has confirmed them.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) room: Option<Arc<str>>,
    owner: Caller,
    /// Its tracks and data channels.
    tracks: BTreeMap<TrackKey, Track>,
    video: VideoRates,
    calls: usize,
    /// Tracks and data channels that calls in progress ask for.
    coming: usize,
    rate: Bucket,
    /// How often its tracks have changed. A state that was asked for before a change removes nothing after it.
    version: u64,
    /// Its membership in the call, while it has media.
    member: Option<MemberId>,
    /// How often it has become a member.
    joined: u64,
    is_connected: bool,
    /// Tracks and data channels that the SFU is asked for, or was with an unknown result.
    asked: Demand,
    /// What it took before a restart, until the SFU reports its tracks.
    unseen: Option<Taken>,
    /// When the SFU was last asked for its state and answered.
    looked_at: Option<Duration>,
    /// The same, at a random time.
    looked_at_random: Duration,
    /// How many looks have failed since.
    failed_looks: u32,
    late: Vec<LateTrack>,
}

impl Session {
    /// `unseen`: what it took before a restart.
    pub(super) fn new(
        room: Option<Arc<str>>,
        owner: Caller,
        unseen: Option<Taken>,
        video: VideoRates,
    ) -> Self {
        Self {
            room,
            owner,
            tracks: BTreeMap::new(),
            video,
            calls: 0,
            coming: 0,
            rate: Bucket::default(),
            version: 0,
            member: None,
            joined: 0,
            is_connected: false,
            asked: Demand::default(),
            unseen,
            looked_at: None,
            looked_at_random: Duration::ZERO,
            failed_looks: 0,
            late: vec![],
        }
    }

    /// Whether it may take what the SFU has not reported.
    pub(super) fn is_unseen(&self) -> bool {
        self.unseen.is_some() || self.asked.tracks > 0
    }

    pub(super) fn owner(&self) -> &Caller {
        &self.owner
    }

    pub(super) fn holder(&self) -> Holder {
        self.owner.holder()
    }

    pub(super) fn is_owned_by(&self, caller: &Caller) -> bool {
        self.owner.is_same_as(caller)
    }

    /// What it takes from others. Media may begin to flow on a silent track at any time.
    pub(super) fn taken(&self) -> Taken {
        let mut taken = self.unseen.unwrap_or_default();
        taken.kbps = taken.kbps.saturating_add(self.asked.kbps);
        for track in self.pulled() {
            taken.kbps = taken.kbps.saturating_add(track.kind.kbps(self.video.assumed));
            if track.is_active {
                let kbps = track.kind.kbps(self.video.estimated);
                taken.active_kbps = taken.active_kbps.saturating_add(kbps);
            }
        }
        taken
    }

    /// Takes what was active before the SFU said so.
    pub(super) fn take_late(&mut self) -> Vec<LateTrack> {
        std::mem::take(&mut self.late)
    }

    /// Whether something was active before the SFU said so.
    pub(super) fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// How many of the tracks and data channels that it takes are active. Those from before a restart count as video.
    pub(super) fn active(&self) -> usize {
        let unseen = self.unseen.unwrap_or_default().active_kbps.div_ceil(self.video.estimated.max(1));
        let seen = self.pulled().filter(|track| track.is_active).count();
        seen.saturating_add(usize::try_from(unseen).unwrap_or(usize::MAX))
    }

    fn pulled(&self) -> impl Iterator<Item = &Track> {
        let is_pulled =
            |key: &TrackKey, track: &Track| key.direction == Direction::Remote || track.takes_replies;
        self.tracks.iter().filter(move |(key, track)| is_pulled(key, track)).map(|(_, track)| track)
    }

    /// Whether others may reply on a data channel that it sends. `None` if it sends none of this name.
    pub(super) fn takes_replies(&self, channel: &Name) -> Option<bool> {
        let is_meant = |track: &&Track| track.is_own_channel() && track.name.as_ref() == Some(channel);
        self.tracks.values().find(is_meant).map(|track| track.takes_replies)
    }

    /// Others may reply on a data channel that it sends, or may not.
    pub(super) fn set_replies(&mut self, channel: &Name, may_reply: bool) {
        for track in self.tracks.values_mut().filter(|track| track.is_own_channel()) {
            if track.name.as_ref() == Some(channel) {
                track.takes_replies = may_reply;
            }
        }
    }

    /// Whether it takes a track that may have just begun to flow: few looks have shown it, and none of them active.
    pub(super) fn is_connecting(&self) -> bool {
        self.pulled().any(|track| !track.is_active && track.looks < CONNECTING_LOOKS)
    }

    /// Whether it takes a track of which no look has said that it is active.
    pub(super) fn has_silent(&self) -> bool {
        self.pulled().any(|track| !track.is_active)
    }

    /// Whether a track that it takes would be of a kind with a higher rate after this change.
    pub(super) fn would_take_more(&self, change: &Pull) -> bool {
        let Some(mid) = &change.mid else { return false };
        let mut pulled = self.tracks.iter().filter(|(key, _)| key.direction == Direction::Remote);
        pulled.any(|(key, known)| {
            let is_meant = mid.is_reference() || key.id == TrackId::Mid(mid.clone());
            is_meant && known.kind != change.kind && known.kind == MediaKind::Audio
        })
    }

    /// The kind of what it sends under a name; video if that is not known, or if there are several.
    pub(super) fn kind_of(&self, name: &Name) -> MediaKind {
        let sent = self.tracks.values().filter(|track| track.name.as_ref() == Some(name));
        MediaKind::of_all(sent.map(|track| track.kind).filter(|kind| *kind != MediaKind::Data))
    }

    /// Whether it has a track with this mid.
    pub(super) fn has(&self, mid: &Name) -> bool {
        self.tracks.keys().any(|key| key.id == TrackId::Mid(mid.clone()))
    }

    /// The SFU is asked for this of others.
    pub(super) fn ask(&mut self, more: Demand) {
        self.asked.tracks = self.asked.tracks.saturating_add(more.tracks);
        self.asked.kbps = self.asked.kbps.saturating_add(more.kbps);
    }

    /// The SFU has answered a request for this.
    pub(super) fn asked(&mut self, answered: Demand) {
        self.asked.tracks = self.asked.tracks.saturating_sub(answered.tracks);
        self.asked.kbps = self.asked.kbps.saturating_sub(answered.kbps);
    }

    /// The number of its tracks and data channels.
    pub(super) fn size(&self) -> usize {
        self.tracks.len()
    }

    /// The same, with what calls in progress ask for.
    pub(super) fn places(&self) -> usize {
        self.size().saturating_add(self.coming)
    }

    pub(super) fn has_media(&self) -> bool {
        self.tracks.values().any(|track| track.is_active)
    }

    pub(super) fn tracks(&self) -> Vec<TrackKey> {
        self.tracks.keys().cloned().collect()
    }

    /// Whether it is a member of its call.
    pub(super) fn is_in_call(&self) -> bool {
        self.member.is_some()
    }

    /// Calls that are on their way to the SFU.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// `more`: what it asks for.
    pub(super) fn call_begins(&mut self, more: usize, now: Duration) -> Result<(), Fault> {
        if !self.rate.take(CALLS, now) {
            return Err(Fault::TooFast { retry_in: Duration::from_secs(1) });
        }
        self.calls = self.calls.saturating_add(1);
        self.coming = self.coming.saturating_add(more);
        Ok(())
    }

    /// `is_known`: whether its result is. If not, a state that was asked for before says nothing of it.
    pub(super) fn call_ends(&mut self, asked: usize, is_known: bool) {
        self.calls = self.calls.saturating_sub(1);
        self.coming = self.coming.saturating_sub(asked);
        self.version = self.version.saturating_add(u64::from(!is_known));
    }

    /// Adds the tracks of an answer to a request for new ones. What it takes is active once a look says so, but for data channels.
    pub(super) fn add(&mut self, wanted: &RequestedTracks, answered: &SfuAnswer, now: Duration) {
        self.version = self.version.saturating_add(1);
        self.asked(Demand::of(&wanted.pulled, self.video));
        for ConfirmedTrack { id, direction, session, name, .. } in &answered.tracks {
            let is_pulled_too = wanted.pulled.iter().any(|pull| pull.name == *name);
            let named = name.as_ref().filter(|_| !is_pulled_too);
            let push = wanted.pushed.iter().find(|push| push.is(id, named));
            let is_pushed = push.is_some() && *direction != Some(Direction::Remote);
            let is_local = wanted.pulled.is_empty() || is_pushed;
            let is_channel = matches!(id, TrackId::Channel(_));
            let kind = match push {
                _ if is_channel => MediaKind::Data,
                _ if !is_local => kind_of_pull(wanted, session.as_ref(), name.as_ref()),
                push => push.map_or(MediaKind::Video, |push| push.kind),
            };
            let of_push = push.and_then(|push| push.name.as_ref());
            let track = Track {
                kind,
                name: of_push.or(name.as_ref()).filter(|_| is_local).cloned(),
                takes_replies: false,
                is_active: is_local || is_channel,
                looks: 0,
                added_at: now,
                charged: Duration::ZERO,
            };
            let direction = if is_local { Direction::Local } else { Direction::Remote };
            self.tracks.entry(TrackKey { id: id.clone(), direction }).or_insert(track);
        }
    }

    /// Removes the tracks of an answer that confirms their end.
    pub(super) fn remove(&mut self, closed: &SfuAnswer) {
        self.version = self.version.saturating_add(1);
        self.tracks.retain(|key, _| !closed.tracks.iter().any(|track| track.id == key.id));
    }
}

/// The kind of a track that the SFU has confirmed, among those that a request asks for; video if it cannot be told.
fn kind_of_pull(wanted: &RequestedTracks, session: Option<&SessionId>, name: Option<&Name>) -> MediaKind {
    let is_meant = |pull: &&Pull| {
        session.is_none_or(|session| *session == pull.session)
            && (name.is_none() || pull.name.as_ref() == name)
    };
    MediaKind::of_all(wanted.pulled.iter().filter(is_meant).map(|pull| pull.kind))
}
