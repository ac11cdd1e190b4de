//! A call on a session: checked, promised in the ledger, sent to the SFU, and recorded as the SFU answers it.

use turn_budget::SpenderKind;
use turn_ledger::NotAdmitted;

use crate::prelude::*;
use crate::upstream::is_gone;

/// How long a client should wait after a pull that was refused because minting is stopped.
const FROZEN_RETRY: Duration = Duration::from_secs(60);

impl SfuProxy {
    /// Makes a call on a session. [`Self::authorize`] has checked that the client may use the session.
    pub async fn call(
        self: &Arc<Self>,
        id: SessionId,
        call: SfuCall,
        mut passed: ForwardedRequest,
    ) -> Returned {
        let request = request::of_call(call, &passed.body)?;
        passed.body = request.body.into();
        let (number, wanted) =
            self.with(|sessions, now| self.begin_call(sessions, &id, call, request.wanted, now))?;
        let in_progress = CallInProgress { proxy: Arc::clone(self), id, number, is_known: false };
        let called = async move { in_progress.call(call, &wanted, passed).await };
        tokio::spawn(called).await.unwrap_or(Err(SfuFault::UNREACHABLE))
    }

    /// Checks a call, and promises what sessions take because of it, before the SFU is asked. This session takes what it pulls. A session
    /// that opened a data channel takes the replies on it. Only what is sent to clients is billed, so a spent budget refuses pulls and
    /// nothing else. Returns the number of the call, and what it asks for.
    fn begin_call(
        &self,
        sessions: &mut Sessions,
        id: &SessionId,
        call: SfuCall,
        wanted: RequestedTracks,
        now: Duration,
    ) -> SfuResult<(u64, RequestedTracks)> {
        let is_update = matches!(call, SfuCall::UpdateTracks | SfuCall::UpdateDataChannels);
        let wanted =
            if is_update { sessions.check_update(id, wanted) } else { sessions.check_request(id, wanted) }?;
        sessions.call_begins(id, now)?;
        if let Err(fault) = self.promise(sessions, id, &wanted) {
            // The call ends without having asked for anything, so its result is known.
            let number = sessions.ask(id, &RequestedTracks::default(), now);
            sessions.call_ends(id, number, true, now);
            return Err(fault);
        }
        let number = sessions.ask(id, &wanted, now);
        Ok((number, wanted))
    }

    /// Promises in the ledger what sessions take because of a call. After an error, all of that is taken back.
    fn promise(&self, sessions: &mut Sessions, id: &SessionId, wanted: &RequestedTracks) -> SfuResult<()> {
        if !wanted.takes() {
            return Ok(());
        }
        if self.service.broker.is_frozen() {
            return Err(SfuFault::SPENT.retry_in(FROZEN_RETRY));
        }
        let promise_pulls = |sessions: &mut Sessions, id: &SessionId, pulled: &[Pull]| {
            let more = sessions.demand(id, pulled).or_else(|too_much| {
                // Tracks that were closed by force count until the next look. If the budget refuses even 1 kbit/s, the budget is the true
                // reason. Otherwise this 1 kbit/s is taken back below.
                self.service.broker.pull(id.as_str(), 1).map_err(fault_of)?;
                Err(too_much)
            })?;
            self.service.broker.pull(id.as_str(), more).map_err(fault_of)
        };
        let promise_all = |sessions: &mut Sessions| {
            promise_pulls(sessions, id, &wanted.pulled)?;
            for channel in &wanted.replies {
                promise_pulls(sessions, &channel.session, std::slice::from_ref(channel))?;
                sessions.set_replies(channel, Replies::Asked);
            }
            Ok(())
        };
        promise_all(sessions).inspect_err(|_| sessions.take_back(id, &wanted.replies))
    }
}

fn fault_of(why: NotAdmitted) -> SfuFault {
    match why {
        NotAdmitted::Refused(refusal) if refusal.limited.is_some() => {
            SfuFault::USER_SPENT.retry_in(refusal.retry_in())
        }
        NotAdmitted::Refused(refusal) => SfuFault::SPENT.retry_in(refusal.retry_in()),
        NotAdmitted::AddressLimit { retry_in } => SfuFault::ADDRESS_SPENT.retry_in(retry_in),
        NotAdmitted::Blocked(SpenderKind::User) => SfuFault::BLOCKED,
        NotAdmitted::Blocked(SpenderKind::Address) => SfuFault::ADDRESS_BLOCKED,
        NotAdmitted::Blocked(_) => SfuFault::SPENDER_BLOCKED,
        NotAdmitted::NotRecorded => SfuFault::NOT_RECORDED,
        NotAdmitted::ClockInDoubt => SfuFault::CLOCK_IN_DOUBT,
        // The first two mean a full table. The ledger refuses no pull for the last two, which are about coturn and about mints.
        NotAdmitted::TooManyUsers
        | NotAdmitted::TooManyGrants
        | NotAdmitted::Uncut
        | NotAdmitted::Stopped => SfuFault::FULL,
    }
}

/// A call to the SFU in progress. If it ends without a result, the SFU is asked for the session's state.
struct CallInProgress {
    proxy: Arc<SfuProxy>,
    id: SessionId,
    /// The number of the call in its session.
    number: u64,
    /// Whether it is known what the SFU did.
    is_known: bool,
}

impl CallInProgress {
    /// Waits until what was promised for the call is on disk, then asks the SFU and takes its answer.
    async fn call(mut self, call: SfuCall, wanted: &RequestedTracks, passed: ForwardedRequest) -> Returned {
        if wanted.takes() && !self.proxy.service.broker.recorded().await {
            self.end(wanted, None);
            return Err(SfuFault::NOT_RECORDED);
        }
        // After an error of the call, or of the SFU itself, nobody knows what the SFU did. Then `drop` makes a look due.
        let returned = self.proxy.upstream.call(&self.id, call, passed).await?;
        if returned.status.is_server_error() {
            return Ok(returned);
        }
        let answered = returned.answered();
        self.end(wanted, answered.as_ref());
        let is_close = matches!(call, SfuCall::CloseTracks | SfuCall::CloseDataChannels);
        self.proxy.with(|sessions, now| match answered {
            Some(_) if is_close => sessions.look_now(&self.id, now),
            // The state that a client's call gets is not used, because other calls may be in progress. That the session is gone is used.
            None if call == SfuCall::Get && is_gone(returned.status) => sessions.remove(&self.id),
            _ => {}
        });
        Ok(returned)
    }

    /// Records the result. `answer`: `None` if the SFU has refused the call, or was not asked.
    fn end(&mut self, wanted: &RequestedTracks, answer: Option<&SfuAnswer>) {
        self.is_known = true;
        let (id, number) = (&self.id, self.number);
        self.proxy.with(|sessions, _| sessions.answered(id, number, &wanted.replies, answer));
    }
}

impl Drop for CallInProgress {
    fn drop(&mut self) {
        self.proxy.with(|sessions, now| sessions.call_ends(&self.id, self.number, self.is_known, now));
    }
}
