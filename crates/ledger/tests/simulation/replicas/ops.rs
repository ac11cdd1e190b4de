//! The operations of a scenario, and their random choice. An operation names the replica that leads when it begins, or the other one.

use super::prelude::*;

/// A replica, by the row of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Leader,
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// Time passes, in milliseconds.
    Wait(u64),
    /// A client asks for a credential of this life in seconds.
    Mint(Who, u64),
    /// How the next write fares.
    Fate(Who, Fate),
    Cut(Who, bool),
    /// The connection breaks.
    Disconnect(Who),
    /// The replica stands still, in milliseconds.
    Pause(Who, u64),
    /// The process dies, and starts again so much later. Perhaps its machine starts again, too.
    Kill(Who, u64, bool),
    /// The process ends in order, and starts again.
    Release(Who),
    /// How far the wall clock is ahead, in milliseconds.
    Wall(Who, i64),
    /// The pace of the time since boot.
    Pace(Who, u64),
    /// How long a look takes, and a takeover, in milliseconds. The answer of a takeover may be lost.
    Slow(Who, u64, u64, bool),
    /// Nobody reaches the database, in milliseconds.
    Down(u64),
    /// The same, and all sessions end.
    Restart(u64),
    /// The synchronous standby of the database takes over. It lacks so many writes.
    FailOver(usize),
}

impl Op {
    /// The replica that it names.
    pub(super) fn who(self) -> Who {
        match self {
            Self::Wait(_) | Self::Down(_) | Self::Restart(_) | Self::FailOver(_) => Who::Leader,
            Self::Mint(who, _)
            | Self::Fate(who, _)
            | Self::Cut(who, _)
            | Self::Disconnect(who)
            | Self::Pause(who, _)
            | Self::Kill(who, ..)
            | Self::Release(who)
            | Self::Wall(who, _)
            | Self::Pace(who, _)
            | Self::Slow(who, ..) => who,
        }
    }
}

fn who(dice: &mut Dice) -> Who {
    dice.one_of(&[Who::Leader, Who::Leader, Who::Other])
}

fn fate(dice: &mut Dice) -> Fate {
    let slow = [0, 0, 100, 800, 2_500, 6_000, 20_000];
    Fate {
        there: dice.one_of(&slow),
        holds: dice.one_of(&[0, 0, 0, 300, 3_000, 9_000]),
        back: dice.one_of(&[0, 0, 50, 500, 1_500, 3_000]),
        is_lost: dice.below(8) == 0,
        loses_answer: dice.below(4) == 0,
        is_unsafe: dice.below(6) == 0,
    }
}

fn wait(dice: &mut Dice) -> Op {
    Op::Wait(dice.one_of(&[100, 400, 1_200, 3_000, 6_500]))
}

fn mint(dice: &mut Dice) -> Op {
    Op::Mint(who(dice), dice.one_of(&[60, 60, 300, 3_600]))
}

/// Some operations that follow each other. `is_wild`: the time since boot may pass at any pace. `loses`: the database may lose writes.
pub(super) fn draw(dice: &mut Dice, is_wild: bool, loses: bool) -> Vec<Op> {
    let (who, wait) = (who(dice), wait(dice));
    match dice.below(42) {
        0..=7 => vec![mint(dice), wait],
        8..=11 => vec![mint(dice), mint(dice), Op::Wait(600), mint(dice), wait],
        12..=17 => vec![wait],
        18 => vec![Op::Wait(dice.one_of(&[30_000, 120_000, 600_000]))],
        19..=22 => vec![Op::Fate(who, fate(dice)), mint(dice), wait],
        23 => vec![Op::Fate(who, fate(dice)), mint(dice), Op::Kill(who, dice.below(4_000), false), wait],
        24 => vec![Op::Fate(who, fate(dice)), mint(dice), wait, Op::Cut(who, true), wait],
        25..=27 => vec![Op::Cut(who, dice.below(2) == 0), wait],
        28 => vec![Op::Cut(who, true), mint(dice), Op::Wait(4_000 + dice.below(4_000)), Op::Cut(who, false)],
        29 => vec![Op::Disconnect(who), mint(dice), wait],
        30 => vec![Op::Pause(who, dice.below(12_000)), mint(dice), wait],
        31 => vec![mint(dice), Op::Pause(who, 5_000 + dice.below(9_000)), wait, mint(dice), wait],
        32 => vec![Op::Kill(who, dice.below(9_000), dice.below(3) == 0), wait],
        33 => vec![mint(dice), Op::Release(who), mint(dice), wait],
        34 => {
            let day = 86_400_000;
            let ahead = dice.one_of(&[0, 0, -day, -40_000, 61_500, 3_600_000, day]);
            vec![Op::Wall(dice.one_of(&[Who::Leader, Who::Other]), ahead)]
        }
        35 if is_wild => vec![Op::Pace(who, dice.one_of(&[128, 200, 256, 300, 512]))],
        36 => vec![Op::Slow(
            who,
            dice.below(1_500),
            dice.one_of(&[600, 2_400, 9_000, 40_000]),
            dice.below(3) == 0,
        )],
        37 => {
            let millis = dice.below(15_000);
            vec![dice.one_of(&[Op::Down(millis), Op::Restart(millis), Op::Restart(0)]), mint(dice), wait]
        }
        38 => vec![Op::Fate(who, fate(dice)), mint(dice), wait, Op::FailOver(0), wait],
        39..=41 if loses => loss(dice),
        _ => vec![Op::Slow(who, 0, 0, false), wait],
    }
}

/// The database loses writes, while the replicas do something else.
fn loss(dice: &mut Dice) -> Vec<Op> {
    let writes = 1 + usize::try_from(dice.below(8)).unwrap_or(0);
    let (who, wait) = (who(dice), wait(dice));
    let meanwhile = match dice.below(6) {
        0 => vec![Op::Kill(Who::Leader, dice.below(6_000), false)],
        1 => vec![Op::Pause(who, dice.below(12_000))],
        2 => vec![Op::Cut(Who::Leader, true)],
        3 | 4 => vec![Op::Cut(Who::Other, true), Op::Kill(Who::Leader, dice.below(900), false)],
        _ => vec![],
    };
    let mut ops = vec![Op::Mint(Who::Leader, 300), mint(dice), Op::Wait(1_200)];
    ops.extend(meanwhile);
    ops.extend([Op::FailOver(writes), wait, mint(dice), Op::Wait(9_000)]);
    if dice.below(2) == 0 {
        // Another takeover, which hides the loss from who compares only the last one.
        ops.extend([Op::Wait(6_500), Op::Kill(Who::Leader, 900, false), Op::Wait(3_000)]);
    }
    ops.push(Op::Cut(Who::Other, false));
    ops
}
