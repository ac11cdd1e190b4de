//! What happened in the period, and what qualifies the bound: a restored copy, and jumps of the time.

use turn_ledger::{Books, ByteCount, GrantId, IceSource, Moment, Period, Snapshot, Timestamp};

use super::{MINUTE, Model, SLACK, signed};

/// No credential lives longer, in milliseconds.
const LIFE_MAX: i64 = 2 * DAY;
/// A day in milliseconds.
const DAY: i64 = 86_400_000;

impl Model {
    /// The books have moved to this time. `before`: their figures before.
    pub(in super::super) fn advance(&mut self, moment: &Moment, before: i64, now: i64, period: Period) {
        if moment.may_be_wrong {
            let with_rows = self.now.grants.iter().filter(|known| known.has_row);
            let tracks = self.now.sessions_of_pages.iter().filter_map(|session| session.promise);
            let ends = with_rows.map(|known| known.until).chain(tracks.map(|promise| promise.until));
            let alive_until = ends.max().unwrap_or(0) * MINUTE;
            let last = alive_until.max(self.now.lacks_until).max(self.now.jumped_until);
            if last > before {
                self.now.jumped_until = last + signed(u64::try_from(moment.jumped.as_millis()).unwrap_or(0));
            }
        }
        let rules = self.rules;
        if self.now.period != Some(period) {
            let end = self.now.period.map_or(Timestamp::default(), |period| period.end);
            self.now.elapse(end.as_millis().min(now) - 1, &rules);
            if self.now.period.is_some() && end < period.start {
                // Connections end in the periods between.
                self.begin_spending(Period { start: end, end: period.start });
                self.now.period = Some(Period { start: end, end: period.start });
                self.now.elapse(period.start.as_millis() - 1, &rules);
            }
            (self.now.issued, self.now.opened, self.now.reported) = (0, 0, 0);
            self.begin_spending(period);
            self.now.period = Some(period);
        }
        self.now.elapse(now, &rules);
        if self.now.time.div_euclid(DAY) != now.div_euclid(DAY) {
            self.now.begin_day(now);
        }
        self.now.time = now;
    }

    /// A connection was opened.
    pub(in super::super) fn open(
        &mut self,
        name: &str,
        (id, source): (Option<GrantId>, IceSource),
        relayed: Option<bool>,
        is_vouched: bool,
        now: i64,
    ) {
        self.connect(name, (id, source), relayed, is_vouched, now);
        self.now.opened += 1;
        if let Some(known) = id.and_then(|id| self.grant(id)) {
            let is_first = !std::mem::replace(&mut known.is_reported, true);
            self.now.reported += u64::from(is_first);
        }
    }

    /// The ledger turns out to lack credentials that may be alive. `tail`: the longest of any source. `lost_until`: the end of the period
    /// in which their bytes are missing.
    pub(in super::super) fn lack_grants(&mut self, now: i64, tail: u64, lost_until: i64) {
        self.now.lacks_until =
            self.now.lacks_until.max(now + LIFE_MAX + SLACK + signed(tail)).max(lost_until);
    }

    /// The operator blocks a user, or ends that.
    pub(in super::super) fn block(&mut self, user: u64, is_blocked: bool) {
        if is_blocked {
            self.now.blocked.insert(user);
        } else {
            self.now.blocked.remove(&user);
        }
    }

    /// Compares what happened, and until when the bound does not hold.
    pub(in super::super) fn check_standing(&self, books: &Books, snapshot: &Snapshot) -> Option<String> {
        let blocked = books.blocked().iter().filter_map(|user| user.as_str().parse::<u64>().ok());
        let period = snapshot.figures.period;
        let found = (snapshot.frozen, snapshot.measured.doubted, blocked.collect());
        let is_doubted = self.is_doubted(period.start, period.end);
        let expected = (self.now.is_frozen, is_doubted, self.now.blocked.clone());
        if found != expected {
            return Some(format!("frozen, doubted and blocked: {found:?}, not {expected:?}"));
        }
        let counts = snapshot.counts;
        let found = [counts.issued, counts.connections, counts.reported];
        let expected = [self.now.issued, self.now.opened, self.now.reported];
        let times = [snapshot.lacks_until, snapshot.jumped_until].map(turn_ledger::Timestamp::as_millis);
        let expected_times = [self.now.lacks_until, self.now.jumped_until];
        if found != expected {
            return Some(format!("{found:?} were issued, opened and reported, not {expected:?}"));
        }
        (times != expected_times)
            .then(|| format!("the bound does not hold until {times:?}, not {expected_times:?}"))
    }

    /// Compares the previous period with what was used of it at its end. `before`: the figures before the reset. `most`: the
    /// most that may have been charged until it.
    pub(in super::super) fn check_past(books: &Books, before: &Snapshot, most: ByteCount) -> Option<String> {
        let figures = before.figures;
        let past = books.ledger().past();
        let last = past
            .first()
            .filter(|(period, _)| *period == figures.period)
            .map_or(ByteCount::ZERO, |(_, used)| *used);
        let is_right = figures.used <= last && last <= most;
        (!is_right).then(|| format!("{last:?} are shown for a period that ended with {:?}", figures.used))
    }
}
