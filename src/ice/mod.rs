//! ICE sources: how each one issues credentials.

use turn_ledger::MINT_SLACK;

pub mod api;
pub mod breaker;
pub mod call;
pub mod cloudflare;
pub mod fleet;
pub mod health;
pub mod http_ice;
pub mod key_name;
pub mod pace;
pub mod relays;
pub mod rest;
pub mod server;
pub mod turn_keys;
pub mod url;

pub use api::MintingApi;
pub use breaker::{Breaker, BreakerState};
pub use cloudflare::Cloudflare;
pub use fleet::{Candidate, Fit, Fleet, OwnRelay, RelayState};
pub use health::RelayHealth;
pub use http_ice::{HttpIce, Listed};
pub use key_name::KeyName;
pub use pace::Pace;
pub use rest::{RestSecret, RestServer};
pub use server::{IceServer, IceServerList, IceServersError, OnBadUrl, OneOrMany, RawIceServer, UrlChoice};
pub use turn_keys::{OwnKey, TurnKey};
pub use url::IceUrl;

const _: () =
    assert!(call::DEADLINE.as_secs() < MINT_SLACK.as_secs(), "a reservation covers the deadline of a mint");
