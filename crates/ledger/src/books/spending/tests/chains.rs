//! What counts show of a chain of renewals above its promise.

use super::*;

/// Books with a limit of 1,000 GB and thirty idle grants, ten minutes later.
fn among_idle_ones() -> (Broker, Grant) {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    for _ in 0..30 {
        broker.mint(requester("idle"), 20_000).unwrap();
    }
    let ann = broker.mint(requester("ann"), 20_000).unwrap();
    broker.books.advance(at(600));
    (broker, ann)
}

/// Opens the books again with a limit of which no test exceeds a hundredth.
fn with_room(broker: &mut Broker) {
    broker.setup.terms.limit = ByteCount::new(100_000_000 * MB);
    broker.restart();
}

fn suspects(broker: &Broker) -> Vec<Suspect> {
    broker.books.grants().suspects(SOURCE, 9)
}

fn per_minute(broker: &Broker, grant: Grant) -> u64 {
    broker.books.grants().get(grant.id).unwrap().promised.unwrap().per_minute
}

fn excess(broker: &Broker) -> Excess {
    broker.books.snapshot().measured.excess
}

#[test]
fn a_grant_that_relays_more_beside_idle_ones_breaks_the_bound_and_raises_its_own_promise() {
    let (mut broker, ann) = among_idle_ones();
    // 1.2 Gbps for ten minutes: 9 % of the limit.
    let fast = 6_000 * MINUTE_BYTES;
    assert!(broker.count(at(600), false, &[(ann.id, fast)], 0));
    assert!(broker.books.snapshot().rate_holds(), "it was not asked for alone");
    let found = suspects(&broker);
    assert_eq!(found, [Suspect { grants: vec![ann.id], from: before(), until: at(600) }]);
    let committed = broker.books.snapshot().figures.committed.get();
    judge(&mut broker, &found[0], fast);
    // Ten minutes and the two edges were promised.
    let bytes = ByteCount::new(5_988 * MINUTE_BYTES);
    assert_eq!(excess(&broker), Excess { bytes, rate: BitRate::new(1_200_000_000), ..Excess::default() });
    assert!(!broker.books.snapshot().rate_holds() && suspects(&broker).is_empty());
    let highest = 100_000_000 / 8 * 60;
    assert_eq!(per_minute(&broker, ann), highest, "no relay carries more for one grant");
    let others: Vec<_> = broker.books.grants().iter().filter(|(id, _)| **id != ann.id).collect();
    assert!(others.iter().all(|(_, row)| row.promised.unwrap().per_minute == MINUTE_BYTES));
    assert!(broker.books.snapshot().figures.committed.get() > committed);
    broker.restart();
    assert_eq!(excess(&broker).bytes, bytes);
    assert_eq!(per_minute(&broker, ann), highest);
    broker.setup.terms.rates.liability = BitRate::new(1_200_000_000);
    broker.restart();
    assert_eq!(excess(&broker), Excess::default(), "this rate is assumed now");
}

#[test]
fn the_chains_that_exceed_add_up_over_a_restart() {
    let (mut broker, ann) = among_idle_ones();
    let other = *broker.books.grants().iter().map(|(id, _)| id).find(|id| **id != ann.id).unwrap();
    let fast = |more| [(ann.id, 600 * MINUTE_BYTES + more), (other, 600 * MINUTE_BYTES + more)];
    for (nth, id) in [ann.id, other].into_iter().enumerate() {
        assert!(broker.count(at(600), false, &fast(u64::try_from(nth).unwrap()), 0));
        let found = suspects(&broker);
        let suspect = found.iter().find(|suspect| suspect.grants == [id]).unwrap();
        judge(&mut broker, suspect, 600 * MINUTE_BYTES);
        broker.restart();
    }
    assert_eq!(excess(&broker).bytes.get(), 2 * 588 * MINUTE_BYTES);
}

#[test]
fn an_app_server_that_reports_more_than_a_promise_raises_it_whatever_a_page_says() {
    // Of the second ten minutes and the third; 90 Mbps are 900.
    struct Case {
        by_reporter: u64,
        by_page: Option<u64>,
        exceeded: u64,
        raised_to: u64,
    }
    // Half an hour at this rate is an hour at half of it.
    let fast = Case { by_reporter: 900, by_page: Some(5), exceeded: 868, raised_to: 15 };
    let within = Case { by_reporter: 30, by_page: Some(1_000_000), exceeded: 0, raised_to: 1 };
    let silent_page = Case { by_page: None, ..fast };
    for Case { by_reporter, by_page, exceeded, raised_to } in [fast, within, silent_page] {
        let (mut broker, ann) = among_idle_ones();
        with_room(&mut broker);
        broker.books.open(Caller::Grant(ann), "c", Some(true)).unwrap();
        for seconds in (605..=1_800).step_by(5) {
            broker.books.advance(at(seconds));
            let (caller, all) = if seconds % 10 == 0 {
                (Caller::Reporter, Some(by_reporter))
            } else {
                (Caller::Grant(ann), by_page)
            };
            let so_far = |all: u64| (seconds - 600) * all * MINUTE_BYTES / 1_200;
            let report = Report { bytes_received: all.map(so_far), ..Report::default() };
            broker.books.heartbeat(caller, "c", report).unwrap();
        }
        assert_eq!(excess(&broker).bytes.get(), exceeded * MINUTE_BYTES);
        assert_eq!(per_minute(&broker, ann), raised_to * MINUTE_BYTES);
        broker.restart();
        assert_eq!(excess(&broker).bytes.get(), exceeded * MINUTE_BYTES);
    }
}

#[test]
fn what_a_long_chain_exceeds_counts_once_whichever_of_its_grants_is_looked_at_first() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let mut chain = vec![broker.mint(requester("ann"), 60).unwrap()];
    while chain.len() < 520 {
        let last = *chain.last().unwrap();
        broker.books.advance(last.refresh_after());
        chain.push(broker.renew(&last, 60));
    }
    let until = Minute::of(broker.books.now()).start();
    let bytes = 2 * MINUTE_BYTES;
    let counted: Vec<_> = chain.iter().map(|grant| (grant.id, bytes)).collect();
    assert!(broker.count(until, false, &counted, 0));
    let found = broker.books.grants().suspects(SOURCE, usize::MAX);
    assert_eq!(found.len(), 21, "500 grants are looked at from each");
    for suspect in found {
        let length = u64::try_from(suspect.grants.len()).unwrap();
        judge(&mut broker, &suspect, length * bytes);
    }
    let relayed = 520 * bytes;
    assert!((relayed / 3..relayed).contains(&excess(&broker).bytes.get()), "{:?}", excess(&broker));
}

#[test]
fn what_an_app_server_reports_after_a_tail_exceeds_the_promise_where_no_count_shows_it() {
    for (source, exceeded, seconds) in [(IceSource::Coturn, 19, 1_200), (IceSource::Cloudflare, 0, 0)] {
        let mut broker = Broker::at_source(source, BudgetMode::Estimate, 1_000_000 * MB);
        broker.caller("ann", 600);
        // Half an hour at a quarter of the rate, of which eleven minutes are promised.
        for minute in 1..=30 {
            broker.books.advance(at(minute * 60));
            broker.vouch("c", minute * MINUTE_BYTES / 4);
        }
        let after_tail = Excess {
            bytes: ByteCount::new(exceeded * MINUTE_BYTES / 4),
            tail: Duration::from_secs(seconds),
            ..Excess::default()
        };
        assert_eq!(excess(&broker), after_tail, "{source}");
        broker.restart();
        assert_eq!(excess(&broker), after_tail, "{source}");
    }
}

#[test]
fn a_connection_that_outlives_its_credential_reports_under_the_promise_of_the_renewal() {
    let mut broker = Broker::at_source(IceSource::Coturn, BudgetMode::Estimate, 1_000_000 * MB);
    let ann = broker.caller("ann", 600);
    for minute in 1..=15 {
        broker.books.advance(at(minute * 60));
        if minute == 9 {
            broker.renew(&ann, 600);
        }
        broker.vouch("c", minute * MINUTE_BYTES / 4);
    }
    assert_eq!(excess(&broker), Excess::default());
}

#[test]
fn a_sampled_count_that_the_grant_alone_does_not_confirm_changes_nothing() {
    let (mut broker, ann) = among_idle_ones();
    assert!(broker.count(at(600), false, &[(ann.id, 100 * MINUTE_BYTES)], 0));
    let found = suspects(&broker);
    judge(&mut broker, &found[0], 12 * MINUTE_BYTES);
    assert_eq!((excess(&broker), per_minute(&broker, ann)), (Excess::default(), MINUTE_BYTES));
    assert!(suspects(&broker).is_empty(), "until more is counted");
    assert!(broker.count(at(600), false, &[(ann.id, 101 * MINUTE_BYTES)], 0));
    assert_eq!(suspects(&broker), found);
    broker.books.advance(at(7_200));
    assert!(suspects(&broker).is_empty(), "a new period");
}

#[test]
fn a_crash_forgets_no_chain_that_must_be_asked_for_alone() {
    let mut broker = Broker::new(BudgetMode::Estimate, SpenderTerms::default());
    let [ann, bob] = ["ann", "bob"].map(|name| broker.mint(requester(name), 600).unwrap());
    broker.books.advance(at(500));
    let second = broker.renew(&ann, 600);
    assert!(broker.count(at(500), true, &[(ann.id, MINUTE_BYTES), (bob.id, MINUTE_BYTES)], 0));
    broker.books.advance(at(1_500));
    assert!(broker.count(at(1_500), true, &[(second.id, 750 * MINUTE_BYTES)], 0));
    let found = suspects(&broker);
    assert_eq!((found.len(), found[0].until), (1, at(1_500)));
    broker.restart();
    assert_eq!(suspects(&broker), found, "it is over, so no further count has it");
    broker.books.advance(at(7_300));
    broker.restart();
    assert!(suspects(&broker).is_empty(), "a new period");
}

#[test]
fn a_raised_promise_hides_nothing_that_comes_later() {
    let (mut broker, ann) = among_idle_ones();
    for (minutes, counted, exceeded) in [(10, 52, 40), (10, 104, 92), (20, 160, 138), (60, 160, 138)] {
        broker.books.advance(at(minutes * 60));
        assert!(broker.count(at(minutes * 60), false, &[(ann.id, counted * MINUTE_BYTES)], 0));
        broker.judge_suspects(counted * MINUTE_BYTES);
        assert_eq!(excess(&broker).bytes.get(), exceeded * MINUTE_BYTES, "after {minutes} minutes");
    }
}

#[test]
fn the_credentials_of_a_chain_stay_within_one_rate_together() {
    let (mut broker, first) = among_idle_ones();
    broker.books.advance(first.refresh_after());
    let second = broker.renew(&first, 20_000);
    let minutes = second.issued_at.millis_since(first.issued_at) / 60_000 + 60;
    let until = first.issued_at.plus_millis(minutes * 60_000);
    broker.books.advance(until);
    broker.books.advance(at(7_199).max(until));
    let period = broker.books.budget().period;
    // Each stays within the rate, so only their sum shows it.
    let since = until.millis_since(first.issued_at.max(period.start)) / 60_000;
    let of_second = until.millis_since(second.issued_at.max(period.start)) / 60_000;
    let counts = [(first.id, since * MINUTE_BYTES), (second.id, of_second * MINUTE_BYTES)];
    assert!(broker.count(until, false, &counts, 0));
    let found = suspects(&broker);
    assert_eq!(found.iter().map(|it| it.grants.clone()).collect::<Vec<_>>(), [vec![first.id, second.id]]);
    judge(&mut broker, &found[0], (since + of_second) * MINUTE_BYTES);
    assert_eq!(excess(&broker).bytes.get(), (of_second - 2) * MINUTE_BYTES);
    let raised = per_minute(&broker, second);
    assert!(raised > MINUTE_BYTES && per_minute(&broker, first) == raised);
    broker.books.advance(second.refresh_after());
    broker.restart();
    let third = broker.renew(&second, 20_000);
    assert_eq!(per_minute(&broker, third), raised, "a renewal goes on at the rate of its chain");
}

#[test]
fn what_is_above_a_promise_and_what_no_grant_explains_count_together() {
    // 0.7 % of the limit each. Ten minutes and the two edges were promised.
    let part = 470 * MINUTE_BYTES;
    let (mut broker, ann) = among_idle_ones();
    for (other, holds) in [(0, true), (part, false)] {
        let relayed = part + 12 * MINUTE_BYTES;
        assert!(broker.count(at(600), false, &[(ann.id, relayed)], other));
        broker.judge_suspects(relayed);
        let snapshot = broker.books.snapshot();
        assert_eq!((snapshot.measured.excess.bytes.get(), snapshot.unknown_bytes.get()), (part, other));
        assert_eq!(snapshot.rate_holds() && snapshot.unknown_bytes_are_few(), holds);
    }
}

#[test]
fn what_a_chain_exceeded_stays_when_its_grants_leave_the_table() {
    for is_renewed in [false, true] {
        let terms = SpenderTerms { ended_max: 0, ..SpenderTerms::default() };
        let mut broker = Broker::new(BudgetMode::Estimate, terms);
        with_room(&mut broker);
        let exceed = |broker: &mut Broker, grant: Grant, until: Timestamp| {
            broker.books.advance(until);
            assert!(broker.count(until, true, &[(grant.id, 1_000 * MINUTE_BYTES)], 0));
            broker.judge_suspects(1_000 * MINUTE_BYTES);
            excess(broker).bytes
        };
        let ann = broker.mint(requester("ann"), 300).unwrap();
        let mut renewal = None;
        if is_renewed {
            broker.books.advance(ann.refresh_after());
            renewal = Some(broker.renew(&ann, 3_000));
        }
        let of_ann = exceed(&mut broker, ann, ann.expires_at.plus_millis(180_000));
        while !broker.books.tidy() {}
        assert!(!broker.books.grants().knows(ann.id) && of_ann > ByteCount::ZERO);
        broker.restart();
        let later = ann.expires_at.plus_millis(240_000);
        let of_ann = renewal.map_or(of_ann, |renewal| {
            let of_both = exceed(&mut broker, renewal, later);
            assert!(of_both < of_ann.plus(of_ann), "what a chain exceeds counts once");
            of_both
        });
        let bob = broker.mint(requester("bob"), 300).unwrap();
        let both = exceed(&mut broker, bob, bob.expires_at.plus_millis(60_000));
        assert_eq!(both.minus(of_ann).get(), (1_000 - 8) * MINUTE_BYTES, "{is_renewed}");
    }
}

/// Time passes between the question about a chain and its answer.
#[test]
fn a_renewal_since_a_chain_was_asked_for_is_raised_and_revoked_with_it() {
    let grant_limit = Some(ByteCount::new(500 * MINUTE_BYTES));
    let terms = SpenderTerms { grant_limit, ..SpenderTerms::default() };
    let mut broker = Broker::new(BudgetMode::Estimate, terms);
    let first = broker.mint(requester("ann"), 3_600).unwrap();
    broker.books.advance(first.refresh_after());
    let until = Minute::of(broker.books.now()).start();
    assert!(broker.count(until, false, &[(first.id, 600 * MINUTE_BYTES)], 0));
    let found = suspects(&broker);
    let second = broker.renew(&first, 3_600);
    assert_eq!((found[0].grants.as_slice(), per_minute(&broker, second)), (&[first.id][..], MINUTE_BYTES));
    judge(&mut broker, &found[0], 600 * MINUTE_BYTES);
    let raised = per_minute(&broker, first);
    assert!(raised > 9 * MINUTE_BYTES && per_minute(&broker, second) == raised, "{raised}");
    let over = broker.books.revoke_over_limit();
    assert!(over[0].revoked.iter().map(|(id, _)| *id).eq([first.id, second.id]));
}

#[test]
fn what_exceeded_a_lower_rate_is_not_added_to_what_exceeds_the_present_one() {
    let (mut broker, ann) = among_idle_ones();
    let other = *broker.books.grants().iter().map(|(id, _)| id).find(|id| **id != ann.id).unwrap();
    let exceed = |broker: &mut Broker, id, minutes: u64| {
        assert!(broker.count(at(600), false, &[(id, minutes * MINUTE_BYTES)], 0));
        let found = suspects(broker);
        judge(broker, &found[0], minutes * MINUTE_BYTES);
        excess(broker).bytes.get() / MINUTE_BYTES
    };
    assert_eq!(exceed(&mut broker, ann.id, 52), 40, "10.4 Mbps of 2");
    broker.setup.terms.rates.liability = BitRate::new(16_000_000);
    broker.restart();
    assert_eq!(exceed(&mut broker, other, 1_000), 1_000 - 12 * 8);
}

#[test]
fn what_a_chain_exceeded_that_has_left_the_table_ends_with_the_period() {
    let exceeded = |left_before: bool| {
        let terms = SpenderTerms { ended_max: 0, ..SpenderTerms::default() };
        let mut broker = Broker::new(BudgetMode::Estimate, terms);
        let exceed = |broker: &mut Broker, name: &str| {
            let grant = broker.mint(requester(name), 300).unwrap();
            let until = grant.expires_at.plus_millis(180_000);
            broker.books.advance(until);
            assert!(broker.count(until, true, &[(grant.id, 1_000 * MINUTE_BYTES)], 0));
            broker.judge_suspects(1_000 * MINUTE_BYTES);
            while !broker.books.tidy() {}
            assert!(!broker.books.grants().knows(grant.id) && excess(broker).bytes > ByteCount::ZERO);
        };
        if left_before {
            exceed(&mut broker, "ann");
        }
        broker.books.advance(at(7_200));
        assert_eq!(excess(&broker), Excess::default());
        exceed(&mut broker, "bob");
        excess(&broker)
    };
    assert_eq!(exceeded(true), exceeded(false));
}

#[test]
fn a_chain_that_goes_on_over_a_reset_is_asked_for_from_the_reset() {
    let (mut broker, ann) = among_idle_ones();
    broker.books.advance(at(7_800));
    assert!(broker.count(at(7_800), false, &[(ann.id, 1_000 * MINUTE_BYTES)], 0));
    assert_eq!(suspects(&broker), [Suspect { grants: vec![ann.id], from: at(7_200), until: at(7_800) }]);
}
