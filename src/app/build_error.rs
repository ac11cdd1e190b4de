//! Why the service cannot be built from its settings.

use crate::limit::QuotaError;
use turn_base::http_client::ClientError;
use turn_base::random::NoRandomness;
use turn_relay::ListenError;
use turn_signaling_server::NoDirectory;

/// Why the parts cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// No HTTP client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The rate limiter's settings contradict each other.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// The directory of reports cannot be created.
    #[error(transparent)]
    Reports(#[from] NoDirectory),
    /// No replica may use the database.
    #[error("{0}")]
    Database(String),
    /// The relay cannot bind its port.
    #[error("RELAY_LISTEN: {0}")]
    Relay(#[from] ListenError),
}
