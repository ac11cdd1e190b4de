//! The names that a promise carries: of a grant, of its client, and of who spends. Tests: in each module.

mod client;
mod spender;
mod token;

pub use {client::*, spender::*, token::*};
