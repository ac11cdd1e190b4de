//! One reported connection. It is charged by time until it first reports bytes; from then on it is charged exactly the
//! bytes that it reports, and what the guess had charged is taken back. Each report speaks of the stretch since the
//! last sign of life. Rules only: time, settings and the group's allowance come in, charges come out.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::sync::Arc;
use std::time::Duration;

use super::allowance::Allowance;
use crate::budget::charge::Change;
use crate::budget::grant::GrantId;
use crate::ice::IceSource;
use crate::units::{BitRate, ByteCount, Timestamp};

/// Who opened a connection, and so who may speak for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A client, by its grant.
    Grant(GrantId),
    /// The app server that holds the reporter token.
    Reporter,
}

/// Which of a client's two counts the provider bills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BilledDirections {
    /// Relay → client: the client's `bytesReceived`.
    Egress,
    /// Both counts.
    Both,
}

/// How connections are charged; fixed for the life of the process.
#[derive(Clone, Copy, Debug)]
pub struct UsageRules {
    /// How often a connection is to be heard from.
    pub heartbeat: Duration,
    /// What counts.
    pub billed: BilledDirections,
    /// What a connection that reports no bytes is taken to receive.
    pub estimated_rate: BitRate,
}

/// What a connection says about itself. Bytes are cumulative since it opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Client → relay.
    pub bytes_sent: Option<u64>,
    /// Relay → client.
    pub bytes_received: Option<u64>,
    /// Whether its packets go through the relay.
    pub relayed: Option<bool>,
}

/// How a connection is charged at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meter {
    /// Not relayed, no bytes reported: costs nothing.
    Free,
    /// By time since `since`. The clock of the ledger runs until `stops_at`, one interval after the last sign of life;
    /// after that (`running` false) the stretch is charged only if the connection is heard from again.
    Time { since: Timestamp, stops_at: Timestamp, running: bool },
    /// By what it reports; `counted` of its cumulative bytes have been dealt with, up to `until`.
    Bytes { counted: u64, until: Timestamp },
}

/// See the module's invariant.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its name, unique for its owner.
    pub id: Arc<str>,
    /// Who opened it.
    pub owner: Owner,
    /// Whose bytes it stands for.
    pub source: IceSource,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When it was last heard from.
    pub last_seen: Timestamp,
    /// Whether it is relayed, as far as it said.
    pub relayed: Option<bool>,
    /// Highest count reported, client → relay.
    pub bytes_sent: u64,
    /// Highest count reported, relay → client.
    pub bytes_received: u64,
    meter: Meter,
    /// Bytes charged by claims.
    claimed: ByteCount,
    /// Milliseconds charged by time for good, before the present stretch.
    settled_millis: u64,
}

/// Changes that one call causes: at most three.
pub type Changes = Vec<Change>;

/// What a report came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the ledger is to do.
    pub changes: Changes,
    /// Whether a claim was cut to what a relay can carry.
    pub clamped: bool,
}

impl Connection {
    /// Opens a connection at `now`.
    #[must_use]
    pub fn open(
        id: Arc<str>,
        owner: Owner,
        source: IceSource,
        relayed: Option<bool>,
        now: Timestamp,
        rules: &UsageRules,
    ) -> (Self, Changes) {
        let (meter, changes) = match relayed {
            Some(false) => (Meter::Free, vec![]),
            Some(true) | None => (Meter::running(now, now, rules), vec![Change::StartClock]),
        };
        let connection = Self {
            id,
            owner,
            source,
            opened_at: now,
            last_seen: now,
            relayed,
            bytes_sent: 0,
            bytes_received: 0,
            meter,
            claimed: ByteCount::ZERO,
            settled_millis: 0,
        };
        (connection, changes)
    }

    /// When something happens to this connection by itself: its clock stops, or it is given up.
    #[must_use]
    pub fn due_at(&self, rules: &UsageRules) -> Timestamp {
        match self.meter {
            Meter::Time { stops_at, running: true, .. } => stops_at,
            _ => self.last_seen.plus(rules.heartbeat.saturating_mul(3)),
        }
    }

    /// The due instant has come: `None` when only the clock stopped, the last changes when the connection is given up.
    pub fn elapse(&mut self) -> Elapsed {
        match &mut self.meter {
            Meter::Time { running, .. } if *running => {
                *running = false;
                Elapsed::ClockStopped(Change::StopClock)
            }
            _ => Elapsed::GivenUp,
        }
    }

    /// Takes a report at `now`. Counts that went down are ignored.
    pub fn report(
        &mut self,
        report: Report,
        now: Timestamp,
        rules: &UsageRules,
        allowance: &mut Allowance,
    ) -> Outcome {
        self.bytes_sent = self.bytes_sent.max(report.bytes_sent.unwrap_or(0));
        self.bytes_received = self.bytes_received.max(report.bytes_received.unwrap_or(0));
        let before = self.relayed;
        self.relayed = report.relayed.or(before);
        // A switch may have happened anywhere in the stretch: it is free only if it was direct at both ends.
        let free = self.relayed == Some(false) && before != Some(true);
        let outcome = match self.claim_in(report, rules.billed) {
            Some(claim) => self.take_claim(claim, free, now, allowance),
            None => Outcome { changes: self.keep_time(free, now, rules), clamped: false },
        };
        self.last_seen = now;
        outcome
    }

    /// Closes the connection at `now`.
    pub fn close(&mut self, now: Timestamp) -> Changes {
        self.stop_time(now)
    }

    /// What it has been charged so far.
    #[must_use]
    pub fn charged(&self, now: Timestamp, rules: &UsageRules) -> ByteCount {
        let running = match self.meter {
            Meter::Time { since, stops_at, .. } => now.min(stops_at).millis_since(since),
            Meter::Free | Meter::Bytes { .. } => 0,
        };
        let millis = u128::from(self.settled_millis.saturating_add(running));
        self.claimed.plus(ByteCount::saturating(rules.estimated_rate.over_millis(millis)))
    }

    /// The billed count, if the report holds it.
    fn claim_in(&self, report: Report, billed: BilledDirections) -> Option<u64> {
        match billed {
            BilledDirections::Egress => report.bytes_received.map(|_| self.bytes_received),
            BilledDirections::Both => report
                .bytes_received
                .or(report.bytes_sent)
                .map(|_| self.bytes_received.saturating_add(self.bytes_sent)),
        }
    }

    fn take_claim(&mut self, claim: u64, free: bool, now: Timestamp, allowance: &mut Allowance) -> Outcome {
        let (mut changes, counted, from) = match self.meter {
            Meter::Free => (vec![], 0, self.last_seen),
            Meter::Bytes { counted, until } => (vec![], counted, until),
            Meter::Time { since, stops_at, running } => {
                let mut changes = if running { vec![Change::StopClock] } else { vec![] };
                changes.push(Change::RemoveTime { from: since, to: now.min(stops_at) });
                (changes, 0, since)
            }
        };
        let wanted = ByteCount::new(claim.saturating_sub(counted));
        let taken = if free { wanted } else { allowance.take(wanted, now) };
        if !free && taken > ByteCount::ZERO {
            self.claimed = self.claimed.plus(taken);
            changes.push(Change::AddBytes { bytes: taken, from, to: now });
        }
        self.meter = Meter::Bytes { counted: counted.saturating_add(taken.get()), until: now };
        Outcome { changes, clamped: taken < wanted }
    }

    /// A sign of life without bytes.
    fn keep_time(&mut self, free: bool, now: Timestamp, rules: &UsageRules) -> Changes {
        let direct = self.relayed == Some(false);
        match self.meter {
            Meter::Bytes { .. } => vec![],
            Meter::Free if direct => vec![],
            Meter::Free => {
                let from = self.last_seen;
                self.meter = Meter::running(from, now, rules);
                vec![Change::AddTime { from, to: now }, Change::StartClock]
            }
            Meter::Time { since, stops_at, running } if free => {
                // Nobody had said what the last stretch was; now it is said to have cost nothing.
                let mut changes = if running { vec![Change::StopClock] } else { vec![] };
                changes.push(Change::RemoveTime { from: self.last_seen, to: now.min(stops_at) });
                self.settle(self.last_seen.millis_since(since));
                changes
            }
            Meter::Time { .. } if direct => self.stop_time(now),
            Meter::Time { since, stops_at, running } => {
                self.meter = Meter::running(since, now, rules);
                if running {
                    vec![]
                } else {
                    vec![Change::AddTime { from: stops_at, to: now }, Change::StartClock]
                }
            }
        }
    }

    /// Charges the present stretch up to `now` for good.
    fn stop_time(&mut self, now: Timestamp) -> Changes {
        let Meter::Time { since, stops_at, running } = self.meter else { return vec![] };
        self.settle(now.millis_since(since));
        if running { vec![Change::StopClock] } else { vec![Change::AddTime { from: stops_at, to: now }] }
    }

    fn settle(&mut self, millis: u64) {
        self.settled_millis = self.settled_millis.saturating_add(millis);
        self.meter = Meter::Free;
    }
}

impl Meter {
    fn running(since: Timestamp, last_seen: Timestamp, rules: &UsageRules) -> Self {
        Self::Time { since, stops_at: last_seen.plus(rules.heartbeat), running: true }
    }
}

/// What [`Connection::elapse`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elapsed {
    /// One interval without a sign of life: nothing more is charged until there is one.
    ClockStopped(Change),
    /// Three intervals without a sign of life: closed as of the last one plus one interval.
    GivenUp,
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
