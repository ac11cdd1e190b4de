//! One session: its owner, its room and its tracks. The room never changes. Each track that it pulls is charged by time while the
//! track is active.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use turn_ledger::{ClientKey, GrantId, User};
use turn_limits::{Bucket, Rate};

use super::SessionId;
use super::body::{ConfirmedTrack, RequestedTracks, SfuAnswer, TrackId};
use super::fault::Fault;
use crate::call::{CallEvent, CallName, MediaAfter, MemberId, ProtocolName};

/// Calls of one session. A page that joins a large room makes some dozens within a second.
pub const CALLS: Rate = Rate::per_second(100, 20);

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

/// Tracks and data channels that a session takes from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// All of them, those that the SFU is being asked for included.
    pub tracks: u32,
    /// Those on which media flow.
    pub active: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Track {
    is_pulled: bool,
    is_active: bool,
}

/// The entry of a track. Of the data channels only those that are pulled are kept: what a session sends is not billed.
fn kept(track: &ConfirmedTrack, is_pulled: bool) -> Option<(TrackId, Track)> {
    let is_kept = is_pulled || matches!(track.id, TrackId::Mid(_));
    is_kept.then(|| (track.id.clone(), Track { is_pulled, is_active: track.is_active }))
}

/// A session, with its tracks as the SFU has confirmed them.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) room: Option<Arc<str>>,
    owner: Caller,
    /// Its tracks, and the data channels that it takes from others.
    tracks: BTreeMap<TrackId, Track>,
    calls: usize,
    rate: Bucket,
    /// How often its tracks have changed. A state that was asked for before a change removes nothing after it.
    version: u64,
    /// Its membership in the call, while it has media.
    member: Option<MemberId>,
    /// How often it has become a member.
    joined: u64,
    is_connected: bool,
    /// Tracks and data channels that the SFU is asked for, or was with an unknown result.
    asked: usize,
    /// What it took before a restart, until the SFU reports its tracks.
    unseen: Option<Taken>,
}

impl Session {
    /// `unseen`: what it took before a restart.
    pub(super) fn new(room: Option<Arc<str>>, owner: Caller, unseen: Option<Taken>) -> Self {
        Self {
            room,
            owner,
            tracks: BTreeMap::new(),
            calls: 0,
            rate: Bucket::default(),
            version: 0,
            member: None,
            joined: 0,
            is_connected: false,
            asked: 0,
            unseen,
        }
    }

    /// Whether it may take what the SFU has not reported.
    pub(super) fn is_unseen(&self) -> bool {
        self.unseen.is_some() || self.asked > 0
    }

    pub(super) fn owner(&self) -> &Caller {
        &self.owner
    }

    pub(super) fn address(&self) -> ClientKey {
        self.owner.address
    }

    pub(super) fn is_owned_by(&self, caller: &Caller) -> bool {
        self.owner.is_same_as(caller)
    }

    /// What it takes from others. Media may begin to flow on a silent track at any time.
    pub(super) fn taken(&self) -> Taken {
        let Taken { tracks, active } = self.unseen.unwrap_or_default();
        let pulled = || self.tracks.values().filter(|track| track.is_pulled);
        let plus = |sum: u32, more: usize| sum.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        let all = self.asked.saturating_add(pulled().count());
        Taken {
            tracks: plus(tracks, all),
            active: plus(active, pulled().filter(|track| track.is_active).count()),
        }
    }

    /// The SFU is asked for so many tracks and data channels of others.
    pub(super) fn ask(&mut self, more: usize) {
        self.asked = self.asked.saturating_add(more);
    }

    /// The SFU has answered a request for so many.
    pub(super) fn asked(&mut self, answered: usize) {
        self.asked = self.asked.saturating_sub(answered);
    }

    /// The number of its tracks, and of the data channels that it takes from others.
    pub(super) fn size(&self) -> usize {
        self.tracks.len()
    }

    pub(super) fn has_media(&self) -> bool {
        self.tracks.values().any(|track| track.is_active)
    }

    pub(super) fn tracks(&self) -> Vec<TrackId> {
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

    pub(super) fn call_begins(&mut self, now: Duration) -> Result<(), Fault> {
        if !self.rate.take(CALLS, now) {
            return Err(Fault::TooFast { retry_in: Duration::from_secs(1) });
        }
        self.calls = self.calls.saturating_add(1);
        Ok(())
    }

    /// `is_known`: whether its result is. If not, a state that was asked for before says nothing of it.
    pub(super) fn call_ends(&mut self, is_known: bool) {
        self.calls = self.calls.saturating_sub(1);
        self.version = self.version.saturating_add(u64::from(!is_known));
    }

    /// Adds the tracks of an answer to a request for new ones.
    pub(super) fn add(&mut self, wanted: &RequestedTracks, answered: &SfuAnswer) {
        self.version = self.version.saturating_add(1);
        self.asked(wanted.pulled.len());
        let only_pulls = wanted.pushed == 0;
        let is_pulled = |track: &ConfirmedTrack| !wanted.pulled.is_empty() && (track.is_pulled || only_pulls);
        self.tracks.extend(answered.tracks.iter().filter_map(|track| kept(track, is_pulled(track))));
    }

    /// Removes the tracks of an answer that confirms their end.
    pub(super) fn remove(&mut self, closed: &SfuAnswer) {
        self.version = self.version.saturating_add(1);
        for track in &closed.tracks {
            self.tracks.remove(&track.id);
        }
    }

    /// Takes the state that the SFU reports. `is_current`: nothing has changed since it was asked for. Otherwise the state only adds
    /// what is active, so that a client that calls all the time is charged too.
    pub(super) fn see(&mut self, state: &SfuAnswer, is_current: bool) {
        if is_current {
            self.tracks.clear();
            self.asked = 0;
        }
        let active = state.tracks.iter().filter(|track| is_current || track.is_active);
        self.tracks.extend(active.filter_map(|track| kept(track, track.is_pulled)));
        self.unseen = None;
    }

    /// The session becomes a member of its call. `None` if it is one already, or has no room.
    pub(super) fn join(&mut self, id: &SessionId) -> Option<CallEvent> {
        let call = self.call()?;
        if self.member.is_some() {
            return None;
        }
        self.joined = self.joined.saturating_add(1);
        let member = match self.joined {
            1 => MemberId(id.as_str().into()),
            again => MemberId(format!("{id}#{again}").into()),
        };
        self.member = Some(member.clone());
        self.is_connected = false;
        // No grant: its pulled tracks are charged already, and relaying between TURN and the SFU is free.
        Some(CallEvent::Joined { call, member, user: self.owner.user.clone(), grant: None })
    }

    /// The session pulls its first track. `None` unless it is a member that was not connected.
    pub(super) fn connect(&mut self) -> Option<CallEvent> {
        let call = self.call().filter(|_| self.member.is_some() && !self.is_connected)?;
        self.is_connected = true;
        Some(CallEvent::Connected { call })
    }

    /// The session leaves its call.
    pub(super) fn leave(&mut self) -> Option<CallEvent> {
        let (call, member) = (self.call()?, self.member.take()?);
        Some(CallEvent::Left { call, member, media: MediaAfter::Ends })
    }

    fn call(&self) -> Option<CallName> {
        Some(CallName { protocol: ProtocolName::Sfu, room: Arc::clone(self.room.as_ref()?) })
    }
}
