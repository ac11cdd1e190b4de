//! Two replicas, their database, and the clients. After each instant the checks of [`super::checks`] run.

use super::checks::Answered;
use super::node::Pace;
use super::prelude::*;
use crate::walk::settings::SOURCE;
use crate::walk::world::World;

/// Time passes in such steps, in milliseconds. In a long wait they are longer.
const TICK: u64 = 50;
const LONG: u64 = 20_000;
const LONG_TICK: u64 = 500;
/// Everything has settled after this time without faults, in milliseconds.
/// A clock may have half the pace, and a leader that died unseen while it read the ledger is missed for a minute.
const SETTLED: u64 = 180_000;
/// 2025-01-11T20:00Z: no period ends in a scenario.
const BEGIN: i64 = 1_736_625_600_000;

pub(super) struct Cluster {
    pub(super) settings: Settings,
    pub(super) world: World,
    pub(super) database: Database,
    pub(super) nodes: [Node; 2],
    /// Until when nobody reaches the database.
    down_until: u64,
    minted: u64,
    pub(super) answered: BTreeMap<GrantId, Answered>,
    pub(super) checks: Checks,
}

impl Cluster {
    pub(super) fn new(settings: Settings) -> Self {
        let mut cluster = Self {
            settings,
            world: World::default(),
            database: Database::new(),
            // The first one leads.
            nodes: [Node::new(0, 0), Node::new(1, 2_000)],
            down_until: 0,
            minted: 0,
            answered: BTreeMap::new(),
            checks: Checks::default(),
        };
        cluster.pass(3_000);
        cluster
    }

    pub(super) fn present(&self) -> Timestamp {
        Timestamp::from_millis(BEGIN).plus_millis(self.world.now)
    }

    fn index(&self, who: Who) -> usize {
        let leads = |node: &Node| node.leader().is_some_and(|leader| self.database.is_term(&leader.term));
        let leader = usize::from(!leads(&self.nodes[0]) && leads(&self.nodes[1]));
        if who == Who::Leader { leader } else { 1 - leader }
    }

    pub(super) fn apply(&mut self, op: Op) {
        let now = self.world.now;
        let index = self.index(op.who());
        let node = &mut self.nodes[index];
        match op {
            Op::Wait(millis) => self.pass(millis),
            Op::Mint(_, life) => drop(self.mint(index, life)),
            Op::Fate(_, fate) => node.fates.push_back(fate),
            Op::Cut(_, is_cut) => node.is_cut = is_cut,
            Op::Disconnect(_) => {
                if let Some(leader) = node.leader_mut() {
                    leader.disconnect(&mut self.database, true);
                }
            }
            Op::Pause(_, millis) => node.paused_until = now + millis,
            Op::Kill(_, millis, reboots) => {
                self.checks.note_end(index);
                node.end(&mut self.database, now + millis);
                node.paused_until = 0;
                if reboots {
                    node.clock.reboot();
                }
            }
            Op::Release(_) => {
                if let Some(leader) = node.leader_mut() {
                    leader.release();
                }
            }
            Op::Wall(_, ahead) => node.clock.ahead = ahead,
            Op::Pace(_, pace) => node.clock.pace = pace,
            Op::Slow(_, look, takeover, loses_stand) => node.pace = Pace { look, takeover, loses_stand },
            Op::Down(millis) => self.down_until = now + millis,
            Op::Restart(millis) => {
                self.down_until = now + millis;
                self.database.restart();
                self.disconnect_leaders();
            }
            Op::FailOver(writes) => self.fail_over(writes),
        }
    }

    /// A client asks for a credential. Returns whether it waits for one.
    fn mint(&mut self, index: usize, life: u64) -> bool {
        let (now, present) = (self.world.now, self.present());
        let node = &mut self.nodes[index];
        if node.paused_until > now {
            return false;
        }
        self.minted += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.minted.to_be_bytes());
        let Role::Leader(leader) = &mut node.role else { return false };
        let at = At {
            database: &mut self.database,
            clock: &node.clock,
            node: index,
            is_cut: node.is_cut,
            fates: &mut node.fates,
            now,
            present,
        };
        let waits = leader.mint(GrantId::new(id), Duration::from_secs(life), &at);
        self.checks.tally.note_if("mints", waits);
        waits
    }

    fn disconnect_leaders(&mut self) {
        for node in &mut self.nodes {
            if let Some(leader) = node.leader_mut() {
                leader.disconnect(&mut self.database, true);
            }
        }
    }

    fn fail_over(&mut self, writes: usize) {
        let kept = self.database.fail_over(writes);
        self.disconnect_leaders();
        self.checks.note_rollback(kept, writes, &self.nodes, &self.database, &self.answered, self.world.now);
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, millis: u64) {
        let tick = if millis > LONG { LONG_TICK } else { TICK };
        let end = self.world.now + millis;
        while self.world.now < end && self.checks.wrong.is_none() {
            let step = tick.min(end - self.world.now);
            self.world.pass(step, 256);
            for node in &mut self.nodes {
                node.clock.pass(step);
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let (now, present) = (self.world.now, self.present());
        self.database.is_down = self.down_until > now;
        self.database.step(now, &[self.nodes[0].is_cut, self.nodes[1].is_cut]);
        for index in 0..2 {
            let before = self.database.row().clone();
            let did = self.nodes[index].step(&mut self.database, &self.settings, now, present);
            self.checks.note(did, index, &before, &self.nodes);
            self.deliver(index);
        }
        self.checks.tally.add(std::mem::take(&mut self.database.tally));
        let wrong = self.database.wrong.take();
        self.checks.expect(wrong.is_none(), || wrong.unwrap_or_default());
        Checks::step(self);
    }

    /// Clients get their credentials.
    fn deliver(&mut self, index: usize) {
        let Some(leader) = self.nodes[index].leader_mut() else { return };
        self.checks.tally.add(std::mem::take(&mut leader.tally));
        for (grant, expires) in std::mem::take(&mut leader.answered) {
            let assumed = self.settings.assumed(SOURCE);
            let client = self.settings.client(SOURCE, self.minted);
            if expires > self.world.now {
                self.world.hand_out(SOURCE, grant.id, expires, client, assumed);
            }
            let is_durable = self.database.replica().rows.has_grant(grant.id);
            self.checks.expect(is_durable, || format!("{} was answered and is not durable", grant.id));
            self.checks.tally.note("answered");
            self.answered.insert(grant.id, Answered { grant, expires });
        }
    }

    /// All faults end. Then one replica leads, the other one forwards to it, and credentials are made.
    pub(super) fn settle(&mut self) {
        self.down_until = 0;
        for node in &mut self.nodes {
            (node.is_cut, node.paused_until, node.pace, node.clock.ahead) = (false, 0, Pace::default(), 0);
            node.fates.clear();
            node.clock.pace = node.clock.pace.clamp(RIGHT / 2, RIGHT);
        }
        self.pass(SETTLED);
        Checks::settled(self);
        let (before, index) = (self.checks.tally.of("answered"), self.index(Who::Leader));
        let waits = self.mint(index, 60);
        self.pass(2_000);
        let is_answered = self.checks.tally.of("answered") > before;
        self.checks.expect(is_answered || !waits, || "a credential is not answered".into());
    }
}
