//! What grants and connections change in the ledger, in the order in which it happened. Tests: `tests/simulation`.
//! Grants and connections cannot reach the ledger: each method of the books ends with `settle`, which applies these changes.

use crate::owner::CountOwner;
use crate::promise::{Promise, PromisedTime};
use crate::rate_check::Excesses;
use crate::source::IceSource;
use crate::usage_change::UsageChange;

/// The minutes of a promise, and whose count releases them.
pub(crate) type OwnedTime = (CountOwner, PromisedTime);

/// One change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Effect {
    /// A promise takes the place of another one.
    Promise {
        /// The minutes that are not promised any more.
        before: Option<OwnedTime>,
        /// The minutes that are promised.
        after: Option<OwnedTime>,
    },
    /// Usage was reported.
    Usage(UsageChange),
    /// A source's grants have shown more than was assumed.
    Excess(IceSource, Excesses),
    /// A grant has reported its first connection.
    Reported,
    /// An allowance has clamped a report.
    Clamped,
}

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Effects(Vec<Effect>);

impl Effects {
    /// Notes a change.
    pub(crate) fn note(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    /// Notes that a promise takes the place of another one. A commit first adds the promise of the row, and then removes the hold. These
    /// two become one replacement, so that only their difference changes the ledger.
    pub(crate) fn note_promise(&mut self, before: Option<&Promise>, after: Option<&Promise>) {
        let owned_time = |promise: &Promise| (promise.owner, promise.time);
        let (before, after) = (before.map(owned_time), after.map(owned_time));
        if before == after {
            return;
        }
        if let Some(Effect::Promise { before: last @ None, after: Some(_) }) = self.0.last_mut()
            && after.is_none()
        {
            *last = before;
        } else {
            self.note(Effect::Promise { before, after });
        }
    }

    /// Takes all changes.
    pub(crate) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.0)
    }

    /// Whether all were taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
