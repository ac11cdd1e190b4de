//! What grants and connections change in the ledger, in the order in which it happened. Tests: `../ledger/tests/simulation`.
//! Grants and connections cannot reach the ledger: each method of the books ends with `settle`, which applies these changes.

use std::collections::VecDeque;

use crate::evidence::{CountOwner, Excesses};
use crate::minutes::UsageChange;
use crate::promise::{Promise, PromisedTime};
use crate::source::IceSource;

/// The minutes of a promise, and whose count releases them.
pub type OwnedTime = (CountOwner, PromisedTime);

/// One change.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
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

/// The changes since they were last applied, in their order.
#[derive(Debug, Default)]
pub struct Effects(VecDeque<Effect>);

impl Effects {
    /// Notes a change.
    pub fn note(&mut self, effect: Effect) {
        self.0.push_back(effect);
    }

    /// Notes that a promise takes the place of another one. A commit first adds the promise of the row, and then removes the hold. These
    /// two become one replacement, so that only their difference changes the ledger.
    pub fn note_promise(&mut self, before: Option<&Promise>, after: Option<&Promise>) {
        let owned_time = |promise: &Promise| (promise.owner, promise.time);
        let (before, after) = (before.map(owned_time), after.map(owned_time));
        if before == after {
            return;
        }
        if let Some(Effect::Promise { before: last @ None, after: Some(_) }) = self.0.back_mut()
            && after.is_none()
        {
            *last = before;
        } else {
            self.note(Effect::Promise { before, after });
        }
    }

    /// Takes the first change.
    pub fn take(&mut self) -> Option<Effect> {
        self.0.pop_front()
    }

    /// Whether all were taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
