//! What is released of a revoked grant, and what is not: the relay's grants, in strict mode.

use super::*;
use crate::books::commit::{Commit, NotRecorded, Written};
use crate::client::ClientKey;
use crate::clients::Holder;
use crate::grants::requester::Requester;
use crate::source::MINT_SLACK;
use crate::spender::User;

const RELAY: IceSource = IceSource::Relay;
/// An hour with the time that a mint may take.
const LIFE: u64 = 3_596;
/// Bytes of a minute at 2 Mbps.
const MINUTE: u64 = 15_000_000;

fn setup_of(source: IceSource) -> Setup {
    let mut setup = setup(BudgetMode::Strict);
    setup.terms.limit = ByteCount::new(1_000_000_000_000);
    setup.sources = vec![SourceTerms {
        source,
        tail: source.expiry_tail(),
        cut_tail: None,
        sampling: 0,
        is_read: true,
        is_probed: false,
    }];
    setup.default_source = source;
    setup
}

/// Books, and what is on disk of them.
struct World {
    setup: Setup,
    books: Books,
    disk: Stored,
}

impl World {
    fn new(source: IceSource) -> Self {
        Self::of(setup_of(source))
    }

    fn of(setup: Setup) -> Self {
        Self { books: setup.open(Some(Stored::default()), at(0)), setup, disk: Stored::default() }
    }

    fn try_commit(&mut self, id: u8, life: u64, requester: Requester) -> Option<(Grant, Commit)> {
        let source = self.setup.default_source;
        let asked = Duration::from_secs(life);
        let hold = self.books.reserve(source, asked, MINT_SLACK, &requester).ok()?;
        assert_eq!(hold.life(), asked);
        let grant = Grant { id: GrantId::new([id; 16]), source, ..minted(self.books.now(), life) };
        let commit = self.books.commit(hold, &grant, Some("user"), requester).unwrap();
        self.disk.apply(self.books.take_batch());
        Some((grant, commit))
    }

    /// A grant of an hour.
    fn commit(&mut self, id: u8, requester: Requester) -> (Grant, Commit) {
        self.try_commit(id, LIFE, requester).unwrap()
    }

    fn mint(&mut self, id: u8) -> Grant {
        let (grant, commit) = self.commit(id, Requester::default());
        self.books.note_written(&commit, Written::Yes).unwrap();
        grant
    }

    fn flush(&mut self) {
        let batch = self.books.take_batch();
        self.disk.apply(batch);
    }

    /// The process is killed.
    fn crash(&mut self) {
        let now = self.books.now();
        self.books = self.setup.open(Some(self.disk.clone()), now);
    }

    fn look(&mut self, sessions: &[GrantId]) -> u64 {
        self.books.release_gone(self.setup.default_source, |id| sessions.contains(&id))
    }

    fn promised(&self) -> u64 {
        let figures = self.books.snapshot().figures;
        figures.committed.plus(figures.committed_next).get()
    }
}

#[test]
fn a_revoked_grant_that_is_gone_keeps_only_the_minutes_until_then() {
    let mut world = World::new(RELAY);
    let (gone, stays) = (world.mint(1), world.mint(2));
    assert_eq!(world.promised(), 120 * MINUTE);
    world.books.advance(at(5 * 60_000 + 30_000));
    assert_eq!(world.look(&[]), 0, "nothing is revoked");
    world.crash();
    assert_eq!(world.look(&[]), 0, "nor was it before the crash");
    world.books.revoke(gone.id).unwrap();
    assert_eq!(world.look(&[gone.id, stays.id]), 0, "it has a session");
    assert_eq!(world.look(&[stays.id]), 54);
    assert_eq!(world.promised(), (60 + 6) * MINUTE, "the minute that runs stays promised");
    assert_eq!(world.look(&[]), 0, "once");
    world.books.advance(at(6 * 60_000));
    assert_eq!(world.books.snapshot().live_grants, 1);
    assert!(world.books.grant_end(gone.id, None).is_some(), "the relay refuses it until it expires");
}

#[test]
fn at_a_source_that_accepts_the_credential_again_nothing_is_released() {
    for source in [IceSource::Cloudflare, IceSource::Coturn] {
        let mut world = World::new(source);
        let grant = world.mint(1);
        let promised = world.promised();
        world.books.revoke(grant.id).unwrap();
        assert_eq!((world.look(&[]), world.promised()), (0, promised), "{source}");
    }
}

#[test]
fn a_grant_that_was_renewed_keeps_its_minutes_for_the_renewal() {
    let mut world = World::new(RELAY);
    let first = world.mint(1);
    world.books.advance(at(50 * 60_000));
    assert!(world.books.take_renewal(&first));
    let (second, commit) = world.commit(2, Requester { renews: Some(first.id), ..Requester::default() });
    world.books.note_written(&commit, Written::Yes).unwrap();
    let promised = world.promised();
    world.books.revoke(first.id).unwrap();
    assert_eq!((world.look(&[]), world.promised()), (0, promised), "the renewal may relay in them");
    world.books.revoke(second.id).unwrap();
    assert_eq!(world.look(&[]), 50, "the renewal reserved no minute of the first grant");
}

#[test]
fn after_the_last_renewal_the_grants_that_it_renewed_are_released() {
    let mut world = World::new(RELAY);
    let mut ids = vec![world.mint(1)];
    for (id, minute) in [(2, 50), (3, 100)] {
        world.books.advance(at(minute * 60_000));
        let last = ids.last().unwrap();
        assert!(world.books.take_renewal(last));
        let (grant, commit) = world.commit(id, Requester { renews: Some(last.id), ..Requester::default() });
        world.books.note_written(&commit, Written::Yes).unwrap();
        ids.push(grant);
    }
    let [_, second, third] = [0, 1, 2].map(|n| ids[n].id);
    assert_eq!(world.books.grants().with_renewals(ids[0].id).count(), 3);
    world.books.tidy();
    assert_eq!(world.books.grants().with_renewals(ids[0].id).count(), 3, "also after the first has ended");
    world.flush();
    world.crash();
    assert_eq!(world.books.grants().with_renewals(second).collect::<Vec<_>>(), [second, third]);
    world.books.revoke(second).unwrap();
    world.books.revoke(third).unwrap();
    assert_eq!(world.look(&[third]), 0, "the last one has a session");
    assert_eq!(world.look(&[second]), 50);
    assert_eq!(world.look(&[second]), 0, "the one before has a session");
    assert_eq!(world.look(&[]), 9);
    assert_eq!(world.promised(), (100 + 1) * MINUTE, "the minutes until now, and the one that runs");
}

#[test]
fn a_renewal_that_was_not_recorded_is_not_waited_for() {
    let mut world = World::new(RELAY);
    let first = world.mint(1);
    world.books.advance(at(50 * 60_000));
    assert!(world.books.take_renewal(&first));
    let (_, commit) = world.commit(2, Requester { renews: Some(first.id), ..Requester::default() });
    assert_eq!(world.books.note_written(&commit, Written::No), Err(NotRecorded));
    world.books.revoke(first.id).unwrap();
    assert_eq!(world.look(&[]), 0, "its renewal is still taken");
    world.books.give_renewal_back(first.id);
    assert_eq!(world.look(&[]), 9);
}

#[test]
fn while_the_wall_clock_is_ahead_the_minutes_until_its_time_stay_promised() {
    let mut world = World::new(RELAY);
    let grant = world.mint(1);
    world.books.advance(Moment { wall: at(20 * 60_000), ..at(60_000).into() });
    world.books.revoke(grant.id).unwrap();
    assert_eq!(world.look(&[]), 39);
}

#[test]
fn a_released_grant_is_refused_until_its_credential_has_expired_by_either_clock() {
    let mut world = World::new(RELAY);
    let hours = |hours: u64| at(hours * 3_600_000);
    world.books.advance(Moment { wall: hours(2), ..at(0).into() });
    let grant = world.mint(1);
    world.books.revoke(grant.id).unwrap();
    world.look(&[]);
    world.books.advance(hours(2).plus(Duration::from_secs(1_800)));
    for _ in 0..2 {
        world.books.tidy();
        assert!(world.books.grants().is_revoked(grant.id), "its credential may expire at three hours");
        world.flush();
        world.crash();
    }
    world.books.advance(hours(3));
    world.books.tidy();
    assert_eq!(world.books.grants().count(), 0);
}

#[test]
fn a_grant_is_not_released_before_its_write_is_settled() {
    let mut world = World::new(RELAY);
    let (grant, commit) = world.commit(1, Requester::default());
    world.books.revoke(grant.id).unwrap();
    assert_eq!(world.look(&[]), 0);
    assert_eq!(world.books.note_written(&commit, Written::No), Err(NotRecorded));
    assert_eq!(world.promised(), 0, "undone once");
    let _ = world.mint(2);
    assert_eq!(world.promised(), 60 * MINUTE, "nothing of another grant was released");
}

#[test]
fn the_share_of_an_address_and_of_a_user_is_released_too() {
    let mut setup = setup_of(RELAY);
    setup.bounds.spenders.user_limit = Some(ByteCount::new(10_000_000_000));
    let mut world = World::of(setup);
    let ann = User::new("ann").unwrap();
    let client = ClientKey::of("203.0.113.9".parse().unwrap());
    let spender = Spender { user: Some(ann.clone()), ..Spender::default() }.known();
    let requester = Requester { client: Some(client), spender, ..Requester::default() };
    let (grant, commit) = world.commit(1, requester);
    world.books.note_written(&commit, Written::Yes).unwrap();
    let of_user = |world: &mut World| {
        let share = world.books.user_share(&ann).unwrap();
        share.committed.plus(share.committed_next).get()
    };
    let holder = Holder { client: Some(client), user: Some(&ann), ..Holder::default() };
    let of_client = |world: &mut World| {
        world.books.grants.clients.shares(holder, at(0)).map(|share| share.map_or(0, |share| share.reserved))
    };
    assert_eq!((of_user(&mut world), of_client(&mut world)), (60 * MINUTE, [60 * MINUTE, 0, 60 * MINUTE]));
    world.books.revoke(grant.id).unwrap();
    world.look(&[]);
    assert_eq!((of_user(&mut world), of_client(&mut world)), (MINUTE, [MINUTE, 0, MINUTE]));
    world.flush();
    world.crash();
    assert_eq!((of_user(&mut world), of_client(&mut world)), (MINUTE, [MINUTE, 0, MINUTE]));
}

#[test]
fn a_longer_tail_does_not_bring_a_released_grant_back() {
    let mut world = World::new(RELAY);
    let (grant, _) = (world.mint(1), world.mint(2));
    world.books.revoke(grant.id).unwrap();
    world.look(&[]);
    world.flush();
    world.setup.sources[0].tail = Duration::from_secs(600);
    world.crash();
    assert!(world.promised() < (1 + 60 + 12) * MINUTE, "{}", world.promised() / MINUTE);
}

/// Its tail was over, so its row had ended.
#[test]
fn a_revoked_grant_that_a_longer_tail_brings_back_is_released() {
    let mut world = World::new(RELAY);
    let grant = world.mint(1);
    world.books.revoke(grant.id).unwrap();
    world.books.advance(at(7_200_000));
    while !world.books.tidy() {}
    assert!(world.books.grants().get(grant.id).is_none());
    world.flush();
    world.setup.sources[0].tail = Duration::from_secs(14_400);
    world.crash();
    assert!(world.books.grants().get(grant.id).is_some());
    assert!(world.look(&[]) > 0);
}
