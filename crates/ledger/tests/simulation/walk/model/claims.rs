//! The open connections, and what each is charged: the bytes that it reports, or its time if it reports none.

use turn_ledger::{Books, ClientKey, GrantId, IceSource, Report, Timestamp};

use super::flows::Flow;
use super::{Facts, Model, signed};

/// More spans of time than this are not reversed by a later count.
const SPANS_MAX: usize = 8;
/// No connection relays faster, in bytes per millisecond.
const RATE_MAX: u64 = 12_500;

/// How connections are charged.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Rules {
    /// In milliseconds.
    pub(in super::super) heartbeat: i64,
    /// What a connection is charged that reports no bytes, in bytes per millisecond.
    pub(in super::super) rate: u64,
    /// What is assumed of a grant.
    pub(in super::super) assumed: u64,
    pub(in super::super) bills_both: bool,
    pub(in super::super) is_strict: bool,
}

/// Time that is charged from `since` on, until one heartbeat after the last report.
#[derive(Clone, Copy, Debug)]
struct Clock {
    since: i64,
    stops_at: i64,
    is_running: bool,
}

/// An open connection.
#[derive(Clone, Debug)]
pub(super) struct Reported {
    id: String,
    grant: Option<GrantId>,
    source: IceSource,
    opened_at: i64,
    /// Its last report.
    seen_at: i64,
    relayed: Option<bool>,
    sent: u64,
    received: u64,
    /// The part of its count that is charged or free, and since when the rest counts.
    counted: u64,
    counted_at: i64,
    clock: Option<Clock>,
    /// Time that is charged until its bytes are known.
    spans: Vec<(i64, i64)>,
    /// Bytes that it is charged for good, and milliseconds.
    claimed: u64,
    settled: u64,
}

impl Reported {
    pub(super) fn grant(&self) -> Option<GrantId> {
        self.grant
    }

    pub(super) fn is_running(&self) -> bool {
        self.clock.is_some_and(|clock| clock.is_running)
    }

    /// Its time that is charged until its bytes are known.
    pub(super) fn times(&self, now: i64) -> impl Iterator<Item = Flow> {
        let running = self.clock.map(|clock| (clock.since, now.min(clock.stops_at)));
        let (source, is_granted) = (self.source, self.grant.is_some());
        let spans = self.spans.iter().copied().chain(running);
        spans.map(move |(from, to)| Flow { source, is_granted, from, to, at: now, bytes: None })
    }

    /// What it is charged as of this time.
    fn charged(&self, now: i64, rules: &Rules) -> u64 {
        let times = self.times(now).map(|flow| u64::try_from(flow.to - flow.from).unwrap_or(0));
        self.claimed + rules.rate * (self.settled + times.sum::<u64>())
    }

    /// The same as of its last report.
    fn noted(&self, rules: &Rules) -> u64 {
        self.charged(self.seen_at, rules)
    }

    /// When time alone changes it next.
    fn due_at(&self, rules: &Rules) -> i64 {
        let given_up = self.seen_at + 3 * rules.heartbeat;
        self.clock.map_or(given_up, |clock| clock.stops_at.max(if clock.is_running { 0 } else { given_up }))
    }

    fn name(&self) -> (&str, Option<GrantId>) {
        (&self.id, self.grant)
    }
}

impl Facts {
    fn nth(&self, id: &str, grant: Option<GrantId>) -> Option<usize> {
        self.connections.iter().position(|it| it.name() == (id, grant))
    }

    /// Whether the client of a grant has a connection of this name open.
    pub(super) fn is_open(&self, id: &str, grant: GrantId) -> bool {
        self.nth(id, Some(grant)).is_some()
    }

    /// The grant of the connection that a reporter names: it has a connection of its own of this name, or there is only one.
    pub(in super::super) fn owner_of(&self, id: &str) -> Option<GrantId> {
        let named = self.connections.iter().filter(|it| it.id == id).map(|it| it.grant);
        named.min().flatten()
    }

    /// Time becomes a span that a count can reverse.
    fn remember(&mut self, nth: usize, from: i64, to: i64) {
        let it = &mut self.connections[nth];
        match it.spans.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ if from < to => it.spans.push((from, to)),
            _ => {}
        }
        if it.spans.len() > SPANS_MAX {
            let oldest = it.spans.remove(0);
            self.settle_span(nth, oldest);
        }
    }

    /// No count reverses a span any more.
    fn settle_span(&mut self, nth: usize, (from, to): (i64, i64)) {
        let it = &mut self.connections[nth];
        it.settled += u64::try_from(to - from).unwrap_or(0);
        let (source, is_granted) = (it.source, it.grant.is_some());
        self.flows.push(Flow { source, is_granted, from, to, at: to, bytes: None });
    }

    /// Its clock does not run any more. Returns until when its time is charged.
    fn stop(&mut self, nth: usize, now: i64) -> i64 {
        let it = &mut self.connections[nth];
        let Some(clock) = it.clock.take() else { return it.seen_at };
        let until = now.min(clock.stops_at);
        self.remember(nth, clock.since, until);
        until
    }

    /// Charges the end of a span by time, as much as fits.
    fn charge_span(&mut self, nth: usize, (from, to): (i64, i64), is_vouched: bool, rules: &Rules) {
        let (grant, millis) = (self.connections[nth].grant, u64::try_from(to - from).unwrap_or(0));
        let taken = self.take(grant, is_vouched, millis, rules.rate);
        let from = from.max(to - signed(taken));
        if from < to {
            self.remember(nth, from, to);
        }
    }

    fn start(&mut self, nth: usize, now: i64, is_vouched: bool, rules: &Rules) {
        if self.has_rate_for(self.connections[nth].grant, is_vouched, 1, rules) {
            let clock = Clock { since: now, stops_at: now + rules.heartbeat, is_running: true };
            self.connections[nth].clock = Some(clock);
        }
    }

    /// The time since the last report is free.
    fn forgive(&mut self, nth: usize, now: i64, rules: &Rules) {
        self.stop(nth, now);
        let it = &mut self.connections[nth];
        let (grant, seen_at) = (it.grant, it.seen_at);
        let Some((from, to)) = it.spans.pop_if(|(_, to)| *to > seen_at) else { return };
        let end = from.max(seen_at);
        it.spans.extend((from < end).then_some((from, end)));
        self.give_back(grant, rules.rate * (to - end).unsigned_abs());
    }

    /// A report was taken.
    fn report(&mut self, nth: usize, report: &Report, now: i64, is_vouched: bool, rules: &Rules) {
        let it = &mut self.connections[nth];
        let was_relayed = it.relayed;
        it.relayed = report.relayed.or(was_relayed);
        it.sent = it.sent.max(report.bytes_sent.unwrap_or(0));
        it.received = it.received.max(report.bytes_received.unwrap_or(0));
        let is_direct = it.relayed == Some(false);
        let is_free = is_direct && was_relayed != Some(true);
        let (sent, received) = if rules.bills_both { (it.sent, it.received) } else { (0, it.received) };
        let is_counted = report.bytes_received.is_some() || (rules.bills_both && report.bytes_sent.is_some());
        let (grant, claim) = (it.grant, sent.saturating_add(received).saturating_sub(it.counted));
        if is_counted && is_free {
            self.forgive(nth, now, rules);
            for span in std::mem::take(&mut self.connections[nth].spans) {
                self.settle_span(nth, span);
            }
            let it = &mut self.connections[nth];
            (it.counted, it.counted_at) = (it.counted + claim, now);
        } else if is_counted {
            self.stop(nth, now);
            for (from, to) in std::mem::take(&mut self.connections[nth].spans) {
                self.give_back(grant, rules.rate * (to - from).unsigned_abs());
            }
            let taken = self.take(grant, is_vouched, claim.min(self.room(nth, now, rules)), 1);
            let it = &mut self.connections[nth];
            (it.claimed, it.counted) = (it.claimed + taken, it.counted + taken);
            let from = std::mem::replace(&mut it.counted_at, now);
            let (source, is_granted) = (it.source, grant.is_some());
            self.flows.push(Flow { source, is_granted, from, to: now, at: now, bytes: Some(taken) });
        } else if is_free {
            self.forgive(nth, now, rules);
        } else if self.connections[nth].is_running() && !is_direct {
            let clock = self.connections[nth].clock.as_mut();
            clock.expect("it runs").stops_at = now + rules.heartbeat;
        } else {
            let until = self.stop(nth, now);
            self.charge_span(nth, (until, now), is_vouched, rules);
            if !is_direct {
                self.start(nth, now, is_vouched, rules);
            }
        }
        self.connections[nth].seen_at = now;
    }

    /// What a count can add: a connection without a grant relays no faster than 100 Mbps.
    fn room(&self, nth: usize, now: i64, rules: &Rules) -> u64 {
        let it = &self.connections[nth];
        if it.grant.is_some() {
            return u64::MAX;
        }
        let most = RATE_MAX.max(rules.rate) * u64::try_from(now - it.opened_at).unwrap_or(0);
        most.saturating_sub(it.claimed + rules.rate * it.settled)
    }

    /// A connection is gone, and nothing counts for it after `until`.
    fn remove(&mut self, nth: usize, before: u64, now: i64, until: i64, rules: &Rules) -> u64 {
        let charged = self.connections[nth].charged(now, rules);
        let (grant, seen_at) = (self.connections[nth].grant, self.connections[nth].seen_at);
        self.stop(nth, now);
        for span in std::mem::take(&mut self.connections[nth].spans) {
            self.settle_span(nth, span);
        }
        self.connections.remove(nth);
        self.end_saving(grant, until, rules);
        self.note_charge(grant, (before, charged), seen_at, now);
        charged
    }

    fn close(&mut self, nth: usize, now: i64, rules: &Rules) -> u64 {
        let (grant, before) = (self.connections[nth].grant, self.connections[nth].noted(rules));
        self.grow(grant, now, rules);
        let until = self.stop(nth, now);
        if self.connections[nth].relayed != Some(false) {
            self.charge_span(nth, (until, now), false, rules);
        }
        self.remove(nth, before, now, now, rules)
    }

    /// Time passes. A connection that does not report is charged for one heartbeat more, and given up after three.
    pub(super) fn elapse(&mut self, until: i64, rules: &Rules) {
        loop {
            let due = self.connections.iter().enumerate().map(|(nth, it)| (it.due_at(rules), it.name(), nth));
            let Some((due, _, nth)) = due.min().filter(|(due, ..)| *due <= until) else { return };
            let (grant, before) = (self.connections[nth].grant, self.connections[nth].noted(rules));
            self.grow(grant, due, rules);
            if let Some(clock) = self.connections[nth].clock.as_mut().filter(|clock| clock.is_running) {
                clock.is_running = false;
                continue;
            }
            let (seen_at, relayed) = (self.connections[nth].seen_at, self.connections[nth].relayed);
            if self.connections[nth].clock.is_none() && relayed != Some(false) {
                self.charge_span(nth, (seen_at, seen_at + rules.heartbeat), false, rules);
            }
            self.remove(nth, before, due, due.min(seen_at + rules.heartbeat), rules);
        }
    }

    /// Minting is stopped, or not any more. Clocks stop that do not fit any more.
    pub(super) fn set_claim_rate(&mut self, now: i64, rules: &Rules) {
        self.drop_saved(now);
        if !self.is_frozen {
            return;
        }
        self.connections.sort_by(|a, b| a.name().cmp(&b.name()));
        for nth in 0..self.connections.len() {
            self.grow(self.connections[nth].grant, now, rules);
            let fits = self.has_rate_for(self.connections[nth].grant, false, 0, rules);
            let running = self.connections[nth].clock.as_mut().filter(|clock| clock.is_running && !fits);
            if let Some(clock) = running {
                (clock.is_running, clock.stops_at) = (false, now.min(clock.stops_at));
            }
        }
    }
}

impl Model {
    /// A connection was opened.
    pub(super) fn connect(
        &mut self,
        id: &str,
        (grant, source): (Option<GrantId>, IceSource),
        relayed: Option<bool>,
        is_vouched: bool,
        now: i64,
    ) {
        self.now.grow(grant, now, &self.rules);
        self.now.connections.push(Reported {
            id: id.to_owned(),
            grant,
            source,
            opened_at: now,
            seen_at: now,
            relayed,
            sent: 0,
            received: 0,
            counted: 0,
            counted_at: now,
            clock: None,
            spans: vec![],
            claimed: 0,
            settled: 0,
        });
        if relayed != Some(false) {
            self.now.start(self.now.connections.len() - 1, now, is_vouched, &self.rules);
        }
    }

    /// A report was taken.
    pub(in super::super) fn report(
        &mut self,
        id: &str,
        grant: Option<GrantId>,
        report: &Report,
        is_vouched: bool,
        now: i64,
    ) {
        let rules = self.rules;
        let Some(nth) = self.now.nth(id, grant) else { return };
        self.now.grow(grant, now, &rules);
        let before = self.now.connections[nth].noted(&rules);
        let (counted_at, seen_at) = (self.now.connections[nth].counted_at, self.now.connections[nth].seen_at);
        self.now.report(nth, report, now, is_vouched, &rules);
        let after = self.now.connections[nth].noted(&rules);
        let is_counted = self.now.connections[nth].counted_at > counted_at;
        let from = if is_counted { counted_at } else { seen_at };
        self.now.note_charge(grant, (before, after), from, now);
    }

    /// A client has called with this grant.
    pub(in super::super) fn note_client(&mut self, id: GrantId, client: ClientKey, now: i64) {
        let rules = self.rules;
        self.now.note_client(id, client, now, &rules);
    }

    /// A connection was closed. Returns what it was charged.
    pub(in super::super) fn disconnect(&mut self, id: &str, grant: Option<GrantId>, now: i64) -> Option<u64> {
        let rules = self.rules;
        let nth = self.now.nth(id, grant)?;
        Some(self.now.close(nth, now, &rules))
    }

    /// A grant was revoked, so its connections were closed.
    pub(super) fn disconnect_all(&mut self, grant: GrantId, now: i64) {
        let theirs = self.now.connections.iter().filter(|it| it.grant == Some(grant));
        let mut ids: Vec<_> = theirs.map(|it| it.id.clone()).collect();
        ids.sort();
        for id in ids {
            self.disconnect(&id, Some(grant), now);
        }
    }

    /// The operator stops all minting, or ends that.
    pub(in super::super) fn freeze(&mut self, is_frozen: bool, now: i64) {
        if std::mem::replace(&mut self.now.is_frozen, is_frozen) != is_frozen {
            self.now.set_claim_rate(now, &self.rules);
        }
    }

    /// Compares the open connections.
    pub(in super::super) fn check_connections(&self, books: &Books) -> Option<String> {
        let now = books.now();
        let found: Vec<_> = books.connections().iter().collect();
        let expected = &self.now.connections;
        if found.len() != expected.len() {
            return Some(format!("{} connections are open, not these: {expected:?}", found.len()));
        }
        expected.iter().find_map(|it| {
            let Some(connection) =
                found.iter().find(|of| of.name.id() == &*it.id && of.name.grant() == it.grant)
            else {
                return Some(format!("there is no connection {it:?}"));
            };
            let [opened_at, seen_at] = [connection.opened_at, connection.last_seen].map(Timestamp::as_millis);
            let found = (opened_at, seen_at, connection.relayed, connection.source);
            let bytes = (connection.bytes_sent, connection.bytes_received);
            let expected = (it.opened_at, it.seen_at, it.relayed, it.source);
            if (found, bytes) != (expected, (it.sent, it.received)) {
                return Some(format!("{connection:?} instead of {it:?}"));
            }
            let charged = connection.charged(now, books.connections().rules()).get();
            let expected = it.charged(now.as_millis(), &self.rules);
            let is_right = charged == expected || self.now.is_rough;
            (!is_right).then(|| format!("{charged} are charged, not {expected}: {it:?}; {connection:?}"))
        })
    }
}
