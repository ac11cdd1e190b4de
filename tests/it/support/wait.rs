//! The waits of the tests. Only what never happens fails a test, and never how long it took.

use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Longer than anything takes on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `holds` returns true, for two minutes at most.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !Box::pin(holds()).await {
            sleep(PAUSE).await;
        }
    };
    finished(what, held).await;
}

/// The result of `work`, which ends within two minutes.
pub(crate) async fn finished<T>(what: &str, work: impl Future<Output = T>) -> T {
    let Ok(result) = timeout(WAIT_MAX, work).await else { panic!("not within two minutes: {what}") };
    result
}
