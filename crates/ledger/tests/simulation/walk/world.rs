//! The true bytes. A credential that somebody holds relays at its client's own rate for as long as its client stays and its server
//! lets it, whatever the broker assumes. Each source sees those of its own credentials, and can report the count up to any time. The
//! world notes until when somebody relayed faster or longer than was assumed.

use std::ops::Range;

use super::prelude::*;

use super::flow::{Flow, Holder, bytes};

/// What a probe relays.
pub(crate) const PROBE_BYTES: u64 = 300_000;

/// The true bytes, which the broker cannot see. Times are milliseconds since the start of the scenario and never go back.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) now: u64,
    /// Cloudflare's TURN service, the first coturn, relay, SFU, Cloudflare's TURN service under the second key, the other coturns.
    flows: [Flow; FLOWS],
    numbers: u64,
    /// The highest rate at which somebody was to relay with each credential, in bytes per millisecond.
    pub(crate) rates: BTreeMap<GrantId, u64>,
    /// The sessions of each coturn before its last start.
    before_coturn: [u64; RELAYS],
    /// Which coturns do not run.
    dead: [bool; RELAYS],
    /// The grants of the coturns after the first.
    of_relay: BTreeMap<GrantId, usize>,
    /// When the broker's probes relayed, through Cloudflare, and with which key.
    probes: Vec<(u64, TurnKey)>,
    /// The grants of the second key.
    of_second: BTreeSet<GrantId>,
    /// The times that the provider never counts.
    lost: Vec<Range<u64>>,
    /// Those that were minted since the wall clock was set ahead, which the books have not accepted.
    in_doubt: Option<Vec<u64>>,
    /// How late the provider counts a byte, in milliseconds.
    pub(crate) lateness: u64,
    /// How late it counts one of a grant, at least.
    pub(crate) by_grant_late: u64,
    /// The provider has counted every byte before this.
    counted: u64,
    /// The bytes of each grant up to some instants, in the unit of [`Holder::carried`]; `None` if nobody asks for them.
    pub(crate) by_grant: Option<BTreeMap<GrantId, Vec<(u64, u128)>>>,
}

/// The sources that relay.
pub(crate) const METERED: [IceSource; 4] =
    [IceSource::Cloudflare, IceSource::Coturn, IceSource::Relay, IceSource::Sfu];

/// One of the TURN keys at Cloudflare. Scenarios with one key do not name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnKey {
    First,
    Second,
}

/// Cloudflare's TURN service under the second key.
const SECOND: usize = METERED.len();
/// The most coturns. Scenarios with one do not name it.
pub(crate) const RELAYS: usize = 3;
const FLOWS: usize = SECOND + RELAYS;

/// The flow of a coturn.
fn of_relay(relay: usize) -> usize {
    if relay == 0 { index(IceSource::Coturn) } else { SECOND + relay }
}

fn index(source: IceSource) -> usize {
    METERED.iter().position(|metered| *metered == source).expect("a source that relays")
}

/// The flows of a source.
fn indices(source: IceSource) -> impl Iterator<Item = usize> {
    let others = match source {
        IceSource::Cloudflare => SECOND..SECOND + 1,
        IceSource::Coturn => SECOND + 1..FLOWS,
        _ => 0..0,
    };
    [index(source)].into_iter().chain(others)
}

/// Nobody counts what another provider relays, so no figure of it can be compared with the truth.
#[test]
fn each_source_that_somebody_counts_relays_in_the_world() {
    let is_counted =
        |source: &IceSource| !matches!(source.facts().charged, Charged::Nothing | Charged::Uncounted);
    let counted: Vec<_> = IceSource::ALL.into_iter().filter(is_counted).collect();
    assert_eq!(counted, METERED);
}

impl World {
    /// A credential that the provider created. Returns the number of its holder.
    pub(crate) fn hand_out(
        &mut self,
        source: IceSource,
        grant: GrantId,
        expires: u64,
        client: Relaying,
        assumed: Relaying,
    ) -> u64 {
        let Relaying { rate, tail } = client;
        let (end, is_unknown) = (expires.saturating_add(tail), false);
        let fastest = self.rates.entry(grant).or_default();
        *fastest = rate.max(*fastest);
        let (number, session, carried, since) = (0, 0, 0, 0);
        let holder =
            Holder { number, session, grant, expires, end, rate, is_unknown, assumed, carried, since };
        self.begin(source, holder)
    }

    fn begin(&mut self, source: IceSource, holder: Holder) -> u64 {
        self.numbers += 1;
        let relay = self.relay_of(holder.grant);
        let nth = match source {
            IceSource::Coturn if self.dead[relay] => return self.numbers,
            IceSource::Coturn => of_relay(relay),
            _ if self.of_second.contains(&holder.grant) => SECOND,
            _ => index(source),
        };
        let (number, flow) = (self.numbers, &mut self.flows[nth]);
        flow.sessions += 1;
        flow.grants.insert(holder.grant);
        let session = flow.sessions;
        flow.holders.push(Holder { number, session, carried: 0, since: self.now, ..holder });
        if let Some(minted) = &mut self.in_doubt {
            minted.push(number);
        }
        number
    }

    /// The broker's probe with this key relays at once.
    pub(crate) fn probe(&mut self, key: TurnKey) {
        self.probes.push((self.now, key));
    }

    /// A grant is minted with the second key.
    pub(crate) fn mint_with_second(&mut self, grant: GrantId) {
        self.of_second.insert(grant);
    }

    /// A grant is minted for this coturn.
    pub(crate) fn mint_at(&mut self, relay: usize, grant: GrantId) {
        self.of_relay.insert(grant, relay);
    }

    /// The coturn of a grant.
    pub(crate) fn relay_of(&self, grant: GrantId) -> usize {
        self.of_relay.get(&grant).copied().unwrap_or(0)
    }

    /// What is relayed from now on for so long is never counted.
    pub(crate) fn lose(&mut self, millis: u64) {
        self.lost.push(self.now..self.now + millis);
    }

    /// How many credentials and sessions have begun.
    pub(crate) fn begun(&self) -> u64 {
        self.numbers
    }

    /// The wall clock was set ahead, or was corrected.
    pub(crate) fn doubt(&mut self, is_ahead: bool) {
        self.in_doubt = is_ahead.then(Vec::new);
    }

    /// The clock that was set ahead is right: it is later now. Of the credentials, those stay that were minted since.
    pub(crate) fn skip(&mut self, millis: u64) {
        self.pass(0, 0);
        self.now += millis;
        let minted = self.in_doubt.take().unwrap_or_default();
        for flow in &mut self.flows {
            flow.end(|holder| !minted.contains(&holder.number));
            for holder in &mut flow.holders {
                (holder.expires, holder.end) = (holder.expires + millis, holder.end + millis);
            }
        }
    }

    /// The holder of one credential also holds another, and relays with the one that ends later.
    pub(crate) fn join(&mut self, source: IceSource, one: u64, other: u64) -> u64 {
        let [end_of_one, end_of_other] =
            [one, other].map(|number| self.holder(source, number).map_or(0, |holder| holder.end));
        let (stays, goes) = if end_of_one > end_of_other { (one, other) } else { (other, one) };
        // Two TURN keys of the source are two flows.
        indices(source).for_each(|nth| self.flows[nth].end(|holder| holder.number == goes));
        stays
    }

    /// The relay ends what this holder relays, unless it may go on with another credential. Returns whether the holder relayed.
    pub(crate) fn end(&mut self, source: IceSource, number: u64, other: Option<(u64, u64)>) -> bool {
        let now = self.now;
        let Some(holder) = self.holder(source, number) else { return false };
        match other.filter(|(_, end)| *end > now) {
            Some(other) => (holder.expires, holder.end) = other,
            None => indices(source).for_each(|nth| self.flows[nth].end(|holder| holder.number == number)),
        }
        true
    }

    /// Whether a holder has not been ended.
    pub(crate) fn relays(&self, source: IceSource, number: u64) -> bool {
        self.holders(source).any(|holder| holder.number == number)
    }

    /// Whether somebody relays with one of these credentials.
    pub(crate) fn relays_with(&self, source: IceSource, grants: &[GrantId]) -> bool {
        self.holders(source).any(|holder| grants.contains(&holder.grant))
    }

    /// A source ends all that it relays.
    pub(crate) fn end_all(&mut self, source: IceSource) {
        indices(source).for_each(|nth| self.flows[nth].end(|_| true));
    }

    fn holder(&mut self, source: IceSource, number: u64) -> Option<&mut Holder> {
        let nth = indices(source)
            .find(|nth| self.flows[*nth].holders.iter().any(|holder| holder.number == number))?;
        self.flows[nth].holders.iter_mut().find(|holder| holder.number == number)
    }

    /// A holder relays at another rate from now on.
    pub(crate) fn set_rate(&mut self, source: IceSource, number: u64, rate: u64) {
        if let Some(holder) = self.holder(source, number) {
            holder.rate = rate;
        }
    }

    /// The settings assume this from now on, for all credentials that are still held. `is_promised`: the tail that was assumed before is
    /// promised, so it stays if it is longer.
    pub(crate) fn assume(&mut self, source: IceSource, assumed: Relaying, is_promised: bool) {
        for nth in indices(source) {
            for holder in self.flows[nth].holders.iter_mut().filter(|holder| !holder.is_unknown) {
                let Relaying { rate, tail } = holder.assumed;
                let tail = if is_promised { tail.max(assumed.tail) } else { assumed.tail };
                holder.assumed = Relaying { rate: rate.max(assumed.rate), tail };
            }
        }
    }

    /// A rate that was seen is not assumed any more. What was relayed with it is in no figure.
    pub(crate) fn forget_rate(&mut self, source: IceSource) {
        for nth in indices(source) {
            self.flows[nth].exceeded = Some(self.now);
            self.flows[nth].holders.iter_mut().for_each(|holder| holder.assumed.rate = 0);
        }
    }

    /// Until when somebody has relayed faster or longer with a credential of this source than was assumed.
    pub(crate) fn exceeded(&self, source: IceSource) -> Option<u64> {
        indices(source).filter_map(|nth| self.flows[nth].exceeded).max()
    }

    /// All that relay at a source.
    pub(crate) fn holders(&self, source: IceSource) -> impl Iterator<Item = &Holder> {
        indices(source).flat_map(|nth| &self.flows[nth].holders)
    }

    /// The sessions of a coturn. One that ends now is still listed.
    pub(crate) fn sessions(&self, relay: usize) -> &[Holder] {
        &self.flows[of_relay(relay)].holders
    }

    /// The sessions of a coturn that have ended since the last call, as it has reported them, and whether some reports were lost.
    pub(crate) fn take_ended(&mut self, relay: usize) -> (Vec<Holder>, bool) {
        let flow = &mut self.flows[of_relay(relay)];
        let ended = std::mem::take(&mut flow.ended);
        (ended, std::mem::take(&mut flow.has_lost))
    }

    /// What a coturn has reported is lost.
    pub(crate) fn lose_reports(&mut self, relay: usize) {
        let flow = &mut self.flows[of_relay(relay)];
        flow.ended.clear();
        flow.has_lost = true;
    }

    /// A holder stops at this instant, if it does not stop before.
    pub(crate) fn leave(&mut self, source: IceSource, number: u64, at: u64) {
        if let Some(holder) = self.holder(source, number) {
            holder.end = holder.end.min(at);
        }
    }

    /// What those of a source, or of one of its coturns, relay at most who keep to what was assumed of them, in bytes per millisecond.
    /// `tail`: what is assumed for now.
    pub(crate) fn rate_within(&self, source: IceSource, relay: Option<usize>, tail: u64) -> u64 {
        let is_there = |holder: &&Holder| relay.is_none_or(|relay| self.relay_of(holder.grant) == relay);
        let relay = self.holders(source).filter(is_there).filter(|holder| {
            let Relaying { rate, tail: assumed } = holder.assumed;
            let is_in_time = self.now < holder.end.min(holder.expires.saturating_add(tail.min(assumed)));
            is_in_time && holder.rate <= rate && !holder.is_unknown
        });
        relay.map(|holder| holder.rate).sum()
    }

    /// Whether somebody can relay with a credential that the books do not know.
    pub(crate) fn has_unknown(&self) -> bool {
        let mut holders = self.flows.iter().flat_map(|flow| &flow.holders);
        holders.any(|holder| holder.is_unknown && holder.end > self.now)
    }

    /// Nothing is assumed of credentials that the books do not know, but they relay as before. What was relayed is in no figure.
    pub(crate) fn forget(&mut self, is_known: impl Fn(GrantId) -> bool) {
        for flow in &mut self.flows {
            flow.exceeded = Some(self.now);
        }
        for holder in self.flows.iter_mut().flat_map(|flow| &mut flow.holders) {
            if !is_known(holder.grant) {
                (holder.assumed, holder.is_unknown) = (Relaying { rate: 0, tail: 0 }, true);
            }
        }
    }

    /// The grants that have relayed at a source.
    pub(crate) fn grants(&self, source: IceSource) -> impl Iterator<Item = GrantId> {
        indices(source).flat_map(|nth| &self.flows[nth].grants).copied()
    }

    /// The key of a grant.
    pub(crate) fn key_of(&self, grant: GrantId) -> TurnKey {
        if self.of_second.contains(&grant) { TurnKey::Second } else { TurnKey::First }
    }

    /// The source of a grant.
    pub(crate) fn source_of(&self, grant: GrantId) -> IceSource {
        METERED
            .into_iter()
            .find(|source| indices(*source).any(|nth| self.flows[nth].grants.contains(&grant)))
            .unwrap_or(IceSource::Cloudflare)
    }

    /// The next instant at which a session ends, or `soon` after its credential has expired.
    pub(crate) fn next_end(&self, source: IceSource, soon: u64) -> Option<u64> {
        let ends = self.holders(source).flat_map(|holder| [holder.end, holder.expires + soon]);
        ends.filter(|end| *end > self.now).min()
    }

    /// A coturn starts again: its sessions end, and it numbers them from the beginning. Other clients are first now.
    pub(crate) fn restart_coturn(&mut self, relay: usize) {
        self.before_coturn[relay] = self.flows[of_relay(relay)].sessions;
        for holder in self.sessions(relay).to_vec().iter().rev() {
            self.cut(relay, holder.session);
        }
        self.lose_reports(relay);
    }

    /// A coturn dies, and its clients hang up; or it runs again.
    pub(crate) fn set_dead(&mut self, relay: usize, is_dead: bool) {
        self.dead[relay] = is_dead;
        if is_dead {
            self.restart_coturn(relay);
        }
    }

    /// Whether a coturn does not run.
    pub(crate) fn is_dead(&self, relay: usize) -> bool {
        self.dead[relay]
    }

    /// The number that a coturn lists for a session.
    pub(crate) fn listed(&self, relay: usize, session: u64) -> u64 {
        session - self.before_coturn[relay]
    }

    /// Ends the session that a coturn lists with this number now.
    pub(crate) fn cut_listed(&mut self, relay: usize, number: u64) {
        self.cut(relay, self.before_coturn[relay] + number);
    }

    /// Ends a session. If its credential is valid, its client begins another one at once.
    fn cut(&mut self, relay: usize, session: u64) {
        let holders = &mut self.flows[of_relay(relay)].holders;
        let Some(nth) = holders.iter().position(|holder| holder.session == session) else { return };
        let cut = holders.swap_remove(nth);
        self.flows[of_relay(relay)].ended.push(cut);
        if cut.expires > self.now {
            let session = self.begin(IceSource::Coturn, cut);
            // It is the same client.
            if let Some(holder) = self.holder(IceSource::Coturn, session) {
                holder.number = cut.number;
            }
        }
    }

    /// Lets time pass while credential holders relay at `share` 256ths of the maximum rate.
    pub(crate) fn pass(&mut self, millis: u64, share: u64) {
        self.pass_each(millis, [share; FLOWS]);
    }

    /// The same while the broker's process does not run. The relay in that process relays nothing.
    pub(crate) fn pass_without_broker(&mut self, millis: u64, share: u64) {
        let mut shares = [share; FLOWS];
        shares[index(IceSource::Relay)] = 0;
        self.pass_each(millis, shares);
    }

    fn pass_each(&mut self, millis: u64, shares: [u64; FLOWS]) {
        self.counted = self.visible();
        let now = self.now;
        for (flow, share) in self.flows.iter_mut().zip(shares) {
            flow.keep_within_tails(now, now + millis);
            if let Some(by_grant) = &mut self.by_grant {
                for holder in &flow.holders {
                    let sums = by_grant.entry(holder.grant).or_insert_with(|| vec![(now, 0)]);
                    let before = sums.last().map_or(0, |(_, carried)| *carried);
                    let until = holder.end.clamp(now, now + millis);
                    sums.push((now, before));
                    sums.push((until, before + u128::from(until - now) * u128::from(share * holder.rate)));
                }
            }
            flow.pass(now, millis, share);
        }
        self.now += millis;
    }

    /// True bytes of one grant in `[from, to)`, rounded up.
    pub(crate) fn bytes_of_grant(&self, grant: GrantId, from: u64, to: u64) -> u64 {
        let Some(sums) = self.by_grant.as_ref().and_then(|by_grant| by_grant.get(&grant)) else { return 0 };
        let until = |at: u64| {
            let next = sums.partition_point(|(then, _)| *then < at);
            let (Some((then, before)), Some((later, after))) =
                (next.checked_sub(1).map(|last| sums[last]), sums.get(next))
            else {
                return sums.get(next.saturating_sub(1)).map_or(0, |(_, carried)| *carried);
            };
            let part = u128::from(at - then) * (after - before);
            before + part / u128::from((later - then).max(1))
        };
        bytes(until(to).saturating_sub(until(from.min(to))))
    }

    /// The provider has counted every byte before this instant, and no later ones.
    pub(crate) fn visible(&self) -> u64 {
        self.counted.max(self.now.saturating_sub(self.lateness))
    }

    /// The same for the bytes of each grant.
    pub(crate) fn visible_by_grant(&self) -> u64 {
        self.visible().min(self.now.saturating_sub(self.by_grant_late))
    }

    /// True bytes of one source in `[from, to)`, rounded up.
    pub(crate) fn bytes_of(&self, source: IceSource, from: u64, to: u64) -> u64 {
        let keys = [TurnKey::First, TurnKey::Second];
        if source == IceSource::Cloudflare {
            return keys.map(|key| self.bytes_of_key(key, from, to)).iter().sum();
        }
        indices(source).map(|nth| self.bytes_of_flow(nth, from, to)).sum()
    }

    /// True bytes of one TURN key at Cloudflare in `[from, to)`, rounded up.
    pub(crate) fn bytes_of_key(&self, key: TurnKey, from: u64, to: u64) -> u64 {
        let probes =
            self.probes.iter().filter(|(at, of)| *of == key && (from..to.min(self.now)).contains(at));
        let relayed: u64 = probes.map(|_| PROBE_BYTES).sum();
        let nth = if key == TurnKey::First { index(IceSource::Cloudflare) } else { SECOND };
        relayed + self.bytes_of_flow(nth, from, to)
    }

    fn bytes_of_flow(&self, nth: usize, from: u64, to: u64) -> u64 {
        let (flow, to) = (&self.flows[nth], to.min(self.now));
        bytes(flow.relayed_until(to) - flow.relayed_until(from.min(to)))
    }

    /// The part of `[from, to)` that the provider counts.
    pub(crate) fn counted_parts(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let mut parts = vec![(from, to)];
        for lost in &self.lost {
            let around = |(from, to): (u64, u64)| [(from, to.min(lost.start)), (from.max(lost.end), to)];
            parts = parts.into_iter().flat_map(around).filter(|(from, to)| from < to).collect();
        }
        parts
    }

    /// True bytes that Cloudflare counts together in `[from, to)`: those of its TURN service and of its SFU.
    pub(crate) fn bytes_of_cloudflare(&self, from: u64, to: u64) -> u64 {
        self.bytes_of(IceSource::Cloudflare, from, to) + self.bytes_of(IceSource::Sfu, from, to)
    }

    /// True bytes of all sources in `[from, to)`. Each is rounded up.
    pub(crate) fn bytes_between(&self, from: u64, to: u64) -> u64 {
        METERED.iter().map(|source| self.bytes_of(*source, from, to)).sum()
    }
}
