//! The trials of the tail in a simulated broker, as the service makes them.

use std::time::Duration;

use turn_ledger::polls::spans::final_after;
use turn_ledger::{ByteCount, CredentialEnd, Minute, TailTrial, Timestamp, TrialStep};

use super::broker::Broker;
use super::disk::Disk;
use super::settings::SOURCE;
use super::world::{PROBE_BYTES, TurnKey, World};

const END: CredentialEnd = CredentialEnd::Expiry;
const LIFE: Duration = Duration::from_secs(60);
/// What is due is looked for so often, in milliseconds.
const PAUSE: u64 = 30_000;

impl<D: Disk> Broker<D> {
    /// The provider's clock at a time of the world.
    fn clock_of_provider(&self, at: u64) -> Timestamp {
        Timestamp::from_millis(self.begin.plus_millis(at).as_millis() + self.ahead(SOURCE))
    }

    /// Makes a trial, minute by minute. The credential is the broker's own.
    pub(super) fn make_trial(&mut self, world: &mut World) {
        let bytes = ByteCount::new(PROBE_BYTES);
        if !self.settings.takes_proofs || !self.books.ledger().needs_trial(SOURCE, END, bytes) {
            return;
        }
        self.books.begin_trial(SOURCE, END);
        self.trial_relayed.clear();
        let ends = world.now + 60_000 + 1_000 * self.settings.real_tail.unwrap_or(u64::from(u32::MAX));
        let mut trial = TailTrial::new(END, self.clock_of_provider(world.now), LIFE);
        loop {
            let now = self.clock_of_provider(world.now);
            match trial.step(now, SOURCE.expiry_tail()) {
                TrialStep::Relay { .. } => {
                    let relays = world.now < ends;
                    self.books.charge_trial(SOURCE, bytes);
                    self.probed = self.probed.plus(bytes);
                    self.flush();
                    if relays {
                        world.probe(TurnKey::First);
                        self.trial_relayed.push(world.now);
                    }
                    trial.sent(now, relays, !relays);
                }
                TrialStep::Finish => break,
                TrialStep::Wait | TrialStep::Revoke => {}
            }
            self.pass_watching(PAUSE, 256, world);
            self.advance(world);
        }
        self.books.note_trial(SOURCE, END, trial);
        self.flush();
    }

    /// Asks for the count of a trial that waits for it, once that is final.
    pub(super) fn count_trial(&mut self, world: &World) {
        let Some(trial) = self.books.ledger().uncounted_trial(SOURCE, END) else { return };
        let (_, until) = trial.span();
        if self.clock_of_provider(world.now) < until.plus(final_after(self.lateness.lag())) {
            return;
        }
        let is_kept = |at: &&u64| !world.counted_parts(**at, **at + 1).is_empty() && **at < world.visible();
        let relayed = self.trial_relayed.iter().filter(is_kept);
        let billed = relayed.map(|at| Minute::of(self.clock_of_provider(*at))).collect();
        self.books.count_trial(SOURCE.into(), END, Some(&billed));
    }
}
