//! The readings of a simulated broker: the provider's count of the true bytes, with what it may lack.

use turn_ledger::period::Period;
use turn_ledger::reading::Reading;
use turn_ledger::units::{ByteCount, Timestamp};

use super::broker::Broker;
use super::disk::Disk;
use super::settings::SOURCE;
use super::world::World;

impl<D: Disk> Broker<D> {
    /// Passes the provider's clock to the broker. That clock is right and comes with each count.
    fn hear(&mut self, world: &World) {
        self.time.hear(self.present(world), self.since_boot(world));
        self.advance(world);
    }

    /// Reads the provider's count up to `back` milliseconds before the wall clock. It misses `missed` thousandths.
    pub(super) fn read(&mut self, world: &World, back: u64, missed: u64) {
        self.hear(world);
        let as_of = self.wall(world).as_millis() - i64::try_from(back).unwrap_or(0);
        let period = self.settings.billing_day().period_at(Timestamp::from_millis(as_of - 1));
        let reading = self.reading(world, period, Timestamp::from_millis(as_of), missed);
        let _ = self.books.take_reading(SOURCE, &reading);
    }

    /// The provider's count, which misses `missed` thousandths.
    fn reading(&self, world: &World, period: Period, as_of: Timestamp, missed: u64) -> Reading {
        let (begin, end) = (period.start.millis_since(self.begin), as_of.millis_since(self.begin));
        let told = 1_000 - missed;
        let seen = |from, to| ByteCount::new((world.bytes_between(from, to) * told).div_ceil(1_000));
        let other = seen(begin, end.min(self.key_since));
        Reading { period, as_of, granted: seen(begin.max(self.key_since), end), other }
    }

    /// Reads a count that is half of the previous one.
    pub(super) fn read_fallen(&mut self, now: Timestamp) {
        let snapshot = self.books.snapshot();
        let granted = ByteCount::new(snapshot.measured.bytes.get() / 2);
        if granted > ByteCount::ZERO {
            let period = snapshot.figures.period;
            let reading = Reading { period, as_of: now, granted, other: ByteCount::ZERO };
            let _ = self.books.take_reading(SOURCE, &reading);
        }
    }

    /// Reads the provider's count up to a time in the future. It contains the bytes until now.
    pub(super) fn read_ahead(&mut self, world: &World, ahead: u64) {
        self.hear(world);
        let now = self.books.now();
        let period = self.books.snapshot().figures.period;
        let reading = self.reading(world, period, now.plus_millis(ahead), 0);
        let _ = self.books.take_reading(SOURCE, &reading);
    }
}
