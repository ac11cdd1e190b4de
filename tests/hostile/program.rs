//! The program of this build as a child process, for attacks on its memory, its sockets and its files.

use std::net::{Ipv4Addr, SocketAddr};

use crate::books::COTURN;
use crate::support::process::Process;
use crate::support::{OPERATOR, REPORTER};

/// The log setting: errors and the lines at start only, so that unread output does not block the program.
pub(crate) const QUIET: (&str, &str) = ("RUST_LOG", "error,turn_broker::telemetry::startup=info");

/// Starts it with these settings, and waits until it listens.
pub(crate) fn start(settings: &[(&str, &str)]) -> Process {
    let base = [QUIET, ("OPERATOR_TOKEN", OPERATOR), ("REPORTER_TOKEN", REPORTER)];
    Process::start(&[&base, &COTURN, settings].concat())
}

/// Where it listens.
pub(crate) fn address(process: &Process) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, u16::try_from(process.port).unwrap()).into()
}
