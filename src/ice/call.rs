//! A mint over the network, the same for every provider: one deadline, one retry, a bounded body, and a list of servers with a relay. Only
//! the request and the shape of the response differ.

use std::fmt::Display;
use std::time::Duration;

use reqwest::Response;

use super::server::{IceServerList, IceServersError, OnBadUrl, RawIceServer};
use turn_base::CallError;
use turn_base::http_client::body;

/// The time limit of one mint: connecting, a retry and the body together.
pub const DEADLINE: Duration = Duration::from_secs(3);

/// The time limit of one attempt. An attempt ends before [`DEADLINE`], so that its error can say what was slow: the connection or the name
/// look-up.
pub const ATTEMPT: Duration = Duration::from_millis(2_800);

/// Pause before the retry, so that a server that is restarting does not get both attempts in the same millisecond.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Longest response that is read. Real ones have 0.7 KiB.
const BODY_MAX: usize = 64 * 1024;

/// Makes the call, and repeats it once if that is safe and may help. Both attempts together end within `limit`.
pub async fn within<T, F: Future<Output = Result<T, CallError>>>(
    limit: Duration,
    attempt: impl Fn() -> F,
) -> Result<T, CallError> {
    // If the retry gets no answer in time, the first failure says more.
    let mut first_failure = CallError::Timeout;
    let attempts = async {
        match attempt().await {
            Err(error) if is_worth_a_retry(&error) => first_failure = error,
            result => return result,
        }
        tokio::time::sleep(RETRY_PAUSE).await;
        attempt().await
    };
    match tokio::time::timeout(limit, attempts).await {
        Ok(Err(CallError::Timeout)) | Err(_) => Err(first_failure),
        Ok(answer) => answer,
    }
}

/// Whether a second mint is safe and may help: after a failed connect, or after a 5xx that asks for no pause. A gateway can return 5xx
/// although a credential was minted. Nobody has received that credential, so it is not charged.
fn is_worth_a_retry(error: &CallError) -> bool {
    matches!(error, CallError::Connect(_))
        || matches!(error.status(), Some(500..=599)) && error.retry_after().is_none()
}

/// The body of a response, which may have [`BODY_MAX`] bytes at most.
pub async fn read(response: Response) -> Result<Vec<u8>, CallError> {
    body(BODY_MAX, response).await
}

/// The cleaned list. A list without a relay is an error, because the broker has its own STUN servers.
pub fn with_relay(raw: Vec<RawIceServer>) -> Result<IceServerList, CallError> {
    let servers = IceServerList::clean(raw, OnBadUrl::Drop).map_err(unusable)?;
    if servers.relays() { Ok(servers) } else { Err(unusable(IceServersError::NoRelay)) }
}

/// The error of a body without a list.
pub fn no_list() -> CallError {
    unusable("it is not a list of ICE servers")
}

/// The error of a response that cannot be used.
pub fn unusable(why: impl Display) -> CallError {
    CallError::Unusable(why.to_string())
}
