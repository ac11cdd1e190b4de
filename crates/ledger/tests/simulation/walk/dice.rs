//! The random choice of operations.

use super::prelude::*;

/// splitmix64: small, and the same everywhere.
pub(crate) struct Dice {
    state: u64,
    /// Whether most operations are mints.
    pub(crate) is_a_rush: bool,
    /// Whether many operations are those of connections.
    pub(crate) is_chatty: bool,
    /// The faults that happen in this scenario.
    pub(crate) faults: Vec<Fault>,
    /// The longest wait.
    pub(crate) wait_max: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, is_a_rush: false, is_chatty: false, faults: vec![], wait_max: u64::MAX }
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    pub(crate) fn roll(&mut self) -> u64 {
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

    pub(super) fn maybe_relayed(&mut self) -> Option<bool> {
        self.one_of(&[None, Some(true), Some(false)])
    }

    pub(crate) fn op(&mut self) -> Op {
        let life = self.one_of(&[60, 300, 3_600, 86_400, 172_800]);
        if self.has(Fault::Sfu) && self.below(3) == 0 {
            return self.of_page();
        }
        if self.is_a_rush && self.below(3) > 0 {
            return Op::Mint { life, delay: self.below(4_000) };
        }
        if self.is_chatty && self.below(2) == 0 {
            return self.of_connection();
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
            16..=21 => self.of_connection(),
            22 => Op::Flush,
            23 => Op::Crash,
            24 => Op::Revoke { nth: self.roll() },
            25 => Op::ReadLast { missed: self.below(51) },
            26 => Op::ReadWrong { percent: self.one_of(&[50, 80, 140, 200, 10_000]) },
            // A jump of up to a minute is accepted at once.
            27 => {
                Op::ClockGlitch { millis: 60_001 + i64::try_from(self.below(40 * 86_400_000)).unwrap_or(0) }
            }
            28 => self.one_of(&[Op::ReplaceKey, Op::ReplaceKey, Op::KeyReturns]),
            29 => Op::ReadAhead { millis: self.below(7_200_000) },
            34 => {
                // A broker of the SFU is back before its promises end: that is an assumption of the bound.
                let is_long = self.has(Fault::PauseAtCoturn) && !self.has(Fault::Sfu);
                let most = if is_long { u64::MAX } else { self.wait_max / 72 };
                let millis = self.one_of(&[60_000, 28_800_000, 3 * 86_400_000]).min(most);
                Op::Pause { millis: self.below(millis), share: self.below(257) }
            }
            35 => Op::Renew { nth: self.roll(), life, delay: self.below(4_000) },
            36 | 37 => Op::RenewWhenDue { nth: self.roll(), life, delay: self.below(4_000) },
            33 => Op::MintUnwritten { life, written: self.one_of(&[Written::No, Written::Unknown]) },
            _ => Op::Read { back: self.below(1_800_000), missed: self.below(51) },
        }
    }

    /// What a client does with a connection, or the operator with all of them.
    fn of_connection(&mut self) -> Op {
        let nth = self.roll();
        match self.below(8) {
            0 | 1 => Op::Open { nth, relayed: self.maybe_relayed() },
            2..=4 => {
                let bytes = (self.below(3) > 0).then(|| self.roll() >> self.below(64));
                Op::Beat { nth, bytes, relayed: self.maybe_relayed() }
            }
            5 => Op::Close { nth },
            6 if self.has(Fault::Blocks) => Op::Freeze(self.below(2) == 0),
            _ => Op::Wait { millis: self.below(900_000), share: self.below(257) },
        }
    }

    /// What a page does at the SFU.
    fn of_page(&mut self) -> Op {
        let nth = self.roll();
        match self.below(11) {
            0 | 1 => Op::OpenPage,
            // What was promised at the last look before covers it.
            10 => Op::SfuDown { millis: self.below(150_000) },
            2..=4 => Op::Pull { nth, more: self.roll(), is_answered: self.below(4) > 0 },
            5..=7 => Op::Stream { nth, active: self.roll() },
            8 => Op::CloseTracks { nth },
            _ => Op::LeavePage { nth },
        }
    }

    /// The same operation, or one of calls in its place.
    pub(crate) fn in_calls(&mut self, op: Op) -> Op {
        match op {
            Op::Mint { life, .. } | Op::MintFails { life } => Op::Join { life },
            Op::Revoke { .. } if self.below(2) == 0 => op,
            Op::Close { nth } | Op::Revoke { nth } | Op::Open { nth, .. } => Op::Leave { nth },
            Op::Beat { .. } if self.below(2) == 0 => Op::KeepCalls,
            Op::Read { .. } | Op::ReadWrong { .. } if self.below(2) == 0 => {
                Op::ReadRelay { is_slow: self.below(3) == 0 }
            }
            Op::From { .. } => Op::Crash,
            // All of a call is at one source.
            Op::Renew { nth, life, delay } => Op::Renew { nth: nth & 1, life, delay },
            Op::RenewWhenDue { nth, life, delay } => Op::RenewWhenDue { nth: nth & 1, life, delay },
            other => other,
        }
    }

    /// The leader loses what it has not written for a lease at most. The standby leads soon, or once the database is back.
    pub(crate) fn takeover(&mut self) -> Op {
        let (lost, most) = (self.below(4_000), self.one_of(&[1_000, 12_000, 600_000]));
        let behind = self.one_of(&[0, 0, 40_000, 180_000]);
        Op::TakeOver { lost, millis: self.below(most), share: self.below(257), behind }
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
