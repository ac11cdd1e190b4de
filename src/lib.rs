//! turn-broker issues TURN credentials for WebRTC under a monthly bandwidth budget. The ledger behind it is the crate
//! `turn_ledger`, which does no I/O. What every route and every outgoing request uses is in `turn_base`.
//!
//! The modules form layers. A module imports only from layers below its own (checked in tests/it/layers.rs). From the top:
//!
//! | layer | what it is |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`listen`] | listener, shutdown and background tasks |
//! | [`doctor`], [`demo`], [`ledger_command`], [`operator_command`] | the other commands |
//! | [`router`] | the table of routes |
//! | [`web`] | pages and the browser module |
//! | [`http`] | the handlers, the error responses and what surrounds every request |
//! | [`app`] | what the handlers share, and the function that builds it |
//! | [`mint`] | issuing a credential: reserve, call a source, commit |
//! | [`auth`] | whose mint it is, by a token of the application's sign-in |
//! | [`limit`] | the rate limit of each client |
//! | [`forward`] | requests on their way to the replica that leads |
//! | [`meter`] | reading the counts of Cloudflare and coturn, and ending coturn's sessions |
//! | [`live_calls`] | the running calls of signaling, and what they mean for the ledger |
//! | [`account`] | the books behind one lock |
//! | [`lead`] | which replica leads |
//! | [`store`] | the books on disk |
//! | [`alert`] | operator alerts: which are due, and their delivery |
//! | [`telemetry`] | logs and metrics |
//! | [`config`] | environment variables parsed into typed settings |
//! | [`ice`] | ICE servers and the APIs of the credential sources |
//! | [`json`], [`rate`] | numbers in JSON; the present rate |
//! | [`bounds`] | times that are shorter in the tests with a browser |

pub mod account;
pub mod alert;
pub mod app;
pub mod auth;
pub mod bounds;
pub mod cli;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod forward;
pub mod http;
pub mod ice;
pub mod json;
pub mod lead;
pub mod ledger_command;
pub mod limit;
pub mod listen;
pub mod live_calls;
pub mod meter;
pub mod mint;
pub mod operator_command;
pub mod rate;
pub mod router;
pub mod store;
pub mod telemetry;
pub mod web;
