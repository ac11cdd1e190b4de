//! The operations of a scenario, and their random choice.

use turn_ledger::books::Written;
use turn_ledger::source::IceSource;

use super::coturn::Cli;
use super::settings::Change;

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
    /// A client gets a credential that the provider creates after `delay` milliseconds.
    Mint { life: u64, delay: u64 },
    /// A client gets a credential that was minted ahead, `age` seconds ago. Nobody had it before.
    MintFromPool { life: u64, age: u64 },
    /// A client renews one of its grants.
    Renew { nth: u64, life: u64, delay: u64 },
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
    /// The operator overrides the limit, in percent of the configured one.
    Limit { percent: u64 },
    /// The operator replaces the TURN key. Running calls continue.
    ReplaceKey,
    /// The provider's count is read up to `back` milliseconds ago. Sampling misses `missed` thousandths of it.
    Read { back: u64, missed: u64 },
    /// The count of the whole previous period is read. Sampling misses `missed` thousandths of it.
    ReadLast { missed: u64 },
    /// From now on the provider counts bytes so late.
    Late { millis: u64 },
    /// The next credentials come from another of the sources.
    From { nth: u64 },
    /// From now on coturn behaves like this.
    Coturn(Cli),
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
    /// The app server closes it.
    ReporterCloses,
    /// The provider's count is read and is half of the previous one.
    ReadFallen,
    /// The provider's count is read up to a time in the future. It contains the bytes until now.
    ReadAhead { millis: u64 },
    /// All changes are written to disk.
    Flush,
    /// The process is killed and started again.
    Crash,
}

/// splitmix64: small, and the same everywhere.
pub(crate) struct Dice {
    pub(crate) state: u64,
    /// Whether most operations are mints.
    pub(crate) is_a_rush: bool,
    /// Whether the operator overrides the limit.
    pub(crate) has_overrides: bool,
    pub(crate) faults: Faults,
}

/// Which of the rarer faults happen in a scenario.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each fault is on or off")]
pub(crate) struct Faults {
    /// The provider counts bytes later than the lag.
    pub(crate) late: bool,
    /// The wall clock is set ahead and stays there.
    pub(crate) steps: bool,
    /// Restarts change settings.
    pub(crate) changes: bool,
    /// There are several sources.
    pub(crate) sources: bool,
    /// The app server reports connections.
    pub(crate) reporter: bool,
    /// coturn's command line is connected, and fails at times.
    pub(crate) coturn: bool,
    /// The machine is off for a while.
    pub(crate) reboots: bool,
}

impl Dice {
    fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let end = u64::try_from(choices.len()).unwrap_or(1);
        choices[usize::try_from(self.below(end)).unwrap_or(0)]
    }

    fn maybe_relayed(&mut self) -> Option<bool> {
        self.one_of(&[None, Some(true), Some(false)])
    }

    pub(crate) fn op(&mut self) -> Op {
        let life = self.one_of(&[60, 300, 3_600, 86_400, 172_800]);
        if self.is_a_rush && self.below(3) > 0 {
            return Op::Mint { life, delay: self.below(4_000) };
        }
        if self.below(8) == 0
            && let Some(op) = self.fault()
        {
            return op;
        }
        match self.below(38) {
            0..=5 => Op::Wait { millis: self.below(120_000), share: self.below(257) },
            6 | 7 => Op::Wait { millis: self.below(14_400_000), share: 256 },
            8 => Op::Wait { millis: self.below(40 * 86_400_000), share: 256 },
            9 => Op::ClockBack { millis: i64::try_from(self.below(86_400_000)).unwrap_or(0) },
            10..=12 => Op::Mint { life, delay: self.below(4_000) },
            13 => Op::MintFromPool { life, age: self.below(life / 10 + 1) },
            14 => Op::MintFails { life },
            15 => Op::CrashAfterCommit { life },
            16 | 17 => Op::Open { nth: self.roll(), relayed: self.maybe_relayed() },
            18..=20 => {
                let bytes = (self.below(3) > 0).then(|| self.roll() >> self.below(64));
                Op::Beat { nth: self.roll(), bytes, relayed: self.maybe_relayed() }
            }
            21 => Op::Close { nth: self.roll() },
            22 => Op::Flush,
            23 => Op::Crash,
            24 => Op::Revoke { nth: self.roll() },
            25 if self.has_overrides => Op::Limit { percent: self.one_of(&[0, 50, 100, 200]) },
            26 => Op::ReadFallen,
            // A jump of up to a minute is accepted at once.
            27 => {
                Op::ClockGlitch { millis: 60_001 + i64::try_from(self.below(40 * 86_400_000)).unwrap_or(0) }
            }
            28 => Op::ReplaceKey,
            29 => Op::ReadAhead { millis: self.below(7_200_000) },
            34 => {
                let millis = self.one_of(&[60_000, 28_800_000, 3 * 86_400_000]);
                Op::Pause { millis: self.below(millis), share: self.below(257) }
            }
            35..=37 => Op::Renew { nth: self.roll(), life, delay: self.below(4_000) },
            33 => Op::MintUnwritten { life, written: self.one_of(&[Written::No, Written::Unknown]) },
            _ => Op::Read { back: self.below(1_800_000), missed: self.below(51) },
        }
    }

    /// The same operation, or one of calls in its place.
    pub(crate) fn in_calls(&mut self, op: Op) -> Op {
        match op {
            Op::Mint { life, .. } | Op::MintFails { life } => Op::Join { life },
            Op::Close { nth } | Op::Revoke { nth } | Op::Open { nth, .. } => Op::Leave { nth },
            Op::Beat { .. } if self.below(2) == 0 => Op::KeepCalls,
            Op::Read { .. } | Op::ReadFallen => Op::ReadRelay { is_slow: self.below(3) == 0 },
            Op::From { .. } => Op::Crash,
            other => other,
        }
    }

    /// One of the rarer faults, if it happens in this scenario.
    fn fault(&mut self) -> Option<Op> {
        let Faults { late, steps, changes, sources, reporter, coturn, reboots } = self.faults;
        match self.below(15) {
            0 if late => Some(Op::Late { millis: self.one_of(&[0, 900_000, 3_600_000, 7_200_000]) }),
            2 if steps => {
                let most = self.one_of(&[120_000, 28_800_000, 3 * 86_400_000, 40 * 86_400_000]);
                Some(Op::ClockStep { millis: 60_001 + self.below(most) })
            }
            3 if changes => Some(Op::Change(self.change())),
            4 | 5 if sources => Some(Op::From { nth: self.below(3) }),
            6 if sources => Some(Op::ReadRelay { is_slow: false }),
            7 if reporter => Some(Op::ReporterOpens { relayed: self.maybe_relayed() }),
            8 if reporter && self.below(3) > 0 => {
                let bytes = (self.below(3) > 0).then(|| self.roll() >> self.below(64));
                Some(Op::ReporterBeats { bytes })
            }
            8 if reporter => Some(Op::ReporterCloses),
            9 | 10 if coturn => {
                Some(Op::Coturn(self.one_of(&[Cli::Works, Cli::Works, Cli::CutsNothing, Cli::Silent])))
            }
            11 if coturn => {
                let millis = self.one_of(&[5_000, 120_000, 7_200_000]);
                Some(Op::Down { millis: self.below(millis), share: self.below(257) })
            }
            12 if reboots => {
                let millis = self.one_of(&[30_000, 600_000, 28_800_000]);
                let behind = self.one_of(&[0, 0, 600_000, 28_800_000]);
                Some(Op::Reboot { millis: self.below(millis), share: self.below(257), behind })
            }
            13 | 14 if reboots => Some(Op::ClockRight),
            1 => Some(Op::ReadLast { missed: self.below(51) }),
            _ => None,
        }
    }

    fn change(&mut self) -> Change {
        match self.below(6) {
            0 => Change::Strict(self.below(2) == 0),
            1 => Change::BillingDay(self.billing_day()),
            2 => Change::Tail(self.one_of(&[None, Some(0), Some(600), Some(7_200), Some(20_000)])),
            3 => Change::Mbps(self.one_of(&[2, 4, 8])),
            4 => Change::Sampling(self.one_of(&[5, 20])),
            _ if self.faults.coturn => Change::Cli(self.below(2) == 0),
            _ if self.faults.sources => Change::Sources(self.sources()),
            _ => Change::BillingDay(1),
        }
    }

    pub(crate) fn billing_day(&mut self) -> u32 {
        self.one_of(&[1, 2, 15, 28, 29, 30, 31])
    }

    pub(crate) fn sources(&mut self) -> &'static [IceSource] {
        use IceSource::{Cloudflare, Coturn, Relay};
        const LISTS: [&[IceSource]; 5] = [
            &[Cloudflare, Relay],
            &[Relay, Cloudflare],
            &[Cloudflare, Relay, Coturn],
            &[Coturn, Cloudflare],
            &[Relay],
        ];
        self.one_of(&LISTS)
    }

    /// From 0 to 1 PB.
    pub(crate) fn limit(&mut self) -> u64 {
        self.one_of(&[0, 1_000_000, 3_000_000_000, 10_000_000_000, 100_000_000_000, 1_000_000_000_000_000])
    }
}
