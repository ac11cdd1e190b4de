//! The calls of all protocols behind one lock. What happens in a call goes to the ledger in the order in which it happened.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use turn_signaling::call::CallEvent;
use turn_signaling::calls::Calls;

use crate::clock::Clock;

/// The calls that are going on.
#[derive(Debug)]
pub struct LiveCalls {
    calls: Mutex<Calls>,
    clock: Arc<dyn Clock>,
}

impl LiveCalls {
    /// No calls.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { calls: Mutex::default(), clock }
    }

    /// Takes what happened in a call.
    pub fn take(&self, event: CallEvent) {
        let _actions = self.lock().step(event, self.clock.now());
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
