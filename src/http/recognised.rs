//! What a mint request asks for, once it is known who asks. Tests: those of `mint_request` and `server_mint`.

use std::sync::Arc;

use crate::limit::Standing;
use crate::mint::MintRequest;
use turn_base::error::ApiError;
use turn_ledger::Spender;

/// A request for a credential.
pub(super) struct Recognised {
    /// What the mint is asked for, or why it is not asked.
    pub asked: Result<MintRequest, ApiError>,
    /// Who would spend it, as far as known.
    pub spender: Option<Arc<Spender>>,
    /// What the rate limit has left.
    pub standing: Standing,
}
