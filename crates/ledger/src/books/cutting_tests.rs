//! The short tail of a coturn holds while complete listings show that its sessions are cut, and what no listing shows stays promised.

use super::*;

/// Until when a grant is promised that expires at that time.
fn promised(expiry: u64, tail: u64) -> Minute {
    Minute::from_end(at(expiry + tail).plus(MINT_SLACK))
}

/// No broker ran, so sessions of expired grants were not cut.
#[test]
fn a_restart_extends_short_tails_unless_the_last_listing_was_recent() {
    let mut broker = strict();
    broker.mint_any(600);
    let setup = setup(BudgetMode::Strict);
    assert_eq!(broker.reopened(setup.clone(), 30).alive_until(1), promised(600, 30));
    let mut late = broker.reopened(setup.clone(), 31);
    assert_eq!(late.alive_until(1), promised(600, 7_200));
    late.list(33, &[]);
    assert_eq!(late.alive_until(1), promised(600, 30), "a complete listing does not show its session");
}

/// The machine was paused: nobody ended sessions meanwhile, if the wall clock is right.
#[test]
fn the_long_tail_holds_while_the_wall_clock_says_that_the_last_listing_is_old() {
    let mut broker = strict();
    broker.mint_any(600);
    for (wall, tail) in [(32, 30), (33, 7_200)] {
        broker.list(2, &[]);
        broker.books.advance(Moment { wall: at(wall), in_doubt: true, ..at(2).into() });
        assert_eq!(broker.alive_until(1), promised(600, tail), "{wall}");
    }
}

/// More grants than change at once.
#[test]
fn the_promises_of_many_grants_change_in_steps() {
    for mode in [BudgetMode::Strict, BudgetMode::Estimate] {
        let mut setup = setup(mode);
        setup.terms.limit = ByteCount::new(u64::MAX / 2);
        let mut broker = Broker::open(setup, at(0));
        broker.list(0, &[]);
        let grants: Vec<_> = (0..1_200).map(|_| broker.mint_any(600)).collect();
        let all = |broker: &Broker, tail| {
            (1..=1_200).filter(|id| broker.alive_until(*id) == promised(600, tail)).count()
        };
        assert_eq!(all(&broker, 30), grants.len());
        broker.books.advance(at(31));
        assert_eq!(all(&broker, 7_200), 500);
        assert!(!broker.books.tidy());
        assert_eq!(all(&broker, 7_200), 1_000);
        while !broker.books.tidy() {}
        assert_eq!(all(&broker, 7_200), grants.len(), "{mode:?}");
        broker.list(32, &[sent(1)]);
        assert_eq!(all(&broker, 30), 499, "one has a session");
        // A rate that is raised meanwhile does not end that.
        broker.books.extend_tails();
        while !broker.books.tidy() {}
        assert_eq!(all(&broker, 30), grants.len() - 1, "{mode:?}");
    }
}

/// coturn accepts the command to end a session but keeps listing the session.
#[test]
fn a_session_that_survives_its_cut_ends_the_short_tail() {
    let mut broker = strict();
    broker.mint_any(600);
    broker.mint_any(1_800);
    for seconds in (2..=612).step_by(2) {
        let dead = broker.list(seconds, &[sent(5_000)]);
        assert_eq!(dead.len(), usize::from(seconds >= 600), "{seconds}");
    }
    for seconds in (614..=644).step_by(2) {
        broker.list(seconds, &[sent(5_000)]);
        let tail = if seconds <= 612 + 30 { 30 } else { 7_200 };
        assert_eq!(broker.alive_until(2), promised(1_800, tail), "{seconds}");
        assert_eq!(broker.alive_until(1), promised(600, tail), "{seconds}");
    }
    assert!(broker.books.snapshot().measured.uncut);
    broker.list(646, &[]);
    assert!(!broker.books.snapshot().measured.uncut, "it is gone");
}

/// A client that begins again after each cut, and sends all before coturn shows it, is counted by the reports of its ends.
#[test]
fn what_coturn_reports_at_the_end_of_a_session_tests_the_assumed_rate() {
    for (bytes, agrees) in [(500_000, true), (2_000_000, false)] {
        let mut broker = strict();
        broker.mint_any(HOUR);
        for (number, seconds) in (1..).zip((2..=1_200).step_by(2)) {
            broker.books.advance(at(seconds));
            let ended = listing(&[Sent { number, bytes }]).sessions;
            let listed = Listing { ended, is_complete: true, ..Listing::default() };
            broker.books.take_sessions(IceSource::Coturn, listed, at(seconds));
        }
        let snapshot = broker.books.snapshot();
        assert_eq!((snapshot.figures.used.get(), snapshot.measured.agrees()), (600 * bytes, agrees));
    }
}

/// A session with a channel and no figures is claimed at the rate of its grant. The claim is no proof, and ends with the session.
#[test]
fn what_coturn_does_not_show_is_claimed_and_not_counted() {
    let mut broker = strict();
    broker.mint_any(HOUR);
    let mut bound = listing(&[sent(0)]);
    bound.sessions[0].reach = Reach::Bound;
    let list = |broker: &mut Broker, seconds, listing: &Listing| {
        broker.books.advance(at(seconds));
        let _ = broker.books.take_sessions(IceSource::Coturn, listing.clone(), at(seconds));
        let budget = broker.books.budget();
        [budget.figures().used.get(), budget.proven().get()]
    };
    let before = broker.committed();
    assert_eq!(list(&mut broker, 2, &bound), [2 * 250_000, 0]);
    assert!(broker.committed() >= before, "what it may have relayed is not released");
    let reported =
        Listing { ended: listing(&[sent(3_000)]).sessions, is_complete: true, ..Listing::default() };
    assert_eq!(list(&mut broker, 4, &reported), [3_000, 3_000]);
}

/// Nobody reported the end of a session that two listings miss, so what it may have relayed stays promised.
#[test]
fn a_session_that_ended_unseen_stays_promised() {
    let mut broker = strict();
    broker.mint_any(60);
    let mut bound = listing(&[sent(0)]);
    bound.sessions[0].reach = Reach::Bound;
    for seconds in (2..=200).step_by(2) {
        broker.books.advance(at(seconds));
        let listed = if seconds <= 20 { bound.clone() } else { listing(&[]) };
        let _ = broker.books.take_sessions(IceSource::Coturn, listed, at(seconds));
    }
    let hidden = crate::HIDDEN_PACKETS_MAX * 1_200;
    assert_eq!((broker.books.budget().figures().used.get(), broker.committed()), (0, hidden));
}

/// Reports may have been lost, so what was promised in that time is not released, also between two listings in close succession.
#[test]
fn a_listing_after_a_gap_of_the_reports_releases_nothing() {
    let committed = |is_after_gap| {
        let mut broker = strict();
        broker.mint_any(60);
        for seconds in (2..=200).step_by(2) {
            broker.books.advance(at(seconds));
            let listed = Listing { is_after_gap: is_after_gap && seconds < 30, ..listing(&[]) };
            let _ = broker.books.take_sessions(IceSource::Coturn, listed, at(seconds));
        }
        broker.committed()
    };
    assert_eq!(committed(false), 0);
    assert!(committed(true) >= MINUTE_BYTES / 4, "{}", committed(true));
}

/// What coturn shows is evidence: 16 Mbps under one grant are more than is assumed.
#[test]
fn what_coturn_has_shown_tests_the_assumed_rate() {
    let mut broker = strict();
    broker.mint_any(HOUR);
    for seconds in (2..=1_200).step_by(2) {
        broker.list(seconds, &[sent(seconds * 2_000_000)]);
    }
    assert!(!broker.books.snapshot().measured.agrees());
}

/// The machine was paused over the reset while a client relayed. The first listing comes while the jump of the wall clock is in doubt.
#[test]
fn what_was_relayed_in_a_pause_over_a_reset_is_divided_there() {
    let reset = 11 * 24 * HOUR + 12 * HOUR;
    let mut broker = strict();
    broker.list(reset - 300, &[sent(1_000)]);
    let wall = at(reset + 6 * HOUR);
    broker.books.advance(Moment { wall, in_doubt: true, ..at(reset - 298).into() });
    let _ = broker.books.take_sessions(IceSource::Coturn, listing(&[sent(5_000_000_000)]), at(reset - 298));
    assert_eq!(broker.books.snapshot().figures.used.get(), 1_000);
    let mut broker = broker.reopened(setup(BudgetMode::Strict), reset + 6 * HOUR + 300);
    broker.list(reset + 6 * HOUR + 300, &[sent(5_000_000_000)]);
    let used = broker.books.snapshot().figures.used.get();
    assert!(used.abs_diff(4_999_999_000 / 22_200 * 21_900) < 10_000, "{used}");
    assert_eq!(broker.books.budget().past()[0].1.get() + used, 5_000_000_000);
}

/// Nobody lists a session any more once coturn's command line is removed.
#[test]
fn the_row_of_a_session_that_no_listing_shows_is_removed_after_days() {
    let mut broker = strict();
    broker.list(2, &[sent(5_000)]);
    for (days, rows) in [(8, 1), (11, 0)] {
        broker.books.advance(at(2 + days * 24 * HOUR));
        broker.flush();
        assert_eq!(broker.disk.sessions.len(), rows, "{days} days later");
    }
}

/// What sessions carry in a gap uses up what was promised for it. The promise has the long tail since then.
#[test]
fn bytes_relayed_in_a_gap_use_up_the_promise_of_the_gap() {
    let mut broker = strict();
    broker.mint_any(2 * HOUR);
    broker.list(2, &[sent(1_000)]);
    let whole = broker.committed();
    broker.list(HOUR, &[sent(400_000_000)]);
    let (used, after) = (broker.books.snapshot().figures.used.get(), broker.committed());
    let raised = whole + 120 * MINUTE_BYTES;
    assert!(used >= 400_000_000 && after.abs_diff(raised) <= MINUTE_BYTES, "{used}, {raised}, {after}");
}

/// coturn lets a session go on as long as its client refreshes it, and does not show one that has ended.
#[test]
fn the_sessions_of_the_last_listing_before_a_gap_are_promised_all_of_the_gap() {
    for (sessions, minutes) in [(vec![sent(1_000)], 600), (vec![], 130)] {
        let mut broker = Broker::open(setup(BudgetMode::Estimate), at(0));
        broker.list(0, &[]);
        broker.mint_any(600);
        broker.list(2, &sessions);
        broker.list(10 * HOUR, &[]);
        let promised = broker.committed() / MINUTE_BYTES;
        assert!(promised.abs_diff(minutes) <= 4, "{promised} minutes of {minutes}");
    }
}

/// Of an hour without a listing, 20 s lie in the new period.
#[test]
fn what_was_relayed_in_a_gap_is_divided_at_the_reset() {
    // 2025-02-01T00:00Z
    let reset = 993_600;
    let mut broker = Broker::open(setup(BudgetMode::Estimate), at(0));
    broker.list(reset - 3_600, &[]);
    broker.mint_any(2 * HOUR);
    broker.list(reset - 3_580, &[sent(1_000)]);
    broker.list(reset + 20, &[sent(900_000_000), Sent { number: 2, bytes: 7_000 }]);
    let figures = broker.books.snapshot().figures;
    assert_eq!(figures.period.start, at(reset));
    let used = figures.used.get();
    // Session 2 is one second old.
    assert!((5_006_000..5_100_000).contains(&used), "{used}");
    let (_, before) = broker.books.budget().past()[0];
    assert!(before.get().abs_diff(895_000_000) < 100_000, "{before:?}");
    let row = broker.books.grants().get(grant_id(1)).unwrap();
    assert_eq!(broker.books.grants().spent_of(row).measured.get(), used);
    assert!(broker.books.snapshot().bound_holds());
    assert!(broker.committed() >= used + 60 * MINUTE_BYTES, "what it may relay later stays promised");
}

/// A stranger can keep a listing from being complete: with more sessions than fit, or with a line in its origin.
#[test]
fn a_listing_that_is_not_complete_says_nothing() {
    let mut broker = strict();
    broker.mint_any(600);
    let short = broker.committed();
    for seconds in (2..=32).step_by(2) {
        broker.books.advance(at(seconds));
        let _ = broker.books.take_sessions(
            IceSource::Coturn,
            Listing { is_complete: false, ..listing(&[]) },
            at(seconds),
        );
        let tail = if seconds <= 30 { 30 } else { 7_200 };
        assert_eq!(broker.alive_until(1), promised(600, tail), "{seconds}");
    }
    assert!(broker.committed() >= short + 100 * MINUTE_BYTES);
}

/// What is minted while listings come again has the short tail, until they stop again. What was raised stays so while its session is shown.
#[test]
fn the_long_tail_is_promised_each_time_that_cutting_stops() {
    let mut broker = strict();
    broker.mint_any(600);
    broker.books.advance(at(595));
    broker.list(605, &[sent(5_000)]);
    broker.mint_any(600);
    assert_eq!([1, 2].map(|n| broker.alive_until(n)), [promised(600, 7_200), promised(1_205, 30)]);
    broker.books.advance(at(636));
    assert_eq!([1, 2].map(|n| broker.alive_until(n)), [promised(600, 7_200), promised(1_205, 7_200)]);
}

/// The credential has ended, and so has what was promised for the gap, once a complete listing does not show its session.
#[test]
fn what_a_gap_raised_ends_when_complete_listings_do_not_show_the_session() {
    let mut broker = strict();
    broker.mint_any(60);
    broker.list(2, &[sent(5_000)]);
    let dead = broker.list(200, &[sent(5_000)]);
    assert_eq!((dead.len(), broker.alive_until(1)), (1, promised(60, 7_200)), "it is shown");
    broker.list(202, &[]);
    assert_eq!(broker.alive_until(1), Minute::of(at(202)));
    // Others that were gone before end together: 20 gaps with a credential each reserve no more than their own minutes.
    for gap in 0..20 {
        let begin = 202 + gap * 82;
        broker.mint_any(60);
        broker.books.advance(at(begin + 80));
        broker.list(begin + 80, &[]);
        broker.list(begin + 82, &[]);
    }
    let reserved = broker.committed() / MINUTE_BYTES;
    assert!(reserved <= 8 + 20 * 4, "{reserved} minutes");
}

/// Of a chain of renewals one relays at a time, so a renewal reserves what the promises before it leave. They end earlier now.
#[test]
fn what_a_renewal_relies_on_goes_over_to_it_when_a_gap_has_ended() {
    let mut broker = Broker::open(setup(BudgetMode::Estimate), at(0));
    broker.list(0, &[]);
    let first = broker.mint_any(600);
    broker.books.advance(at(500));
    let renews = Requester { renews: Some(grant_id(1)), ..Requester::default() };
    assert!(broker.books.take_renewal(&first));
    let hold = broker.reserve(3_600, &renews).unwrap();
    let _ = broker.commit(hold, renews).unwrap();
    assert_eq!([1, 2].map(|n| broker.alive_until(n)), [promised(600, 7_200), promised(4_100, 7_200)]);
    broker.list(502, &[]);
    assert_eq!([1, 2].map(|n| broker.alive_until(n)), [promised(600, 30), promised(4_100, 30)]);
    let reserved = broker.committed() / MINUTE_BYTES;
    assert_eq!(reserved, promised(4_100, 30).since(Minute::of(at(0))), "each minute of the chain once");
}

/// The machine was suspended for 3 h, and grants that have ended are looked for before the first listing.
#[test]
fn what_was_relayed_in_a_suspend_stays_promised_although_the_tidy_runs_first() {
    let mut broker = strict();
    broker.mint_any(300);
    broker.list(2, &[]);
    broker.books.advance(at(3 * HOUR));
    assert!(broker.books.tidy());
    broker.list(3 * HOUR, &[]);
    assert!(broker.committed() >= 124 * MINUTE_BYTES, "{}", broker.committed());
}

#[test]
fn a_commit_promises_the_long_tail_if_cutting_stopped_since_the_reservation() {
    let mut broker = strict();
    broker.books.advance(at(28));
    let hold = broker.reserve(600, &Requester::default()).unwrap();
    broker.books.advance(at(31));
    let _ = broker.commit(hold, Requester::default()).unwrap();
    assert_eq!(broker.alive_until(1), promised(628, 7_200));
    assert!(broker.committed() > 120 * MINUTE_BYTES);
}

/// The grant left the table with its short tail, just before coturn went away.
#[test]
fn no_bound_holds_while_a_grant_that_left_the_table_may_not_have_been_cut() {
    for is_seen_cut in [false, true] {
        let mut few = setup(BudgetMode::Strict);
        (few.bounds.spenders.ended_max, few.bounds.grants) = (0, 1);
        let mut broker = Broker::open(few, at(0));
        broker.list(0, &[]);
        broker.mint_any(300);
        let until = broker.alive_until(1).start().millis_since(at(0)) / 1_000;
        for seconds in (2..=until - 2).step_by(2) {
            broker.list(seconds, &[]);
        }
        broker.books.advance(at(until));
        assert!(broker.books.tidy());
        broker.mint_any(300);
        assert!(broker.books.tidy());
        assert_eq!(broker.books.grants().iter().count(), 1, "there is no room for it until it is counted");
        if is_seen_cut {
            broker.list(until, &[]);
        }
        broker.books.advance(at(1_200));
        broker.list(1_200, &[]);
        assert_eq!(broker.books.snapshot().bound_holds(), is_seen_cut);
    }
}

#[test]
fn at_the_limit_the_sessions_of_live_credentials_are_cut() {
    let mut setup = setup(BudgetMode::Estimate);
    setup.terms.limit = ByteCount::new(4_000);
    let mut broker = Broker::open(setup, at(0));
    broker.list(0, &[]);
    broker.mint_any(600);
    assert_eq!(broker.list(2, &[sent(1_000)]).len(), 0);
    broker.list(4, &[sent(5_000)]);
    assert_eq!(broker.list(6, &[sent(5_000)]).len(), 1);
}

/// A page at another source claims more than the limit. That ends nobody's session; what coturn shows does, unless nothing may.
#[test]
fn no_claim_ends_a_session_and_with_none_nothing_does() {
    for (ends_calls, shown, ended) in [(true, 1_000, 0), (true, 4_000, 1), (false, 4_000, 0)] {
        let mut setup = setup(BudgetMode::Estimate);
        (setup.terms.limit, setup.terms.ends_calls) = (ByteCount::new(4_000), ends_calls);
        setup.sources.push(SourceTerms::of_unconfigured(IceSource::Cloudflare));
        setup.default_source = IceSource::Cloudflare;
        let mut broker = Broker::open(setup, at(0));
        broker.list(0, &[]);
        let grant = broker.mint_any(HOUR);
        broker.books.open(Caller::Grant(grant), "c", Some(true)).unwrap();
        broker.books.advance(at(2));
        let report = Report { bytes_received: Some(5_000), ..Report::default() };
        broker.books.heartbeat(Caller::Grant(grant), "c", report).unwrap();
        assert_eq!(broker.list(4, &[sent(shown)]).len(), ended, "{ends_calls}, {shown}");
        assert!(broker.books.budget().figures().is_spent());
        // In the relay and the SFU, too.
        assert_eq!(broker.books.grant_end(grant.id, None).is_some(), ended > 0);
    }
}
