//! Credentials that no session uses. partytracks asks for a session and for a credential at the same time, and for both again when
//! the session is refused. While the SFU is down, each of these credentials would use up the allowance of the page's address and
//! reserve budget for nobody, and once it is up again the page would have a session without a relay. So a credential is handed
//! out again, but only after a session of its address was refused. No request says which credential belongs to which session: the
//! youngest one that was handed out counts.

use std::collections::VecDeque;
use std::time::Duration;

use turn_ledger::client::ClientKey;

/// Credentials that are remembered. The oldest ones are forgotten first.
pub const SPARES_MAX: usize = 1_024;
/// How long a credential is remembered. A page tries again after 10 s at most, so an outage costs it one credential a minute.
pub const SPARE_AGE_MAX: Duration = Duration::from_secs(60);

/// See the module's description.
#[derive(Clone, Debug)]
pub struct Spares<C> {
    /// The oldest first.
    minted: VecDeque<Minted<C>>,
}

#[derive(Clone, Debug)]
struct Minted<C> {
    credential: C,
    address: ClientKey,
    at: Duration,
    /// Whether the session that it was for has been refused.
    is_free: bool,
}

impl<C> Default for Spares<C> {
    fn default() -> Self {
        Self { minted: VecDeque::new() }
    }
}

impl<C: Clone> Spares<C> {
    /// A credential was minted for an address and is handed out.
    pub fn mint(&mut self, address: ClientKey, credential: C, now: Duration) {
        while self.minted.front().is_some_and(|oldest| oldest.age(now) >= SPARE_AGE_MAX) {
            self.minted.pop_front();
        }
        if self.minted.len() >= SPARES_MAX {
            self.minted.pop_front();
        }
        self.minted.push_back(Minted { credential, address, at: now, is_free: false });
    }

    /// The youngest free credential of an address that is younger than `age_max` and `fits`. It is handed out with this.
    pub fn take(
        &mut self,
        address: ClientKey,
        age_max: Duration,
        now: Duration,
        fits: impl Fn(&C) -> bool,
    ) -> Option<C> {
        let age_max = age_max.min(SPARE_AGE_MAX);
        let is_meant = |spare: &Minted<C>| {
            spare.is_free && spare.address == address && spare.age(now) < age_max && fits(&spare.credential)
        };
        let spare = self.minted.iter_mut().rev().find(|spare| is_meant(spare))?;
        spare.is_free = false;
        Some(spare.credential.clone())
    }

    /// A session of this address was refused.
    pub fn session_refused(&mut self, address: ClientKey) {
        if let Some(at) = self.youngest_out(address) {
            self.minted[at].is_free = true;
        }
    }

    /// A session of this address began, and uses the credential.
    pub fn session_began(&mut self, address: ClientKey) {
        if let Some(at) = self.youngest_out(address) {
            self.minted.remove(at);
        }
    }

    fn youngest_out(&self, address: ClientKey) -> Option<usize> {
        self.minted.iter().rposition(|spare| spare.address == address && !spare.is_free)
    }
}

impl<C> Minted<C> {
    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn address(last: u8) -> ClientKey {
        ClientKey::of([203, 0, 113, last].into())
    }

    fn spares(credentials: &[u8]) -> Spares<u8> {
        let mut spares = Spares::default();
        for credential in credentials {
            spares.mint(address(1), *credential, NOW);
        }
        spares
    }

    fn take(spares: &mut Spares<u8>, address: ClientKey, now: Duration) -> Option<u8> {
        spares.take(address, Duration::MAX, now, |_| true)
    }

    #[test]
    fn a_credential_is_handed_out_again_only_after_a_refusal() {
        let mut spares = spares(&[7]);
        assert_eq!(take(&mut spares, address(1), NOW), None, "its session may still begin");
        spares.session_refused(address(1));
        assert_eq!(take(&mut spares, address(2), NOW), None, "of another address");
        assert_eq!(spares.take(address(1), Duration::MAX, NOW, |credential| *credential == 8), None);
        assert_eq!(take(&mut spares, address(1), NOW), Some(7));
        assert_eq!(take(&mut spares, address(1), NOW), None, "it is handed out");
        spares.session_refused(address(1));
        assert_eq!(take(&mut spares, address(1), NOW), Some(7), "as often as sessions are refused");
    }

    #[test]
    fn a_credential_that_a_session_uses_is_never_handed_out_again() {
        let mut spares = spares(&[7]);
        spares.session_began(address(1));
        spares.session_refused(address(1));
        assert_eq!(take(&mut spares, address(1), NOW), None);
    }

    #[test]
    fn the_youngest_credential_is_that_of_a_session() {
        let mut spares = spares(&[7, 8]);
        spares.session_began(address(1));
        spares.session_refused(address(1));
        assert_eq!(take(&mut spares, address(1), NOW), Some(7));
    }

    #[test]
    fn a_refusal_without_a_credential_changes_nothing() {
        let mut spares = spares(&[]);
        spares.session_refused(address(1));
        spares.session_began(address(1));
        spares.mint(address(1), 7, NOW);
        assert_eq!(take(&mut spares, address(1), NOW), None);
    }

    #[test]
    fn a_credential_is_too_old_after_a_minute() {
        let mut spares = spares(&[7]);
        spares.session_refused(address(1));
        assert_eq!(take(&mut spares, address(1), NOW + Duration::from_millis(59_999)), Some(7));
        spares.session_refused(address(1));
        assert_eq!(take(&mut spares, address(1), NOW + SPARE_AGE_MAX), None, "its age counts from the mint");
        spares.mint(address(1), 8, NOW + SPARE_AGE_MAX);
        assert_eq!(spares.minted.len(), 1);
    }

    #[test]
    fn the_asker_may_want_a_younger_one() {
        let mut spares = spares(&[7]);
        spares.session_refused(address(1));
        let (age, younger) = (Duration::from_secs(15), Duration::from_secs(16));
        assert_eq!(spares.take(address(1), age, NOW + age, |_| true), None);
        assert_eq!(spares.take(address(1), younger, NOW + age, |_| true), Some(7));
    }

    #[test]
    fn the_oldest_give_way() {
        let mut spares = spares(&[7]);
        for _ in 0..SPARES_MAX {
            spares.mint(address(2), 8, NOW);
        }
        assert_eq!(spares.minted.len(), SPARES_MAX);
        spares.session_refused(address(1));
        assert_eq!(take(&mut spares, address(1), NOW), None);
    }
}
