//! turn-broker.
pub mod account;
pub mod budget;
pub mod clock;
pub mod config { pub mod server { pub struct LogConfig{pub filter:String,pub format:LogFormat} pub enum LogFormat{Text,Json} } pub mod budget { #[derive(Debug,PartialEq,Clone,Copy)] pub enum LimitAction{Refuse,Fallback} }}
pub mod ice;
pub mod telemetry;
pub mod units;
pub mod usage;
