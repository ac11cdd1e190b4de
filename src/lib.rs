//! turn-broker hands out TURN credentials for WebRTC and holds a monthly bandwidth budget. A map of the crate:
//!
//! | where | what |
//! |---|---|
//! | [`config`] | environment → typed settings |
//! | [`demo`] | a configuration for the first look, and what it says |
//! | [`app`], [`router`], [`serve`] | joins the parts; the table of routes; listener and shutdown |
//! | [`doctor`] | finds out what is wrong and says what to do |
//! | [`healthcheck`] | the question that a container asks itself |
//! | [`ledger_command`] | what is on disk, for an operator |
//! | [`http`] | one file for each group of endpoints, and what is around them |
//! | [`limit`] | per-client rate |
//! | [`mint`] | a request's way: reserve, ask a source, commit |
//! | [`ice`] | who hands out ICE servers, and how each is asked |
//! | [`account`] | ledger and connections behind one lock |
//! | [`budget`] | periods, timeline, ledger, verdict, grants: pure |
//! | [`usage`] | what connections say about themselves: pure |
//! | [`meter`] | reads what providers themselves have counted, and ends sessions where it can |
//! | [`web`] | what a browser loads from here |
//! | [`relay`] | a small TURN server in this process, for demos and tests |
//! | [`journal`] | the books on disk |
//! | [`alert`] | what an operator is told without asking, and how it is sent |
//! | [`backoff`] | exponential back-off: pure |
//! | [`telemetry`] | logs and metrics |
//! | [`clock`], [`random`], [`units`] | the only readers of time and chance; bytes, rates, instants |

pub mod account;
pub mod alert;
pub mod app;
pub mod backoff;
pub mod clock;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod healthcheck;
pub mod http;
pub mod ice;
pub mod journal;
pub mod json;
pub mod ledger_command;
pub mod limit;
pub mod meter;
pub mod mint;
pub mod random;
pub mod relay;
pub mod router;
pub mod serve;
pub mod telemetry;
pub mod web;
