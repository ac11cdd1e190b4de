//! The operations of a scenario, and their random choice.

use turn_ledger::books::Written;
use turn_ledger::source::IceSource;

use super::coturn::Cli;
use super::settings::{Change, DAY};

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
    /// Budget is reserved for a credential, and the provider is asked.
    Reserve { life: u64 },
    /// The provider has answered: the oldest credential that waits for it is put into the books.
    Commit,
    /// The outcome of the write of the oldest credential that waits for it is known. The client gets it if it was written.
    Settle { written: Written },
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
    /// A client hangs up `after` so many milliseconds.
    HangUp { nth: u64, after: u64 },
    /// The operator blocks a user and revokes what the user has, or ends that.
    Block { user: u64, is_blocked: bool },
    /// The operator stops all minting, or ends that.
    Freeze(bool),
    /// The operator drops the provider's count.
    DropReadings,
    /// A copy of the ledger is made.
    Copy,
    /// The last copy is restored.
    Restore,
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

/// The rarer faults. Each happens in some of the scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The provider counts bytes later than the lag.
    Late,
    /// The wall clock is set ahead and stays there.
    Steps,
    /// Restarts change this setting.
    Setting(Name),
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
    /// Clients of coturn hang up.
    HangUps,
    /// Users are blocked, and minting is stopped.
    Blocks,
    /// A backup is restored.
    Copies,
    /// The relay in the process forgets its counter at a crash.
    RelayCrash,
    /// A listing of coturn does not show all sessions.
    Partial,
    /// A listing of coturn arrives late.
    LateListing,
    /// The operator drops the provider's count.
    Drops,
    /// After a pause or a start, something else than the listing comes first.
    Unlisted,
}

/// A setting that a restart can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Mode,
    BillingDay,
    Tail,
    Rate,
    Sampling,
    Limit,
    Sources,
    Cli,
    UserLimit,
}

/// All faults, by the names that `FAULTS` can contain.
pub(crate) const FAULTS: &[(&str, Fault)] = &[
    ("late", Fault::Late),
    ("steps", Fault::Steps),
    ("mode", Fault::Setting(Name::Mode)),
    ("billing-day", Fault::Setting(Name::BillingDay)),
    ("tail", Fault::Setting(Name::Tail)),
    ("rate", Fault::Setting(Name::Rate)),
    ("sampling", Fault::Setting(Name::Sampling)),
    ("limit", Fault::Setting(Name::Limit)),
    ("change-sources", Fault::Setting(Name::Sources)),
    ("cli", Fault::Setting(Name::Cli)),
    ("sources", Fault::Sources),
    ("reporter", Fault::Reporter),
    ("coturn", Fault::Coturn),
    ("uncut", Fault::Uncut),
    ("pause-at-coturn", Fault::PauseAtCoturn),
    ("reboots", Fault::Reboots),
    ("overrides", Fault::Overrides),
    ("interleaved", Fault::Interleaved),
    ("addresses", Fault::Addresses),
    ("small-tables", Fault::SmallTables),
    ("hang-ups", Fault::HangUps),
    ("blocks", Fault::Blocks),
    ("copies", Fault::Copies),
    ("relay-crash", Fault::RelayCrash),
    ("partial", Fault::Partial),
    ("late-listing", Fault::LateListing),
    ("drops", Fault::Drops),
    ("unlisted", Fault::Unlisted),
    ("user-limit", Fault::Setting(Name::UserLimit)),
];

/// Faults that the ledger does not survive yet. `FAULTS=all`, or a list of names, runs them too.
pub(crate) const OFF: &[&str] = &["uncut", "pause-at-coturn", "billing-day", "unlisted"];

/// The faults that the ledger survives, and those whose name is in `more`.
pub(crate) fn faults_with(more: impl Fn(&str) -> bool) -> Vec<Fault> {
    let is_on = |name: &str| !OFF.contains(&name) || more(name);
    FAULTS.iter().filter(|(name, _)| is_on(name)).map(|(_, fault)| *fault).collect()
}

/// splitmix64: small, and the same everywhere.
pub(crate) struct Dice {
    state: u64,
    /// Whether most operations are mints.
    pub(crate) is_a_rush: bool,
    /// The faults that happen in this scenario.
    pub(crate) faults: Vec<Fault>,
    /// The longest wait.
    pub(crate) wait_max: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, is_a_rush: false, faults: vec![], wait_max: u64::MAX }
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
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
            6 | 7 => Op::Wait { millis: self.below(14_400_000.min(self.wait_max)), share: 256 },
            8 => Op::Wait { millis: self.below((40 * DAY).min(self.wait_max)), share: 256 },
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
            25 => Op::ReadLast { missed: self.below(51) },
            26 => Op::ReadFallen,
            // A jump of up to a minute is accepted at once.
            27 => {
                Op::ClockGlitch { millis: 60_001 + i64::try_from(self.below(40 * 86_400_000)).unwrap_or(0) }
            }
            28 => Op::ReplaceKey,
            29 => Op::ReadAhead { millis: self.below(7_200_000) },
            34 => {
                let most = if self.has(Fault::PauseAtCoturn) { u64::MAX } else { self.wait_max / 72 };
                let millis = self.one_of(&[60_000, 28_800_000, 3 * 86_400_000]).min(most);
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

    /// One of the rarer faults.
    fn fault(&mut self) -> Option<Op> {
        if self.faults.is_empty() {
            return None;
        }
        let fault = self.one_of(&self.faults.clone());
        Some(match fault {
            Fault::Late => Op::Late {
                millis: self.one_of(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 900_000, 3_600_000, 7_200_000]),
            },
            Fault::Steps if self.below(20) > 0 => return None,
            Fault::Steps => {
                let most = self.one_of(&[120_000, 28_800_000, 3 * 86_400_000, 40 * 86_400_000]);
                Op::ClockStep { millis: 60_001 + self.below(most) }
            }
            Fault::Setting(name) => Op::Change(self.change(name)?),
            Fault::Sources if self.below(3) == 0 => Op::ReadRelay { is_slow: false },
            Fault::Sources => Op::From { nth: self.below(3) },
            Fault::Reporter if self.below(4) > 0 => return None,
            Fault::Reporter => match self.below(6) {
                0..=2 => Op::ReporterCloses,
                3 => Op::ReporterOpens { relayed: self.maybe_relayed() },
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
                let behind = self.one_of(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 600_000, 28_800_000]);
                Op::Reboot { millis: self.below(millis), share: self.below(257), behind }
            }
            Fault::Reboots => Op::ClockRight,
            Fault::Interleaved => match self.below(5) {
                0 | 1 => Op::Reserve { life: self.one_of(&[60, 300, 3_600, 86_400]) },
                2 => Op::Settle { written: self.one_of(&[Written::Yes, Written::No, Written::Unknown]) },
                3 => Op::Wait { millis: self.below(3_000), share: self.below(257) },
                _ => Op::Commit,
            },
            Fault::Blocks => match self.below(3) {
                0 => Op::Freeze(self.below(3) == 0),
                _ => Op::Block { user: self.below(3), is_blocked: self.below(3) == 0 },
            },
            Fault::HangUps => Op::HangUp { nth: self.roll(), after: self.below(30_000) },
            Fault::Copies if self.below(3) > 0 => Op::Copy,
            Fault::Copies if self.below(6) == 0 => Op::Restore,
            Fault::Drops if self.below(16) == 0 => Op::DropReadings,
            Fault::Partial | Fault::LateListing if !self.has(Fault::Coturn) => return None,
            Fault::Partial => Op::Coturn(self.one_of(&[Cli::Works, Cli::Partial])),
            Fault::LateListing => Op::Coturn(self.one_of(&[Cli::Works, Cli::Late])),
            Fault::Uncut
            | Fault::PauseAtCoturn
            | Fault::Addresses
            | Fault::SmallTables
            | Fault::RelayCrash
            | Fault::Copies
            | Fault::Drops
            | Fault::Unlisted => return None,
            Fault::Overrides => Op::Limit { percent: self.one_of(&[0, 50, 100, 200]) },
        })
    }

    fn change(&mut self, name: Name) -> Option<Change> {
        Some(match name {
            Name::Mode => Change::Strict(self.below(2) == 0),
            Name::BillingDay => Change::BillingDay(self.billing_day()),
            Name::Tail => Change::Tail(self.one_of(&[None, Some(0), Some(600), Some(7_200), Some(20_000)])),
            Name::Rate => Change::Mbps(self.one_of(&[2, 4, 8])),
            Name::Sampling => Change::Sampling(self.one_of(&[5, 20])),
            Name::Limit => Change::Limit(self.limit()),
            Name::Cli if self.has(Fault::Coturn) => Change::Cli(self.below(20) > 0),
            Name::Sources if self.has(Fault::Sources) => Change::Sources(self.sources()),
            Name::UserLimit => {
                Change::UserLimit(self.one_of(&[3_000_000_000, 6_000_000_000, 20_000_000_000]))
            }
            Name::Cli | Name::Sources => return None,
        })
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
