//! The trials of the tail in a simulated broker, as the service makes them.

use std::time::Duration;

use turn_ledger::polls::spans::final_after;
use turn_ledger::{
    ByteCount, CredentialEnd, GrantId, IceSource, Minute, RevocationAnswer, TailTrial, Timestamp, TrialStep,
};

use super::broker::Broker;
use super::disk::Disk;
use super::settings::SOURCE;
use super::world::{PROBE_BYTES, TurnKey, World};

const ENDS: [CredentialEnd; 2] = [CredentialEnd::Expiry, CredentialEnd::Revocation];
/// That of the credential that is revoked ends after the trial.
const LIVES: [Duration; 2] = [Duration::from_secs(60), IceSource::Cloudflare.expiry_tail().saturating_mul(2)];
/// What is due is looked for so often, in milliseconds.
const PAUSE: u64 = 30_000;
/// What is promised beyond the time that a revoked credential relays: a margin of 5 minutes, the clocks, and whole minutes.
const SPARE: u64 = 12 * 60_000;

impl<D: Disk> Broker<D> {
    /// The provider's clock at a time of the world.
    fn clock_of_provider(&self, at: u64) -> Timestamp {
        Timestamp::from_millis(self.begin.plus_millis(at).as_millis() + self.ahead(SOURCE))
    }

    /// Makes the trials that are due, minute by minute.
    pub(super) fn make_trials(&mut self, world: &mut World) {
        for (end, life) in ENDS.into_iter().zip(LIVES) {
            self.make_trial(end, life, world);
        }
    }

    /// The credential is the broker's own.
    fn make_trial(&mut self, end: CredentialEnd, life: Duration, world: &mut World) {
        let bytes = ByteCount::new(PROBE_BYTES);
        if !self.settings.takes_proofs || !self.books.ledger().needs_trial(SOURCE, end, bytes) {
            return;
        }
        self.books.begin_trial(SOURCE, end);
        let mut relayed = vec![];
        let goes_on = |seconds: Option<u64>| 1_000 * seconds.unwrap_or(u64::from(u32::MAX));
        let mut ends = world.now + 60_000 + goes_on(self.settings.real_tail);
        let mut trial = TailTrial::new(end, self.clock_of_provider(world.now), life);
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
                        relayed.push(world.now);
                    }
                    trial.sent(now, relays, !relays);
                }
                TrialStep::Revoke => {
                    trial.revoked(now);
                    ends = world.now + goes_on(self.settings.real_revocation);
                }
                TrialStep::Finish => break,
                TrialStep::Wait => {}
            }
            self.pass_watching(PAUSE, 256, world);
            self.advance(world);
        }
        self.books.note_trial(SOURCE, end, trial);
        self.trial_relayed.insert(end, relayed);
        self.flush();
    }

    /// Asks for the counts of the trials that wait for them, once these are final.
    pub(super) fn count_trials(&mut self, world: &World) {
        for end in ENDS {
            self.count_trial(end, world);
        }
    }

    fn count_trial(&mut self, end: CredentialEnd, world: &World) {
        let Some(trial) = self.books.ledger().uncounted_trial(SOURCE, end) else { return };
        let (_, until) = trial.span();
        if self.clock_of_provider(world.now) < until.plus(final_after(self.settings.lag())) {
            return;
        }
        let is_kept = |at: &&u64| !world.counted_parts(**at, **at + 1).is_empty() && **at < world.visible();
        let relayed = self.trial_relayed.get(&end).into_iter().flatten().filter(is_kept);
        let billed = relayed.map(|at| Minute::of(self.clock_of_provider(*at))).collect();
        self.books.count_trial(SOURCE.into(), end, Some(&billed));
    }

    /// The source has revoked a credential, and lets it relay for a while. Once trials have proven for how long, little more is promised for it.
    pub(super) fn answer_revocation(&mut self, id: GrantId, world: &mut World) {
        let before = self.books.snapshot().figures;
        self.books.note_revocation_answer(id, RevocationAnswer::Revoked);
        let after = self.books.snapshot().figures;
        let is_right = after.used == before.used && after.committed <= before.committed;
        self.expect(is_right, || format!("{before:?} became {after:?} when the source had revoked {id:?}"));
        let Some(seconds) = self.settings.real_revocation.filter(|_| world.source_of(id) == SOURCE) else {
            return;
        };
        world.leave_all(SOURCE, id, world.now + 1_000 * seconds);
        let is_proven = self.books.ledger().proven_tail(SOURCE, CredentialEnd::Revocation).is_some();
        let most = self.books.now().plus_millis(1_000 * seconds + SPARE);
        let row = self.books.grants().get(id).filter(|row| !row.extra().renewed && row.expires_at > most);
        let promised = row.and_then(|row| row.promised).filter(|time| time.until.start() > most);
        // While trials that took longer are remembered, so much is promised.
        let is_longer = is_proven && promised.is_some() && !self.was_longer && self.books.may_count();
        self.expect(!is_longer, || format!("{id:?} was revoked, and this is promised: {promised:?}"));
    }
}
