//! The checks after each instant. What must hold is computed here by plain rules: which grants
//! were answered, which of them a rollback has taken, and who knows of it.

use super::node::Did;
use super::prelude::*;
use turn_store::contradictions::contradictions;

/// The books' time may be ahead of the true one by so much, in milliseconds.
const AHEAD_MAX: u64 = 2_000;

/// A credential that a client has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) grant: Grant,
    /// In the world's milliseconds.
    pub(super) expires: u64,
}

/// Answered grants that a rollback of the database has taken.
#[derive(Debug)]
struct Loss {
    /// The number of the last write that is left.
    kept: i64,
    /// The replicas whose process has seen a later one.
    witnesses: [bool; 2],
    /// Whether the ledger says that grants are missing.
    is_stated: bool,
}

#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) tally: Tally,
    /// The first thing that is not as it must be.
    pub(super) wrong: Option<String>,
    losses: Vec<Loss>,
    taken: BTreeSet<GrantId>,
    /// The row that was checked last.
    checked: (i64, i64),
    /// The most that each replica has published in the last instant, as the leader of this epoch.
    published: [(i64, u64); 2],
    /// The epochs that they led while nobody had stated a loss.
    unaware: [i64; 2],
    /// Whether a clock had another pace, and whether the books' time was ahead of the true one.
    was_wild: bool,
    was_ahead: bool,
}

impl Checks {
    pub(super) fn expect(&mut self, is_right: bool, what: impl FnOnce() -> String) {
        if !is_right {
            self.wrong.get_or_insert_with(what);
        }
    }

    /// A process has ended: what it knew is gone.
    pub(super) fn note_end(&mut self, index: usize) {
        for loss in &mut self.losses {
            loss.witnesses[index] = false;
        }
    }

    /// What a replica did. `before`: the row before.
    pub(super) fn note(&mut self, did: Did, index: usize, before: &State, nodes: &[Node; 2]) {
        match did {
            Did::Nothing | Did::Opened => {}
            Did::NotWon => self.tally.note("lost elections"),
            Did::StatedLoss => self.tally.note("alarms of standbys"),
            Did::Won { is_silent, was_quiet } => {
                self.tally.note("elections");
                self.tally.note_if("elections by silence", is_silent);
                self.expect(was_quiet || !is_silent, || "it stood before a lease without a change".into());
                let other = &nodes[1 - index];
                let leader = other.leader().filter(|leader| before.session() == Some(&leader.term.session));
                let holds = leader.is_some_and(|leader| leader.lease.holds(other.clock.since_boot()));
                self.expect(!(is_silent && holds) || self.was_wild, || {
                    "a silent leader was replaced while its lease held".into()
                });
            }
            Did::Closed => {
                self.tally.note("handovers");
                self.note_end(index);
            }
            Did::Lost(Lost::Fenced) => {
                self.tally.note("fenced leaders");
                let knew = self.losses.iter().any(|loss| loss.witnesses[index] && !loss.is_stated);
                // Somebody may have stated it in this instant.
                self.expect(!knew || before.rows.is_copy(), || {
                    "lost writes were taken for another leader's".into()
                });
                self.note_end(index);
            }
            Did::Lost(Lost::Writes(_)) => self.tally.note("leaders that found lost writes"),
        }
    }

    /// The database has lost writes.
    pub(super) fn note_rollback(
        &mut self,
        kept: i64,
        writes: usize,
        nodes: &[Node; 2],
        database: &Database,
        answered: &BTreeMap<GrantId, Answered>,
        now: u64,
    ) {
        self.tally.note("failovers of the database");
        self.checked = (0, 0);
        let witnesses = [0, 1].map(|index| match &nodes[index].role {
            Role::Leader(leader) => leader.term.seq > kept,
            Role::Standby(standby) => standby.highest > kept,
            Role::Opening(opening) => opening.seq() > kept,
            Role::Down { .. } => false,
        });
        let rows = &database.row().rows;
        let books_now = rows.books_now().unwrap_or_default();
        let is_live = |of: &Answered| of.expires > now && of.grant.expires_at > books_now;
        let is_lost = |(id, of): &(&GrantId, &Answered)| is_live(of) && !rows.has_grant(**id);
        let lost: Vec<_> = answered.iter().filter(is_lost).map(|(id, _)| *id).collect();
        let new = lost.iter().any(|id| !self.taken.contains(id));
        self.expect(writes > 0 || !new, || "the synchronous standby lacks what was answered".into());
        self.tally.note_if("losses of answered grants", new);
        self.taken.extend(lost);
        // An earlier loss may not be stated any more.
        if new || !self.losses.is_empty() {
            let is_stated = !new && lacks(&rows.read());
            self.losses.push(Loss { kept, witnesses, is_stated });
        }
    }

    pub(super) fn step(cluster: &mut Cluster) {
        let mut checks = std::mem::take(&mut cluster.checks);
        checks.tally.note("instants");
        checks.was_wild |= cluster.nodes.iter().any(|node| node.clock.pace != RIGHT);
        let row = cluster.database.row();
        if checks.checked != (row.epoch, row.seq) {
            checks.checked = (row.epoch, row.seq);
            checks.check_rows(cluster);
        }
        checks.check_leaders(cluster);
        cluster.checks = checks;
    }

    /// The credentials that clients have now, that have not ended in the books' time, and that no rollback has taken.
    fn live<'a>(&'a self, cluster: &'a Cluster, books_now: Timestamp) -> impl Iterator<Item = GrantId> + 'a {
        let is_live = move |of: &&Answered| {
            let is_valid = of.expires > cluster.world.now && of.grant.expires_at > books_now;
            is_valid && !self.taken.contains(&of.grant.id)
        };
        cluster.answered.values().filter(is_live).map(|of| of.grant.id)
    }

    /// What is stored has each answered grant once, and does not contradict itself.
    fn check_rows(&mut self, cluster: &Cluster) {
        let rows = &cluster.database.row().rows;
        let books_now = rows.books_now().unwrap_or_default();
        let missing = self.live(cluster, books_now).find(|id| !rows.has_grant(*id));
        self.expect(missing.is_none(), || format!("answered, and not stored: {missing:?}"));
        let stored = rows.read();
        let wrong = contradictions(&stored).pop();
        self.expect(wrong.is_none(), || wrong.unwrap_or_default());
        let is_stated = lacks(&stored) || rows.is_copy();
        for loss in &mut self.losses {
            loss.is_stated |= is_stated;
        }
    }

    fn check_leaders(&mut self, cluster: &Cluster) {
        let believers = cluster.nodes.iter().filter_map(|node| Some((node, node.leader()?)));
        let is_current = |(_, leader): &(_, &Leader)| cluster.database.is_term(&leader.term);
        let (current, former): (Vec<_>, Vec<_>) = believers.partition(is_current);
        let holds = former.iter().any(|(node, leader)| leader.lease.holds(node.clock.since_boot()));
        self.tally.note_if("instants with two believers", !current.is_empty() && !former.is_empty());
        self.tally.note_if("instants with two leases", !current.is_empty() && holds);
        if let Some((_, leader)) = current.first() {
            let grants = leader.books.grants();
            let missing = self.live(cluster, leader.books.now()).find(|id| grants.get(*id).is_none());
            self.expect(missing.is_none(), || format!("answered, and not in the books: {missing:?}"));
        } else {
            self.tally.note("unbounded: nobody leads");
        }
        for (node, leader) in current {
            if self.check_bound(cluster, node, leader, true) {
                self.tally.note("instants with a bound");
            }
        }
        for (node, leader) in former {
            if self.check_bound(cluster, node, leader, false) {
                self.tally.note("instants with a bound of a former leader");
            }
        }
    }

    /// Whether a replica publishes a bound as one that holds, which the true bytes must not exceed.
    fn check_bound(&mut self, cluster: &Cluster, node: &Node, leader: &Leader, is_current: bool) -> bool {
        let snapshot = leader.books.snapshot();
        let figures = &snapshot.figures;
        // What a former leader says of its own commitments is old. It still publishes a bound, and that includes the limit.
        let published = figures.limit.plus(figures.overshoot_bound());
        let most = if is_current { figures.committed.plus(figures.margin) } else { published }.get();
        let epoch = leader.term.epoch;
        let (last, before) = self.published[node.index];
        let before = if last == epoch { before } else { 0 };
        self.published[node.index] = (epoch, most);
        let is_ahead = leader.books.now() > cluster.present().plus_millis(AHEAD_MAX);
        self.was_ahead |= is_current && is_ahead;
        let is_lost = self.losses.iter().any(|loss| !loss.is_stated);
        if is_lost {
            self.unaware[node.index] = epoch;
        }
        // It learns of a loss that another one has stated with its next write.
        let is_unaware = !is_current && self.unaware[node.index] == epoch;
        // That of the present leader is true without its lease, too.
        let may_lead = is_current || leader.lease.holds(node.clock.since_boot());
        let reasons = [
            ("unbounded: it stands still", node.paused_until > cluster.world.now),
            ("unbounded: nobody knows what is lost", is_lost),
            ("unbounded: it does not know yet what is lost", is_unaware),
            ("unbounded: a clock was ahead", self.was_ahead || is_ahead),
            ("unbounded: the lease has ended", !may_lead),
            ("unbounded: the status says so", !snapshot.bound_holds()),
        ];
        if let Some((reason, _)) = reasons.into_iter().find(|(_, is_so)| *is_so) {
            self.tally.note(reason);
            return false;
        }
        let truth = cluster.world.bytes_between(0, cluster.world.now);
        let most = most.max(before);
        self.expect(truth <= most, || format!("{truth} true bytes exceed the most {most}"));
        let limit = cluster.settings.limit;
        self.expect(truth <= limit || !cluster.settings.strict, || {
            format!("{truth} true bytes exceed {limit}")
        });
        true
    }

    /// After all faults have ended.
    pub(super) fn settled(cluster: &mut Cluster) {
        let mut checks = std::mem::take(&mut cluster.checks);
        let is_current =
            |node: &&Node| node.leader().is_some_and(|leader| cluster.database.is_term(&leader.term));
        let leader = cluster.nodes.iter().find(is_current);
        checks.expect(leader.is_some(), || "nobody leads".into());
        if let Some((leader, node)) = leader.and_then(|node| Some((node.leader()?, node))) {
            checks.expect(leader.is_writable(&node.clock), || "the leader cannot write".into());
            let other = &cluster.nodes[1 - node.index];
            let forwards = matches!(&other.role, Role::Standby(standby) if standby.forwards_to.as_ref() == Some(&node.url));
            checks.expect(forwards, || "the other one does not forward".into());
        }
        let open: Vec<_> = checks.losses.iter().filter(|loss| !loss.is_stated).collect();
        let known = open.iter().find(|loss| loss.witnesses.contains(&true)).map(|loss| loss.kept);
        checks.tally.note_if("losses that nobody had seen", !open.is_empty());
        checks.expect(known.is_none(), || format!("nobody says that writes after {known:?} are lost"));
        cluster.checks = checks;
    }
}

/// Whether the ledger says that grants are missing.
fn lacks(stored: &Stored) -> bool {
    stored.is_copy || stored.head.as_ref().is_some_and(|head| head.lacking.until > head.now)
}
