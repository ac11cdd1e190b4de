//! The modules that `SIGNALING` can name, and the paths at which each is served.

use turn_signaling::call::ProtocolName;

/// An entry of `SIGNALING`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Module {
    Protocol(ProtocolName),
    Reports,
}

pub(super) const MODULES: &[(&str, Module)] = &[
    ("ayame", Module::Protocol(ProtocolName::Ayame)),
    ("p2pcf", Module::Protocol(ProtocolName::P2pcf)),
    ("rooms", Module::Protocol(ProtocolName::Rooms)),
    ("sfu", Module::Protocol(ProtocolName::Sfu)),
    ("peerjs", Module::Protocol(ProtocolName::Peerjs)),
    ("yjs", Module::Protocol(ProtocolName::Yjs)),
    ("reports", Module::Reports),
];

impl Module {
    /// The usual paths. The first one is the path that the start shows for clients.
    pub(super) const fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Protocol(ProtocolName::Ayame) => &["/signaling", "/.ok"],
            Self::Protocol(ProtocolName::P2pcf) => &["/p2pcf"],
            Self::Protocol(ProtocolName::Rooms) => &["/parties", "/set-username"],
            Self::Protocol(ProtocolName::Sfu) => &["/partytracks", "/api/calls"],
            Self::Protocol(ProtocolName::Peerjs) => &["/peerjs"],
            Self::Protocol(ProtocolName::Yjs) => &["/yjs"],
            Self::Reports => &[
                "/api/bugReport",
                "/api/deadTrack",
                "/call-quality-feedback",
                "/api/reportRefresh",
                "/api/debugInfo",
            ],
        }
    }

    /// Whether `path` is one of its usual paths, or below one.
    pub(super) fn serves(self, path: &str) -> bool {
        let is_at_or_below = |rest: &str| rest.is_empty() || rest.starts_with('/');
        self.paths().iter().any(|above| path.strip_prefix(above).is_some_and(is_at_or_below))
    }

    /// Whether a setting can replace the usual paths.
    const fn has_replaceable_paths(self) -> bool {
        matches!(self, Self::Protocol(ProtocolName::P2pcf | ProtocolName::Sfu))
    }

    /// Whether the address that clients are given begins with `ws`. `PeerJS` has `WebSockets` too, but its clients are given `http`.
    pub(super) const fn is_given_as_ws(self) -> bool {
        matches!(self, Self::Protocol(ProtocolName::Ayame | ProtocolName::Rooms | ProtocolName::Yjs))
    }
}

/// Whether `path` is a usual path of a module that always has its usual paths, or below one.
pub(super) fn is_fixed_path(path: &str) -> bool {
    MODULES.iter().any(|(_, module)| !module.has_replaceable_paths() && module.serves(path))
}
