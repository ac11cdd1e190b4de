//! The bytes of one source: who relays, and what was relayed until any instant.

use super::prelude::*;

/// What the broker assumes of one credential, or what its client does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relaying {
    /// In bytes per millisecond.
    pub(crate) rate: u64,
    /// For how long after the expiry, in milliseconds.
    pub(crate) tail: u64,
}

/// A credential that somebody may hold. Times are in the world's milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    /// Its number, which no other holder has.
    pub(crate) number: u64,
    /// The number of its session. A source numbers its sessions without a gap.
    pub(crate) session: u64,
    pub(crate) grant: GrantId,
    /// When the credential expires.
    pub(crate) expires: u64,
    /// When its holder stops relaying.
    pub(crate) end: u64,
    /// How fast it relays at most, in bytes per millisecond.
    pub(super) rate: u64,
    /// Whether the books do not know it.
    pub(super) is_unknown: bool,
    /// The most that any settings have assumed of it since it was minted.
    pub(super) assumed: Relaying,
    /// Bytes that it has carried, times 256.
    pub(crate) carried: u128,
    /// When it began.
    pub(crate) since: u64,
}

/// A time span in which holders relayed at a share of the maximum rate.
struct Span {
    from: u64,
    /// In 256ths.
    share: u64,
    /// The ends of the credentials that were held then, and their rates.
    ends: Vec<(u64, u64)>,
    /// Bytes relayed before, times 256.
    before: u128,
}

/// The bytes of one source.
#[derive(Default)]
pub(super) struct Flow {
    pub(super) sessions: u64,
    /// The grants of all that ever relayed.
    pub(super) grants: BTreeSet<GrantId>,
    pub(super) holders: Vec<Holder>,
    past: Vec<Span>,
    /// Until when somebody has relayed faster or longer than was assumed.
    pub(super) exceeded: Option<u64>,
    /// The sessions that have ended since coturn's reports of ends were last taken.
    pub(super) ended: Vec<Holder>,
    /// Whether reports were lost since then.
    pub(super) has_lost: bool,
}

/// Bytes times 256, in bytes, rounded up.
pub(crate) fn bytes(relayed: u128) -> u64 {
    u64::try_from(relayed.div_ceil(256)).unwrap_or(u64::MAX)
}

impl Flow {
    /// A holder that ends before `then` ends within its assumed tail. Nothing would show that it relayed for longer.
    pub(super) fn keep_within_tails(&mut self, now: u64, then: u64) {
        for holder in self.holders.iter_mut().filter(|holder| holder.end < then && !holder.is_unknown) {
            holder.end = holder.end.min((holder.expires + holder.assumed.tail).max(now));
        }
    }

    /// These stop relaying.
    pub(super) fn end(&mut self, is_ended: impl Fn(&Holder) -> bool) {
        self.ended.extend(self.holders.extract_if(.., |holder| is_ended(holder)));
    }

    pub(super) fn pass(&mut self, now: u64, millis: u64, share: u64) {
        let before = self.relayed_until(now);
        let ends = self.holders.iter().map(|holder| (holder.end, holder.rate)).collect();
        self.past.push(Span { from: now, share, ends, before });
        let then = now + millis;
        for holder in &mut self.holders {
            let relayed = holder.end.min(then).saturating_sub(now);
            holder.carried += u128::from(relayed) * u128::from(share * holder.rate);
            let (end, Relaying { rate, tail }) = (now + relayed, holder.assumed);
            let is_slow = share * holder.rate <= 256 * rate;
            if relayed > 0 && share > 0 && !(is_slow && end <= holder.expires + tail) {
                self.exceeded = self.exceeded.max(Some(end));
            }
        }
        // One that ends at this instant is still listed.
        self.end(|holder| holder.end < then);
    }

    pub(super) fn relayed_until(&self, to: u64) -> u128 {
        let Some(nth) = self.past.partition_point(|span| span.from < to).checked_sub(1) else {
            return 0;
        };
        let span = &self.past[nth];
        let relayed = |(end, rate): &(u64, u64)| end.min(&to).saturating_sub(span.from) * rate;
        let relayed: u64 = span.ends.iter().map(relayed).sum();
        span.before + u128::from(relayed) * u128::from(span.share)
    }
}
