//! The true bytes: every credential that somebody may hold relays at up to the assumed rate until its tail ends. The
//! provider sees all of them, and can report the count up to any time.

use std::time::Duration;

/// The maximum rate of one credential, in bytes per millisecond: 2 Mbps.
pub(crate) const RATE: u64 = 250;

/// A time span in which holders relayed at a share of the maximum rate.
struct Stretch {
    from: u64,
    /// In 256ths.
    share: u64,
    /// The ends of the credentials that were held then.
    ends: Vec<u64>,
    /// Bytes relayed before, in milliseconds of one credential at the maximum rate, times 256.
    before: u128,
}

/// The true bytes, which the broker cannot see. Times are milliseconds since the start of the scenario and never go back.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) now: u64,
    /// The ends of the credentials that somebody may hold.
    ends: Vec<u64>,
    /// The ends of those that were minted since the wall clock was set ahead, which the books have not accepted.
    in_doubt: Option<Vec<u64>>,
    past: Vec<Stretch>,
    /// How late the provider counts a byte, in milliseconds.
    pub(crate) lateness: u64,
    /// The provider has counted every byte before this.
    counted: u64,
}

impl World {
    /// Adds a credential that the provider created after `delay`. Its holder relays until lifetime and tail have passed.
    /// Returns that instant.
    pub(crate) fn hand_out(&mut self, delay: Duration, life: Duration, tail: Duration) -> u64 {
        let millis = u64::try_from((delay + life + tail).as_millis()).unwrap_or(u64::MAX);
        let end = self.now.saturating_add(millis);
        self.ends.push(end);
        if let Some(minted) = &mut self.in_doubt {
            minted.push(end);
        }
        end
    }

    /// The wall clock was set ahead, or was corrected.
    pub(crate) fn doubt(&mut self, is_ahead: bool) {
        self.in_doubt = is_ahead.then(Vec::new);
    }

    /// The clock that was set ahead is right: it is later now. Of the credentials, those stay that were minted since.
    pub(crate) fn skip(&mut self, millis: u64) {
        let before = self.relayed_until(self.now);
        self.past.push(Stretch { from: self.now, share: 0, ends: vec![], before });
        self.now += millis;
        let minted = self.in_doubt.take().unwrap_or_default();
        let stay = self.ends.iter().filter(|end| minted.contains(end));
        self.ends = stay.map(|end| end + millis).collect();
    }

    /// The holder of the credential that ends at `end` also holds the one that ends at `renewed`, and relays with one of them.
    pub(crate) fn join(&mut self, end: u64, renewed: u64) -> u64 {
        if let Some(nth) = self.ends.iter().position(|other| *other == end.min(renewed)) {
            self.ends.swap_remove(nth);
        }
        end.max(renewed)
    }

    /// Lets time pass while credential holders relay at `share` 256ths of the maximum rate.
    pub(crate) fn pass(&mut self, millis: u64, share: u64) {
        self.counted = self.visible();
        let before = self.relayed_until(self.now);
        self.past.push(Stretch { from: self.now, share, ends: self.ends.clone(), before });
        self.now += millis;
        self.ends.retain(|end| *end > self.now);
    }

    /// The provider has counted every byte before this instant, and no later ones.
    pub(crate) fn visible(&self) -> u64 {
        self.counted.max(self.now.saturating_sub(self.lateness))
    }

    /// True bytes in `[from, to)`, rounded up.
    pub(crate) fn bytes_between(&self, from: u64, to: u64) -> u64 {
        let relayed = self.relayed_until(to.min(self.now)) - self.relayed_until(from.min(to).min(self.now));
        u64::try_from((relayed * u128::from(RATE)).div_ceil(256)).unwrap_or(u64::MAX)
    }

    fn relayed_until(&self, to: u64) -> u128 {
        let Some(nth) = self.past.partition_point(|stretch| stretch.from < to).checked_sub(1) else {
            return 0;
        };
        let stretch = &self.past[nth];
        let millis: u64 = stretch.ends.iter().map(|end| (*end).min(to).saturating_sub(stretch.from)).sum();
        stretch.before + u128::from(millis) * u128::from(stretch.share)
    }
}
