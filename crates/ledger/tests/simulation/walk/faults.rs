//! The rarer faults, and the operations that they consist of.

use super::prelude::*;
use strum::IntoEnumIterator as _;

/// The rarer faults. Each happens in some of the scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumIter)]
pub(crate) enum Fault {
    /// The provider counts bytes later than the lag.
    Late,
    /// The wall clock is set ahead and stays there.
    Steps,
    /// Restarts change the mode, or another one of these settings.
    Mode,
    BillingDay,
    Tail,
    Rate,
    Sampling,
    Limit,
    OtherSources,
    WithoutCli,
    /// There are several sources.
    Sources,
    /// The app server reports connections.
    Reporter,
    /// coturn's command line is connected. It does not answer at times.
    Coturn,
    /// coturn accepts the command to end a session, and does not end it.
    Uncut,
    /// The machine is paused for long while coturn's command line is connected.
    PauseAtCoturn,
    /// The machine is off for a while.
    Reboots,
    /// The operator overrides the limit.
    Overrides,
    /// Other steps happen while a credential is made.
    Interleaved,
    /// Clients share addresses.
    Addresses,
    /// The tables are small.
    SmallTables,
    /// Clients hang up, and some come back.
    HangUps,
    /// Users are blocked, and minting is stopped.
    Blocks,
    /// A backup is restored, or the ledger is lost without one.
    Copies,
    /// Pages use the SFU.
    Sfu,
    /// Restarts change how connections are charged.
    Rules,
    /// Restarts change sizes and shares.
    Bounds,
    /// A listing of coturn does not show all sessions.
    Partial,
    /// A listing of coturn arrives late.
    LateListing,
    /// After a pause or a start, something else than the listing comes first.
    Unlisted,
    /// Restarts change the limit of each user.
    UserLimit,
    /// Some clients relay faster than is assumed.
    Fast,
    /// The provider counts the bytes of each grant late, but within the lag.
    LateGrants,
    /// Counts without bytes are believed only with a probe, and some providers count nothing.
    Probes,
}

impl Fault {
    pub(crate) fn all() -> Vec<Self> {
        Self::iter().collect()
    }
}

impl Dice {
    /// One of the rarer faults.
    pub(super) fn fault(&mut self) -> Option<Op> {
        if self.faults.is_empty() {
            return None;
        }
        let fault = self.one_of(&self.faults.clone());
        Some(match fault {
            Fault::Late if self.below(8) > 0 => Op::Late { millis: 0 },
            Fault::Late => Op::Late { millis: self.one_of(&[900_000, 3_600_000, 7_200_000]) },
            Fault::Steps if self.below(120) > 0 => return None,
            Fault::Steps => {
                let most = self.one_of(&[120_000, 28_800_000, 3 * 86_400_000, 40 * 86_400_000]);
                Op::ClockStep { millis: 60_001 + self.below(most) }
            }
            Fault::Sources if self.below(3) == 0 => Op::ReadRelay { is_slow: false },
            Fault::Sources => Op::From { nth: self.below(3) },
            Fault::Reporter if self.below(4) > 0 => return None,
            Fault::Reporter => match self.below(10) {
                0..=2 => Op::ReporterCloses,
                3 => Op::ReporterOpens { relayed: self.maybe_relayed() },
                4..=7 => {
                    let bytes = (self.below(3) > 0).then(|| self.roll() >> self.below(64));
                    Op::ReporterVouches { nth: self.roll(), bytes, relayed: self.maybe_relayed() }
                }
                _ => {
                    let bytes = (self.below(3) > 0).then(|| self.roll() >> self.below(64));
                    Op::ReporterBeats { bytes }
                }
            },
            Fault::Coturn if self.below(3) == 0 => {
                let millis = self.one_of(&[5_000, 120_000, 7_200_000]);
                Op::Down { millis: self.below(millis), share: self.below(257) }
            }
            Fault::Coturn => {
                let fails = if self.has(Fault::Uncut) { Cli::CutsNothing } else { Cli::Silent };
                Op::Coturn(self.one_of(&[Cli::Works, Cli::Works, Cli::Works, Cli::Works, fails, Cli::Silent]))
            }
            Fault::Reboots if self.below(3) == 0 => {
                let millis = self.one_of(&[30_000, 600_000, 28_800_000]);
                let behind = if self.below(20) == 0 { self.one_of(&[600_000, 28_800_000]) } else { 0 };
                Op::Reboot { millis: self.below(millis), share: self.below(257), behind }
            }
            Fault::Reboots => Op::ClockRight,
            Fault::Interleaved => match self.below(5) {
                0 | 1 => {
                    let life = self.one_of(&[60, 300, 3_600, 86_400]);
                    Op::Reserve { life, is_renewal: self.below(2) == 0 }
                }
                2 => Op::Settle { written: self.one_of(&[Written::Yes, Written::No, Written::Unknown]) },
                3 => Op::Wait { millis: self.below(3_000), share: self.below(257) },
                _ => Op::Commit,
            },
            Fault::Blocks if self.below(3) == 0 => Op::Freeze(self.below(3) == 0),
            Fault::Blocks => {
                let (user, is_blocked) = (self.below(3), self.below(3) == 0);
                Op::Block { user, is_blocked, revokes: self.below(2) == 0 }
            }
            Fault::Sfu => {
                let millis = self.one_of(&[5_000, 120_000, 7_200_000]);
                Op::Down { millis: self.below(millis), share: self.below(257) }
            }
            Fault::HangUps if self.below(3) == 0 => Op::ComeBack { nth: self.roll() },
            Fault::HangUps => Op::HangUp { nth: self.roll(), after: self.below(30_000) },
            Fault::Copies if self.below(3) > 0 => Op::Copy,
            Fault::Copies if self.below(20) == 0 => self.one_of(&[Op::Restore, Op::Restore, Op::LoseLedger]),
            Fault::Partial | Fault::LateListing if !self.has(Fault::Coturn) => return None,
            Fault::Partial => Op::Coturn(self.one_of(&[Cli::Works, Cli::Partial, Cli::Mute])),
            Fault::LateListing => Op::Coturn(self.one_of(&[Cli::Works, Cli::Late, Cli::Slow])),
            Fault::Uncut
            | Fault::PauseAtCoturn
            | Fault::Addresses
            | Fault::SmallTables
            | Fault::Copies
            | Fault::Fast
            | Fault::Probes
            | Fault::LateGrants
            | Fault::Unlisted => return None,
            Fault::Overrides => Op::Limit { percent: self.one_of(&[0, 50, 100, 200]) },
            of_setting => Op::Change(self.change(of_setting)?),
        })
    }

    /// What a restart changes of a setting. `None`: nothing in this scenario.
    fn change(&mut self, of_setting: Fault) -> Option<Change> {
        Some(match of_setting {
            Fault::Mode => Change::Strict(self.below(2) == 0),
            Fault::BillingDay => Change::BillingDay(self.billing_day()),
            Fault::Tail => Change::Tail(self.one_of(&[None, Some(0), Some(600), Some(7_200), Some(20_000)])),
            Fault::Rate => Change::Mbps(self.one_of(&[2, 4, 8])),
            Fault::Sampling => Change::Sampling(self.one_of(&[5, 20])),
            Fault::Limit => Change::Limit(self.limit()),
            Fault::WithoutCli if self.has(Fault::Coturn) => Change::Cli(self.below(20) > 0),
            Fault::OtherSources if self.has(Fault::Sources) => Change::Sources(self.sources()),
            Fault::UserLimit => {
                Change::UserLimit(self.one_of(&[3_000_000_000, 6_000_000_000, 20_000_000_000]))
            }
            Fault::Rules => match self.below(3) {
                0 => Change::Heartbeat(self.one_of(&[30, 600])),
                1 => Change::BillsBoth(self.below(2) == 0),
                _ => Change::EstimatedMbps(self.one_of(&[1, 2])),
            },
            Fault::Bounds => match self.below(3) {
                0 => Change::Percent(self.one_of(&[1, 5, 100])),
                1 => Change::Rows(self.one_of(&[12, 100_000])),
                _ => Change::Ended(self.one_of(&[0, 5, 100])),
            },
            _ => return None,
        })
    }
}
