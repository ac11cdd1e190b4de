//! Integration tests: the real router behind a real socket, with a provider that misbehaves on request. One binary, no
//! fixed ports, no sleeps where a clock can be moved. A test waits for a condition with `support::eventually`. No result depends on how
//! busy the machine is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

mod acts;
mod alert_contents;
mod alerts;
mod analytics;
mod architecture;
mod backup;
mod bandwidth_status;
mod bounds;
mod by_grant;
mod connections;
mod coturn_cli;
mod coturn_meter;
mod crashes;
mod credentials;
mod demo;
mod deploy;
mod disk_full;
mod doctor;
mod doctor_at_coturn;
mod documents;
mod durable;
mod ending;
mod env_file;
mod error;
mod fleet;
mod format;
mod head;
mod http_source;
mod key_choice;
mod key_rotation;
mod layers;
mod leaks;
mod ledger_command;
mod ledger_file;
mod measured;
mod mutants;
mod network;
mod openapi;
mod operator;
mod operator_command;
mod origin;
mod outgoing;
mod overrides;
mod overview;
mod places;
mod pool;
mod process;
mod provider_faults;
mod relay;
mod renewal;
mod replicas;
mod request_log;
mod routes;
mod server_keys;
mod signaling;
mod sockets;
mod source_facts;
mod sources;
mod spenders;
mod strangers;
mod transport;
mod users;
mod web;
mod wire_formats;
