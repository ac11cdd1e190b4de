//! The credentials of a simulated broker: reserve, create at the provider, commit, write, settle, like the service.

use super::prelude::*;

use super::limits::number_of_server;
use super::visible;

/// The provider's deadline, in milliseconds.
const DEADLINE: Duration = Duration::from_secs(3);

/// A credential that a client has.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) grant: Grant,
    /// Its holder in the world, or the holder of the one that it renews if that one relays longer.
    pub(super) number: u64,
    /// When it expires, in the world's milliseconds.
    pub(super) expires: u64,
    /// When its holder stops relaying with it.
    pub(super) end: u64,
    /// The rate that was assumed when it was minted, in bytes per millisecond.
    rate: u64,
}

/// A credential that is being made.
pub(super) struct InFlight {
    pub(super) requester: Requester,
    /// When the budget was reserved, by a clock that stands still while the machine sleeps.
    since: Duration,
    state: Making,
}

enum Making {
    /// The provider is asked.
    Asked(Hold, IceSource),
    /// It is in the books.
    Committed(Commit, Grant),
}

/// The id of the grant with this number.
pub(super) fn id_of(number: u64) -> GrantId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    GrantId::new(id)
}

/// The number of a grant with such an id.
fn number_of(id: &GrantId) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&id.as_bytes()[..8]);
    // The first one of a chain was minted with this number less one.
    u64::from_be_bytes(number) - 1
}

/// The user of this number.
pub(super) fn user_named(user: u64) -> User {
    User::new(&user.to_string()).unwrap_or_else(|| unreachable!("a number is a name"))
}

/// Two addresses of their own, and two of one /48.
pub(super) fn client_of(nth: u64) -> ClientKey {
    match nth % 4 {
        0 => ClientKey::V4([192, 0, 2, 1].into()),
        1 => ClientKey::V6(0x2001_0db8_0001_0002_u64.to_be_bytes()),
        2 => ClientKey::V4([192, 0, 2, 0].into()),
        _ => ClientKey::V6(0x2001_0db8_0001_0003_u64.to_be_bytes()),
    }
}

impl<D: Disk> Broker<D> {
    /// Budget is reserved for a credential, which may renew the newest grant.
    pub(super) fn begin_mint(&mut self, life: u64, is_renewal: bool, world: &World) {
        let renewed = self.held(0).filter(|held| is_renewal && self.take_renewal(&held.grant));
        let requester = self.requester(renewed.map(|held| held.grant.id));
        let life = Duration::from_secs(life);
        // What is reserved in a time in doubt counts as alive in all of it, until it is given up.
        self.may_break |= self.books.snapshot().clock_doubt.is_some();
        if let Some(hold) = self.reserve(life, &requester) {
            let state = Making::Asked(hold, self.source());
            self.in_flight.push_back(InFlight { requester, since: self.since_boot(world), state });
        } else if let Some(renewed) = requester.renews {
            self.books.give_renewal_back(renewed);
        }
    }

    /// Gives back what is reserved for credentials whose provider has not answered within its deadline.
    pub(super) fn give_up_late(&mut self, world: &World) {
        let now = self.since_boot(world);
        self.give_up(|since| now.saturating_sub(since) > DEADLINE);
    }

    /// Releases what is reserved for unanswered mints. `is_given_up` gets the time at which each began.
    pub(super) fn give_up(&mut self, is_given_up: impl Fn(Duration) -> bool) {
        for made in std::mem::take(&mut self.in_flight) {
            match made.state {
                Making::Asked(hold, _) if is_given_up(made.since) => {
                    self.books.release(&hold);
                }
                _ => self.in_flight.push_back(made),
            }
        }
    }

    pub(super) fn commit_oldest(&mut self) {
        let is_asked = |made: &InFlight| matches!(made.state, Making::Asked(..));
        let Some(nth) = self.in_flight.iter().position(is_asked) else { return };
        let Some(InFlight { requester, since, state: Making::Asked(hold, source) }) =
            self.in_flight.remove(nth)
        else {
            return;
        };
        let left = hold.life;
        if let Some((commit, grant)) = self.put(hold, source, left, requester.clone()) {
            let state = Making::Committed(commit, grant);
            self.in_flight.push_back(InFlight { requester, since, state });
        }
    }

    /// A batch may have had the grant already when the write fails that its caller waits for.
    pub(super) fn settle_oldest(&mut self, written: Written, world: &mut World) {
        let is_committed = |made: &InFlight| matches!(made.state, Making::Committed(..));
        let Some(nth) = self.in_flight.iter().position(is_committed) else { return };
        let Some(InFlight { requester, state: Making::Committed(commit, grant), .. }) =
            self.in_flight.remove(nth)
        else {
            return;
        };
        if written == Written::Yes {
            self.write();
        }
        if self.note_written(&commit, written) && grant.expires_at > self.books.now() {
            let held = self.hand_out(world, 0, &grant);
            let renewed = self.grants.iter().find(|of| requester.renews == Some(of.grant.id)).copied();
            self.take_over(held, renewed, world);
        }
    }

    /// A client gets a credential that the provider creates after `delay` milliseconds.
    pub(super) fn mint_for_client(&mut self, life: u64, delay: u64, world: &mut World) {
        if let Some(grant) = self.mint(life, Written::Yes, None) {
            let held = self.hand_out(world, delay, &grant);
            self.grants.push(held);
        }
    }

    /// A client gets a credential of the pool. Its whole lifetime is reserved, and it ends by its age earlier. A shorter
    /// lifetime is minted anew, like in the service.
    pub(super) fn mint_from_pool(&mut self, life: u64, age: u64, world: &mut World) {
        let life = Duration::from_secs(life);
        let requester = self.requester(None);
        let Some(hold) = self.reserve(life, &requester) else { return };
        let given = hold.life;
        let left = given.saturating_sub(Duration::from_secs(if given == life { age } else { 0 }));
        if let Some(grant) = self.commit(hold, left, Written::Yes, requester) {
            let minted = self.hand_out(world, 0, &grant);
            self.grants.push(minted);
        }
    }

    /// The provider fails: the hold is released, and nothing is left of it.
    pub(super) fn fail_to_mint(&mut self, life: u64) {
        let before = visible(&mut self.books);
        if let Some(hold) = self.reserve(Duration::from_secs(life), &self.requester(None)) {
            self.books.release(&hold);
            let after = visible(&mut self.books);
            // Idle users make room for a new one in a full table.
            let is_right = before == after || self.settings.users_max < 3;
            self.expect(is_right, || format!("a hold that was released leaves {after:?} of {before:?}"));
        }
    }

    /// Issues one credential.
    pub(super) fn mint(&mut self, life: u64, written: Written, renews: Option<GrantId>) -> Option<Grant> {
        let (requester, life) = (self.requester(renews), Duration::from_secs(life));
        let hold = self.reserve(life, &requester)?;
        let left = hold.life;
        self.commit(hold, left, written, requester)
    }

    /// Who asks. With a limit for each user, one of three users, with one for each server key, one of two servers, whose address is
    /// nobody's. A renewal has both from the grant that it renews.
    fn requester(&self, renews: Option<GrantId>) -> Requester {
        let user = renews.and_then(|renews| self.users.get(&renews).copied()).unwrap_or(self.minted % 3);
        let user = self.settings.user_limit.map(|_| user_named(user));
        // Some requests are vouched for, so the address is known from the client's first call on.
        let has_address = self.settings.has_addresses && !self.minted.is_multiple_of(5);
        let server = self.server_of(renews);
        let client = (has_address && server.is_none()).then(|| client_of(self.minted));
        let spender = Spender { user, server: server.map(server_named), ..Spender::default() }.known();
        let issuer = match self.source() {
            IceSource::Cloudflare if self.settings.keys != Keys::One => owner_of(self.key_of(renews)).issuer,
            IceSource::Coturn => self.relay_for(renews).issuer,
            _ => None,
        };
        Requester { client, renews, spender, issuer, ..Requester::default() }
    }

    /// The coturn of the next credential: mostly that of the grant that is renewed, or any.
    fn relay_for(&self, renews: Option<GrantId>) -> CountOwner {
        let nth = usize::try_from(self.minted).unwrap_or(0);
        let renewed = renews.filter(|_| !nth.is_multiple_of(5)).and_then(|id| self.books.grants().get(id));
        let renewed = renewed.map(GrantRow::owner).filter(|owner| owner.source == IceSource::Coturn);
        renewed.unwrap_or_else(|| self.settings.relay(nth % self.settings.relays))
    }

    /// The key of the next credential: that of the grant that is renewed, or one of the two.
    fn key_of(&self, renews: Option<GrantId>) -> TurnKey {
        let first = renews.and_then(|renews| self.chains.get(&renews)).map_or(self.minted, number_of);
        if first.is_multiple_of(2) { TurnKey::First } else { TurnKey::Second }
    }

    /// Commits a credential whose lifetime is `left`.
    fn commit(
        &mut self,
        hold: Hold,
        left: Duration,
        written: Written,
        requester: Requester,
    ) -> Option<Grant> {
        let (commit, grant) = self.put(hold, self.source(), left, requester)?;
        if written == Written::Yes {
            self.write();
        }
        self.note_written(&commit, written).then_some(grant)
    }

    /// The outcome of a write is known. Returns whether the credential may be handed out.
    fn note_written(&mut self, commit: &Commit, written: Written) -> bool {
        let is_ok = self.books.note_written(commit, written).is_ok();
        self.expect(is_ok == (written == Written::Yes), || format!("{written:?} was settled: {is_ok}"));
        is_ok
    }

    /// Puts a credential into the books.
    fn put(
        &mut self,
        hold: Hold,
        source: IceSource,
        left: Duration,
        requester: Requester,
    ) -> Option<(Commit, Grant)> {
        self.minted += 1;
        let issued_at = self.books.now();
        let grant = Grant { id: id_of(self.minted), source, issued_at, expires_at: issued_at.plus(left) };
        let user = requester.user().and_then(|user| user.as_str().parse().ok());
        let (server, renews) = (number_of_server(&requester), requester.renews);
        let stopped = self.must_stop(&requester);
        let before = self.books.snapshot();
        let committed = self.books.commit(hold, &grant, Some("user"), requester);
        let found = committed.as_ref().err().copied();
        let is_right = match found {
            None | Some(NotAdmitted::NotRecorded) => stopped.is_none(),
            Some(_) => found == stopped,
        };
        self.expect(is_right, || format!("a commit ends with {found:?}, not {stopped:?}"));
        let is_known = self.books.grants().get(grant.id).is_some();
        let issued = self.books.snapshot().counts.issued - before.counts.issued;
        let is_right = is_known == found.is_none() && issued == u64::from(is_known);
        self.expect(is_right, || format!("a commit ends with {found:?}, {issued} issued, a row: {is_known}"));
        let commit = committed.ok()?;
        self.take_batch();
        self.users.extend(user.map(|user| (grant.id, user)));
        self.servers.extend(server.map(|server| (grant.id, server)));
        self.note_chain(&grant, renews);
        Some((commit, grant))
    }

    /// Whether the operator has blocked a user.
    pub(super) fn is_blocked(&self, user: &User) -> bool {
        self.books.is_blocked(&SpenderKey::User(user.clone()))
    }

    /// Why an order of the operator forbids a credential that was made, if one does.
    fn must_stop(&self, requester: &Requester) -> Option<NotAdmitted> {
        let is_blocked = requester.user().is_some_and(|user| self.is_blocked(user));
        let is_revoked = requester.renews.is_some_and(|id| self.books.grants().is_revoked(id));
        let stopped = (self.books.snapshot().frozen || is_revoked).then_some(NotAdmitted::Stopped);
        is_blocked.then_some(NotAdmitted::Blocked(SpenderKind::User)).or(stopped)
    }

    /// A client renews one of its grants, sometimes at the next source. Of the two it relays with one, or with both.
    pub(super) fn renew(&mut self, nth: u64, life: u64, delay: u64, world: &mut World) {
        self.list_sessions(world);
        let Some(renewed) = self.held(nth).filter(|held| self.take_renewal(&held.grant)) else { return };
        let from = self.from;
        self.from += nth >> 34 & 1;
        let minted = self.mint(life, Written::Yes, Some(renewed.grant.id));
        self.from = from;
        if let Some(grant) = minted {
            let held = self.hand_out(world, delay, &grant);
            self.take_over(held, Some(renewed), world);
        } else {
            self.books.give_renewal_back(renewed.grant.id);
        }
    }

    /// A client has a credential, perhaps beside the one that it renews: of the two it relays with one, or with both.
    fn take_over(&mut self, mut held: Held, renewed: Option<Held>, world: &mut World) {
        let source = held.grant.source;
        if let Some(renewed) = renewed.filter(|of| of.grant.source == source)
            && !self.settings.relays_with_both
        {
            held.number = world.join(source, renewed.number, held.number);
        }
        self.grants.push(held);
    }

    /// The holder of a credential begins to relay.
    pub(super) fn hand_out(&self, world: &mut World, delay: u64, grant: &Grant) -> Held {
        // coturn's credentials are computed here.
        let delay = if grant.source == IceSource::Coturn { 0 } else { delay };
        let life = grant.expires_at.millis_since(grant.issued_at);
        let expires = world.now + delay + life;
        let row = self.books.grants().get(grant.id);
        if row.is_some_and(|row| row.owner() == owner_of(TurnKey::Second)) {
            world.mint_with_second(grant.id);
        }
        let is_owned = |relay: &usize| row.is_some_and(|row| row.owner() == self.settings.relay(*relay));
        if let Some(relay) = self.relays().find(is_owned) {
            world.mint_at(relay, grant.id);
        }
        let client = self.settings.client(grant.source, self.minted);
        let assumed = self.settings.assumed(grant.source);
        let number = world.hand_out(grant.source, grant.id, expires, client, assumed);
        let (end, rate) = (expires.saturating_add(client.tail), assumed.rate);
        Held { grant: *grant, number, expires, end, rate }
    }

    /// A client that has hung up relays again, if its credential is valid and it relays with no other one of the chain.
    pub(super) fn come_back(&mut self, nth: u64, world: &mut World) {
        let Some(held) = self.held(nth).filter(|held| held.expires > world.now) else { return };
        let (id, source) = (held.grant.id, held.grant.source);
        let is_served = source != IceSource::Relay
            || (self.settings.sources.contains(&source) && !self.books.grants().is_revoked(id));
        let is_known = self.books.grants().get(id).is_some();
        if !is_served || !is_known || world.relays_with(source, &self.chain_of(id)) {
            return;
        }
        let (client, assumed) = (self.settings.client(source, held.number), self.settings.assumed(source));
        let assumed = Relaying { rate: assumed.rate.max(held.rate), ..assumed };
        let number = world.hand_out(source, id, held.expires, client, assumed);
        for of_call in self.grants.iter_mut().filter(|other| other.number == held.number) {
            of_call.number = number;
        }
    }

    /// The source of the next credential.
    pub(super) fn source(&self) -> IceSource {
        let len = u64::try_from(self.settings.sources.len()).unwrap_or(1);
        self.settings.sources[usize::try_from(self.from % len).unwrap_or(0)]
    }

    /// One of the two newest credentials.
    pub(super) fn held(&self, nth: u64) -> Option<Held> {
        let len = u64::try_from(self.grants.len()).ok().filter(|len| *len > 0)?;
        self.grants.iter().rev().nth(usize::try_from(nth % len.min(2)).ok()?).copied()
    }

    pub(super) fn caller(&self, nth: u64) -> Option<Caller<'static>> {
        self.held(nth).map(|held| Caller::Grant(held.grant))
    }
}
