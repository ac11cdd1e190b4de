//! What each kind of caller may do: the only table of rights, which every route uses. `tests/it/routes.rs` compares it with every route.
//! What belongs to a caller is decided in one place, too: [`Caller::acts_for`](turn_ledger::Caller::acts_for).

use strum::VariantArray;

/// Who calls, as far as its token proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum CallerKind {
    /// Nobody, or a token that proves nothing.
    Anonymous,
    /// A client with a grant.
    Grant,
    /// A user who has signed in.
    User,
    /// A program with one of `SERVER_KEYS`.
    ServerKey,
    /// An app server with `REPORTER_TOKEN`.
    Reporter,
    /// The operator.
    Operator,
}

/// What a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A credential.
    Mint,
    /// To open a connection, and to say what it relays.
    Report,
    /// To close a connection.
    Close,
    /// What others spend.
    Read,
    /// To end credentials, rooms or all minting, and to change the limit.
    End,
    /// To say who spends.
    NameUser,
}

/// On what a caller may act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// On nothing.
    Nothing,
    /// On what it has opened or minted, or for itself.
    Own,
    /// On everything.
    All,
}

/// On what a caller may do this. Where users must sign in, a mint needs more than this right.
pub const fn may(caller: CallerKind, action: Action) -> Extent {
    use CallerKind::{Anonymous, Grant, Operator, Reporter, ServerKey, User};
    match (action, caller) {
        (Action::Mint, Anonymous | Grant | User | ServerKey)
        | (Action::Report | Action::Close, Grant | ServerKey)
        | (Action::End | Action::NameUser, ServerKey) => Extent::Own,
        (Action::Report | Action::Close | Action::NameUser, Reporter)
        | (Action::Read | Action::End, Operator) => Extent::All,
        _ => Extent::Nothing,
    }
}

/// Whether there is anything on which a caller may do this.
pub const fn may_any(caller: CallerKind, action: Action) -> bool {
    !matches!(may(caller, action), Extent::Nothing)
}
