//! A call on a session: checked, promised in the ledger, sent to the SFU, and noted as the SFU answers it.

use std::sync::Arc;
use std::time::Duration;

use turn_ledger::NotAdmitted;

use crate::fault::Fault;
use crate::path::SfuCall;
use crate::proxy::SfuProxy;
use crate::request::{self, RequestedTracks};
use crate::session_id::SessionId;
use crate::taken::Demand;
use crate::upstream::{ForwardedRequest, SfuResponse, is_gone};

/// After this time a client whose pull was refused while minting is stopped may try again.
const FROZEN_RETRY: Duration = Duration::from_secs(60);

impl SfuProxy {
    /// A call on a session that the caller may use.
    pub async fn call(
        self: &Arc<Self>,
        id: SessionId,
        call: SfuCall,
        mut passed: ForwardedRequest,
    ) -> Result<SfuResponse, Fault> {
        let request = request::of_call(call, &passed.body).map_err(|_| Fault::Malformed)?;
        passed.body = request.body.into();
        let wanted = self.with(|sessions, now| {
            let wanted = match call {
                SfuCall::UpdateTracks | SfuCall::UpdateDataChannels => {
                    sessions.check_update(&id, request.wanted)
                }
                _ => sessions.check_request(&id, request.wanted),
            }?;
            sessions.call_begins(&id, wanted.count(), now)?;
            Ok(wanted)
        })?;
        let underway = CallInProgress { proxy: Arc::clone(self), id, asked: wanted.count(), is_known: false };
        let called = async move { underway.call(call, wanted, passed).await };
        tokio::spawn(called).await.unwrap_or(Err(Fault::Unreachable))
    }

    /// Promises what sessions take from others then, before the SFU is asked for it: this one what it pulls, those that opened data channels
    /// the replies on them. Only what is sent to clients is billed, so a spent budget refuses pulls and nothing else.
    async fn ask(&self, id: &SessionId, wanted: &RequestedTracks) -> Result<Demand, Fault> {
        let mut asked = Demand::default();
        if wanted.pulled.is_empty() && wanted.replies.is_empty() {
            return Ok(asked);
        }
        if self.service.broker.is_frozen() {
            return Err(Fault::Spent { retry_in: FROZEN_RETRY });
        }
        let promised = self.with(|sessions, now| {
            let more = sessions.demand(id, &wanted.pulled)?;
            self.service.broker.pull(id.as_str(), more.kbps).map_err(fault_of)?;
            sessions.ask(id, more, now);
            asked = more;
            for channel in &wanted.replies {
                let more = sessions.demand(&channel.session, std::slice::from_ref(channel))?;
                self.service.broker.pull(channel.session.as_str(), more.kbps).map_err(fault_of)?;
                sessions.set_replies(channel, true, now);
            }
            Ok(())
        });
        let is_recorded = promised.is_err() || self.service.broker.recorded().await;
        let result = promised.and(if is_recorded { Ok(asked) } else { Err(Fault::NotRecorded) });
        result.inspect_err(|_| self.take_back(id, wanted, asked))
    }

    /// The SFU has refused this, or was not asked.
    fn take_back(&self, id: &SessionId, wanted: &RequestedTracks, asked: Demand) {
        self.with(|sessions, now| {
            sessions.refused(id, asked, now);
            wanted.replies.iter().for_each(|channel| sessions.set_replies(channel, false, now));
        });
    }
}

fn fault_of(why: NotAdmitted) -> Fault {
    match why {
        NotAdmitted::Refused(refusal) if refusal.user.is_some() => {
            Fault::UserSpent { retry_in: refusal.retry_in() }
        }
        NotAdmitted::Refused(refusal) => Fault::Spent { retry_in: refusal.retry_in() },
        NotAdmitted::UserBlocked => Fault::Blocked,
        NotAdmitted::NotRecorded => Fault::NotRecorded,
        NotAdmitted::ClockInDoubt
        | NotAdmitted::TooManyUsers
        | NotAdmitted::TooManyGrants
        | NotAdmitted::Uncut
        | NotAdmitted::Stopped => Fault::Full,
    }
}

/// A call to the SFU in progress. If it ends without a result, the SFU is asked for the session's state.
struct CallInProgress {
    proxy: Arc<SfuProxy>,
    id: SessionId,
    /// How many tracks and data channels it asks for.
    asked: usize,
    is_known: bool,
}

impl CallInProgress {
    async fn call(
        mut self,
        call: SfuCall,
        wanted: RequestedTracks,
        passed: ForwardedRequest,
    ) -> Result<SfuResponse, Fault> {
        let asked = match self.proxy.ask(&self.id, &wanted).await {
            Ok(asked) => asked,
            Err(refused) => {
                self.is_known = true;
                return Err(refused);
            }
        };
        if call == SfuCall::CloseTracks {
            self.proxy.look_before_close(&self.id).await;
        }
        let returned = self.proxy.upstream.call(&self.id, call, passed).await?;
        self.is_known = !returned.status.is_server_error();
        let answered = returned.answered();
        if answered.is_none() && self.is_known {
            self.proxy.take_back(&self.id, &wanted, asked);
        }
        self.proxy.with(|sessions, now| match (call, answered) {
            (SfuCall::NewTracks | SfuCall::NewDataChannels, Some(answered)) => {
                sessions.answered(&self.id, &wanted, &answered, now);
                sessions.replied(&wanted.replies, &answered, now);
            }
            (SfuCall::UpdateDataChannels, Some(answered)) => {
                sessions.replied(&wanted.replies, &answered, now);
            }
            (SfuCall::CloseTracks | SfuCall::CloseDataChannels, Some(closed)) => {
                sessions.closed(&self.id, &closed, now);
            }
            // The browser connects with the tracks of the call before.
            (SfuCall::Renegotiate, Some(_)) => sessions.may_have_changed(&self.id),
            // A state that comes while a call is in progress is ignored. The end of a session is not.
            (SfuCall::Get, None) if is_gone(returned.status) => sessions.gone(&self.id),
            _ => {}
        });
        Ok(returned)
    }
}

impl Drop for CallInProgress {
    fn drop(&mut self) {
        self.proxy.with(|sessions, _| sessions.call_ends(&self.id, self.asked, self.is_known));
    }
}
