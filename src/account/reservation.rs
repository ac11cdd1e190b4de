//! Guards that a request holds: reserved budget for one credential, and the right to renew. A guard that is dropped without a commit
//! gives back what it holds, on any path. After the commit the budget is the grant's promise, which no guard releases.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Account;
use turn_ledger::{
    Grant, Hold, IceSource, IdDigest, Moment, NotAdmitted, Requester, Spender, Timestamp, Written,
};

/// Budget reserved for one credential while the provider creates it. Released when dropped.
#[derive(Debug)]
pub struct Reservation {
    account: Arc<Account>,
    moment: Moment,
    /// The lifetime that the credential may have.
    pub life: Duration,
    requester: Requester,
    /// `None` once it is committed or released.
    hold: Option<Hold>,
}

/// A grant's right to renew, taken for one mint. Given back when dropped unused.
#[derive(Debug)]
pub struct RenewalRight {
    account: Arc<Account>,
    /// The grant that is renewed.
    pub grant: Grant,
    /// Its spender; `None` if its row has none.
    pub spender: Option<Arc<Spender>>,
    is_used: AtomicBool,
}

impl RenewalRight {
    pub(super) fn new(account: &Arc<Account>, grant: &Grant, spender: Option<Arc<Spender>>) -> Self {
        Self { account: Arc::clone(account), grant: *grant, spender, is_used: AtomicBool::new(false) }
    }
}

impl Drop for RenewalRight {
    fn drop(&mut self) {
        if !self.is_used.load(Ordering::Relaxed) {
            self.account.change(|books| books.give_renewal_back(self.grant.id));
        }
    }
}

impl Reservation {
    pub(super) fn new(account: &Arc<Account>, hold: Hold, moment: Moment, requester: Requester) -> Self {
        Self { account: Arc::clone(account), moment, life: hold.life, requester, hold: Some(hold) }
    }

    /// When the reservation was made, in the books' time. The grant's times count from here, so that the books and the grant
    /// agree on its end.
    pub fn at(&self) -> Timestamp {
        self.moment.now
    }

    /// When the reservation was made: by the wall clock or by the books' time, whichever is earlier. The credential's lifetime
    /// starts here, so a wrong clock cannot lengthen it.
    pub fn earliest(&self) -> Timestamp {
        self.moment.wall.min(self.moment.now)
    }

    /// The same reservation, for a credential that works for `works_for`. If that is longer than was reserved, releases this reservation
    /// and makes a new one for all of `works_for`. The caller passes the `source` of this reservation. On an error nothing is reserved, so
    /// the caller must not hand out the credential.
    pub fn lasting(mut self, source: IceSource, works_for: Duration) -> Result<Self, NotAdmitted> {
        if works_for <= self.life {
            return Ok(self);
        }
        if let Some(hold) = self.hold.take() {
            self.account.change(|books| books.release(&hold));
        }
        let (moment, requester) = (self.moment, self.requester.clone());
        let reserved_anew = self.account.reserve(source, works_for, requester, |_, _| Ok(Some(())))?;
        let Some((mut reserved_anew, ())) = reserved_anew else { return Err(NotAdmitted::NotRecorded) };
        // The credential's life still counts from the first reservation.
        reserved_anew.moment = moment;
        Ok(reserved_anew)
    }

    /// Records the grant of a new credential, which the TURN key `issuer` has minted, if the source has TURN keys. Uses up the right to renew if this is a renewal. This is the point of no return: after
    /// `Ok`, the credential may be handed out. If the future is dropped half-way, the record stays, and its promise shrinks as time passes.
    pub async fn commit(
        mut self,
        grant: &Grant,
        issuer: Option<IdDigest>,
        username: Option<&str>,
        renewal: Option<&RenewalRight>,
    ) -> Result<(), NotAdmitted> {
        // There always is a hold: whatever else takes it consumes the reservation.
        let Some(hold) = self.hold.take() else { return Err(NotAdmitted::NotRecorded) };
        let requester = Requester { issuer, ..std::mem::take(&mut self.requester) };
        let pending = self.account.change(|books| {
            // Only grants of metered sources are stored.
            let store = if grant.source.is_metered() { self.account.store.as_ref() } else { None };
            let Some(store) = store else {
                // The grant is not stored, so there is no write to wait for.
                let commit = books.commit(hold, grant, username, requester)?;
                books.note_written(&commit, Written::Yes)?;
                return Ok(None);
            };
            let Some(room) = store.room() else {
                books.release(&hold);
                return Err(NotAdmitted::NotRecorded);
            };
            let commit = books.commit(hold, grant, username, requester)?;
            Ok(Some((commit, room.commit(self.account.changes(), false))))
        })?;
        if let Some((commit, pending)) = pending {
            match pending.wait().await {
                // The writer has noted it.
                Written::Yes => {}
                written => self.account.change(|books| books.note_written(&commit, written))?,
            }
        }
        if let Some(right) = renewal {
            right.is_used.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.account.change(|books| books.release(&hold));
        }
    }
}
