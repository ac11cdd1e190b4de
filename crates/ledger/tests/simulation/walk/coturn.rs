//! A simulated coturn with its command line: it lists its sessions, and ends those that it is commanded to end, or does not.
//! A client whose session was ended under a valid credential begins another one at once.

use std::ops::Range;

use super::prelude::*;

use super::flow::{Holder, bytes};

/// What the broker has seen of one coturn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// How it behaves.
    pub(super) cli: Cli,
    /// Whether it starts again while its next listing is on its way.
    restarts: bool,
    /// When its sessions were last listed, in the world's milliseconds and in the books' time.
    pub(super) listed_at: Option<(u64, Timestamp)>,
    /// When it last showed all of them, in the world's milliseconds.
    pub(super) shown_at: Option<u64>,
}

/// How coturn behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cli {
    /// It lists sessions and ends them.
    #[default]
    Works,
    /// It accepts the command to end a session, and does not end it.
    CutsNothing,
    /// It does not answer.
    Silent,
    /// It shows every second session only.
    Partial,
    /// It lists sessions and ends them, and its reports of their ends are lost. The service takes no such listing as complete.
    Mute,
    /// Its listing arrives when sessions have gone on for a while.
    Late,
    /// Its listing takes [`SLOW`], so listings are five seconds apart.
    Slow,
}

/// The longest time between two listings of a simulated broker. The service reads one every two seconds.
const LISTING_PAUSE: u64 = 5_000;
/// The time after an expiry, or after a cut that may not have worked, until the next listing.
const SOON: u64 = 2_000;
/// coturn numbers the sessions of its first relay thread from here.
const FIRST: u64 = 1_000_000_000_000_000;
/// How late a listing arrives.
const LATE: u64 = 900;
/// The same on a busy machine.
const SLOW: u64 = 3_300;
/// Bytes of a packet.
pub(super) const PACKET_BYTES: u64 = 1_200;
/// coturn updates a session's counts once in so many packets.
const STEP: u64 = HIDDEN_PACKETS_MAX + 1;
/// Their bytes.
pub(super) const STEP_BYTES: u64 = STEP * PACKET_BYTES;
/// A longer time passes without listings.
const WATCHED_MAX: u64 = 3_600_000;
/// A gap that is longer keeps what was promised in it.
const GAP: u64 = 8_000;
/// After a longer time without a listing, sessions count as not cut.
pub(super) const CUT_FOR: u64 = 30_000;

impl<D: Disk> Broker<D> {
    /// Lets time pass. The relay is counted just before a reset, like in each second.
    pub(super) fn pass(&mut self, millis: u64, share: u64, world: &mut World) {
        let reset = self.books.budget().period.end.millis_since(self.present(world));
        let has_reset = self.settings.sources.contains(&IceSource::Relay) && (2..millis).contains(&reset);
        let mut left = millis;
        if has_reset {
            self.pass_listing(reset - 1, share, world);
            self.read_relay(world);
            left -= reset - 1;
        }
        self.pass_listing(left, share, world);
    }

    /// Lets time pass. The broker reads coturn's listings meanwhile if it has its command line.
    fn pass_listing(&mut self, millis: u64, share: u64, world: &mut World) {
        let is_watched = self.settings.cli && millis <= WATCHED_MAX;
        if !is_watched || self.relays().all(|relay| self.is_silent(relay, world)) {
            let first = if self.settings.cli { millis.min(31_000) } else { 0 };
            for part in [first, millis - first] {
                world.pass(part, share);
                self.advance(world);
            }
            return;
        }
        let end = world.now + millis;
        let (mut again, mut ending) = (0_u32, vec![]);
        let is_slow = self.relays().any(|relay| self.seen[relay].cli == Cli::Slow);
        while world.now < end {
            let next = world.next_end(IceSource::Coturn, SOON).unwrap_or(end);
            let pause = if again > 0 || is_slow { SOON } else { LISTING_PAUSE };
            let part = next.saturating_sub(world.now).clamp(1, pause).min(end - world.now);
            let dead = self.list_sessions(world);
            again = if dead == ending { again.saturating_sub(1) } else { 8 };
            ending = dead;
            world.pass(part, share);
        }
        self.list_sessions(world);
    }

    /// The coturns of the settings.
    pub(super) fn relays(&self) -> Range<usize> {
        0..self.settings.relays
    }

    /// Whether a coturn does not answer.
    fn is_silent(&self, relay: usize, world: &World) -> bool {
        self.seen[relay].cli == Cli::Silent || world.is_dead(relay)
    }

    /// Reads the listing of each coturn, unless it was read at this instant: two seconds pass between the listings of the service. A session
    /// that is cut begins again at once, and would be charged in each listing of the same instant.
    pub(crate) fn list_sessions_if_due(&mut self, world: &mut World) {
        self.advance(world);
        let now = world.now;
        for relay in self.relays() {
            if self.seen[relay].listed_at.is_none_or(|(at, _)| at < now) {
                self.list_relay(relay, world);
            }
        }
    }

    /// A coturn starts again, or does so while a listing is on its way that arrives late.
    pub(super) fn restart_coturn(&mut self, world: &mut World) {
        let seen = &mut self.seen[self.at];
        seen.restarts = matches!(seen.cli, Cli::Late | Cli::Slow);
        if !seen.restarts {
            world.restart_coturn(self.at);
        }
    }

    /// Reads the listing of each coturn once. Returns the sessions that they were commanded to end.
    pub(super) fn list_sessions(&mut self, world: &mut World) -> Vec<(usize, SessionId)> {
        self.advance(world);
        self.relays().flat_map(|relay| self.list_relay(relay, world)).collect()
    }

    fn list_relay(&mut self, relay: usize, world: &mut World) -> Vec<(usize, SessionId)> {
        let now = self.advance(world);
        if !self.settings.cli || self.is_silent(relay, world) {
            return vec![];
        }
        let Seen { cli, shown_at, .. } = self.seen[relay];
        let listed = self.seen[relay].listed_at.replace((world.now, now));
        // What was promised in a gap stays promised, and the long tail is while no good listing comes.
        let is_good = matches!(cli, Cli::Works | Cli::Late | Cli::Slow);
        let has_gap = listed.is_none_or(|(_, at)| now.millis_since(at) > GAP)
            || shown_at.is_none_or(|at| world.now - at > GAP);
        if !is_good || has_gap {
            self.excuse_uncut();
        }
        if cli == Cli::Mute {
            world.lose_reports(relay);
        }
        let mut listing = listing(world, relay, self.begin);
        listing.is_complete = cli != Cli::Mute;
        listing.sessions.extend(self.listed_foreign(relay));
        match cli {
            Cli::Partial => {
                let mut nth = 0;
                listing.sessions.retain(|_| {
                    nth += 1;
                    nth % 2 == 0
                });
                listing.is_complete = false;
            }
            Cli::Late | Cli::Slow => {
                world.pass(if cli == Cli::Slow { SLOW } else { LATE }, 256);
                self.advance(world);
            }
            Cli::Works | Cli::CutsNothing | Cli::Silent | Cli::Mute => {}
        }
        if std::mem::take(&mut self.seen[relay].restarts) {
            world.restart_coturn(relay);
        }
        self.seen[relay].shown_at = Some(world.now).filter(|_| listing.is_complete).or(shown_at);
        let (owner, listing_is_complete) = (self.settings.relay(relay), listing.is_complete);
        let dead = self.books.take_sessions(owner, listing, now);
        if listing_is_complete {
            self.cut_foreign(relay, &dead, cli);
        }
        if cli != Cli::CutsNothing {
            for id in dead.iter().filter(|id| id.get() < 2 * FIRST) {
                world.cut_listed(relay, id.get() - FIRST);
            }
        }
        self.advance(world);
        dead.into_iter().map(|id| (relay, id)).collect()
    }
}

/// The complete listing at this instant.
fn listing(world: &mut World, relay: usize, begin: Timestamp) -> Listing {
    let now = world.now;
    let session = |world: &World, holder: &Holder| {
        let Holder { session, grant, expires, carried, since, .. } = *holder;
        let shown = bytes(carried) / STEP_BYTES * STEP;
        let (sent, expires_at) =
            (shown * PACKET_BYTES, Timestamp::from_millis(begin.plus_millis(expires).as_secs() * 1_000));
        Session {
            id: SessionId::new(FIRST + world.listed(relay, session)).expect("sessions are numbered from 1"),
            user: format!("{}:{grant}", expires_at.as_secs()),
            grant,
            expires_at: Some(expires_at),
            age: Some(Duration::from_secs((now - since) / 1_000)),
            packets: shown,
            traffic: Traffic::new(0, sent),
            reach: Reach::Bound,
        }
    };
    let sessions = world.sessions(relay).iter().map(|holder| session(world, holder)).collect();
    let (ended, is_after_gap) = world.take_ended(relay);
    let total = |holder: &Holder| {
        let sent = bytes(holder.carried);
        let (age, reach, traffic) = (None, Reach::Nobody, Traffic::new(0, sent));
        Session { age, reach, traffic, packets: sent.div_ceil(PACKET_BYTES), ..session(world, holder) }
    };
    let ended = ended.iter().map(total).collect();
    Listing { sessions, ended, is_complete: true, is_after_gap }
}
