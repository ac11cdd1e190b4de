//! The modules that `SIGNALING` can name, and the paths at which each is served.

use turn_signaling::ProtocolName;

use super::form::is_at_or_below;

/// An entry of `SIGNALING`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Module {
    Protocol(ProtocolName),
    Reports,
}

/// The words of `SIGNALING`, with the usual paths of each module. The first one is the path that the start shows for clients.
pub(super) const MODULES: [(&str, Module, &[&str]); 7] = [
    ("ayame", Module::Protocol(ProtocolName::Ayame), &["/signaling", "/.ok"]),
    ("p2pcf", Module::Protocol(ProtocolName::P2pcf), &["/p2pcf"]),
    ("rooms", Module::Protocol(ProtocolName::Rooms), &["/parties", "/set-username"]),
    ("sfu", Module::Protocol(ProtocolName::Sfu), &["/partytracks", "/api/calls"]),
    ("peerjs", Module::Protocol(ProtocolName::Peerjs), &["/peerjs"]),
    ("yjs", Module::Protocol(ProtocolName::Yjs), &["/yjs"]),
    ("reports", Module::Reports, &OF_REPORTS),
];
const OF_REPORTS: [&str; 5] =
    ["/api/bugReport", "/api/deadTrack", "/call-quality-feedback", "/api/reportRefresh", "/api/debugInfo"];

/// Whether `path` is one of these usual paths, or below one.
pub(super) fn are_at(usual: &[&str], path: &str) -> bool {
    usual.iter().any(|root| is_at_or_below(path, root))
}

/// Whether `path` is a usual path of a module that always has its usual paths, or below one.
pub(super) fn is_fixed_path(path: &str) -> bool {
    // A setting can replace the usual paths of these.
    let is_movable = |of: &_| matches!(of, Module::Protocol(ProtocolName::P2pcf | ProtocolName::Sfu));
    MODULES.iter().any(|(_, module, usual)| !is_movable(module) && are_at(usual, path))
}
