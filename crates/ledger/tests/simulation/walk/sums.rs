//! What the books say of themselves: sums that must agree, what a period keeps when it has ended, and what is left at the end.

use super::prelude::*;

use super::coturn::CUT_FOR;

/// After a start of the machine, the time is in doubt for so long unless a clock says how long it was off, in milliseconds.
const NEW_FOR: u64 = 300_000;
/// Most days of a period.
const DAYS_MAX: u64 = 31;
/// The counts of a user's grants are rounded up, each time: by less in a period.
const ROUNDING: u64 = 10_000;

/// The figures agree with each other and with the world.
pub(super) fn sums(world: &World, broker: &Broker<impl Disk>, snapshot: &Snapshot) -> Option<String> {
    let figures = snapshot.figures;
    if figures.used > figures.committed {
        return Some("used exceeds committed".into());
    }
    // Each of the two parts of a day's count is rounded up.
    let measured = snapshot.measured.bytes.get();
    let truth = broker.truth(world, figures.period);
    // What a relay carried before it crashed is estimated. Each session of coturn is rounded up.
    // What coturn shows after a reset can be of the period before. In a gap, what pages say counts.
    let before = broker.settings.billing_day().period_until(figures.period.start);
    let is_divided = broker.settings.cli && (broker.was_uncut || broker.truth(world, before) > 0);
    let has_relay = broker.settings.sources.contains(&IceSource::Relay);
    let is_estimated = has_relay || is_divided || broker.foreign_begun > 0;
    let rounded = if broker.settings.cli { world.begun() } else { 0 };
    // A right answer that is a little lower than a wrong one is taken for noise.
    let noise = if broker.was_misled { truth / 100 * u64::from(broker.settings.sampling) } else { 0 };
    if measured > truth + noise + rounded + 2 * DAYS_MAX
        && !is_estimated
        && !broker.may_break
        && !broker.is_answered_wrong(figures.period)
    {
        return Some(format!("{measured} were measured, but only {truth} were relayed"));
    }
    let last = broker
        .last_read
        .zip(broker.books.budget().past().first().copied())
        .filter(|(read, (period, _))| read == period);
    let (period, used) = last.map(|(_, previous)| previous)?;
    let truth = broker.truth(world, period);
    let [start, end] = [period.start, period.end].map(|at| broker.shown(SOURCE, at));
    let has_all = world.counted_parts(start, end) == [(start, end)];
    let is_within = !has_all && used.get() >= Inaccuracy::LostHours.least(truth);
    let is_enough = broker.accepts(Inaccuracy::LostHours, used.get() >= truth / 100 * 94, is_within);
    let is_near = used.get() <= truth + 2 * DAYS_MAX && is_enough;
    (!is_near).then(|| format!("{used:?} are shown for the previous period, but {truth} were relayed"))
}

/// The rest of the status is right.
pub(super) fn status(world: &World, broker: &Broker<impl Disk>, snapshot: &Snapshot) -> Option<String> {
    let figures = snapshot.figures;
    if figures.limit != broker.limit {
        return Some(format!("the limit is {:?}, but {:?} was set", figures.limit, broker.limit));
    }
    let present = broker.present(world).plus_millis(broker.step);
    if figures.now.plus(snapshot.clock_ahead) != present && !broker.lags {
        return Some(format!("the books' time is {}, the world's is {present}", figures.now));
    }
    let is_new = broker.off_until.is_some_and(|at| world.now - at < NEW_FOR);
    let is_start_in_doubt = snapshot.clock_doubt == Some(ClockDoubt::Start);
    if is_new && !is_start_in_doubt {
        return Some("nobody knows for how long the machine was off, and the time is not in doubt".into());
    }
    if broker.boot == 1 && !broker.was_restored && is_start_in_doubt {
        return Some("the time is in doubt, though the machine was never off".into());
    }
    // The longest credential, and its tail.
    let is_lacking = broker.lacks_since.is_some_and(|(since, tail)| {
        let tail = tail.min(millis(broker.settings.tail(SOURCE)));
        world.now < since + 2 * DAY + tail && world.has_unknown()
    });
    if is_lacking && snapshot.bound_holds() {
        return Some("credentials relay that the ledger lacks, and the bound is said to hold".into());
    }
    if let Some(reason) = broker.must_not_hold(world).filter(|_| snapshot.bound_holds()) {
        return Some(format!("{reason}, and the bound is said to hold"));
    }
    let was_shown = |relay: usize| broker.seen[relay].shown_at.is_some_and(|at| world.now - at <= CUT_FOR);
    let is_cut = |relay: usize| broker.books.budget().is_cut(broker.settings.relay(relay));
    if broker.relays().any(|relay| is_cut(relay) && !was_shown(relay)) && !broker.lags {
        return Some("coturn's sessions count as cut, though nobody has seen all of them".into());
    }
    // A probe was made, and perhaps nobody has asked since whether it is counted.
    let is_unasked = snapshot.measured.disbelieved.is_some();
    let must_hold = (broker.is_undisturbed() || broker.is_settled(world)) && !is_unasked;
    let is_of_app_server = |reason| matches!(reason, BoundBreak::VouchedAbove | BoundBreak::Excess);
    let is_vouched = broker.has_vouched && snapshot.broken().all(is_of_app_server);
    if must_hold && !broker.accepts(Inaccuracy::VouchedDay, snapshot.bound_holds(), is_vouched) {
        return Some(format!(
            "nothing but pages has said anything, or what did is over, and the bound is said not to hold: {snapshot:?}"
        ));
    }
    // What a probe relays, after the last credential has ended and a period has begun, is in no promise.
    let is_probe = snapshot.measured.excess.bytes <= broker.probed;
    let is_known = is_probe || broker.may_break || broker.settings.cli;
    let agrees = snapshot.measured.agrees() || is_known;
    let is_right = broker.accepts(Inaccuracy::VouchedRate, agrees, broker.has_vouched);
    (!is_right).then(|| "the assumption is broken without a reason".into())
}

/// A credential that relays has a live grant, and a promise until it stops working.
pub(super) fn rows(world: &World, broker: &Broker<impl Disk>) -> Option<String> {
    if broker.step > 0 || broker.boot > 1 || broker.lags || broker.was_restored || broker.may_break {
        return None;
    }
    let is_held = |grant| broker.books.grants().valid(grant).and_then(|row| row.promised);
    world.holders(SOURCE).filter(|holder| holder.end > world.now).find_map(|holder| {
        let end = broker.begin.plus_millis(holder.end);
        let promised = is_held(holder.grant);
        let is_right = promised.is_some_and(|time| time.until.start() >= end)
            || broker.books.grants().is_revoked(holder.grant);
        (!is_right).then(|| format!("{:?} is relayed with until {end}: {promised:?}", holder.grant))
    })
}

/// The rows of each kind of spender add up to what was used, a user's row says the same as the user's share, and the sources add up
/// to the figures.
pub(super) fn spenders(world: &World, broker: &mut Broker<impl Disk>, snapshot: &Snapshot) -> Option<String> {
    let (figures, ledger) = (snapshot.figures, broker.books.budget());
    let period = figures.period;
    let metered = || ledger.sources().filter(|source| source.is_metered());
    let used: u64 = metered().map(|source| ledger.used_of(source).get()).sum();
    let of_keys = [TurnKey::First, TurnKey::Second].map(owner_of);
    let relays = broker.relays().map(|relay| broker.settings.relay(relay));
    let relays = relays.filter(|owner| owner.issuer.is_some());
    let owners = metered().map(CountOwner::from).chain(of_keys).chain(relays);
    let days = owners.flat_map(|owner| {
        Day::between(period.start, period.end).filter_map(move |day| ledger.day(owner, day))
    });
    let measured: u64 = days.map(|count| count.total().get()).sum();
    if (used, measured) != (figures.used.get(), snapshot.measured.bytes.get()) {
        return Some(format!("the sources used {used}, and their days have {measured}"));
    }
    for kind in SpenderKind::ALL {
        let rows = super::spenders(&broker.books, kind);
        let sum = |of: fn(&Sums) -> ByteCount| rows.iter().map(|row| of(&row.sums).get()).sum::<u64>();
        let (bytes, measured) = (sum(Sums::bytes), sum(Sums::measured));
        // What is claimed beyond what is used is less in proportion, rounded down in each row.
        let rounding = u64::try_from(rows.len()).unwrap_or(0);
        if bytes.abs_diff(used.max(measured)) > rounding {
            return Some(format!("the rows of {kind:?} add up to {bytes}, but {used} are used"));
        }
    }
    // The claims of a row are not less in proportion.
    let all = PeriodBytes { used: ByteCount::new(u64::MAX), ..broker.books.period_bytes() };
    let mut walk = SpenderWalk::new(SpenderKind::User, None);
    while !walk.look(broker.books.grants()) {}
    let rows = walk.rows(&all);
    let is_exact = broker.settings.sources == ONE && broker.pages.is_empty() && !broker.may_break;
    (0..3).find_map(|user| {
        let (relayed, name) = (broker.truth_of_user(world, user, period), user_named(user));
        let share = broker.books.limit_share(&Limited::User(name.clone()))?;
        let key = Some(SpenderKey::User(name));
        let sums = rows.iter().find(|row| row.key == key).map(|row| row.sums).unwrap_or_default();
        let (spent, measured) = (sums.bytes(), sums.measured().get());
        if is_exact && measured > relayed + ROUNDING {
            return Some(format!("{measured} are measured of user {user}, who relayed {relayed}"));
        }
        (share.usage.used != spent || share.committed < spent)
            .then(|| format!("{share:?}, but {spent:?} in the row"))
    })
}

impl<D: Disk> Broker<D> {
    /// Whether no assumption was broken, no clock was wrong, and nobody whose word counts has said anything wrong. Pages may have.
    pub(super) fn is_undisturbed(&self) -> bool {
        let is_time_right = self.step == 0 && self.offset == 0 && self.paused == 0 && self.boot == 1;
        let is_counted = !self.settings.leaves_out() && !self.was_misled && !self.settings.cli;
        let is_broken = self.may_break || self.has_reporter || self.settings.relays_with_both;
        is_time_right && is_counted && !is_broken && !self.was_restored && !self.lags && self.has_room()
    }

    /// Whether the tables have room for all, and the limit is not so small that little looks like much.
    pub(super) fn has_room(&self) -> bool {
        // Grants leave a full table before they are counted.
        let rows = self.minted + u64::try_from(self.pages.len()).unwrap_or(0);
        let is_full = rows >= u64::try_from(self.settings.rows_max).unwrap_or(u64::MAX);
        // Some identifiers of others are counted, with a byte each.
        // Beside a small limit, a recount of what a clock that is ahead has counted later looks absurd.
        let least = if self.settings.provider_ahead != 0 { 10_000_000_000 } else { 1_000_000 };
        self.limit.get() >= least && !is_full
    }

    /// A period has ended with this step, or not. It keeps what was used of it, and no more than was committed. `past`: what the books
    /// said before.
    pub(super) fn check_past(&mut self, past: &Snapshot) {
        let Snapshot { figures, measured, open_connections, .. } = *past;
        // What pages took while nobody watched is in no promise, and what a reporter says neither.
        let is_known = self.pages.is_empty() && !self.has_reporter && !self.may_break;
        if !is_known || figures.period.end != self.books.budget().period.start {
            return;
        }
        let is_exact = figures.used == measured.bytes.plus(measured.hidden)
            && open_connections == 0
            && self.books.connections().row_counts().0 == 0;
        // What open connections are charged for the time before a reset after it, one heartbeat each, is limited by nothing.
        let late = self.settings.estimated_rate().over_millis((self.settings.heartbeat * 1_000).into())
            * u128::try_from(open_connections).unwrap_or(u128::MAX);
        let most = match is_exact {
            true => figures.used,
            false if self.settings.strict => {
                figures.committed.plus(figures.margin).plus(ByteCount::saturating(late))
            }
            // In estimate mode, what is reported can be more than what is promised.
            false => ByteCount::new(u64::MAX),
        };
        let last = self.books.budget().past().first().copied();
        let last =
            last.filter(|(period, _)| *period == figures.period).map_or(ByteCount::ZERO, |(_, used)| used);
        let shown = figures.used.minus(measured.hidden);
        self.expect((shown..=most).contains(&last), || {
            format!("{last:?} are shown for a period that ended with {:?}", figures.used)
        });
    }
}

/// What is left when everything has ended, two periods later.
pub(super) fn rest(broker: &Broker<impl Disk>) -> Option<String> {
    let snapshot = broker.books.snapshot();
    let Snapshot { figures, live_grants, open_connections, .. } = snapshot;
    if !snapshot.bound_holds() {
        return Some(format!("the bound is said not to hold after everything has ended: {snapshot:?}"));
    }
    if figures.used.get() > 0 || figures.committed.get() > 0 || figures.committed_next.get() > 0 {
        return Some("bytes are committed after everything has ended".into());
    }
    let stored = broker.stored();
    let rows = [
        ("live grants", usize::try_from(live_grants).unwrap_or(usize::MAX)),
        ("open connections", open_connections),
        ("addresses", broker.books.grants().client_count()),
        ("stored grants", stored.grants.len()),
        ("stored connections", stored.connections.len()),
        ("open sessions of the SFU", broker.books.sfu_sessions().count()),
        ("stored sessions", stored.sessions.len()),
        ("stored sums of spenders", stored.spenders.keys().filter(|(_, kind, _)| !kind.is_kept()).count()),
    ];
    let left = rows.into_iter().find(|(_, count)| *count > 0);
    left.map(|(what, count)| format!("{count} {what} are left after everything has ended"))
}

/// A write after a restart removes the first hour of minutes, if all of them are old.
pub(super) fn old_minutes(broker: &mut Broker<impl Disk>) -> Option<String> {
    let minutes = |broker: &Broker<_>| -> usize {
        broker.stored().sources.values().map(|rows| rows.minutes.len()).sum()
    };
    let before = minutes(broker);
    broker.flush();
    let after = minutes(broker);
    (before > 0 && after >= before).then(|| format!("{after} old minutes stay after everything has ended"))
}
