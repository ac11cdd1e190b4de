//! What `SIGNALING` can name, and where each is served.

use turn_signaling::call::ProtocolName;

use super::signaling::SignalingConfig;

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

/// A module that is off: its name, and the paths that it would have, each with all below it.
pub type Off = (&'static str, &'static [&'static str]);

impl Module {
    /// The paths, the one that clients are given first.
    const fn paths(self) -> &'static [&'static str] {
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

    /// Whether a setting chooses the paths.
    const fn has_chosen_paths(self) -> bool {
        matches!(self, Self::Protocol(ProtocolName::P2pcf | ProtocolName::Sfu))
    }

    /// Whether clients begin with a WebSocket.
    const fn has_sockets(self) -> bool {
        matches!(self, Self::Protocol(ProtocolName::Ayame | ProtocolName::Rooms | ProtocolName::Yjs))
    }
}

/// Whether `path` is `above`, or below it.
pub fn is_at_or_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether `path` belongs to a module whose paths no setting changes.
pub(super) fn is_of_module(path: &str) -> bool {
    let fixed = MODULES.iter().filter(|(_, module)| !module.has_chosen_paths());
    fixed.flat_map(|(_, module)| module.paths()).any(|above| is_at_or_below(path, above))
}

impl SignalingConfig {
    /// The path of a module's clients; `None` if it is off.
    fn path(&self, module: Module) -> Option<&str> {
        match module {
            _ if !self.modules.contains(&module) => None,
            Module::Protocol(ProtocolName::P2pcf) => Some(&self.protocols.p2pcf.as_ref()?.path),
            Module::Protocol(ProtocolName::Sfu) => Some(self.sfu.as_ref()?.prefixes.first()?),
            _ => module.paths().first().copied(),
        }
    }

    /// The modules that are on, with their addresses below `base`, a URL with a slash at its end.
    pub fn addresses(&self, base: &str) -> Vec<String> {
        let address = |(name, module): &(&str, Module)| {
            let path = self.path(*module)?.trim_start_matches('/');
            let base = if module.has_sockets() { base.replacen("http", "ws", 1) } else { base.to_owned() };
            Some(format!("{name} at {base}{path}"))
        };
        MODULES.iter().filter_map(address).collect()
    }

    /// The modules that are off.
    pub fn off(&self) -> Vec<Off> {
        let off = MODULES.iter().filter(|(_, module)| self.path(*module).is_none());
        off.map(|(name, module)| (*name, module.paths())).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::testing::load;

    #[test]
    fn a_module_that_is_on_has_an_address_and_one_that_is_off_has_its_usual_paths() {
        let config = load([
            ("SIGNALING", "ayame,p2pcf,rooms,sfu,peerjs,yjs"),
            ("P2PCF_PATH", "/small/rooms"),
            ("SFU_PREFIXES", "/meet"),
            ("CALLS_APP_ID", "app"),
            ("CALLS_APP_SECRET", "s3cret"),
        ]);
        let base = "https://turn.example/base/";
        assert_eq!(
            config.signaling.addresses(base),
            [
                "ayame at wss://turn.example/base/signaling",
                "p2pcf at https://turn.example/base/small/rooms",
                "rooms at wss://turn.example/base/parties",
                "sfu at https://turn.example/base/meet",
                "peerjs at https://turn.example/base/peerjs",
                "yjs at wss://turn.example/base/yjs",
            ]
        );
        let off = config.signaling.off();
        assert_eq!(off.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["reports"]);
        let none = load([]).signaling;
        assert!(none.addresses(base).is_empty());
        assert_eq!(none.off().len(), 7);
        assert!(none.off().contains(&("yjs", &["/yjs"])));
    }
}
