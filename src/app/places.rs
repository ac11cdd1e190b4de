//! The places that callers share: the one list of bounds that can refuse a caller. The hint at 80 %, the metrics, and the table in
//! `docs/OPERATE.md` are made from it. Tests: `tests/it/places.rs`.

use turn_sfu_proxy::SESSIONS_MAX;

use super::App;
use crate::auth::{ASKING_MAX, Auth};
use crate::meter::coturn::stats::CONNECTIONS;

/// Places of one kind.
#[derive(Debug)]
pub struct Place {
    /// What takes a place, in the plural: also the label of the metrics.
    pub name: &'static str,
    /// The setting that decides how many there are, or why there are so many.
    pub bound: &'static str,
    /// The most that one caller can take, or who leaves first.
    pub share: &'static str,
    /// What happens to a caller for whom there is none.
    pub refusal: &'static str,
    /// How many are taken, and how many there are.
    taken: fn(&App, &Rows) -> (usize, usize),
}

/// Of credentials, users and connections: how many have a row in the books, and the most.
type Rows = [(usize, usize); 3];

macro_rules! places {
    ($($name:literal, $bound:literal, $share:literal, $refusal:literal, $taken:expr;)*) => {
        /// All places.
        pub const PLACES: &[Place] = &[$(
            Place { name: $name, bound: $bound, share: $share, refusal: $refusal, taken: $taken },
        )*];
    };
}

places! {
    "credentials", "`GRANTS_MAX`", "by mint rates; strict mode: by reservations", "503 `GRANTS_FULL`",
        |_, [credentials, ..]| *credentials;
    "users", "with a limit: `GRANTS_MAX` / 4, 100,000 or more", "a key a quarter; those without bytes leave first", "503 `OVERLOADED`",
        |_, [_, users, _]| *users;
    "connections", "400 bytes each", "a client 256, a key a quarter", "503 `OVERLOADED`",
        |_, [.., connections]| *connections;
    "sockets", "half of `ulimit -n`, 8,192 at most", "a peer 1/32, at least 16; who idles longest closes", "the next waits",
        |app, _| (app.sockets_max.saturating_sub(app.sockets.available_permits()), app.sockets_max);
    "coming_bodies", "as many as `sockets`", "a forwarded client 512; the oldest ends", "429 `RATE_LIMITED`",
        |app, _| (app.bodies.coming.count(), app.sockets_max);
    "body_bytes", "above 1 KiB each", "a client a sixteenth", "503 `OVERLOADED`",
        |app, _| app.bodies.long.kept();
    "requests", "4 s each", "a client a quarter", "503 `OVERLOADED`",
        |app, _| app.in_flight.kept();
    "sign_ins", "waiting for `AUTH_WEBHOOK_URL`", "a client a sixteenth", "503 `OVERLOADED`",
        |app, _| app.core.auth.as_ref().map_or((0, ASKING_MAX), Auth::asking);
    "coturn_reports", "fixed", "an address a sixteenth", "the connection is closed",
        |app, _| app.coturn_stats.as_ref().map_or((0, CONNECTIONS.all_max), |stats| stats.places.kept());
    "signaling_sockets", "fixed", "`SIGNALING_SOCKETS_PER_CLIENT`", "503 `OVERLOADED`",
        |app, _| app.signaling.sockets();
    "sfu_sessions", "a look each 30 s", "a client 64", "503 `overloaded`",
        |app, _| (app.sfu.as_ref().map_or(0, |proxy| proxy.counts().0), SESSIONS_MAX);
    "rate_limit_rows", "`RATE_LIMIT_MAX_CLIENTS` / 2", "a network as many as are free", "newcomers share rows",
        |app, _| app.core.rate_limit.clients();
}

impl App {
    /// Each kind of places, with how many are taken, and how many there are.
    pub fn places(&self) -> impl Iterator<Item = (&'static Place, usize, usize)> {
        let rows = self.account.read(|books| {
            [books.grants().row_counts(), books.grants().user_rows(), books.connections().row_counts()]
        });
        PLACES.iter().map(move |place| {
            let (taken, most) = (place.taken)(self, &rows);
            (place, taken, most)
        })
    }

    /// The places of which 80 % are taken, each as `4 of 5 sockets` with what decides how many there are.
    pub fn nearly_full(&self) -> Vec<String> {
        self.places()
            .filter(|(_, taken, most)| *taken > 0 && taken.saturating_mul(5) >= most.saturating_mul(4))
            .map(|(Place { name, bound, .. }, taken, most)| format!("{taken} of {most} {name} ({bound})"))
            .collect()
    }
}
