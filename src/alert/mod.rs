//! Delivery of operator alerts: [`webhook`] writes an alert as JSON and sends it once, [`dispatcher`] retries until it is
//! delivered, refused for good, or tried too often.

mod body;
pub mod dispatcher;
pub mod webhook;
