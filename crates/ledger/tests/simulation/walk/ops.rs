//! The operations of a scenario.

use super::prelude::*;

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// Time passes while credential holders relay at a share of the maximum rate, in 256ths.
    Wait { millis: u64, share: u64 },
    /// The wall clock is set back.
    ClockBack { millis: i64 },
    /// The wall clock is right from now on.
    ClockRight,
    /// The wall clock is set ahead, and back at once.
    ClockGlitch { millis: i64 },
    /// The wall clock is set ahead and stays there.
    ClockStep { millis: u64 },
    /// The virtual machine is paused while its clients relay. The time since boot stops, the wall clock does not. Afterwards
    /// the wall clock is right.
    Pause { millis: u64, share: u64 },
    /// The machine is off for a while and starts again. Then the wall clock is behind.
    Reboot { millis: u64, share: u64, behind: i64 },
    /// A replica leads on for a while, and writes nothing any more. Later another one opens the books from what was written. It has followed
    /// their time, and its wall clock is behind.
    TakeOver { lost: u64, millis: u64, share: u64, behind: i64 },
    /// A client gets a credential that the provider creates after `delay` milliseconds.
    Mint { life: u64, delay: u64 },
    /// A client gets a credential that was minted ahead, `age` seconds ago. Nobody had it before.
    MintFromPool { life: u64, age: u64 },
    /// Budget is reserved for a credential, which may renew the newest grant, and the provider is asked.
    Reserve { life: u64, is_renewal: bool },
    /// The provider has answered: the oldest credential that waits for it is put into the books.
    Commit,
    /// The outcome of the write of the oldest credential that waits for it is known. The client gets it if it was written.
    Settle { written: Written },
    /// A client renews one of its grants.
    Renew { nth: u64, life: u64, delay: u64 },
    /// A client waits until it may renew one of its grants, and renews it.
    RenewWhenDue { nth: u64, life: u64, delay: u64 },
    /// The provider fails, or its response comes after our timeout. No client has that credential.
    MintFails { life: u64 },
    /// The grant is not written, or the outcome is unknown. The credential is not handed out.
    MintUnwritten { life: u64, written: Written },
    /// The process dies after the grant is written. The client may have received the response.
    CrashAfterCommit { life: u64 },
    /// A client opens a connection on one of its grants. Its claim about the route may be false.
    Open { nth: u64, relayed: Option<bool> },
    /// A client sends a report, which may be false.
    Beat { nth: u64, bytes: Option<u64>, relayed: Option<bool> },
    /// A client closes its connection.
    Close { nth: u64 },
    /// The operator revokes a credential. Its holder continues to relay.
    Revoke { nth: u64 },
    /// A client hangs up `after` so many milliseconds.
    HangUp { nth: u64, after: u64 },
    /// A client that has hung up relays again with the same credential.
    ComeBack { nth: u64 },
    /// The operator blocks a user, and may revoke what the user has, or ends that.
    Block { user: u64, is_blocked: bool, revokes: bool },
    /// The operator stops all minting, or ends that.
    Freeze(bool),
    /// A copy of the ledger is made.
    Copy,
    /// The last copy is restored.
    Restore,
    /// The volume of the ledger is lost: it begins anew.
    LoseLedger,
    /// The operator overrides the limit, in percent of the configured one.
    Limit { percent: u64 },
    /// The provider never counts what is relayed from now on for so long.
    LoseCounts { millis: u64 },
    /// The operator replaces the TURN key. Running calls continue.
    ReplaceKey,
    /// The keys that were replaced are ours again, and what was relayed under them.
    KeyReturns,
    /// A page opens a session at the SFU.
    OpenPage,
    /// A page asks for more tracks, which come into effect late. The SFU may refuse, and its answer may be lost.
    Pull { nth: u64, more: u64, is_answered: bool },
    /// Media begin or end to flow on tracks of a page.
    Stream { nth: u64, active: u64 },
    /// A page closes a track. The SFU may do so late.
    CloseTracks { nth: u64 },
    /// A page leaves.
    LeavePage { nth: u64 },
    /// The SFU does not answer the broker for a while.
    SfuDown { millis: u64 },
    /// The provider's count is read up to `back` milliseconds ago. Sampling misses `missed` thousandths of it.
    Read { back: u64, missed: u64 },
    /// The count of the whole previous period is read. Sampling misses `missed` thousandths of it.
    ReadLast { missed: u64 },
    /// From now on the provider counts bytes so late.
    Late { millis: u64 },
    /// The next credentials come from another of the sources.
    From { nth: u64 },
    /// The next operations of coturn are about this one.
    At { relay: usize },
    /// coturn dies, and its clients hang up.
    Die,
    /// It runs again.
    Return,
    /// A user of a program that knows coturn's secret relays more.
    Foreign { user: u64, steps: u64 },
    /// From now on coturn behaves like this.
    Coturn(Cli),
    /// coturn starts again, perhaps while its listing is on its way. It numbers its sessions from the beginning, and clients come back.
    RestartCoturn,
    /// No process runs for a while.
    Down { millis: u64, share: u64 },
    /// The relay's own count is read. Then it ends what relays on revoked grants, with `is_slow` only on some of them.
    ReadRelay { is_slow: bool },
    /// A member joins a call. Its session reports for it.
    Join { life: u64 },
    /// A member leaves its call, so its grant is revoked with its renewals.
    Leave { nth: u64 },
    /// The sessions of all members report that they go on.
    KeepCalls,
    /// The process is restarted with another setting.
    Change(Change),
    /// The app server opens a connection. It is not under a credential of ours.
    ReporterOpens { relayed: Option<bool> },
    /// The app server reports on it.
    ReporterBeats { bytes: Option<u64> },
    /// The app server reports on the connection of a client.
    ReporterVouches { nth: u64, bytes: Option<u64>, relayed: Option<bool> },
    /// The app server closes it.
    ReporterCloses,
    /// The provider's count is read and is wrong, between right ones: so many percent of the last one.
    ReadWrong { percent: u64 },
    /// The provider's count is read up to a time in the future. It contains the bytes until now.
    ReadAhead { millis: u64 },
    /// All changes are written to disk.
    Flush,
    /// The process is killed and started again.
    Crash,
}

impl Op {
    /// Whether it can make the bound not hold for a while, and for how long at most beyond the end of all credentials of now, in
    /// milliseconds.
    pub(crate) fn disturbs(self) -> Option<u64> {
        match self {
            // They have ended, and then the jump's length has passed. A jump is accepted later.
            Self::ClockStep { millis } | Self::Pause { millis, .. } => Some(2 * millis),
            Self::Reboot { millis, behind, .. } => Some(2 * (millis + behind.unsigned_abs())),
            Self::TakeOver { behind, .. } => (behind != 0).then_some(2 * behind.unsigned_abs()),
            Self::ClockGlitch { .. }
            | Self::Change(_)
            | Self::Coturn(_)
            | Self::Die
            | Self::Down { .. }
            | Self::KeyReturns
            | Self::Late { .. }
            | Self::LoseLedger
            | Self::ReadAhead { .. }
            | Self::ReadWrong { .. }
            | Self::ReporterBeats { .. }
            | Self::ReporterCloses
            | Self::ReporterOpens { .. }
            | Self::ReporterVouches { .. }
            | Self::Restore => Some(0),
            _ => None,
        }
    }

    /// Whether it brings no evidence: nothing is counted, and no app server says anything.
    pub(crate) fn is_silent(self) -> bool {
        matches!(self, Self::Wait { .. } | Self::Change(Change::BillingDay(_)) | Self::Down { .. })
    }

    /// Whether a process starts or goes on at its end.
    pub(crate) fn begins(self) -> bool {
        let is_start = matches!(
            self,
            Self::Crash | Self::CrashAfterCommit { .. } | Self::Change(_) | Self::Restore | Self::LoseLedger
        );
        is_start
            || matches!(
                self,
                Self::Pause { .. } | Self::Down { .. } | Self::Reboot { .. } | Self::TakeOver { .. }
            )
    }
}
