//! Another billing day: the days that are counted move to their periods, and nothing is lost or counted twice.

use super::*;
use crate::books::commit::Written;
use crate::coturn::listing::{Listing, Reach, Session, SessionId};
use crate::reading::Carried;
use crate::source::MINT_SLACK;
use crate::traffic::Traffic;

const HOUR: u64 = 3_600_000;

/// An instant of January 2025.
fn on(day: u64, hour: u64) -> Timestamp {
    Timestamp::from_millis(1_735_689_600_000).plus_millis(((day - 1) * 24 + hour) * HOUR)
}

/// What is on disk, and the books that the latest process has opened.
struct World {
    source: IceSource,
    mode: BudgetMode,
    disk: Stored,
    books: Books,
}

impl World {
    fn new(source: IceSource, mode: BudgetMode, billing_day: u32, now: Timestamp) -> Self {
        let books = Self::setup(source, mode, billing_day).open(Some(Stored::default()), now);
        Self { source, mode, disk: Stored::default(), books }
    }

    fn setup(source: IceSource, mode: BudgetMode, billing_day: u32) -> Setup {
        let mut setup = setup(mode);
        setup.terms.limit = ByteCount::new(1_000_000_000_000);
        setup.terms.billing_day = BillingDay::new(billing_day).unwrap();
        setup.sources[0] = SourceTerms {
            source,
            tail: source.expiry_tail(),
            cut_tail: None,
            sampling: 0,
            is_read: true,
            is_probed: false,
        };
        setup.default_source = source;
        setup
    }

    /// Another process begins in the same instant, after an orderly end.
    fn restart(&mut self, billing_day: u32) {
        self.books.finish();
        self.disk.apply(self.books.take_batch());
        let now = self.books.now();
        self.books = Self::setup(self.source, self.mode, billing_day).open(Some(self.disk.clone()), now);
        self.disk.apply(self.books.take_batch());
    }

    fn mint(&mut self, life: u64) {
        let asked = Duration::from_secs(life);
        let hold = self.books.reserve(self.source, asked, MINT_SLACK, &Requester::default()).unwrap();
        let grant = Grant { source: self.source, ..minted(self.books.now(), life) };
        let commit = self.books.commit(hold, &grant, None, Requester::default()).unwrap();
        self.disk.apply(self.books.take_batch());
        self.books.note_written(&commit, Written::Yes).unwrap();
    }

    /// The source has carried these bytes under our grants since it was looked at last, and these in all.
    fn relay(&mut self, now: Timestamp, since: u64, in_all: u64) {
        self.books.advance(now);
        if self.source == IceSource::Coturn {
            self.list(in_all);
        } else {
            let carried = Carried { as_of: now, granted: ByteCount::new(since), ..Carried::default() };
            self.books.ledger_mut().carry(self.source, &carried);
        }
    }

    /// A complete listing of one session, which has sent so many bytes.
    fn list(&mut self, sent: u64) {
        let session = Session {
            id: SessionId::new(1).unwrap(),
            user: "ours".into(),
            grant: Some(GrantId::new([255; 16])),
            expires_at: None,
            age: None,
            packets: 1,
            traffic: Traffic::new(0, sent),
            reach: Reach::Nobody,
        };
        let listing = Listing { sessions: vec![session], is_complete: true, forger: None };
        let now = self.books.now();
        self.books.take_sessions(listing, now);
    }

    /// The usage of this period, and of those before it that have any.
    fn usage(&self) -> (u64, Vec<u64>) {
        let past = self.books.ledger().past().into_iter().map(|(_, bytes)| bytes.get());
        (used(&self.books), past.filter(|bytes| *bytes > 0).collect())
    }
}

#[test]
fn the_first_half_of_a_month_belongs_to_the_period_when_the_billing_day_moves_before_it() {
    for source in [IceSource::Coturn, IceSource::Relay] {
        let mut world = World::new(source, BudgetMode::Estimate, 15, on(3, 0));
        world.relay(on(8, 12), 700, 700);
        world.relay(on(14, 23), 30, 730);
        world.relay(on(15, 0), 0, 730);
        world.relay(on(20, 12), 5, 735);
        assert_eq!(world.usage(), (5, vec![730]), "{source}");
        world.restart(1);
        assert_eq!(world.usage(), (735, vec![]), "{source}");
        world.restart(1);
        world.relay(on(20, 13), 1, 736);
        assert_eq!(world.usage(), (736, vec![]), "{source}: after a restart");
        world.restart(15);
        assert_eq!(world.usage(), (6, vec![730]), "{source}: and back");
        world.books.advance(on(46, 0));
        assert_eq!(world.usage(), (0, vec![6, 730]), "{source}: after the reset");
        world.restart(1);
        assert_eq!(world.usage(), (0, vec![736]), "{source}: the month");
    }
}

#[test]
fn what_was_promised_in_a_gap_at_coturn_stays_when_the_billing_day_moves() {
    let mut world = World::new(IceSource::Coturn, BudgetMode::Strict, 1, on(20, 12));
    world.mint(HOUR / 1_000 - 4);
    world.list(0);
    world.books.advance(on(20, 13));
    world.list(0);
    let committed = world.books.snapshot().figures.committed;
    // An hour that nobody has seen, and two hours of the tail.
    assert!(committed.get() >= 3 * 900_000_000, "{committed:?}");
    for billing_day in [1, 15, 1, 20, 1] {
        world.restart(billing_day);
        assert_eq!(world.books.snapshot().figures.committed, committed, "{billing_day}");
    }
    world.restart(21);
    assert_eq!(world.books.snapshot().figures.committed, committed, "the period ends at midnight");
    world.books.advance(on(21, 0));
    assert_eq!(world.books.snapshot().figures.committed, ByteCount::ZERO);
    world.restart(1);
    let after = world.books.snapshot().figures.committed;
    assert!(after >= ByteCount::new(900_000_000), "the hour is in the period again: {after:?}");
}

#[test]
fn a_late_claim_for_a_period_that_was_over_counts_when_its_day_is_in_the_period_again() {
    let mut world = World::new(IceSource::Cloudflare, BudgetMode::Estimate, 15, on(14, 23));
    let reset = on(15, 0);
    let opened = Timestamp::from_millis(reset.as_millis() - 10_000);
    world.books.advance(opened);
    world.mint(3_600);
    let caller = Caller::Grant(minted(opened, 3_600));
    world.books.open(caller, "c", None).unwrap();
    world.books.advance(reset.plus_millis(30_000));
    // 3.2 Mbps, but 2 were assumed.
    let _ = world.books.heartbeat(caller, "c", received(16_000_000)).ok();
    assert_eq!(world.usage(), (12_000_000, vec![4_000_000]));
    for billing_day in [1, 1, 15, 1] {
        world.restart(billing_day);
        let expected = if billing_day == 1 { (16_000_000, vec![]) } else { (12_000_000, vec![4_000_000]) };
        assert_eq!(world.usage(), expected, "{billing_day}");
    }
}
