//! Bytes after a tail that is shorter than the default take the default back, until the next start.

use super::*;

const CLOUDFLARE: IceSource = IceSource::Cloudflare;
const DEFAULT: u64 = 7_200;
const SHORT: u64 = 600;

fn broker(mode: BudgetMode) -> Broker {
    let mut setup = setup(mode);
    setup.terms.limit = ByteCount::new(1_000 * GB);
    setup.sources[0].tail = Duration::from_secs(SHORT);
    Broker::open(setup, at(0))
}

/// How long a grant is promised after its expiry, in seconds, without the clocks and what rounding adds.
fn tail_of(broker: &Broker, grant: &Grant) -> u64 {
    let until = broker.books.grants().any(grant.id).unwrap().promised.unwrap().until.start();
    let (clocks, slack) = (CLOCKS * 60, MINT_SLACK.as_secs());
    (until.since(grant.expires_at).as_secs() - clocks - slack) / 60 * 60
}

/// The provider was asked about the tail of this grant, and has counted so many bytes after it, up to `after` seconds after the expiry.
fn look_at(broker: &mut Broker, grant: &Grant, bytes: u64, after: u64) {
    let place = (Minute::of(grant.expires_at), grant.id);
    broker.books.note_tails(CLOUDFLARE, place, Traffic::new(0, bytes), Duration::from_secs(after));
}

#[test]
fn bytes_after_a_short_tail_take_the_default_back_for_live_and_new_promises_until_the_next_start() {
    let mut broker = broker(BudgetMode::Strict);
    let (looked_at, live) = (broker.mint_any(600), broker.mint_any(86_400));
    assert_eq!([&looked_at, &live].map(|grant| tail_of(&broker, grant)), [SHORT; 2]);
    broker.books.advance(at(3 * 3_600_000));
    look_at(&mut broker, &looked_at, 0, 0);
    broker.books.advance(at(3 * 3_600_000));
    assert_eq!(tail_of(&broker, &live), SHORT, "nothing was counted after it");
    let before = broker.promised();
    look_at(&mut broker, &looked_at, 1, 900);
    let snapshot = broker.books.snapshot();
    // One byte, and promises still rely on the short tail.
    assert!(snapshot.broken().eq([BoundBreak::Excess]));
    broker.books.advance(at(3 * 3_600_000));
    assert_eq!(tail_of(&broker, &live), DEFAULT);
    assert!(broker.promised() > before);
    let new = broker.mint_any(600);
    assert_eq!(tail_of(&broker, &new), DEFAULT);
    let snapshot = broker.books.snapshot();
    assert!(snapshot.bound_holds() && snapshot.measured.agrees(), "the larger promises cover it");
    assert_eq!(snapshot.measured.restored_tail, Some((Duration::from_secs(900), CLOUDFLARE)));
    broker.restart();
    assert_eq!(broker.books.snapshot().measured.restored_tail, None);
    let next = broker.mint_any(600);
    assert_eq!([&live, &new, &next].map(|grant| tail_of(&broker, grant)), [DEFAULT, DEFAULT, SHORT]);
}

#[test]
fn bytes_of_the_last_period_take_the_default_back_and_exceed_nothing_in_this_one() {
    let mut broker = broker(BudgetMode::Estimate);
    let live = broker.mint_any(86_400);
    look_at(&mut broker, &live, 0, 900);
    broker.books.advance(at(1_000));
    assert_eq!(tail_of(&broker, &live), DEFAULT);
    assert_eq!(broker.books.snapshot().measured.excess.bytes, ByteCount::ZERO);
}

#[test]
fn bytes_after_the_default_stay_in_excess_until_a_start_with_a_longer_tail() {
    let mut broker = broker(BudgetMode::Estimate);
    let live = broker.mint_any(86_400);
    look_at(&mut broker, &live, 11 * GB, 9_000);
    broker.books.advance(at(1_000));
    assert_eq!((tail_of(&broker, &live), broker.books.snapshot().bound_holds()), (DEFAULT, false));
    for (tail, holds) in [(SHORT, false), (9_000, true)] {
        broker.setup.sources[0].tail = Duration::from_secs(tail);
        broker.restart();
        assert_eq!(broker.books.snapshot().bound_holds(), holds, "{tail}");
        assert_eq!(tail_of(&broker, &live), tail.max(DEFAULT));
    }
}
