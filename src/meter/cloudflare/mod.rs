//! The meter of Cloudflare's analytics. It reads the count of each UTC day. The open day is read up to a whole minute that is at least
//! `ANALYTICS_LAG_SECONDS` old, because newer minutes are still filling. Each poll asks for the open day, and for one
//! of the earlier days in turn: if that, or an earlier part of the open day, has grown, bytes are counted later than the lag. Independently, [`by_grant`] asks for the bytes of
//! each grant.

pub mod analytics;
pub mod by_grant;
mod probe;
mod tail;

use tokio::sync::watch;

use crate::ice::api::MintingApi;
use crate::ice::key_name::KeyName;
use crate::meter::prelude::*;
use crate::telemetry::metrics::Metrics;
use analytics::by_grant::{PageBounds, ROWS_MAX};
use analytics::{AnalyticsError, CloudflareAnalytics, RATE_LIMIT_REST, UsageCount};
use probe::ProbeState;
use turn_base::backoff::step;
use turn_ledger::polls::days::{CountedDays, has_grown};
use turn_ledger::polls::spans::{final_after, settled_minute};
use turn_ledger::{BillingDay, Day, Period, Reading};

/// Where a second answer decides about something, it is asked for so soon.
const SECOND_ANSWER: Duration = Duration::from_secs(60);
/// The longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// The meter.
pub struct CloudflareMeter {
    /// The API client.
    pub api: CloudflareAnalytics,
    /// The interval between queries.
    pub interval: Duration,
    /// The age of the newest settled minute.
    pub lag: Duration,
    /// The largest sampling error, in percent.
    pub sampling: u32,
    /// The TURN keys with which probes are made; none without `RELAY_PROBE`.
    pub probed: Vec<(CountOwner, MintingApi)>,
    /// The names of the TURN keys in the settings.
    pub key_names: BTreeMap<IdDigest, KeyName>,
    /// The start of billing periods.
    pub billing_day: BillingDay,
    /// What the queries have shown.
    pub shown: Mutex<Shown>,
    /// Receives the readings.
    pub account: Arc<Account>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

/// What the queries have shown, for people. Kept in memory only: the first queries after a start set it.
#[derive(Debug, Default)]
pub struct Shown {
    /// Why the latest query failed, and what to do; `None` if it was answered.
    pub failure: Option<String>,
    /// The bytes of each TURN key in one period, by the latest count.
    usage: Option<(Period, BTreeMap<IdDigest, ByteCount>)>,
}

impl Shown {
    /// The bytes of each TURN key in this period. Empty before the first count of the period.
    pub fn usage(&self, period: Period) -> BTreeMap<IdDigest, ByteCount> {
        match &self.usage {
            Some((of, usage)) if *of == period => usage.clone(),
            _ => BTreeMap::new(),
        }
    }
}

/// What the meter remembers from query to query.
#[derive(Clone, Debug, Default)]
pub struct MeterState {
    days: CountedDays<UsageCount>,
    /// A time whose count seems to have grown, its bytes before, and at which poll.
    grown: Option<(Span, ByteCount, Timestamp)>,
    probes: BTreeMap<CountOwner, ProbeState>,
    /// Consecutive failures to count what was relayed before a new ledger began.
    earlier_failures: u32,
}

impl MeterState {
    /// The bytes of each TURN key, summed over the counted days of a period.
    fn sum(&self, period: Period) -> BTreeMap<IdDigest, ByteCount> {
        let mut by_key = BTreeMap::<_, ByteCount>::new();
        for (key, bytes) in self.days.of(period).flat_map(|count| &count.by_key) {
            let sum = by_key.entry(*key).or_default();
            *sum = sum.plus(*bytes);
        }
        by_key
    }
}

impl CloudflareMeter {
    /// Queries the total and the bytes of each grant again and again. The two run independently, except that the bytes of each grant are
    /// asked for only while the total can be read.
    pub async fn run(&self) {
        let (reads, is_read) = watch::channel(false);
        tokio::join!(self.run_total(&reads), self.run_by_grant(is_read));
    }

    /// Queries the total again and again. `reads` learns whether the latest query was answered.
    async fn run_total(&self, reads: &watch::Sender<bool>) {
        let (mut state, mut failures) = (MeterState::default(), 0);
        loop {
            let asked = self.read(&mut state).await;
            failures = self.report(&asked, failures);
            reads.send_replace(asked.is_ok());
            let is_awaited = self.account.read(|books| books.budget().awaits_answer());
            let interval = if is_awaited { self.interval.min(SECOND_ANSWER) } else { self.interval };
            tokio::time::sleep(pause_after(&asked, interval, failures)).await;
        }
    }

    /// Makes one poll: reads the counts that are due, and gives them to the account. Then counts the time before this ledger, if that is due.
    /// Returns what `read_days` returns. Keeps why the poll failed.
    pub async fn read(&self, state: &mut MeterState) -> Result<ReadingOutcome, AnalyticsError> {
        let asked = self.read_settled(state).await;
        let failure = asked.as_ref().err().map(|error| format!("{error}: {}", error.remedy()));
        self.shown.lock().failure = failure;
        asked
    }

    async fn read_settled(&self, state: &mut MeterState) -> Result<ReadingOutcome, AnalyticsError> {
        let now = self.account.time_of_provider();
        let as_of = settled_minute(now, self.lag);
        let period = self.billing_day.period_until(as_of);
        self.look_for_probes(as_of).await?;
        let taken = self.read_days(state, period, as_of).await?;
        self.probe_if_due(&mut state.probes).await;
        let by_key = state.sum(period);
        let named = self
            .key_names
            .iter()
            .map(|(key, name)| (name.as_str(), by_key.get(key).map_or(0, |bytes| bytes.get())));
        self.metrics.key_usage(named);
        self.shown.lock().usage = Some((period, by_key));
        // The readings above are valid even if this count fails. It is due again with the next poll.
        let counted = self.count_earlier(now).await;
        let what = "Cloudflare's counts of the time before this ledger began";
        state.earlier_failures = count_failures(what, &counted, state.earlier_failures);
        Ok(taken)
    }

    /// Reads the counts of the due days of a period, and gives them to the account. Returns the outcome of the first count that was not
    /// taken, or `Taken` if all were. A day that is refused takes no other day's place; an error is that of the open day, which comes first.
    async fn read_days(
        &self,
        state: &mut MeterState,
        period: Period,
        as_of: Timestamp,
    ) -> Result<ReadingOutcome, AnalyticsError> {
        let mut taken = ReadingOutcome::Taken;
        let is_agreed = |day| self.account.read(|books| books.budget().is_agreed(IceSource::Cloudflare, day));
        for day in state.days.due(period, as_of, is_agreed) {
            let until = day.end().min(as_of);
            let span = Span { from: day.start(), until, age: self.lag };
            let count = match self.api.count(span).await {
                Err(error) if until < day.end() || matches!(error, AnalyticsError::RateLimited) => {
                    return Err(error);
                }
                Err(error) => {
                    let (date, remedy) = (day.start().to_utc().date_naive(), error.remedy());
                    tracing::warn!(
                        %date,
                        remedy,
                        "Cloudflare's analytics of an earlier day were not read: {error}"
                    );
                    continue;
                }
                Ok(count) => count,
            };
            let agreed = |books: &Books| books.budget().agreed_bytes(IceSource::Cloudflare, day);
            let first = self.account.read(agreed);
            let outcome = self.account.change(|books| take_count(books, day, until, &count));
            if outcome != ReadingOutcome::Taken {
                taken = if taken == ReadingOutcome::Taken { outcome } else { taken };
                continue;
            }
            match state.days.latest(day) {
                // Bytes of a time that was counted before may be among the new ones, so that time is asked for again.
                Some((end, before)) if *end < until && self.has_grown(before.total(), count.total()) => {
                    state.grown.get_or_insert((Span { until: *end, ..span }, before.total(), as_of));
                }
                // Of a settled day, two answers must have grown.
                _ => {
                    if first.zip(self.account.read(agreed)).is_some_and(|(one, two)| self.has_grown(one, two))
                    {
                        self.note_late();
                    }
                }
            }
            state.days.note(day, until, count);
        }
        // One answer may be wrong, so the next poll decides.
        if let Some((span, before, _)) = state.grown.take_if(|(.., seen)| as_of.since(*seen) >= SECOND_ANSWER)
            && let Ok(again) = self.api.count(span).await
            && self.has_grown(before, again.total())
        {
            self.note_late();
        }
        Ok(taken)
    }

    fn has_grown(&self, first: ByteCount, second: ByteCount) -> bool {
        has_grown(first, second, self.sampling)
    }

    fn note_late(&self) {
        self.account.change(|books| books.note_late_counts(IceSource::Cloudflare));
        let remedy = "double ANALYTICS_LAG_SECONDS";
        tracing::warn!(remedy, "Cloudflare has counted bytes later than the lag");
    }

    /// Updates metrics and log; returns the number of consecutive failures.
    fn report(&self, asked: &Result<ReadingOutcome, AnalyticsError>, failures: u32) -> u32 {
        let outcome = asked.as_ref().map_or_else(AnalyticsError::outcome, Into::into);
        self.metrics.readings.count([IceSource::Cloudflare.name(), outcome]);
        if matches!(asked, Ok(ReadingOutcome::Fell)) {
            let remedy = "compare it with Cloudflare's dashboard";
            tracing::warn!(
                remedy,
                "Cloudflare's analytics count is lower than two counts before it: it is ignored"
            );
        }
        count_failures("Cloudflare's analytics", asked, failures)
    }

    // What Cloudflare counted under our keys before a new ledger began. Credentials that relayed then may still work, and the ledger does not
    // know them: the volume of an earlier ledger was lost, or somebody else uses the key.

    /// Asks for the count of the time before the ledger began, while the books need it (`Books::time_before`). Each poll calls this.
    async fn count_earlier(&self, now: Timestamp) -> Result<(), AnalyticsError> {
        // Without the ids of our keys, the count would have the bytes of all keys.
        let before = self.account.read(Books::time_before).filter(|_| self.api.knows_keys());
        let Some((from, until)) = before else { return Ok(()) };
        let span = Span { from, until, age: Duration::ZERO };
        // The first page is enough to see whether there are bytes.
        let bounds = PageBounds { rows: ROWS_MAX, pages: 1 };
        let counts = self.api.count_by_grant(span, false, bounds).await?;
        let relayed = counts.by_grant.values().fold(counts.other, |sum, bytes| sum.plus(*bytes));
        let Traffic { sent, received } = relayed;
        let is_final = now.since(until) >= final_after(self.lag);
        self.account.change(|books| books.take_count_before(sent.plus(received), is_final));
        Ok(())
    }
}

/// Gives the count of a day to each of its owners: our TURN keys, the rest of the account, and the SFU. Returns the outcome of the first of
/// these readings that was not taken, or `Taken` if all were.
fn take_count(books: &mut Books, day: Day, as_of: Timestamp, count: &UsageCount) -> ReadingOutcome {
    let empty = Reading { day, as_of, at: books.now(), granted: ByteCount::ZERO, other: ByteCount::ZERO };
    let keys = count.by_key.iter().map(|(key, granted)| {
        let owner = CountOwner { source: IceSource::Cloudflare, issuer: Some(*key) };
        (owner, Reading { granted: *granted, ..empty })
    });
    // If our keys are not known, all keys count as ours.
    let granted = if count.by_key.is_empty() { count.own } else { ByteCount::ZERO };
    let rest = (IceSource::Cloudflare.into(), Reading { granted, other: count.other, ..empty });
    let sfu = (IceSource::Sfu.into(), Reading { granted: count.sfu, ..empty });
    let has_sfu = books.budget().is_read(IceSource::Sfu);
    let readings = keys.chain([rest]).chain(has_sfu.then_some(sfu));
    let outcomes: Vec<_> = readings.map(|(owner, reading)| books.take_reading(owner, &reading)).collect();
    let refused = outcomes.into_iter().find(|outcome| *outcome != ReadingOutcome::Taken);
    refused.unwrap_or(ReadingOutcome::Taken)
}

/// Logs the first failure in a row, every tenth one after it, and the first success. Returns the number of consecutive failures.
fn count_failures<T>(what: &str, asked: &Result<T, AnalyticsError>, failures: u32) -> u32 {
    let Err(error) = asked else {
        if failures > 0 {
            tracing::info!(failures, "{what} can be read again");
        }
        return 0;
    };
    if failures.is_multiple_of(10) {
        let (outcome, remedy) = (error.outcome(), error.remedy());
        tracing::warn!(outcome, remedy, failures, "{what} were not read: {error}");
    }
    failures.saturating_add(1)
}

/// The pause before the next query: the interval, doubled by each failure in a row. Cloudflare requires a longer one after too many
/// queries.
fn pause_after<T>(asked: &Result<T, AnalyticsError>, interval: Duration, failures: u32) -> Duration {
    let is_limited = matches!(asked, Err(AnalyticsError::RateLimited));
    let rest = if is_limited { RATE_LIMIT_REST } else { Duration::ZERO };
    step(interval, failures, PAUSE_MAX).max(interval).max(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn failures_double_the_pause_up_to_ten_minutes() {
        let pause = |interval, failures| pause_after(&Ok(()), interval, failures);
        let pauses = [0, 1, 2, 3, 4, 40].map(|failures| pause(MINUTE, failures).as_secs());
        assert_eq!(pauses, [60, 120, 240, 480, 600, 600]);
        let hour = Duration::from_secs(3_600);
        assert_eq!(pause(hour, 5), hour, "but never below the interval");
        assert_eq!(pause_after::<()>(&Err(AnalyticsError::RateLimited), MINUTE, 1), RATE_LIMIT_REST);
    }

    fn at(text: &str) -> Timestamp {
        chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc().into()
    }

    fn asked_at(now: &str) -> (Timestamp, Timestamp) {
        let first = BillingDay::new(1).unwrap();
        let as_of = settled_minute(at(now), Duration::from_secs(600));
        (first.period_until(as_of).start, as_of)
    }

    #[test]
    fn only_settled_whole_minutes_are_queried() {
        let january = at("2025-01-01T00:00:00Z");
        assert_eq!(asked_at("2025-01-15T12:34:56Z"), (january, at("2025-01-15T12:24:00Z")));
    }

    #[test]
    fn in_the_first_minutes_of_a_period_the_previous_one_is_queried() {
        let (january, february) = (at("2025-01-01T00:00:00Z"), at("2025-02-01T00:00:00Z"));
        assert_eq!(asked_at("2025-02-01T00:05:00Z"), (january, at("2025-01-31T23:55:00Z")));
        assert_eq!(asked_at("2025-02-01T00:10:59Z"), (january, february), "its last reading is complete");
        assert_eq!(asked_at("2025-02-01T00:11:00Z"), (february, at("2025-02-01T00:01:00Z")));
    }
}
