//! The open connections: which there are, since when, and what each is charged.

use turn_ledger::{Books, GrantId, Report, Timestamp};

use super::{Model, signed};

/// An open connection.
#[derive(Clone, Debug)]
pub(super) struct Reported {
    id: String,
    grant: Option<GrantId>,
    opened_at: i64,
    /// Its last report.
    seen_at: i64,
    /// Whether nothing but time was ever reported of it: it was relayed all the time, and no bytes are known.
    is_plain: bool,
    bytes: u64,
}

impl Model {
    /// A connection was opened.
    pub(super) fn connect(&mut self, id: &str, grant: Option<GrantId>, relayed: Option<bool>, now: i64) {
        let is_plain = relayed != Some(false);
        let id = id.to_owned();
        self.now.connections.push(Reported { id, grant, opened_at: now, seen_at: now, is_plain, bytes: 0 });
    }

    /// A report was taken.
    pub(in super::super) fn report(&mut self, id: &str, grant: Option<GrantId>, report: &Report, now: i64) {
        let of = |it: &&mut Reported| it.id == id && it.grant == grant;
        if let Some(connection) = self.now.connections.iter_mut().find(of) {
            connection.seen_at = now;
            connection.is_plain &= report.relayed != Some(false) && report.bytes_received.is_none();
            connection.bytes = connection.bytes.max(report.bytes_received.unwrap_or(0));
        }
    }

    /// A connection was closed.
    pub(in super::super) fn disconnect(&mut self, id: &str, grant: Option<GrantId>) {
        self.now.connections.retain(|it| it.id != id || it.grant != grant);
    }

    /// A grant was revoked, so its connections were closed.
    pub(super) fn disconnect_all(&mut self, grant: GrantId) {
        self.now.connections.retain(|it| it.grant != Some(grant));
    }

    /// Compares the open connections. `heartbeat`: in milliseconds. `is_known`: whether it was always the same. `rate`: of one that
    /// reports no bytes, in bytes per millisecond. `is_clamped`: whether an allowance may have been used up.
    pub(in super::super) fn check_connections(
        &mut self,
        books: &Books,
        heartbeat: u64,
        is_known: bool,
        rate: u64,
        is_clamped: bool,
    ) -> Option<String> {
        let (now, heartbeat) = (books.now(), signed(heartbeat));
        let found: Vec<_> = books.connections().iter().collect();
        // After three intervals without a report it is given up.
        self.now.connections.retain(|it| {
            let is_over = it.seen_at + 3 * heartbeat <= now.as_millis();
            let is_open = || found.iter().any(|of| *of.id == *it.id && of.grant == it.grant);
            if is_known { !is_over } else { is_open() }
        });
        let expected = &self.now.connections;
        if found.len() != expected.len() {
            return Some(format!("{} connections are open, not these: {expected:?}", found.len()));
        }
        expected.iter().find_map(|it| {
            let Some(connection) = found.iter().find(|of| *of.id == *it.id && of.grant == it.grant) else {
                return Some(format!("there is no connection {it:?}"));
            };
            let [opened_at, seen_at] = [connection.opened_at, connection.last_seen].map(Timestamp::as_millis);
            if (opened_at, seen_at, connection.bytes_received) != (it.opened_at, it.seen_at, it.bytes) {
                return Some(format!("{connection:?} instead of {it:?}"));
            }
            let millis = |until: i64| u64::try_from(until - it.opened_at).unwrap_or(0);
            let charged = connection.charged(now, books.connections().rules()).get();
            let by_time = rate * millis(now.as_millis().min(it.seen_at + heartbeat));
            let is_exact = it.is_plain && is_known && !is_clamped;
            let most = if is_exact { by_time } else { rate * millis(now.as_millis()) + it.bytes };
            let is_right = charged <= most && (!is_exact || charged == by_time);
            (!is_right).then(|| format!("{charged} are charged, not {by_time} to {most}: {it:?}"))
        })
    }
}
