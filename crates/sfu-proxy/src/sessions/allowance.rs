//! What a session may ask for: tracks of its own room, at assumed rates, within the bounds and the allowance of its client. A
//! session can ask to reply on a data channel of another one: the session that opened the channel takes the replies.

use super::PER_SESSION_MAX;
use crate::addresses::TRACKS;
use crate::prelude::*;

impl Sessions {
    /// Checks what a session wants to push and pull: everything it pulls is of its own room, and no bound is exceeded. Returns what it
    /// wants in addition to what it has, with the kind of each pull as the sending session has pushed it.
    pub(crate) fn check_request(&self, id: &SessionId, asked: RequestedTracks) -> SfuResult<RequestedTracks> {
        let mut wanted = self.check_rooms(id, asked)?;
        let session = self.rows.get(id).ok_or(SfuFault::GONE)?;
        // An offer also has the mids that the session has already. With `autoDiscover` they come as pushes without a name.
        let is_new =
            |push: &Push| push.name.is_some() || push.mid.as_ref().is_none_or(|mid| !session.has(mid));
        wanted.pushed.retain(is_new);
        let more = wanted.count();
        let tracks = &self.addresses.tracks;
        if session.load().tracks.saturating_add(more) > PER_SESSION_MAX
            || tracks.full(&session.holder(), more, TRACKS).is_some()
        {
            return Err(SfuFault::TOO_MANY_TRACKS);
        }
        if tracks.all().saturating_add(more) > TRACKS.all_max {
            return Err(SfuFault::FULL);
        }
        Ok(wanted)
    }

    /// Checks a change of what a session takes already. A change reserves nothing, so no track may take more than before: such a change is
    /// refused like a malformed one. Only new replies on data channels take more: these are returned.
    pub(crate) fn check_update(&self, id: &SessionId, wanted: RequestedTracks) -> SfuResult<RequestedTracks> {
        let wanted = self.check_rooms(id, wanted)?;
        let session = self.rows.get(id).ok_or(SfuFault::GONE)?;
        if wanted.pulled.iter().any(|pull| session.would_take_more(pull)) {
            return Err(SfuFault::MALFORMED);
        }
        Ok(RequestedTracks { replies: wanted.replies, ..RequestedTracks::default() })
    }

    /// Counts a call that goes to the SFU, or refuses it because there are too many. The caller must call [`Self::call_ends`] at its end.
    pub(crate) fn call_begins(&mut self, id: &SessionId, now: Duration) -> SfuResult<()> {
        let holder = self.rows.get(id).ok_or(SfuFault::GONE)?.holder();
        self.addresses.check_calls(&holder)?;
        self.amend(id, |session| session.call_begins(now)).unwrap_or(Err(SfuFault::GONE))
    }

    /// Counts what a call asks for, already before the SFU answers. So calls at the same time do not ask for more than there is room for.
    /// A call that asks for tracks begins the looks at the session, unless a look is due already. Returns the number of the call.
    pub(crate) fn ask(&mut self, id: &SessionId, wanted: &RequestedTracks, now: Duration) -> u64 {
        if wanted.count() > 0 && self.looks.of(id).is_none() {
            self.looks.set(id.clone(), now.saturating_add(self.terms.look_interval));
        }
        self.amend(id, |session| session.ask(wanted)).unwrap_or_default()
    }

    /// Counts a call as ended. `is_known`: its result is known; if not, the session is looked at.
    pub(crate) fn call_ends(&mut self, id: &SessionId, call: u64, is_known: bool, now: Duration) {
        let settles_at = now.saturating_add(self.terms.look_interval);
        self.amend(id, |session| session.call_ends(call, settles_at));
        if !is_known {
            self.look_now(id, now);
        }
    }

    /// Checks that everything a session pulls is of the session's own room: a session without a room may pull nothing. Returns what the
    /// session wants with the kind of each pull as the sending session has pushed it, and with new replies only.
    fn check_rooms(&self, id: &SessionId, mut wanted: RequestedTracks) -> SfuResult<RequestedTracks> {
        let session = self.rows.get(id).ok_or(SfuFault::GONE)?;
        let room = session.opened.room.as_ref();
        for Pull { session: from, name, kind, .. } in &mut wanted.pulled {
            let sender = self.rows.get(from).filter(|row| room.is_some() && row.opened.room.as_ref() == room);
            let sender = sender.ok_or(SfuFault::OTHER_ROOM)?;
            if let Some(name) = name
                && *kind != MediaKind::Data
            {
                *kind = sender.kind_of(name);
            }
        }
        wanted.replies = self.new_replies(wanted.replies)?;
        Ok(wanted)
    }

    /// The channels on which the SFU has let nobody reply yet, each once. Each is also a pull, so [`Self::check_rooms`] has checked its room.
    fn new_replies(&self, wanted: Vec<Pull>) -> SfuResult<Vec<Pull>> {
        if wanted.len() > PER_SESSION_MAX {
            return Err(SfuFault::TOO_MANY_TRACKS);
        }
        let mut new = vec![];
        for channel in wanted {
            let publisher = self.rows.get(&channel.session).zip(channel.name.as_ref());
            let replies = publisher.and_then(|(row, name)| row.replies(name));
            if replies.ok_or(SfuFault::NO_CHANNEL)? != Replies::Granted && !new.contains(&channel) {
                new.push(channel);
            }
        }
        Ok(new)
    }

    /// Sets whether others may reply on a data channel. Unless they are refused, the session that opened the channel takes one track more.
    pub(crate) fn set_replies(&mut self, channel: &Pull, replies: Replies) {
        let Some(name) = &channel.name else { return };
        self.amend(&channel.session, |session| session.set_replies(name, replies));
    }

    /// What these pulls ask for at assumed rates, in kbit/s. An error if a share of the session's holder would then take more than it may.
    pub(crate) fn demand(&self, id: &SessionId, pulled: &[Pull]) -> SfuResult<u32> {
        let rates = pulled.iter().map(|pull| pull.kind.kbps(self.terms.video.assumed));
        let demand = rates.fold(0_u32, u32::saturating_add);
        let size = |kbps: u32| usize::try_from(kbps).unwrap_or(usize::MAX);
        let (more, bounds) = (size(demand), Bounds::per_client(size(self.terms.client_kbps)));
        match self.addresses.kbps.full(&self.rows.get(id).ok_or(SfuFault::GONE)?.holder(), more, bounds) {
            Some(_) => Err(SfuFault::TOO_MUCH),
            None => Ok(demand),
        }
    }

    /// Takes back what was promised for a call that is not made: the ledger gets again what the session takes, and what the sessions take
    /// that opened the channels of `replies`.
    pub(crate) fn take_back(&mut self, id: &SessionId, replies: &[Pull]) {
        for channel in replies {
            self.set_replies(channel, Replies::Refused);
            self.report(&channel.session, false);
        }
        self.report(id, false);
    }
}
