//! Several replicas on one ledger in `PostgreSQL`.

mod doctor;
mod ledger_copy;
mod mutants;
mod same_rows;
mod store;
mod store_connections;
mod store_outcomes;
