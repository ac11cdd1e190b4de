//! What each kind of caller may do: the only table of rights, which every route uses. `tests/it/routes.rs` compares it with every route.
//! What belongs to a caller is decided in one place, too: [`Caller::acts_for`](turn_ledger::Caller::acts_for).

pub use super::bearer::CallerKind;

/// What a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A credential. Where users must sign in, a mint needs more than this right.
    Mint,
    /// To open a connection, to say what it relays, and to close it.
    Report,
    /// To say who spends.
    NameUser,
    /// To read `/metrics`.
    ReadMetrics,
}

/// Whether a caller may do this at all. Only the operator may see what others spend, end it, and change the limit; a server key may also end
/// what it has minted.
pub const fn may(caller: CallerKind, action: Action) -> bool {
    use CallerKind::{Anonymous, Grant, Monitor, Operator, Reporter, ServerKey, User};
    match action {
        Action::Mint => matches!(caller, Anonymous | Grant | User | ServerKey),
        Action::Report => matches!(caller, Grant | ServerKey | Reporter),
        Action::NameUser => matches!(caller, ServerKey | Reporter),
        Action::ReadMetrics => matches!(caller, Monitor | Operator),
    }
}
