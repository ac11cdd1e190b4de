//! The bytes of each grant, by Cloudflare's own count. They say who spends. The total never comes from here, and a failure
//! here does not disturb it.
//!
//! Each poll counts the open span of [`spans`] again, and once an hour also the hour that has become final. The end of the final counts is
//! stored with the ledger, so no hour is counted twice.
//!
//! The counts also say which grants relayed around their expiry. [`super::tail`] computes what these grants relayed after their expiry.

use tokio::sync::watch;

use super::analytics::AnalyticsError;
use super::analytics::by_grant::PageBounds;
use super::tail::{after_tails, due_tails, span_of};
use super::{CloudflareMeter, count_failures, pause_after};
use crate::meter::prelude::*;
use turn_ledger::polls::spans::{final_after, spans};
use turn_ledger::{CountsTaken, GrantCounts};

/// The shortest interval between two polls. A poll has at most two spans of 10 pages ([`PageBounds`]), and 8 + 10 queries of chains and
/// tails. Five polls in 5 minutes are 5 * 38 = 190 of the 300 queries that Cloudflare allows.
const INTERVAL_MIN: Duration = Duration::from_secs(60);
/// How many chains of renewals one poll asks for, each in a query of its own.
const SUSPECTS_MAX: usize = 8;
/// How many queries of tails one poll makes. With a tail of two hours, each query is for at most 41 grants.
const TAIL_QUERIES_MAX: usize = 10;
const SOURCE: IceSource = IceSource::Cloudflare;

impl CloudflareMeter {
    /// Polls while `reads` says that the total can be read, so that a wrong token is reported only with the total.
    pub(super) async fn run_by_grant(&self, mut reads: watch::Receiver<bool>) {
        let mut failures = 0;
        while reads.wait_for(|is_read| *is_read).await.is_ok() {
            let asked = self.read_by_grant(PageBounds::default()).await;
            failures = self.report_by_grant(&asked, failures);
            tokio::time::sleep(pause_after(&asked, self.interval.max(INTERVAL_MIN), failures)).await;
        }
    }

    /// Counts the hour that has become final, if there is one, and the open span, and gives both to the account. The hour stays part of the
    /// open span until two polls agree on it. If the hour cannot be read, the open span is counted nevertheless, except after too many
    /// queries. Then asks for suspect chains and tails. Returns what was counted, or an error.
    pub async fn read_by_grant(&self, bounds: PageBounds) -> Result<Vec<GrantCounts>, AnalyticsError> {
        let from = self.account.read(|books| books.grants().counted_until(SOURCE));
        let Some(spans) = spans(from, self.account.time_of_provider(), self.lag) else {
            return Ok(Vec::new());
        };
        let (mut counted, mut open, mut failed) = (Vec::new(), spans.open, None);
        if let Some(closed) = spans.closed {
            match self.count_by_grant(closed, true, bounds).await {
                Err(AnalyticsError::RateLimited) => return Err(AnalyticsError::RateLimited),
                Err(error) => failed = Some(error),
                Ok(counts) => {
                    if self.take_by_grant(&counts).await {
                        open.from = counts.until;
                    }
                    counted.push(counts);
                }
            }
        }
        let counts = self.count_by_grant(open, false, bounds).await?;
        if spans.skips {
            self.metrics.grant_counts.count([SOURCE.name(), "skipped"]);
        }
        self.take_by_grant(&counts).await;
        counted.push(counts);
        if let Some(error) = failed {
            return Err(error);
        }
        self.judge_suspects().await?;
        self.look_at_tails().await?;
        Ok(counted)
    }

    /// See [`CloudflareAnalytics::count_by_grant`](super::analytics::CloudflareAnalytics::count_by_grant).
    async fn count_by_grant(
        &self,
        span: Span,
        is_final: bool,
        bounds: PageBounds,
    ) -> Result<GrantCounts, AnalyticsError> {
        let counts = self.api.count_by_grant(span, is_final, bounds).await?;
        Ok(GrantCounts { at: self.account.read(Books::now), ..counts })
    }

    /// Asks for each suspect chain of renewals in a query of its own, and passes the answer to the books. A chain is suspect if more was
    /// counted than promised, or if it is near a limit.
    async fn judge_suspects(&self) -> Result<(), AnalyticsError> {
        for suspect in self.account.read(|books| books.grants().suspects(SOURCE, SUSPECTS_MAX)) {
            let from = Minute::of(suspect.from).start();
            let span = Span { from, until: suspect.until, age: Duration::ZERO };
            let counted = self.api.bytes_of(&suspect.grants, span).await?;
            self.account.change(|books| books.judge(SOURCE, &suspect, &counted, books.now()));
        }
        Ok(())
    }

    /// Asks for the minutes of grants that relayed around their expiry, once the minutes after the expiry are final. Warns if a grant
    /// relayed for longer than the assumed tail.
    async fn look_at_tails(&self) -> Result<(), AnalyticsError> {
        let mut longest = Duration::ZERO;
        for _ in 0..TAIL_QUERIES_MAX {
            let Some(tail) = self.look_at_next_tails().await? else { break };
            longest = longest.max(tail);
        }
        if longest > Duration::ZERO {
            let (seconds, remedy) =
                (longest.as_secs(), "raise TURN_EXPIRY_TAIL_SECONDS to this many seconds");
            tracing::warn!(
                seconds,
                remedy,
                "a credential relayed for longer after its expiry than is assumed"
            );
        }
        Ok(())
    }

    /// Makes one query of tails, and gives the answer to the books. Returns the longest time from an expiry to the end of a minute with
    /// bytes after the assumed tail, or zero. `None`: no further grant is due.
    async fn look_at_next_tails(&self) -> Result<Option<Duration>, AnalyticsError> {
        let (now, settled_after) = (self.account.time_of_provider(), final_after(self.lag));
        // The tail has the difference of the clocks, which is added below again.
        let tail =
            self.account.read(|books| books.budget().tail(SOURCE)).saturating_sub(SOURCE.clocks_differ_by());
        let due = |books: &Books| due_tails(books.grants(), SOURCE, now, tail, settled_after);
        let Some(tails) = self.account.read(due) else { return Ok(None) };
        let minutes = match span_of(&tails, tail, settled_after) {
            Some(span) => {
                let identifiers = tails.grants.keys().map(ToString::to_string).collect();
                self.api.minutes_of(None, identifiers, span).await?
            }
            None => BTreeMap::new(),
        };
        let since = self.account.read(|books| books.budget().period.start);
        let (bytes, longest) = after_tails(&tails, &minutes, tail, since);
        self.account.change(|books| books.note_tails(SOURCE, tails.last, bytes, longest));
        Ok(Some(longest))
    }

    /// Gives counts to the account, and counts the outcome in the metrics. Returns whether they count.
    async fn take_by_grant(&self, counts: &GrantCounts) -> bool {
        let take = |books: &mut Books| match books.take_grant_counts(SOURCE, counts) {
            CountsTaken::InPart => None,
            taken => Some(taken),
        };
        let is_taken = self.account.change_in_parts(take).await == CountsTaken::Whole;
        let outcome = match (counts.is_complete, counts.is_final) {
            // The period has ended since the question, or no second answer agrees yet.
            _ if !is_taken => "ignored",
            (false, _) => "incomplete",
            (true, false) => "open",
            (true, true) => "final",
        };
        self.metrics.grant_counts.count([SOURCE.name(), outcome]);
        if counts.is_final && is_taken {
            let granted = counts.by_grant.values().fold(Traffic::ZERO, |sum, bytes| sum.plus(*bytes));
            self.metrics.grant_count_bytes.add(["grant"], granted.sent.get());
            self.metrics.grant_count_bytes.add(["other"], counts.other.sent.get());
        }
        is_taken
    }

    /// Updates metrics and log; returns the number of consecutive failures.
    fn report_by_grant<T>(&self, asked: &Result<T, AnalyticsError>, failures: u32) -> u32 {
        if let Err(error) = asked {
            self.metrics.grant_counts.count([SOURCE.name(), error.outcome()]);
        }
        count_failures("Cloudflare's bytes by grant", asked, failures)
    }
}
