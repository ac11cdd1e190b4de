//! What Cloudflare counted under our keys before a new ledger began. Credentials that relayed then may still work, and the ledger does not
//! know them: the volume of an earlier ledger was lost, or somebody else uses the key.

use std::time::Duration;

use super::CloudflareMeter;
use super::analytics::AnalyticsError;
use super::analytics::by_grant::{PageBounds, ROWS_MAX};
use turn_ledger::polls::spans::{Span, final_after};
use turn_ledger::{Books, Timestamp, Traffic};

impl CloudflareMeter {
    /// Asks for the count of the time before the ledger began, while the books need it (`Books::time_before`). Each poll calls this.
    pub(super) async fn count_earlier(&self, now: Timestamp) -> Result<(), AnalyticsError> {
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
