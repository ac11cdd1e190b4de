//! Allowances: the most bytes that the claims of a group of connections may be charged. Tests: `src/allowance_tests.rs`.
//! An allowance grows at a fixed rate while at least one connection of the group is open. Claimed bytes and time at the estimated rate are
//! both taken from it, so together they never exceed the rate times the time. What is not used is saved up to a limit, so that a group that
//! claims nothing for days does not collect a large amount.
//!
//! A grant, an IPv4 address or IPv6 /64, an IPv6 /48, a user and a server key each have an allowance for claims. A claim must fit into all
//! of these that apply to it. A grant also has an allowance for what a relay can carry for it: [`RELAY_RATE_MAX`], saved without a limit.
//! Everything that is charged for the grant must fit into this one. What an app server vouches for need not fit into any other allowance.

use crate::prelude::*;

/// The most that is saved is the allowance of so much time, or of three heartbeats if they take longer.
pub const SAVED_MAX: Duration = Duration::from_secs(600);
/// Units of `bit/s × ms` for each byte: 8 bits times 1,000 ms.
const UNITS_PER_BYTE: u64 = 8_000;

/// The allowance of one group of connections. It is not stored: after a restart nothing is left, so a restart gives no client
/// more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Connections open now.
    pub(crate) open: u32,
    /// Open connections that are charged by time now: their clocks run.
    clocks: u32,
    /// The instant for which `left` was computed.
    at: Timestamp,
    /// What may still be charged, in `bit/s × ms`.
    left: u64,
}

/// How allowances grow and how running clocks use them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowanceTerms {
    /// Bits per second of the allowance.
    rate: u64,
    /// Bits per second of a connection that is charged by time.
    estimated: u64,
    /// The most that is saved, in `bit/s × ms`.
    saved_max: u64,
}

impl AllowanceTerms {
    /// The terms of a group that may claim `rate`. One connection that is charged by time always fits.
    pub fn new(rate: BitRate, rules: &UsageRules) -> Self {
        let rate = rate.max(rules.estimated_rate).get();
        let saved = SAVED_MAX.max(rules.heartbeat.saturating_mul(3));
        let saved_max = rate.saturating_mul(u64::try_from(saved.as_millis()).unwrap_or(u64::MAX));
        Self { rate, estimated: rules.estimated_rate.get(), saved_max }
    }

    /// The terms of what a relay can carry for a grant. What is saved has no limit, because an app server may count seldom.
    pub(crate) fn of_relay(rules: &UsageRules) -> Self {
        Self { saved_max: u64::MAX, ..Self::new(RELAY_RATE_MAX, rules) }
    }
}

impl Allowance {
    /// Drops what was saved before `now`.
    pub(crate) fn forfeit(&mut self, now: Timestamp) {
        (self.left, self.at) = (0, self.at.max(now));
    }

    /// Computes what is left at `now`. While a connection is open, `left` grows by `rate` less what the running clocks use.
    fn advance(&mut self, now: Timestamp, terms: &AllowanceTerms) {
        let millis = now.millis_since(self.at);
        self.at = self.at.max(now);
        // `give_back` may have raised `left` above `saved_max`. The same report could use the part above. What it did not use is lost now.
        self.left = self.left.min(terms.saved_max);
        if self.open == 0 {
            return;
        }
        let estimated = terms.estimated.saturating_mul(self.clocks.into());
        let gained = terms.rate.saturating_sub(estimated).saturating_mul(millis);
        let lost = estimated.saturating_sub(terms.rate).saturating_mul(millis);
        self.left = self.left.saturating_add(gained).min(terms.saved_max).saturating_sub(lost);
    }
}

/// One allowance with its terms.
#[derive(Debug)]
struct AppliedAllowance<'a> {
    allowance: &'a mut Allowance,
    terms: AllowanceTerms,
}

/// All allowances that apply to the claims of one connection, at one instant. The default limits nothing.
#[derive(Debug, Default)]
pub struct Allowances<'a> {
    scopes: [Option<AppliedAllowance<'a>>; 6],
    /// Whether an app server vouches for the report. Then only the first scope limits it: what a relay can carry for the grant.
    is_vouched: bool,
    /// Bytes that are left of the limit of the server key that vouches; `None` without a limit.
    limit_left: Option<ByteCount>,
    /// Whether less was charged than claimed.
    pub(crate) clamped: bool,
}

impl<'a> Allowances<'a> {
    /// The allowances at `now`, in this order: for what a relay can carry for the grant, then for claims of the grant, of the client, of
    /// its group, of the user and of the server key.
    pub fn new(scopes: [Option<(&'a mut Allowance, AllowanceTerms)>; 6], now: Timestamp) -> Self {
        let scopes = scopes.map(|scope| {
            scope.map(|(allowance, terms)| {
                allowance.advance(now, &terms);
                AppliedAllowance { allowance, terms }
            })
        });
        Self { scopes, ..Self::default() }
    }

    /// Sets whether an app server vouches for the report, and the bytes that are left of the limit of its server key.
    #[must_use]
    pub fn vouched(self, is_vouched: bool, limit_left: Option<ByteCount>) -> Self {
        Self { is_vouched, limit_left, ..self }
    }

    /// Counts a connection that opens.
    pub fn open(&mut self) {
        self.each(|scope| scope.allowance.open = scope.allowance.open.saturating_add(1));
    }

    /// Closes a connection whose clock has stopped. It counts as open until `until`: if it was the last open one of a group, what the group
    /// has gained since `until` is taken back.
    pub fn close(&mut self, until: Timestamp) {
        self.each(|AppliedAllowance { allowance, terms }| {
            allowance.open = allowance.open.saturating_sub(1);
            if allowance.open == 0 {
                let unused = terms.rate.saturating_mul(allowance.at.millis_since(until));
                allowance.left = allowance.left.saturating_sub(unused);
            }
        });
    }

    /// Adds the open connections and the running clocks of `other` to each allowance.
    pub(crate) fn join(&mut self, other: &Allowance) {
        self.each(|AppliedAllowance { allowance, .. }| {
            allowance.open = allowance.open.saturating_add(other.open);
            allowance.clocks = allowance.clocks.saturating_add(other.clocks);
        });
    }

    /// Counts one more running clock, if the rate of each limiting allowance has room for it. Otherwise returns `false`, and the report
    /// counts as clamped.
    pub fn start_clock(&mut self) -> bool {
        if !self.fits_clocks(1) {
            self.clamped = true;
            return false;
        }
        self.count_clock();
        true
    }

    /// Counts one more running clock, whether or not the rates have room for it.
    pub fn count_clock(&mut self) {
        self.each(|scope| scope.allowance.clocks = scope.allowance.clocks.saturating_add(1));
    }

    /// Counts one running clock less.
    pub fn stop_clock(&mut self) {
        self.each(|scope| scope.allowance.clocks = scope.allowance.clocks.saturating_sub(1));
    }

    /// Whether the running clocks and `more` further ones use no more than the rate of each limiting allowance.
    pub fn fits_clocks(&self, more: u32) -> bool {
        self.limiting().all(|AppliedAllowance { allowance, terms }| {
            terms.estimated.saturating_mul(allowance.clocks.saturating_add(more).into()) <= terms.rate
        })
    }

    /// Charges bytes: no more than `most`, and no more than what is left of the server key's limit. Returns how many were charged.
    pub fn take(&mut self, wanted: ByteCount, most: ByteCount) -> ByteCount {
        let most = self.limit_left.map_or(most, |left| left.min(most));
        ByteCount::new(self.charge(wanted.get(), most.get(), |_| UNITS_PER_BYTE))
    }

    /// Charges a past span of `millis` by time. Returns how many milliseconds were charged.
    pub fn take_time(&mut self, millis: u64) -> u64 {
        self.charge(millis, millis, |terms| terms.estimated)
    }

    /// Charges `wanted` units, or as many as fit into each limiting allowance and into `most`. Returns how many were charged.
    /// `price`: what one unit takes of an allowance.
    fn charge(&mut self, wanted: u64, most: u64, price: impl Fn(&AllowanceTerms) -> u64) -> u64 {
        // `None` at a price of zero: the allowance does not limit such units.
        let units_left = |scope: &AppliedAllowance<'_>| scope.allowance.left.checked_div(price(&scope.terms));
        let taken = self.limiting().filter_map(units_left).fold(wanted.min(most), u64::min);
        self.clamped |= taken < wanted;
        let limiting = self.limiting_count();
        for AppliedAllowance { allowance, terms } in self.scopes.iter_mut().take(limiting).flatten() {
            allowance.left = allowance.left.saturating_sub(price(terms).saturating_mul(taken));
        }
        taken
    }

    /// How many of the scopes, from the first one on, limit the report.
    fn limiting_count(&self) -> usize {
        if self.is_vouched { 1 } else { self.scopes.len() }
    }

    /// The allowances that limit the report.
    fn limiting(&self) -> impl Iterator<Item = &AppliedAllowance<'a>> {
        self.scopes.iter().take(self.limiting_count()).flatten()
    }

    /// Gives back the charge for a span of `millis`, because the charge is reversed. Bytes of the same report may use all that is given
    /// back, even above the limit of what is saved. The rest is saved up to this limit.
    pub fn give_back(&mut self, millis: u64) {
        self.each(|AppliedAllowance { allowance, terms }| {
            allowance.left = allowance.left.saturating_add(terms.estimated.saturating_mul(millis));
        });
    }

    /// Drops what was saved for claims. What a relay can carry for the grant, the first scope, stays.
    pub fn forfeit(&mut self) {
        self.scopes.iter_mut().skip(1).flatten().for_each(|scope| scope.allowance.left = 0);
    }

    /// Changes every allowance, also those that do not limit the report.
    fn each(&mut self, change: impl FnMut(&mut AppliedAllowance<'a>)) {
        self.scopes.iter_mut().flatten().for_each(change);
    }
}

#[cfg(test)]
#[path = "allowance_tests.rs"]
mod tests;
