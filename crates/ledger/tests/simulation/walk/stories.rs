//! Operations that meet: what goes wrong only if they follow each other closely, which single draws rarely do.

use super::prelude::*;

/// The newest grant or page, and the one before it.
const NEWEST: u64 = 0;
const BEFORE: u64 = 1;
/// Bits of `nth` with a meaning of their own: the other connection of a grant, its call's member, and a renewal at the next source.
const OTHER_CONNECTION: u64 = 1 << 32;
const MEMBER: u64 = 1 << 33;
const NEXT_SOURCE: u64 = 1 << 34;

impl Dice {
    /// Some operations in a row. Waits of random length lie between some of them.
    pub(super) fn story(&mut self) -> Vec<Op> {
        let life = self.one_of(&[300, 3_600]);
        let mint = Op::Mint { life, delay: self.below(4_000) };
        let renew = Op::RenewWhenDue { nth: NEWEST, life, delay: 0 };
        let (soon, later) = (self.wait(30_000), self.wait(1_200_000));
        match self.below(13) {
            // One of two grants of a chain is revoked, and nothing is relayed on it any more.
            0 => {
                let from = Op::From { nth: self.below(3) };
                let revoke = Op::Revoke { nth: self.one_of(&[NEWEST, BEFORE]) };
                vec![from, mint, renew, revoke, Op::ReadRelay { is_slow: false }, soon, later]
            }
            // A chain of grants, in part at the next source.
            1 => {
                let again =
                    Op::RenewWhenDue { nth: NEWEST | self.one_of(&[0, 0, NEXT_SOURCE]), life, delay: 0 };
                vec![mint, renew, again, again, soon]
            }
            // Tracks come, go and come back in one minute.
            2 if self.has(Fault::Sfu) => {
                let (active, pull) = (u64::MAX - 1, self.pull());
                let stream = Op::Stream { nth: NEWEST, active };
                let again = self.pull();
                vec![Op::OpenPage, pull, stream, soon, Op::CloseTracks { nth: NEWEST }, again, soon]
            }
            // Media flow while nobody watches.
            3 if self.has(Fault::Sfu) => {
                let pull = self.pull();
                let stream = Op::Stream { nth: NEWEST, active: self.roll() };
                let millis = self.one_of(&[200_000, 1_800_000, 14_400_000]);
                vec![Op::OpenPage, pull, stream, soon, Op::Down { millis, share: 256 }, later]
            }
            // A member of a call reports before its client does, so its address is known only then.
            4 | 2 => {
                let open = |nth| Op::Open { nth, relayed: Some(true) };
                let beat = Op::Beat { nth: NEWEST, bytes: Some(self.roll() >> 30), relayed: None };
                let other = Op::Open { nth: OTHER_CONNECTION, relayed: None };
                vec![mint, open(MEMBER), soon, open(NEWEST), later, beat, other, later, beat, soon]
            }
            // What is reserved is committed after sessions are not cut any more.
            5 => {
                let silence = Op::Wait { millis: 12_000 + self.below(3_000), share: 256 };
                let reserve = Op::Reserve { life, is_renewal: false };
                let (wait, settle) = (self.wait(2_900), Op::Settle { written: Written::Yes });
                let (silent, works) = (Op::Coturn(Cli::Silent), Op::Coturn(Cli::Works));
                vec![Op::From { nth: 0 }, silent, silence, reserve, wait, Op::Commit, settle, later, works]
            }
            // A user is blocked while a renewal is made.
            9 => {
                let wait = Op::Wait { millis: life * 750, share: 256 };
                let reserve = Op::Reserve { life, is_renewal: true };
                let block =
                    |is_blocked| (0..3).map(move |user| Op::Block { user, is_blocked, revokes: false });
                let settle = Op::Settle { written: Written::Yes };
                let mut ops = vec![mint, wait, reserve];
                ops.extend(block(true).take(if self.has(Fault::Blocks) { 3 } else { 0 }));
                ops.extend([Op::Commit, settle, soon]);
                ops.extend(block(false));
                ops
            }
            // The limit is overridden, and configured anew.
            6 if self.has(Fault::Overrides) && self.has(Fault::Limit) => {
                let limits = [self.limit(), self.limit()];
                let change = |limit| Op::Change(Change::Limit(limit));
                let percent = self.one_of(&[50, 200]);
                vec![change(limits[0]), Op::Limit { percent }, change(limits[1]), soon, change(limits[0])]
            }
            // The process starts twice soon after the machine.
            7 | 6 if self.has(Fault::Reboots) => {
                let (millis, behind) = (self.below(600_000), 0);
                let reboot = Op::Reboot { millis, share: 256, behind };
                vec![mint, reboot, soon, Op::Crash, soon, Op::Crash, later]
            }
            // coturn does not end a session that it was commanded to end. The session ends while nobody lists it.
            8 if self.has(Fault::Coturn) => {
                let fails = Op::Coturn(Cli::CutsNothing);
                let hang_up = Op::HangUp { nth: NEWEST, after: self.below(60_000) };
                let ends = [hang_up, Op::Coturn(Cli::Silent), later, Op::Coturn(Cli::Works), soon];
                let mut ops =
                    vec![Op::From { nth: 0 }, mint, soon, fails, Op::Revoke { nth: NEWEST }, soon, soon];
                ops.extend(ends);
                ops
            }
            // coturn does not end a session while the budget is spent. Then there is room again, and the session goes on.
            10 if self.has(Fault::Coturn) && self.has(Fault::Overrides) => {
                let (fails, works) = (Op::Coturn(Cli::CutsNothing), Op::Coturn(Cli::Works));
                let pause = Op::Wait { millis: 6_000, share: 256 };
                let (spent, room) = (Op::Limit { percent: 0 }, Op::Limit { percent: 200 });
                let hang_up = Op::HangUp { nth: NEWEST, after: 10_000 + self.below(60_000) };
                let from = Op::From { nth: 0 };
                vec![from, works, mint, pause, pause, fails, spent, pause, room, works, pause, hang_up, later]
            }
            // A client hangs up, and comes back when listings have missed it.
            11 => {
                let mint = Op::Mint { life: 3_600, delay: 0 };
                let (hang_up, gone) = (Op::HangUp { nth: NEWEST, after: 0 }, self.wait(300_000));
                vec![Op::From { nth: 0 }, mint, soon, hang_up, gone, Op::ComeBack { nth: NEWEST }, later]
            }
            // Reports and counts of one instant.
            _ => {
                let beat = Op::Beat { nth: NEWEST, bytes: Some(self.roll() >> 30), relayed: None };
                let read = Op::Read { back: self.below(3), missed: 0 };
                let open = Op::Open { nth: NEWEST, relayed: None };
                vec![mint, open, later, beat, read, Op::ReadRelay { is_slow: false }, Op::Crash, soon, beat]
            }
        }
    }

    /// coturn starts again while two clients relay. Each gets the number of the other one's session. Then both end, and no promise is left
    /// that hides what is not counted.
    pub(super) fn start_of_coturn(&mut self) -> Vec<Op> {
        let wait = |millis| Op::Wait { millis, share: 256 };
        let mint = Op::Mint { life: 300, delay: 0 };
        let (soon, later) = (self.below(30_000), self.below(170_000));
        let [behaves, works] = [self.one_of(&[Cli::Works, Cli::Late, Cli::Slow]), Cli::Works].map(Op::Coturn);
        let mut ops = vec![Op::From { nth: 0 }, mint, wait(soon), mint, wait(later), behaves];
        ops.extend([Op::RestartCoturn, wait(later), works, wait(300_000)]);
        ops
    }

    fn wait(&mut self, most: u64) -> Op {
        Op::Wait { millis: self.below(most), share: self.one_of(&[256, 256, 128]) }
    }

    fn pull(&mut self) -> Op {
        Op::Pull { nth: NEWEST, more: self.roll(), is_answered: self.below(4) > 0 }
    }
}
