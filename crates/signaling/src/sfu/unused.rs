//! Credentials that were handed out, but that no session uses. partytracks asks for a session and for a credential at the same
//! time, and for both again when the session is refused. During an outage of the SFU, each new credential would reserve budget for
//! nobody and count against the rate of the page's address, until the page gets none. So the page gets the same credential again,
//! but only after a session of its address was refused. No request says which credential belongs to which session, so the
//! youngest one counts.

use std::collections::VecDeque;
use std::time::Duration;

use turn_ledger::ClientKey;

/// Credentials that are remembered. The oldest ones are forgotten first.
pub const UNUSED_MAX: usize = 1_024;
/// How long a credential is remembered. A page tries again after 10 s at most, so an outage costs it one credential a minute.
pub const UNUSED_AGE_MAX: Duration = Duration::from_secs(60);

/// The credentials of the last minute, with whether a session may still use them.
#[derive(Clone, Debug)]
pub struct UnusedCredentials<C> {
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

impl<C> Default for UnusedCredentials<C> {
    fn default() -> Self {
        Self { minted: VecDeque::new() }
    }
}

impl<C: Clone> UnusedCredentials<C> {
    /// A credential was minted for an address and is handed out.
    pub fn add(&mut self, address: ClientKey, credential: C, now: Duration) {
        while self.minted.front().is_some_and(|oldest| oldest.age(now) >= UNUSED_AGE_MAX) {
            self.minted.pop_front();
        }
        if self.minted.len() >= UNUSED_MAX {
            self.minted.pop_front();
        }
        self.minted.push_back(Minted { credential, address, at: now, is_free: false });
    }

    /// Hands out the youngest free credential of an address that is younger than `age_max` and `fits`.
    pub fn take(
        &mut self,
        address: ClientKey,
        age_max: Duration,
        now: Duration,
        fits: impl Fn(&C) -> bool,
    ) -> Option<C> {
        let age_max = age_max.min(UNUSED_AGE_MAX);
        let is_meant = |row: &Minted<C>| {
            row.is_free && row.address == address && row.age(now) < age_max && fits(&row.credential)
        };
        let row = self.minted.iter_mut().rev().find(|row| is_meant(row))?;
        row.is_free = false;
        Some(row.credential.clone())
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
        self.minted.iter().rposition(|row| row.address == address && !row.is_free)
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

    fn unused(credentials: &[u8]) -> UnusedCredentials<u8> {
        let mut unused = UnusedCredentials::default();
        for credential in credentials {
            unused.add(address(1), *credential, NOW);
        }
        unused
    }

    fn take(unused: &mut UnusedCredentials<u8>, address: ClientKey, now: Duration) -> Option<u8> {
        unused.take(address, Duration::MAX, now, |_| true)
    }

    #[test]
    fn a_credential_is_handed_out_again_only_after_a_refusal() {
        let mut unused = unused(&[7]);
        assert_eq!(take(&mut unused, address(1), NOW), None, "its session may still begin");
        unused.session_refused(address(1));
        assert_eq!(take(&mut unused, address(2), NOW), None, "of another address");
        assert_eq!(unused.take(address(1), Duration::MAX, NOW, |credential| *credential == 8), None);
        assert_eq!(take(&mut unused, address(1), NOW), Some(7));
        assert_eq!(take(&mut unused, address(1), NOW), None, "it is handed out");
        unused.session_refused(address(1));
        assert_eq!(take(&mut unused, address(1), NOW), Some(7), "as often as sessions are refused");
    }

    #[test]
    fn a_credential_that_a_session_uses_is_never_handed_out_again() {
        let mut unused = unused(&[7]);
        unused.session_began(address(1));
        unused.session_refused(address(1));
        assert_eq!(take(&mut unused, address(1), NOW), None);
    }

    #[test]
    fn the_youngest_credential_is_that_of_a_session() {
        let mut unused = unused(&[7, 8]);
        unused.session_began(address(1));
        unused.session_refused(address(1));
        assert_eq!(take(&mut unused, address(1), NOW), Some(7));
    }

    #[test]
    fn a_refusal_without_a_credential_changes_nothing() {
        let mut unused = unused(&[]);
        unused.session_refused(address(1));
        unused.session_began(address(1));
        unused.add(address(1), 7, NOW);
        assert_eq!(take(&mut unused, address(1), NOW), None);
    }

    #[test]
    fn a_credential_is_too_old_after_a_minute() {
        let mut unused = unused(&[7]);
        unused.session_refused(address(1));
        assert_eq!(take(&mut unused, address(1), NOW + Duration::from_millis(59_999)), Some(7));
        unused.session_refused(address(1));
        assert_eq!(take(&mut unused, address(1), NOW + UNUSED_AGE_MAX), None, "its age counts from the mint");
        unused.add(address(1), 8, NOW + UNUSED_AGE_MAX);
        assert_eq!(unused.minted.len(), 1);
    }

    #[test]
    fn a_credential_may_have_to_be_younger() {
        let mut unused = unused(&[7]);
        unused.session_refused(address(1));
        let (age, younger) = (Duration::from_secs(15), Duration::from_secs(16));
        assert_eq!(unused.take(address(1), age, NOW + age, |_| true), None);
        assert_eq!(unused.take(address(1), younger, NOW + age, |_| true), Some(7));
    }

    #[test]
    fn the_oldest_credentials_give_way() {
        let mut unused = unused(&[7]);
        for _ in 0..UNUSED_MAX {
            unused.add(address(2), 8, NOW);
        }
        assert_eq!(unused.minted.len(), UNUSED_MAX);
        unused.session_refused(address(1));
        assert_eq!(take(&mut unused, address(1), NOW), None);
    }
}
