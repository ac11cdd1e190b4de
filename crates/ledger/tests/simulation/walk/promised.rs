//! The local check: what relays at an instant is promised for its minute, at its source. The bound is one sum over all sources and minutes,
//! so there an unused promise hides a missing one.

use super::prelude::*;

/// What relayed, as far as it kept to what was assumed of it.
#[derive(Default)]
pub(super) struct Relayed {
    /// At a source or relay in a minute: the most that was seen, in bytes in the minute.
    seen: BTreeMap<(CountOwner, Minute), u64>,
    /// The latest reset. By a clock that is behind, what begins just after it lies before it. No promise covers that, also if another billing
    /// day moves it.
    since: Minute,
}

impl Relayed {
    /// Notes what relays now.
    pub(super) fn note(&mut self, world: &World, broker: &Broker<impl Disk>) {
        self.since = self.since.max(Minute::of(broker.books.budget().period.start));
        for source in METERED {
            let now = broker.books.now().as_millis();
            let minute = Minute::of(Timestamp::from_millis(now + broker.ahead(source)));
            if minute < self.since {
                continue;
            }
            let tail = broker.settings.tail_of_session(source);
            let mut note = |owner, relay| {
                let seen = self.seen.entry((owner, minute)).or_default();
                *seen = (*seen).max(world.rate_within(source, relay, tail) * 60_000);
            };
            if source == IceSource::Coturn {
                broker.relays().for_each(|relay| note(broker.settings.relay(relay), Some(relay)));
            } else {
                note(source.into(), None);
            }
        }
    }

    /// Begins anew: the books have lost grants, or do not have the world's time.
    pub(super) fn clear(&mut self) {
        self.seen.clear();
    }

    /// A minute of this period in which more relayed than is promised, and which its source has not counted.
    pub(super) fn unpromised(&self, broker: &Broker<impl Disk>) -> Option<String> {
        let (ledger, period) = (broker.books.budget(), broker.books.budget().period);
        // A crash can undo a jump of the time that was accepted.
        let is_of_period = |minute: &Minute| period.contains(minute.start()) && minute.start() <= ledger.now;
        let seen = self.seen.iter().filter(|((_, minute), relayed)| is_of_period(minute) && **relayed > 0);
        seen.filter(|((source, minute), _)| {
            let counted = ledger.day(*source, Day::of(minute.start()));
            counted.is_none_or(|count| count.as_of <= minute.start())
        })
        .find_map(|((source, minute), relayed)| {
            let promised = ledger.promised_in(*source, *minute).get();
            (*relayed > promised).then(|| {
                format!(
                    "{relayed} bytes a minute relayed at {source:?} at {}, {promised} are promised",
                    minute.start()
                )
            })
        })
    }
}
