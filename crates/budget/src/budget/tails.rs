//! For how long credentials of a source are assumed to relay after their end, and the trials that measure it.
//! Tests: `../ledger/src/books/tests/tails.rs`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Budget;
use crate::evidence::owner::CountOwner;
use crate::promise::tail::{CredentialEnd, ProvenTail, TailEvidence, TailTrial, TailTrials};
use crate::source::IceSource;
use crate::timeline::Timeline;
use crate::timeline::terms::SourceTerms;
use crate::units::{ByteCount, Timestamp};

impl Budget {
    /// How long a credential of each metered [group](CountOwner::group) counts as alive after its expiry, as of now.
    pub fn tails(&self) -> Vec<(CountOwner, Duration)> {
        let groups: BTreeSet<_> = self.groups().collect();
        groups.into_iter().map(|group| (group, self.tail(group))).collect()
    }

    /// The metered groups that issue credentials, some of them more than once.
    pub fn groups(&self) -> impl Iterator<Item = CountOwner> {
        let owners = self.metered().map(|timeline| timeline.terms.owner);
        owners.filter(|owner| owner.source.issues_credentials()).map(CountOwner::group)
    }

    /// The relays whose sessions we can cut.
    pub fn cut_groups(&self) -> Vec<CountOwner> {
        let cut = self.timelines.iter().filter(|timeline| timeline.terms.cut_tail.is_some());
        cut.map(|timeline| timeline.terms.owner).collect()
    }

    /// How long a grant that is issued now for an owner counts as alive after its expiry; zero for an unknown source. For an owner without
    /// a TURN key, or whose key has left the settings, the longest tail of its source's keys: it is not known yet which key mints.
    pub fn tail(&self, owner: impl Into<CountOwner>) -> Duration {
        let owner = owner.into();
        let tail = |timeline: &Timeline| timeline.tail(self.latest());
        let takes_proofs = |timeline: &&Timeline| timeline.terms.takes_proofs;
        let of_key = self.owned_by(owner).filter(takes_proofs).map(tail);
        let of_keys = || self.all_of(owner.source).filter(takes_proofs).map(tail).max();
        // Where no proven tail is taken, the owner's own tail counts.
        of_key.or_else(of_keys).or_else(|| self.of(owner).map(tail)).unwrap_or_default()
    }

    /// The tail of an owner while its sessions are not cut; zero for an unknown source.
    pub fn long_tail(&self, owner: impl Into<CountOwner>) -> Duration {
        self.of(owner).map_or(Duration::ZERO, Timeline::long_tail)
    }

    /// The tail of an owner while we cut its sessions; `None` if we cannot.
    pub fn cut_tail(&self, owner: impl Into<CountOwner>) -> Option<Duration> {
        self.of(owner)?.terms.cut_tail
    }

    /// The tail that the promises of each owner must have at least. A promise that was made before may have a shorter one,
    /// because settings may have changed.
    pub fn tails_relied_on(&self) -> Vec<(CountOwner, Duration)> {
        let issues = |owner: CountOwner| owner.source.is_metered() && owner.source.issues_credentials();
        let owners = self.timelines.iter().filter(|timeline| issues(timeline.terms.owner));
        owners.map(|timeline| (timeline.terms.owner, timeline.tail_relied_on(self.latest()))).collect()
    }

    /// The longest tail that is proven for the TURN keys of a source. `None`: not every key has a proof, or there is no key.
    pub fn proven_tail(&self, source: IceSource, end: CredentialEnd) -> Option<ProvenTail> {
        let owners = self.all_of(source).filter(|timeline| timeline.terms.takes_proofs);
        let proven = owners.map(|timeline| timeline.proven_tail(end)).collect::<Option<Vec<_>>>()?;
        proven.into_iter().max_by_key(|proven| proven.tail)
    }

    /// The owners of a source with promises that rely on a proven tail, and the shorter of two tails: the one that is proven now, and the
    /// one on which promises have relied since the latest trial.
    pub fn shortened_tails(&self, source: IceSource, end: CredentialEnd) -> Vec<(CountOwner, Duration)> {
        // An owner is left out if it has made no trial, or if no tail was proven.
        let of = |timeline: &Timeline| {
            let relied_on = timeline.state.tails.get(&end)?.relied_on.filter(|_| timeline.terms.takes_proofs);
            let proven = timeline.proven_tail(end).map(|proven| proven.tail);
            Some((timeline.terms.owner, relied_on.into_iter().chain(proven).min()?))
        };
        self.all_of(source).filter_map(of).collect()
    }

    /// The shortest time after an expiry that promises of a source rely on because trials have proven it; `None` if none rely on a proof.
    pub fn shortest_tail(&self, source: IceSource) -> Option<Duration> {
        self.shortened_tails(source, CredentialEnd::Expiry).into_iter().map(|(_, tail)| tail).min()
    }

    /// The trials of each owner.
    pub fn tail_trials(&self) -> impl Iterator<Item = (&SourceTerms, CredentialEnd, &TailTrials)> {
        let owners = self.timelines.iter();
        owners.flat_map(|timeline| {
            timeline.state.tails.iter().map(|(end, trials)| (&timeline.terms, *end, trials))
        })
    }

    /// Whether a trial that relays `bytes` should begin now: it is due, and its bytes are not what passes a strict limit.
    pub fn needs_trial(&self, owner: impl Into<CountOwner>, end: CredentialEnd, bytes: ByteCount) -> bool {
        let owner = owner.into();
        let is_due = |timeline: &Timeline| {
            let trials = timeline.state.tails.get(&end);
            trials.is_none_or(|trials| trials.is_due(self.now))
        };
        self.has_room_for_own(bytes) && self.owned_by(owner).is_some_and(is_due)
    }

    /// The trial that waits for its count.
    pub fn uncounted_trial(&self, owner: impl Into<CountOwner>, end: CredentialEnd) -> Option<&TailTrial> {
        self.owned_by(owner.into())?.state.tails.get(&end)?.uncounted.as_ref()
    }

    /// Takes what a trial has shown. Promises rely on the tail that is proven now, if one is. Returns by how much this tail is longer than
    /// the one that promises have relied on; `None` if it is not longer, or if promises have relied on none.
    pub fn take_trial(
        &mut self,
        owner: CountOwner,
        end: CredentialEnd,
        shown: TailEvidence,
    ) -> Option<Duration> {
        let now = self.now;
        let takes_proofs = self.owned_by(owner).is_some_and(|timeline| timeline.terms.takes_proofs);
        let before_and_now = self.with_trials(owner, end, |trials| {
            trials.take(shown);
            let ProvenTail { tail, .. } = trials.proven(now).filter(|_| takes_proofs)?;
            // `replace` sets the new tail in any case. If promises have relied on none before, no tail has become longer.
            Some((trials.relied_on.replace(tail)?, tail))
        });
        let (before, tail) = before_and_now.flatten()?;
        tail.checked_sub(before).filter(|added| *added > Duration::ZERO)
    }

    /// How long a credential counts as alive after its source has revoked it, with the difference of the clock that counts its bytes.
    /// `None`: as long as a credential that was not revoked.
    pub fn revocation_tail(&self, owner: CountOwner) -> Option<Duration> {
        let timeline = self.owned_by(owner)?;
        let proven = timeline.proven_tail(CredentialEnd::Revocation)?;
        Some(proven.tail.saturating_add(timeline.clocks()))
    }

    /// Whether an owner's promises may still rely on a proven end of revoked credentials: nothing has contradicted the proof since.
    pub fn trusts_revocations(&self, owner: CountOwner) -> bool {
        let shortened = self.shortened_tails(owner.source, CredentialEnd::Revocation);
        shortened.into_iter().any(|(of, _)| of == owner)
    }

    /// Bytes were counted after a proven tail: what was assumed before the proof holds again.
    pub fn contradict_tail(&mut self, owner: CountOwner, end: CredentialEnd) {
        let now = self.now;
        self.with_trials(owner, end, |trials| trials.contradict(now));
    }

    /// Changes the trials of one end of an owner's credentials; `None` for an unknown owner.
    pub fn with_trials<T>(
        &mut self,
        owner: CountOwner,
        end: CredentialEnd,
        change: impl FnOnce(&mut TailTrials) -> T,
    ) -> Option<T> {
        self.with(owner, |timeline| change(timeline.state.tails.entry(end).or_default()))
    }
}

impl Timeline {
    /// How long a grant that is issued at `now` counts as alive after its expiry.
    pub fn tail(&self, now: Timestamp) -> Duration {
        match self.terms.cut_tail {
            Some(tail) if self.is_cut(now) => tail,
            _ => self.long_tail(),
        }
    }

    /// The same while the owner's sessions are not cut. It includes the difference of the provider's clock, by which the bytes are counted.
    pub fn long_tail(&self) -> Duration {
        let proven = self.proven_tail(CredentialEnd::Expiry);
        proven.map_or(self.terms.tail, |proven| proven.tail).saturating_add(self.clocks())
    }

    /// The tail that its promises must have at least: that of the proof on which they rely, or without one that of new grants.
    fn tail_relied_on(&self, now: Timestamp) -> Duration {
        let trials = self.state.tails.get(&CredentialEnd::Expiry).filter(|_| self.terms.takes_proofs);
        let relied_on = trials.and_then(|trials| trials.relied_on);
        relied_on.map_or(self.tail(now), |tail| tail.saturating_add(self.clocks()))
    }

    /// By how much the clock of its provider may differ.
    fn clocks(&self) -> Duration {
        self.terms.owner.source.clocks_differ_by()
    }

    /// The proven tail after this end of its credentials; `None` if none is proven, or if proofs are not taken.
    fn proven_tail(&self, end: CredentialEnd) -> Option<ProvenTail> {
        if !self.terms.takes_proofs {
            return None;
        }
        self.state.tails.get(&end)?.in_force(self.now)
    }
}
