//! One reported connection and the rules of its charges. Tests: `src/connection_tests.rs`.
//! A report covers the time since the previous one. If it contains bytes, they are charged, and all time charges since the last report with
//! bytes are reversed. Otherwise the time is charged at the estimated rate. So a connection that keeps counting is charged exactly its
//! bytes, and one that stops reporting is never free. The allowances limit both charges: bytes that do not fit are charged with a later
//! report, time that does not fit is never charged. Pure: time, settings and allowances are arguments, and changes are returned.
//! Every span in `estimates` is charged, and the spans do not overlap. A later count can reverse these charges. In this file a count is the
//! cumulative bytes of a report; only `counted_by` means the count of a source.

use crate::allowance::Allowances;
use crate::prelude::*;

/// Who has opened a connection. [`Name`]s with the same id are in the order of these variants.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Owner {
    /// The app server that holds the reporter token.
    #[default]
    Reporter,
    /// The app server with the server key of this name.
    Server(Label),
    /// The client with this grant.
    Grant(GrantId),
}

/// A connection's name: its id and its owner. The row, its key and the queue share one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(Arc<(Box<str>, Owner)>);

impl Name {
    /// The connection that this owner opens under this id.
    pub fn new(id: &str, owner: Owner) -> Self {
        Self(Arc::new((id.into(), owner)))
    }

    /// Its id, unique for its owner.
    pub fn id(&self) -> &str {
        &self.0.0
    }

    /// Who has opened it.
    pub fn owner(&self) -> &Owner {
        &self.0.1
    }

    /// The grant that it was opened with; `None` if an app server opened it.
    pub fn grant(&self) -> Option<GrantId> {
        match self.0.1 {
            Owner::Grant(id) => Some(id),
            Owner::Reporter | Owner::Server(_) => None,
        }
    }
}

/// A connection's report. Bytes are cumulative since it opened; `None` means not reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Client → relay.
    pub bytes_sent: Option<u64>,
    /// Relay → client.
    pub bytes_received: Option<u64>,
    /// Whether its packets go through the relay.
    pub relayed: Option<bool>,
}

/// See the module's invariant. Its stored form has the fields in this order, without the name, which is its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Its id and owner.
    #[serde(skip)]
    pub name: Name,
    /// Whether an app server's connection of the same id has ended while this one was open.
    pub(crate) outlived_servers: bool,
    /// Whose count replaces what it is charged.
    pub counted_by: CountOwner,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When its last report came.
    pub last_seen: Timestamp,
    /// Whether it is relayed, by the last report that says whether it is; `None` before such a report.
    pub relayed: Option<bool>,
    /// Highest count reported, client → relay.
    pub bytes_sent: u64,
    /// Highest count reported, relay → client.
    pub bytes_received: u64,
    /// `None`: no time since the last report is charged.
    clock: Option<Clock>,
    /// Spans charged by time since the last count.
    estimates: Vec<Interval>,
    /// How much of the cumulative count was charged or was free.
    counted: u64,
    /// When the last report with a count came; before the first one, when the connection was opened.
    pub(crate) counted_until: Timestamp,
    /// Bytes charged by counts.
    claimed: ByteCount,
    /// Milliseconds that were charged by time for good: no count can reverse them.
    settled_millis: u64,
    /// Who spends what it relays, as the reporter says; `None` for a connection of a grant, whose row says it.
    pub spender: Option<Arc<Spender>>,
    vouched: Vouched,
}

/// What app servers themselves have said of a connection. What its page says plays no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Vouched {
    /// The highest billed count that was believed.
    bytes: u64,
    /// When their last report with a count came; before the first one, when the connection was opened.
    until: Timestamp,
    /// Whether it is relayed, by their last report that says whether it is.
    relayed: Option<bool>,
}

/// The ledger's clock for a connection that is charged by time. It stops one heartbeat interval after the last report. A stopped clock
/// stays until the next report, which may charge the time since the clock stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Clock {
    since: Timestamp,
    /// When it stops, or when it has stopped.
    stops_at: Timestamp,
    running: bool,
}

/// The most spans charged by time that a later count can reverse. Only a connection that switches between direct and relayed without a
/// count has more of them. Then the oldest spans stay charged.
const ESTIMATES_MAX: usize = 8;

/// The changes of one call; few.
pub type Changes = Vec<ChangeKind>;

/// One call at `now`: what it depends on, and its changes so far.
struct Charging<'a, 'r> {
    now: Timestamp,
    rules: &'a UsageRules,
    allowances: &'a mut Allowances<'r>,
    changes: Changes,
}

impl Connection {
    /// Opens a connection at `now`.
    #[must_use]
    pub fn open(
        name: Name,
        counted_by: CountOwner,
        relayed: Option<bool>,
        now: Timestamp,
        rules: &UsageRules,
        allowances: &mut Allowances<'_>,
    ) -> (Self, Changes) {
        let mut connection = Self {
            name,
            outlived_servers: false,
            counted_by,
            opened_at: now,
            last_seen: now,
            relayed,
            bytes_sent: 0,
            bytes_received: 0,
            clock: None,
            estimates: vec![],
            counted: 0,
            counted_until: now,
            claimed: ByteCount::ZERO,
            settled_millis: 0,
            spender: None,
            vouched: Vouched { bytes: 0, until: now, relayed: None },
        };
        let mut charging = Charging { now, rules, allowances, changes: vec![] };
        if !connection.is_direct() {
            connection.start_clock(&mut charging);
        }
        (connection, charging.changes)
    }

    /// Whether the ledger's clock for it is running.
    pub fn is_charged_by_time(&self) -> bool {
        self.clock.is_some_and(|clock| clock.running)
    }

    /// The next instant at which time alone changes this connection: its clock stops, or it is given up.
    pub fn due_at(&self, rules: &UsageRules) -> Timestamp {
        let given_up_at = self.last_seen.plus(rules.heartbeat.saturating_mul(3));
        match self.clock {
            Some(Clock { stops_at, running: true, .. }) => stops_at,
            // Time is charged until `stops_at`, which is later than `given_up_at` if the interval was much longer at the last report.
            Some(Clock { stops_at, .. }) => given_up_at.max(stops_at),
            None => given_up_at,
        }
    }

    /// Handles the due instant. Returns the changes, and whether the connection is given up. After one heartbeat interval without a report
    /// nothing more is charged until the next report. After three intervals the connection is given up. It is then charged until one
    /// interval after its last report, and no longer.
    pub fn elapse(&mut self, rules: &UsageRules, allowances: &mut Allowances<'_>) -> (Changes, bool) {
        let due = self.due_at(rules);
        // If its clock is running, the clock was due, and it stops.
        let changes = self.pause(due, allowances);
        if !changes.is_empty() {
            return (changes, false);
        }
        let mut charging = Charging { now: due, rules, allowances, changes: vec![] };
        // Without a clock nothing is charged yet since the last report: that report had a count, or the allowances had no room for a clock.
        if self.clock.is_none() && !self.is_direct() {
            let to = self.last_seen.plus(rules.heartbeat);
            self.estimate(Interval { from: self.last_seen, to }, &mut charging);
        }
        (charging.changes, true)
    }

    /// A change of what this connection is charged, in the form that the ledger takes.
    pub(crate) fn usage_change(&self, kind: ChangeKind) -> UsageChange {
        let basis = if self.name.grant().is_some() { Basis::Granted } else { Basis::Ungranted };
        UsageChange { owner: self.counted_by, basis, kind }
    }

    /// Stops the clock at `now`, but keeps it until the next report. Without a running clock nothing changes.
    pub fn pause(&mut self, now: Timestamp, allowances: &mut Allowances<'_>) -> Changes {
        let Some(clock) = self.clock.as_mut().filter(|clock| clock.running) else { return vec![] };
        (clock.running, clock.stops_at) = (false, now.min(clock.stops_at));
        allowances.stop_clock();
        vec![ChangeKind::STOP_CLOCK]
    }

    /// Takes a report at `now`. A count that is lower than an earlier one is taken as if it had stayed the same.
    pub fn report(
        &mut self,
        report: Report,
        now: Timestamp,
        rules: &UsageRules,
        allowances: &mut Allowances<'_>,
    ) -> Changes {
        self.bytes_sent = self.bytes_sent.max(report.bytes_sent.unwrap_or(0));
        self.bytes_received = self.bytes_received.max(report.bytes_received.unwrap_or(0));
        let free = is_free(self.relayed, report);
        self.relayed = report.relayed.or(self.relayed);
        let mut charging = Charging { now, rules, allowances, changes: vec![] };
        match self.claim_in(report, rules.billed.of(self.counted_by.source)) {
            Some(claim) => self.take_claim(claim, free, &mut charging),
            None if free => self.forgive(&mut charging),
            None => self.charge_time(&mut charging),
        }
        self.last_seen = now;
        charging.changes
    }

    /// Takes what the app server itself says. Returns by how many bytes the app server's count has grown, and since when: its previous
    /// report with a count, or the opening. `None` if the report has no count of what is billed, if the count has not grown, or if the
    /// connection was direct. The count is believed up to what a relay can carry for one client since the connection opened, and up to
    /// `left` bytes above the previous count. `left`: the rest of the app server's limit. What a page says plays no part.
    pub(crate) fn vouched_growth(
        &mut self,
        report: Report,
        left: Option<ByteCount>,
        now: Timestamp,
        billed: BilledDirections,
    ) -> Option<(ByteCount, Timestamp)> {
        let before = self.vouched;
        let free = is_free(before.relayed, report);
        self.vouched.relayed = report.relayed.or(before.relayed);
        // Returns if the report has no count. The value is not used, because it includes what the page has said.
        self.claim_in(report, billed)?;
        let traffic = Traffic::new(report.bytes_sent.unwrap_or(0), report.bytes_received.unwrap_or(0));
        let carried_max =
            ByteCount::saturating(RELAY_RATE_MAX.over_millis(now.millis_since(self.opened_at).into()));
        let believed_max =
            left.map_or(carried_max, |left| carried_max.min(ByteCount::new(before.bytes).plus(left)));
        let believed = traffic.billed(billed).min(believed_max).get();
        (self.vouched.bytes, self.vouched.until) = (believed.max(before.bytes), now);
        let growth = ByteCount::new(believed.saturating_sub(before.bytes));
        if growth > ByteCount::ZERO && !free { Some((growth, before.until)) } else { None }
    }

    /// Closes the connection at `now`. Unless it is direct, the time that no report has covered is charged, because no later report will
    /// cover it.
    pub fn close(&mut self, now: Timestamp, rules: &UsageRules, allowances: &mut Allowances<'_>) -> Changes {
        let mut charging = Charging { now, rules, allowances, changes: vec![] };
        let charged_until = self.end_clock(&mut charging);
        if !self.is_direct() {
            self.estimate(Interval { from: charged_until, to: now }, &mut charging);
        }
        charging.changes
    }

    /// Bytes that it has been charged by `now`.
    pub fn charged(&self, now: Timestamp, rules: &UsageRules) -> ByteCount {
        self.charged_without(Timestamp::default(), now, rules)
    }

    /// Bytes that it has been charged by `now`, without the time before `start` whose charge reported bytes can still reverse. So if such a
    /// charge is reversed, the difference between two calls with the same `start` takes back nothing of an earlier period.
    pub(crate) fn charged_without(&self, start: Timestamp, now: Timestamp, rules: &UsageRules) -> ByteCount {
        let of_clock = self.clock.map(|clock| Interval::new(clock.since, now.min(clock.stops_at)));
        let spans = of_clock.into_iter().chain(self.estimates.iter().copied());
        let estimated = spans.map(|span| span.after(start).millis()).fold(0, u64::saturating_add);
        let millis = u128::from(self.settled_millis.saturating_add(estimated));
        self.claimed.plus(ByteCount::saturating(rules.estimated_rate.over_millis(millis)))
    }

    /// The most bytes that a count can add: what a relay can carry since the connection opened, less what is charged for good. A connection
    /// of a grant has no such limit, because the grant's allowance limits all its connections together.
    fn room(&self, now: Timestamp, rules: &UsageRules) -> ByteCount {
        if self.name.grant().is_some() {
            return ByteCount::new(u64::MAX);
        }
        let bytes = |rate: BitRate, millis: u64| ByteCount::saturating(rate.over_millis(millis.into()));
        let most = bytes(RELAY_RATE_MAX.max(rules.estimated_rate), now.millis_since(self.opened_at));
        most.minus(self.claimed).minus(bytes(rules.estimated_rate, self.settled_millis))
    }

    /// Whether it does not use the relay, by the last report that says whether it does.
    pub fn is_direct(&self) -> bool {
        self.relayed == Some(false)
    }

    /// The highest billed count so far; `None` if this report contains no count of a billed direction.
    fn claim_in(&self, report: Report, billed: BilledDirections) -> Option<u64> {
        match billed {
            BilledDirections::Egress => report.bytes_received.map(|_| self.bytes_received),
            BilledDirections::Both => report
                .bytes_received
                .or(report.bytes_sent)
                .map(|_| self.bytes_received.saturating_add(self.bytes_sent)),
        }
    }

    /// Takes the cumulative count `claim`. `free`: the time since the last report is free.
    fn take_claim(&mut self, claim: u64, free: bool, charging: &mut Charging<'_, '_>) {
        let (now, wanted) = (charging.now, ByteCount::new(claim.saturating_sub(self.counted)));
        let taken = if free {
            // The count may also cover time before the last report, in which the connection may have been relayed. The charges by time for
            // that time become final, and no bytes are charged.
            self.forgive(charging);
            for estimate in std::mem::take(&mut self.estimates) {
                self.settled_millis = self.settled_millis.saturating_add(estimate.millis());
            }
            wanted
        } else {
            self.end_clock(charging);
            for estimate in std::mem::take(&mut self.estimates) {
                charging.allowances.give_back(estimate.millis());
                charging.changes.push(ChangeKind::RemoveTime(estimate));
            }
            let taken = charging.allowances.take(wanted, self.room(now, charging.rules));
            self.claimed = self.claimed.plus(taken);
            if taken > ByteCount::ZERO {
                let added = ChangeKind::AddBytes(Spread::new(taken, self.counted_until, now));
                charging.changes.push(added);
            }
            taken
        };
        self.counted = self.counted.saturating_add(taken.get());
        self.counted_until = now;
    }

    /// Reverses what is charged by time since the last report, because that time is free.
    fn forgive(&mut self, charging: &mut Charging<'_, '_>) {
        self.end_clock(charging);
        let Some(last) = self.estimates.last_mut().filter(|estimate| estimate.to > self.last_seen) else {
            return;
        };
        let forgiven = last.after(self.last_seen);
        charging.changes.push(ChangeKind::RemoveTime(forgiven));
        charging.allowances.give_back(forgiven.millis());
        last.to = forgiven.from;
        self.estimates.retain(|estimate| !estimate.is_empty());
    }

    /// Charges the time since the last report and, unless the connection is direct, the time from now on.
    fn charge_time(&mut self, charging: &mut Charging<'_, '_>) {
        if !self.is_direct()
            && let Some(clock) = self.clock.as_mut().filter(|clock| clock.running)
        {
            // A running clock has charged the time since the last report, and goes on.
            clock.stops_at = charging.now.plus(charging.rules.heartbeat);
            return;
        }
        let charged_until = self.end_clock(charging);
        self.estimate(Interval { from: charged_until, to: charging.now }, charging);
        if !self.is_direct() {
            self.start_clock(charging);
        }
    }

    /// Starts the clock, if the allowances have room for it.
    fn start_clock(&mut self, charging: &mut Charging<'_, '_>) {
        if charging.allowances.start_clock() {
            let (since, stops_at) = (charging.now, charging.now.plus(charging.rules.heartbeat));
            self.clock = Some(Clock { since, stops_at, running: true });
            charging.changes.push(ChangeKind::START_CLOCK);
        }
    }

    /// Removes the clock, running or not. Its charge becomes an estimate that a count can reverse. Returns until when time is charged: the
    /// last report if there was no clock.
    fn end_clock(&mut self, charging: &mut Charging<'_, '_>) -> Timestamp {
        let Some(clock) = self.clock.take() else { return self.last_seen };
        if clock.running {
            charging.allowances.stop_clock();
            charging.changes.push(ChangeKind::STOP_CLOCK);
        }
        let to = charging.now.min(clock.stops_at);
        self.remember(Interval { from: clock.since, to });
        to
    }

    /// Charges a past span by time, or only its end as far as the allowances have room. A later count can reverse the charge.
    fn estimate(&mut self, span: Interval, charging: &mut Charging<'_, '_>) {
        let left_out = span.millis().saturating_sub(charging.allowances.take_time(span.millis()));
        let charged = Interval { from: span.from.plus_millis(left_out), to: span.to };
        if !charged.is_empty() {
            charging.changes.push(ChangeKind::AddTime(charged));
            self.remember(charged);
        }
    }

    /// Adds a span that is charged already to the estimates. If there are too many, the oldest one is charged for good.
    fn remember(&mut self, span: Interval) {
        match self.estimates.last_mut() {
            Some(last) if last.to == span.from => last.to = span.to,
            _ if span.millis() == 0 => {}
            _ => self.estimates.push(span),
        }
        if self.estimates.len() > ESTIMATES_MAX {
            let oldest = self.estimates.remove(0);
            self.settled_millis = self.settled_millis.saturating_add(oldest.millis());
        }
    }
}

/// Whether the time since the last report is free: the connection is direct now, and the earlier reports (`before`) do not say that it was
/// relayed. A connection that was relayed may have switched at any time since the last report.
fn is_free(before: Option<bool>, report: Report) -> bool {
    report.relayed.or(before) == Some(false) && before != Some(true)
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
