//! How many reports one client may send: a few at once, then one a minute. The table has a fixed size; only clients that have
//! sent something lately have a row.

use std::collections::HashMap;
use std::time::Duration;

use turn_ledger::ClientKey;

/// Reports at once.
pub const BURST: u32 = 10;
/// One more report is allowed after this time.
pub const EACH: Duration = Duration::from_secs(60);
/// The most clients with a row.
pub const CLIENTS_MAX: usize = 4_096;

/// The clients that have sent reports lately.
#[derive(Debug, Default)]
pub struct ReportRate {
    /// When the whole burst is available again. Time since the process started.
    full_at: HashMap<ClientKey, Duration>,
}

impl ReportRate {
    /// Charges one report to a client and to its IPv6 /48. `Err`: the wait until the next one is accepted.
    pub fn take(&mut self, client: ClientKey, now: Duration) -> Result<(), Duration> {
        if self.full_at.len() + 2 > CLIENTS_MAX {
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        if self.full_at.len() + 2 > CLIENTS_MAX {
            return Err(EACH);
        }
        let next = |key: ClientKey| self.full_at.get(&key).copied().unwrap_or_default().max(now) + EACH;
        let wait = |key: ClientKey| next(key).saturating_sub(now + EACH * BURST * key.factor());
        let longest = client.with_wider().map(wait).max().unwrap_or_default();
        if !longest.is_zero() {
            return Err(longest);
        }
        let rows: Vec<_> = client.with_wider().map(|key| (key, next(key))).collect();
        self.full_at.extend(rows);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn v4(n: u32) -> ClientKey {
        ClientKey::of(IpAddr::V4(Ipv4Addr::from(n)))
    }

    fn v6(text: &str) -> ClientKey {
        ClientKey::of(text.parse().unwrap())
    }

    #[test]
    fn a_client_sends_ten_reports_and_then_one_a_minute() {
        let (mut rate, now) = (ReportRate::default(), Duration::from_secs(1_000));
        for _ in 0..10 {
            assert_eq!(rate.take(v4(1), now), Ok(()));
        }
        assert_eq!(rate.take(v4(1), now), Err(EACH));
        assert_eq!(rate.take(v4(2), now), Ok(()), "another client");
        let wait = Duration::from_secs(59);
        assert_eq!(rate.take(v4(1), now + wait), Err(Duration::from_secs(1)));
        assert_eq!(rate.take(v4(1), now + EACH), Ok(()));
        assert_eq!(rate.take(v4(1), now + EACH), Err(EACH));
    }

    #[test]
    fn a_48_has_four_times_as_many() {
        let (mut rate, now) = (ReportRate::default(), Duration::ZERO);
        let taken = (0..100).filter(|n| rate.take(v6(&format!("2001:db8:1:{n:x}::1")), now).is_ok()).count();
        assert_eq!(taken, 40);
        assert_eq!(rate.take(v6("2001:db8:2::1"), now), Ok(()));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_those_who_wait_for_nothing() {
        let mut rate = ReportRate::default();
        for n in 0..10_000 {
            let _ = rate.take(v4(n), Duration::ZERO);
        }
        assert!(rate.full_at.len() <= CLIENTS_MAX);
        assert_eq!(rate.take(v4(20_000), Duration::ZERO), Err(EACH));
        assert_eq!(rate.take(v4(20_000), EACH), Ok(()));
        assert_eq!(rate.full_at.len(), 1);
    }
}
