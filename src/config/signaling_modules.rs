//! The modules that `SIGNALING` can name, and the paths at which each is served.

use turn_signaling::call::ProtocolName;

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
    (
        "reports",
        Module::Reports,
        &[
            "/api/bugReport",
            "/api/deadTrack",
            "/call-quality-feedback",
            "/api/reportRefresh",
            "/api/debugInfo",
        ],
    ),
];

impl Module {
    /// Whether a setting can replace the usual paths.
    const fn has_replaceable_paths(self) -> bool {
        matches!(self, Self::Protocol(ProtocolName::P2pcf | ProtocolName::Sfu))
    }

    /// Whether the address that clients are given begins with `ws`. `PeerJS` has `WebSockets` too, but its clients are given `http`.
    pub(super) const fn is_given_as_ws(self) -> bool {
        matches!(self, Self::Protocol(ProtocolName::Ayame | ProtocolName::Rooms | ProtocolName::Yjs))
    }
}

/// Whether `path` is one of these usual paths, or below one.
pub(super) fn are_at(usual: &[&str], path: &str) -> bool {
    usual.iter().any(|root| is_at_or_below(path, root))
}

/// Whether `path` is a usual path of a module that always has its usual paths, or below one.
pub(super) fn is_fixed_path(path: &str) -> bool {
    MODULES.iter().any(|(_, module, usual)| !module.has_replaceable_paths() && are_at(usual, path))
}
