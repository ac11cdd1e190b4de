//! A runtime for callers that may block.

use tokio::runtime::{Builder, Runtime};

use super::connect::DatabaseError;

/// A runtime of one thread, which runs while something waits for it. Unlike tokio's, it may be dropped in an asynchronous task.
#[derive(Debug)]
pub(super) struct Blocking(Option<Runtime>);

impl Blocking {
    pub(super) fn new() -> Result<Self, DatabaseError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.map(Some).map(Self).map_err(|error| DatabaseError::Thread(error.to_string()))
    }

    pub(super) fn get(&self) -> &Runtime {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
