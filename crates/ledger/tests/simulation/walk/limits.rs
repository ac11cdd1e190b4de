//! The limits of server keys and of credentials, and the end of all credentials at the limit. What decides is the code of the service: the
//! books say which credentials must end, and forget none of them over a restart. The steps are those of `src/mint/ending.rs`. A revocation ends
//! nothing in most worlds: Cloudflare says nothing of calls in progress.

use super::prelude::*;

use super::checks::hidden_max;

/// How many server keys there are.
pub(crate) const SERVERS: u64 = 2;
/// How many credentials are revoked in one step.
const AT_ONCE: usize = 20;
/// The most steps after one operation.
const STEPS: usize = 20;
/// The counts of a chain are rounded up, each time: by less in its life.
const ROUNDING: u64 = 100_000;

/// The server key of this number.
pub(crate) fn server_named(server: u64) -> Label {
    Label::new(&format!("key-{server}")).unwrap_or_else(|| unreachable!("it has the form of a label"))
}

/// The number of the server key that asks.
pub(super) fn number_of_server(requester: &Requester) -> Option<u64> {
    let name = requester.spender.as_ref()?.server.as_ref()?;
    (0..SERVERS).find(|server| server_named(*server) == *name)
}

impl Settings {
    /// The limits of some scenarios, and how many rows one step changes. They come from dice of their own, so that the operations stay
    /// the same.
    pub(super) fn draw_limits(&mut self, seed: u64) {
        let mut dice = Dice::new(seed ^ 0x11_1717);
        if dice.below(4) == 0 {
            self.server_limit = Some(dice.one_of(&[2_360_000_000, 2_660_000_000, 4_720_000_000]));
            // Often the limit of a key is reached first.
            (self.limit, self.percent) = (self.limit.max(100_000_000_000), 100);
        }
        let is_counted = self.counts_by_grant() || self.sources.contains(&IceSource::Relay);
        if is_counted && dice.below(3) == 0 {
            self.grant_limit = Some(dice.one_of(&[50_000_000, 300_000_000, 1_000_000_000]));
        }
        self.at_limit = dice.below(3) == 0;
        if dice.below(3) == 0 {
            self.rows_at_once = 3;
        }
    }
}

impl<D: Disk> Broker<D> {
    /// The server key that asks next: that of the grant that is renewed, or one of two.
    pub(super) fn server_of(&self, renews: Option<GrantId>) -> Option<u64> {
        self.settings.server_limit?;
        let renewed = renews.and_then(|renews| self.servers.get(&renews).copied());
        Some(renewed.unwrap_or(self.minted / 3 % SERVERS))
    }

    /// True bytes of a server key in a period.
    pub(crate) fn truth_of_server(&self, world: &World, server: u64, period: Period) -> u64 {
        let grants = self.servers.iter().filter(|(_, of)| **of == server).map(|(grant, _)| *grant);
        self.truth_of_grants(world, grants, period)
    }

    /// A renewal at the same source continues the chain of the grant that it renews.
    pub(super) fn note_chain(&mut self, grant: &Grant, renews: Option<GrantId>) {
        let source_of = |id: &GrantId| self.books.grants().get(*id).map(|row| row.source);
        let continued = renews.filter(|renewed| source_of(renewed) == Some(grant.source));
        let first = continued.and_then(|renewed| self.chains.get(&renewed).copied()).unwrap_or(grant.id);
        self.chains.insert(grant.id, first);
    }

    /// What the service does each second about credentials that must end.
    pub(super) fn end_credentials(&mut self, world: &mut World) {
        self.end_over_limit(world);
        let is_proven = self.is_limit_proven(world) && self.settings.at_limit;
        // The source does not answer at times.
        let answers = !(world.now / 60_000).is_multiple_of(3);
        for _ in 0..STEPS {
            let waiting = self.waiting(is_proven);
            if waiting.is_empty() {
                break;
            }
            for id in waiting {
                self.end(id, is_proven);
                if answers {
                    self.answer_revocation(id);
                }
            }
            if !answers {
                self.asked_in_vain = self.books.now();
                break;
            }
        }
        if answers {
            self.expect_asked(is_proven);
        }
    }

    /// Credentials that must be revoked, or whose source must be asked again.
    fn waiting(&mut self, is_proven: bool) -> Vec<GrantId> {
        let mut waiting = self.books.take_unanswered(AT_ONCE);
        if is_proven {
            let (grants, now) = (self.books.grants(), self.books.now());
            let mut walk = RevocableWalk::default();
            while !walk.look(grants, now) {}
            waiting.extend(walk.in_order().take(AT_ONCE));
        }
        waiting
    }

    /// Only what was relayed, or the word of an app server, proves that the limit is reached: no claim does, and no wrong answer.
    fn is_limit_proven(&mut self, world: &World) -> bool {
        let (is_proven, snapshot) = (self.books.budget().is_limit_proven(), self.books.snapshot());
        let figures = &snapshot.figures;
        let has_spoken = self.has_reporter || self.has_vouched;
        // The broker itself has seen what its probes relayed.
        let relayed = ByteCount::new(self.truth(world, figures.period)).plus(self.probed);
        // What the relay carried before a crash is estimated.
        let has_relay = self.settings.sources.contains(&IceSource::Relay);
        let is_estimated = has_relay && snapshot.measured.bytes >= figures.limit;
        self.expect(!is_proven || relayed >= figures.limit || has_spoken || is_estimated, || {
            format!("the limit is proven, and {relayed:?} were relayed")
        });
        is_proven
    }

    /// A revocation releases nothing.
    fn end(&mut self, id: GrantId, is_proven: bool) {
        let was_revoked = self.books.grants().is_revoked(id);
        self.expect(is_proven || was_revoked, || format!("{id:?} is revoked, and no limit is reached"));
        let before = self.books.snapshot().figures;
        self.revoke(id);
        let after = self.books.snapshot().figures;
        let is_right = after.committed >= before.committed && after.committed_next >= before.committed_next;
        self.expect(is_right, || format!("{before:?} became {after:?} when {id:?} was revoked"));
    }

    /// The source has revoked a credential: that alone releases nothing.
    fn answer_revocation(&mut self, id: GrantId) {
        let before = self.books.snapshot().figures;
        self.books.note_revocation_answer(id, RevocationAnswer::Revoked);
        let after = self.books.snapshot().figures;
        self.expect(after == before, || {
            format!("{before:?} became {after:?} when the source had revoked {id:?}")
        });
    }

    /// The source answers: it was asked for all that were revoked before the pause, and at the limit for all.
    fn expect_asked(&mut self, is_proven: bool) {
        let now = self.books.now();
        let is_before_pause = |at| now.since(at) >= ASK_PAUSE;
        if !is_before_pause(self.asked_in_vain) {
            return;
        }
        let must_be_asked = |row: &GrantRow| {
            let is_ended = row.extra().revoked_at.map_or(is_proven, is_before_pause);
            // A restored copy learns its own lost grants from their tokens, which do not have the user name.
            let is_named = row.username.is_some();
            is_ended && is_named && row.source == SOURCE && row.expires_at > now && !row.has_ended()
        };
        let open = self
            .books
            .grants()
            .iter()
            .find(|(_, row)| must_be_asked(row) && row.extra().revocation_answer.is_none());
        let open = open.map(|(id, row)| (*id, row.extra().revoked_at));
        self.expect(open.is_none(), || format!("nobody asks to revoke {open:?}"));
    }

    /// Revokes the chains that relayed more than one may. They have relayed so much, unless an app server has said so, coturn does not show
    /// their last packets yet, or their sessions ended while coturn was not listed.
    pub(super) fn end_over_limit(&mut self, world: &World) {
        for OverLimit { grant, counted, .. } in self.books.revoke_over_limit() {
            let limit = self.settings.grant_limit.unwrap_or(u64::MAX);
            let relayed: u64 =
                self.chain_of(grant).iter().map(|id| world.bytes_of_grant(*id, 0, world.now)).sum();
            let most = relayed + ROUNDING + hidden_max(world, self).get();
            self.expect(most > limit || self.has_vouched || self.was_uncut, || {
                format!("{grant:?} has relayed {relayed} of {limit}, and is ended for {counted:?}")
            });
            let is_revoked = self.books.grants().is_revoked(grant);
            self.expect(is_revoked, || format!("{grant:?} is over the limit and not revoked"));
        }
    }

    /// The grants of a chain at one source.
    pub(super) fn chain_of(&self, id: GrantId) -> Vec<GrantId> {
        let first = self.chains.get(&id);
        self.chains.iter().filter(|(_, of)| Some(*of) == first).map(|(id, _)| *id).collect()
    }

    /// A count of `[begin, end)` was read that missed so many thousandths of each grant. A chain for which it had more than one credential
    /// may relay has ended. One that has expired has nothing left to revoke.
    pub(super) fn expect_ended(&mut self, world: &World, begin: u64, end: u64, missed: u64) {
        let Some(limit) = self.settings.grant_limit else { return };
        let now = self.books.now();
        let begin = begin.max(self.shown(SOURCE, self.books.budget().period.start));
        let is_live = |id: &GrantId| self.books.grants().get(*id).is_some();
        let whole = |id: &GrantId| world.bytes_of_grant(*id, begin, end);
        let bytes = |id: &GrantId| whole(id) / 1_000 * (1_000 - missed);
        let valid = self.books.grants().iter().filter(|(id, row)| {
            let is_counted = row.source == SOURCE && self.is_counted(world.key_of(**id));
            is_counted && row.expires_at > now && self.books.grants().valid(**id).is_some()
        });
        let goes_on = valid.map(|(id, _)| *id).find(|id| {
            let relayed: u64 = self.chain_of(*id).iter().filter(|id| is_live(id)).map(bytes).sum();
            let more = world.bytes_of_grant(*id, self.by_grant_until.min(end), end);
            // An earlier count may have missed less.
            relayed > limit && more > ROUNDING + whole(id) / 1_000 * missed
        });
        self.expect(goes_on.is_none(), || format!("{goes_on:?} was counted over the limit, and goes on"));
    }
}
