//! What the books say to a request for a credential, compared with what the request may relay, and with the figures before and after.

use super::prelude::*;

/// No metered credential is minted while the wall clock is ahead by more.
const AHEAD_MAX: Duration = Duration::from_secs(2 * 86_400);
const MINUTE: u64 = 60_000;

impl<D: Disk> Broker<D> {
    /// Reserves budget for a credential.
    pub(super) fn reserve(&mut self, life: Duration, requester: &Requester) -> Option<Hold> {
        let (source, before) = (self.source(), self.books.snapshot());
        // A TURN key at Cloudflare gets the longest tail of all keys.
        let issuer = requester.issuer.filter(|_| source == IceSource::Coturn);
        let owner = CountOwner { source, issuer };
        let shares = self.shares(requester);
        let reserved = self.books.reserve(source, life, MINT_SLACK, requester);
        let after = self.books.snapshot();
        let problem = match &reserved {
            Ok(hold) => self
                .wrongly_admitted(&before, &shares, requester)
                .or_else(|| self.wrongly_held(&before, hold, owner, life))
                .or_else(|| self.exceeds(&before, &after, &shares, requester)),
            Err(why) if before != after => Some(format!("a refusal changes the books: {why:?}")),
            Err(why) => self.wrongly_refused(&before, *why, owner, requester),
        };
        self.expect(problem.is_none(), || {
            format!("{problem:?}: {reserved:?} for {life:?} of {source}, {requester:?}; before: {before:?}")
        });
        reserved.ok()
    }

    /// What the user and the server key of a request have used and reserved, those that have a limit.
    fn shares(&mut self, requester: &Requester) -> Vec<LimitShare> {
        let limited: Vec<_> = Limited::of(requester.spender.as_deref()).collect();
        limited.iter().filter_map(|of| self.books.limit_share(of)).collect()
    }

    /// Why nothing may be admitted at all.
    fn wrongly_admitted(
        &self,
        before: &Snapshot,
        shares: &[LimitShare],
        requester: &Requester,
    ) -> Option<String> {
        let is_blocked = requester.user().is_some_and(|user| self.is_blocked(user));
        let reasons = [
            ("a user is blocked", is_blocked),
            ("the limit is used up", before.figures.used >= before.figures.limit),
            ("somebody's limit is used up", shares.iter().any(|of| of.usage.used >= of.usage.limit)),
            ("the wall clock is far ahead", before.clock_ahead > AHEAD_MAX),
            ("coturn's sessions are not cut", self.refuses_uncut(requester)),
            ("the table is full", self.books.grants().count() >= self.settings.rows_max),
        ];
        reasons.iter().find(|(_, is_so)| *is_so).map(|(why, _)| format!("admitted though {why}"))
    }

    /// Strict mode mints nothing at a coturn whose sessions are not cut.
    fn refuses_uncut(&self, requester: &Requester) -> bool {
        let is_coturn = self.source() == IceSource::Coturn && self.settings.cli;
        let relay = CountOwner { source: IceSource::Coturn, issuer: requester.issuer };
        self.settings.strict && is_coturn && !self.books.budget().is_cut(relay)
    }

    /// A hold is for no more than was asked for, and covers all that its credential can relay: the assumed rate, until its tail ends by
    /// either clock, wherever in this time the provider makes it.
    fn wrongly_held(
        &self,
        before: &Snapshot,
        hold: &Hold,
        owner: CountOwner,
        asked: Duration,
    ) -> Option<String> {
        let (life, time, source) = (hold.life, hold.promise.time, owner.source);
        let tail = self.books.budget().tail(owner);
        let shortest = tail.saturating_sub(source.clocks_differ_by()) / 4;
        let asked = if self.settings.strict { asked.max(shortest) } else { asked };
        let shortest = if self.settings.strict { asked.min(STRICT_LIFE_MIN.max(shortest)) } else { asked };
        let last = before.figures.now.plus(life + MINT_SLACK + before.clock_ahead + tail);
        let is_right = (shortest..=asked).contains(&life)
            && time.from.start() <= before.figures.now
            && time.until.start() >= last
            && last.plus_millis(MINUTE) > time.until.start()
            && time.per_minute >= self.settings.assumed(source).rate * MINUTE;
        (!is_right).then(|| format!("it may relay until {last}"))
    }

    /// What strict mode admits fits into every limit. A limit that was exceeded before, such as by promises of another mode, takes nothing
    /// more.
    fn exceeds(
        &mut self,
        before: &Snapshot,
        after: &Snapshot,
        shares: &[LimitShare],
        requester: &Requester,
    ) -> Option<String> {
        let of_all = |of: &Snapshot| [of.figures.committed, of.figures.committed_next];
        let of_one = |of: &LimitShare| [of.committed, of.committed_next];
        let is_over = |was: [ByteCount; 2], is: [ByteCount; 2], limit: ByteCount| {
            was.iter().zip(is).any(|(was, is)| is > limit.max(*was))
        };
        let now = self.shares(requester);
        let is_one_over =
            |(was, is): (&LimitShare, &LimitShare)| is_over(of_one(was), of_one(is), is.usage.limit);
        let is_wrong = self.settings.strict
            && (is_over(of_all(before), of_all(after), after.figures.limit)
                || shares.iter().zip(&now).any(is_one_over));
        is_wrong.then(|| "it does not fit".to_owned())
    }

    /// A refusal has a reason, and says when to ask again. If the shortest credential has room, nobody is refused.
    fn wrongly_refused(
        &self,
        before: &Snapshot,
        why: NotAdmitted,
        CountOwner { source, .. }: CountOwner,
        requester: &Requester,
    ) -> Option<String> {
        let figures = before.figures;
        let is_right = match why {
            NotAdmitted::Blocked(SpenderKind::User) => {
                requester.user().is_some_and(|user| self.is_blocked(user))
            }
            // No operator of a walk blocks anything but users.
            NotAdmitted::ClockInDoubt => {
                // While the provider can be asked, only a clock that is wrong is not believed.
                let may_be_wrong = self.step > 0 || !self.settings.tells_time;
                before.clock_ahead > AHEAD_MAX && may_be_wrong
            }
            NotAdmitted::Uncut => self.refuses_uncut(requester),
            NotAdmitted::TooManyGrants => self.books.grants().count() >= self.settings.rows_max,
            NotAdmitted::TooManyUsers => self.settings.users_max < 3,
            // Only a commit ends as the first two.
            // No address has a limit.
            NotAdmitted::NotRecorded
            | NotAdmitted::Stopped
            | NotAdmitted::Blocked(_)
            | NotAdmitted::AddressLimit { .. } => false,
            NotAdmitted::Refused(refusal) => {
                let Refusal { limited, client_frees_at, .. } = refusal;
                let is_spent = limited.map_or(figures.used >= figures.limit, |of| of.used >= of.limit);
                let tail = self.books.budget().long_tail(source);
                let tail = tail + source.clocks_differ_by();
                let most = millis(STRICT_LIFE_MIN.max(tail / 4) + MINT_SLACK + before.clock_ahead + tail)
                    / MINUTE
                    + 2;
                let most = most * self.books.budget().bytes_per_minute(source);
                let has_room = |committed: u64| committed + most <= figures.limit.get();
                let is_of_budget = limited.is_none() && client_frees_at.is_none();
                let is_full = !has_room(figures.committed.get()) || !has_room(figures.committed_next.get());
                let retry_in = refusal.retry_in();
                refusal.figures == figures
                    && retry_in <= figures.period.end.since(figures.now).max(Duration::from_secs(86_400 * 12))
                    && (!is_spent || retry_in == figures.period.end.since(figures.now))
                    && (is_spent || self.settings.strict)
                    && (is_spent || is_full || !is_of_budget)
            }
        };
        (!is_right).then(|| "refused without a reason".to_owned())
    }
}
