//! Counts for each client in windows of time, in tables of fixed size. The wide IPv6 prefix around a client has four times as
//! much as a client. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::clients::Clients;
use super::table::Row;

/// Rows for clients, as in the rate limiter.
const CLIENTS_MAX: usize = 8_192;
/// IPv6 addresses with the same first 64 bits are one client.
const IPV6_PREFIX: u8 = 64;

/// The counts of all clients.
#[derive(Debug)]
pub struct Windows {
    /// The most in one window of one client.
    count_max: u32,
    /// A window begins with the first one counted in it.
    length: Duration,
    clients: Clients,
    /// For each row and its factor: when its window began, and the count.
    rows: HashMap<(Row, u32), (Instant, u32)>,
}

impl Windows {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(count_max: u32, length: Duration) -> Self {
        Self {
            count_max,
            length,
            clients: Clients::new(CLIENTS_MAX, length, IPV6_PREFIX),
            rows: HashMap::new(),
        }
    }

    /// Counts one. If that is one too many: the time until the window ends.
    pub fn count(&mut self, client: IpAddr, now: Instant) -> Option<Duration> {
        let rows = self.clients.rows(client, now);
        // Once the client's own allowance is used up, it does not count against its neighbours.
        rows.each().find_map(|(row, factor)| self.count_in(row, factor, now))
    }

    fn count_in(&mut self, row: Row, factor: u32, now: Instant) -> Option<Duration> {
        let (began, count) = self.rows.entry((row, factor)).or_insert((now, 0));
        if now.saturating_duration_since(*began) >= self.length {
            (*began, *count) = (now, 0);
        }
        if *count >= self.count_max * factor {
            return Some(self.length.saturating_sub(now.saturating_duration_since(*began)));
        }
        *count += 1;
        None
    }

    /// Forgets windows that have ended.
    pub fn sweep(&mut self, now: Instant) {
        self.clients.sweep(now);
        self.rows.retain(|_, (began, _)| now.saturating_duration_since(*began) < self.length);
        self.rows.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(60);

    fn windows() -> Windows {
        Windows::new(20, LENGTH)
    }

    #[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
    fn start() -> Instant {
        Instant::now()
    }

    fn count(windows: &mut Windows, client: &str, now: Instant) -> Option<Duration> {
        windows.count(client.parse().unwrap(), now)
    }

    #[test]
    fn after_the_most_of_a_window_a_client_waits_until_it_ends() {
        let (mut windows, now) = (windows(), start());
        for n in 0..20 {
            assert_eq!(count(&mut windows, "203.0.113.1", now + Duration::from_secs(n)), None);
        }
        let late = now + Duration::from_secs(40);
        assert_eq!(count(&mut windows, "203.0.113.1", late), Some(Duration::from_secs(20)));
        assert_eq!(count(&mut windows, "203.0.113.2", late), None, "another client");
        assert_eq!(count(&mut windows, "203.0.113.1", now + LENGTH), None);
    }

    #[test]
    fn an_ipv6_48_has_four_times_the_allowance_of_a_client() {
        let (mut windows, now) = (windows(), start());
        for n in 0..200 {
            let _ = count(&mut windows, "2001:db8:1:1::1", now + Duration::from_millis(n));
        }
        for n in 0..60 {
            assert_eq!(count(&mut windows, &format!("2001:db8:1:{:x}::1", 16 + n), now), None);
        }
        assert!(count(&mut windows, "2001:db8:1:ff::1", now).is_some());
        assert_eq!(count(&mut windows, "2001:db8:2:1::1", now), None);
    }

    #[test]
    fn windows_that_have_ended_are_forgotten() {
        let (mut windows, now) = (windows(), start());
        let _ = count(&mut windows, "203.0.113.1", now);
        windows.sweep(now + LENGTH);
        assert!(windows.rows.is_empty() && windows.clients.is_empty());
    }
}
