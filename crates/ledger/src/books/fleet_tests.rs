//! Worlds of three relays that die, come back with new numbers for their sessions, and stop being listed and are listed again, in strict mode.
//! Two have one tail, the third a longer one. The broker is killed at times. After every step:
//!
//! - what was relayed in truth is committed: no relay that dies takes back what it has shown, and no listing of one speaks for another;
//! - a relay counts as not cut exactly when no listing of it came for 30 s, and only then it gets no credential;
//! - a credential that may still be used is promised with the tail of its relay, the long one while that is not cut.
//!
//! At the end all is listed again, and nothing is promised any more.

use super::*;
use crate::books::commit::NotAdmitted;
use crate::owner::IdDigest;
use crate::testing::Dice;
use crate::token::Grant;

const RELAYS: usize = 3;
const TAILS: [u64; RELAYS] = [30, 30, 90];
/// Two listings that are further apart have a gap between them.
const GAP: u64 = 8;
/// 2 Mbps.
const RATE: u64 = 250_000;

/// A client with one credential, which relays through one session at a time.
struct Client {
    grant: Grant,
    relay: usize,
    stays: bool,
    /// The number of its session and what that has relayed.
    session: Option<Sent>,
    /// What it has relayed since its session was last listed.
    unlisted: u64,
}

#[derive(Default)]
struct Relay {
    is_dead: bool,
    is_silent: bool,
    sessions: u64,
    listed_at: u64,
    /// What sessions relayed that ended since, and that no listing has shown.
    lost: u64,
}

struct World {
    broker: Broker,
    relays: [Relay; RELAYS],
    clients: Vec<Client>,
    now: u64,
    /// When the process began.
    began_at: u64,
    /// What was relayed, without what a session has relayed between two listings in close succession before it ended.
    relayed: u64,
}

fn owner(relay: usize) -> CountOwner {
    CountOwner { source: COTURN, turn_key: Some(IdDigest::of(["a", "b", "c"][relay])) }
}

impl World {
    fn new() -> Self {
        let one = setup(BudgetMode::Strict);
        let of = |relay| {
            let cut_tail = Some(Duration::from_secs(TAILS[relay]));
            SourceTerms { owner: owner(relay), cut_tail, ..one.sources[0] }
        };
        let rest = SourceTerms { cut_tail: None, is_read: false, ..one.sources[0] };
        let mut sources: Vec<_> = (0..RELAYS).map(of).collect();
        sources.push(rest);
        let broker = Broker::open(Setup { sources, ..one }, at(0));
        let mut world =
            Self { broker, relays: Default::default(), clients: vec![], now: 0, began_at: 0, relayed: 0 };
        world.list_all();
        world
    }

    fn disturb(&mut self, dice: &mut Dice) {
        let relay = usize::try_from(dice.below(3)).unwrap();
        match dice.below(12) {
            0 => self.kill(relay),
            1 => self.relays[relay].is_dead = false,
            2 => self.relays[relay].is_silent = true,
            3 => self.relays[relay].is_silent = false,
            4 => self
                .clients
                .iter_mut()
                .filter(|of| of.relay == relay)
                .for_each(|of| of.stays = dice.is_heads()),
            5 => {
                self.broker.flush();
                self.broker.crash_until(at(self.now));
                self.began_at = self.now;
            }
            6..9 => self.mint(relay, 60 + dice.below(500)),
            _ => {}
        }
    }

    fn mint(&mut self, relay: usize, life: u64) {
        let requester = Requester { turn_key: owner(relay).turn_key, ..Requester::default() };
        match self.broker.mint(requester, life) {
            Ok(grant) => {
                assert!(!self.is_uncut(relay));
                self.clients.push(Client { grant, relay, stays: true, session: None, unlisted: 0 });
            }
            Err(refused) => assert_eq!((refused, self.is_uncut(relay)), (NotAdmitted::Uncut, true)),
        }
    }

    fn is_uncut(&self, relay: usize) -> bool {
        self.now - self.relays[relay].listed_at > 30
    }

    /// Its sessions end. It numbers the next ones from 1.
    fn kill(&mut self, relay: usize) {
        self.relays[relay].is_dead = true;
        self.relays[relay].sessions = 0;
        for client in self.clients.iter_mut().filter(|of| of.relay == relay) {
            end(&mut self.relays[relay], client);
        }
    }

    /// A second passes: clients relay at the assumed rate, or at a part of it.
    fn pass(&mut self, dice: &mut Dice) {
        self.now += 1;
        let (now, share) = (at(self.now), dice.below(3));
        for client in &mut self.clients {
            let relay = &mut self.relays[client.relay];
            if relay.is_dead {
                continue;
            }
            if !client.stays {
                end(relay, client);
            } else if client.session.is_none() && now < client.grant.expires_at {
                relay.sessions += 1;
                client.session = Some(Sent { number: relay.sessions, bytes: 0 });
            }
            if let Some(session) = &mut client.session {
                let bytes = RATE * share / 2;
                session.bytes += bytes;
                client.unlisted += bytes;
                self.relayed += bytes;
            }
        }
    }

    fn list_all(&mut self) {
        self.broker.books.advance(at(self.now));
        (0..RELAYS).for_each(|relay| self.list(relay));
    }

    fn list(&mut self, relay: usize) {
        if self.relays[relay].is_dead || self.relays[relay].is_silent {
            return;
        }
        let of_relay = || self.clients.iter().filter(|of| of.relay == relay);
        let session = |client: &Client| {
            let (sent, grant) = (client.session?, client.grant);
            let shown = listing(&[sent]).sessions.remove(0);
            let (id, expires_at) = (grant.id, Some(grant.expires_at));
            Some(Session { grant: id, user: id.to_string(), expires_at, age: None, ..shown })
        };
        let sessions = of_relay().filter_map(session).collect();
        let shown = Listing { sessions, is_complete: true };
        let dead = self.broker.books.take_sessions(owner(relay), shown, at(self.now));
        self.broker.books.cut_sessions(owner(relay), &dead);
        let known = &mut self.relays[relay];
        if self.now - known.listed_at <= GAP {
            self.relayed -= known.lost;
        }
        (known.listed_at, known.lost) = (self.now, 0);
        for client in self.clients.iter_mut().filter(|of| of.relay == relay) {
            client.unlisted = 0;
            client.session.take_if(|session| dead.iter().any(|id| id.get() == session.number));
        }
    }

    fn check(&mut self, what: &str) {
        self.broker.books.advance(at(self.now));
        let committed = self.broker.committed();
        assert!(self.relayed <= committed, "{what}: {} relayed, {committed} committed", self.relayed);
        for relay in 0..RELAYS {
            let is_uncut = self.broker.books.is_uncut(owner(relay));
            assert_eq!(is_uncut, self.is_uncut(relay), "{what}: relay {relay}");
        }
        for Client { grant, relay, .. } in &self.clients {
            let Some(row) = self.broker.books.grants().get(grant.id) else { continue };
            let tail = if self.is_uncut(*relay) { 7_200 } else { TAILS[*relay] };
            let end = Minute::from_end(grant.expires_at.plus(Duration::from_secs(tail)));
            let is_usable = at(self.now) < grant.expires_at;
            assert!(!is_usable || row.alive_until().unwrap() >= end, "{what}: {} at relay {relay}", grant.id);
        }
        let is_promised = |of: &Client| self.broker.books.grants().get(of.grant.id).is_some();
        let is_unseen = self.clients.iter().any(|of| self.is_uncut(of.relay) && is_promised(of));
        let is_seen = (0..RELAYS).all(|relay| !self.is_uncut(relay));
        let holds = self.broker.books.snapshot().bound_holds();
        // A process that has just begun has had no time to list.
        let is_new = self.now - self.began_at <= 30;
        assert!(
            if holds { !is_unseen || is_new } else { !is_seen },
            "{what}: whether the bound holds: {holds}"
        );
    }
}

/// A session ends. What no listing has shown of it counts only if that is after a gap.
fn end(relay: &mut Relay, client: &mut Client) {
    if client.session.take().is_some() {
        relay.lost += std::mem::take(&mut client.unlisted);
    }
}

#[test]
fn three_relays_that_die_come_back_and_are_not_listed_keep_what_they_relay_within_the_bound() {
    for (seed, mut dice) in Dice::cases(60) {
        let mut world = World::new();
        for step in 0..120 {
            world.disturb(&mut dice);
            // Now and then nobody lists for longer.
            let seconds = if dice.below(20) == 0 { dice.below(200) } else { 2 };
            for _ in 0..seconds {
                world.pass(&mut dice);
            }
            world.list_all();
            world.check(&format!("seed {seed}, step {step}"));
        }
        for relay in &mut world.relays {
            (relay.is_dead, relay.is_silent) = (false, false);
        }
        // Longer than the longest life and a tail.
        for _ in 0..400 {
            world.pass(&mut dice);
            world.pass(&mut dice);
            world.list_all();
        }
        world.check(&format!("seed {seed}, at the end"));
        let until = world.broker.books.grants().alive_until();
        assert!(until <= at(world.now), "seed {seed}: promised until {until} at {}", at(world.now));
    }
}
