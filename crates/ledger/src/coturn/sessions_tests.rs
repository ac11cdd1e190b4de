use crate::testing::prelude::*;

use super::*;

const RATE: BitRate = BitRate::new(2_000_000);
/// The most that a session hides.
const HIDDEN_MAX: u64 = HIDDEN_PACKETS_MAX * 1_200;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_736_000_000_000).plus_millis(millis)
}

fn id(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

fn grant(number: u8) -> GrantId {
    GrantId::new([number; 16])
}

/// A session of grant 1 with packets of 1,000 bytes, all of them sent to the client.
fn session(number: u64, seconds: u64, packets: u64) -> Session {
    Session {
        expires_at: None,
        id: id(number),
        user: format!("1795169280:{}", grant(1)),
        grant: grant(1),
        age: Some(Duration::from_secs(seconds)),
        packets,
        traffic: Traffic::new(0, packets * 1_000),
        reach: Reach::Bound,
    }
}

/// The sessions, with all that they were counted.
#[derive(Default)]
struct Book {
    sessions: Sessions,
    total: Traffic,
    complete_at: Timestamp,
}

struct Taken {
    total: Traffic,
    added: BTreeMap<GrantId, Traffic>,
    live: usize,
    lost: u64,
    hidden: u64,
}

impl Book {
    fn take(&mut self, sessions: &[Session], ended: &[Session], at: Timestamp) -> Taken {
        let SessionDelta { added, lost, .. } = self.sessions.take([sessions, ended], at, RATE, None);
        self.total = added.values().fold(self.total, |sum, added| sum.plus(*added));
        self.complete_at = at;
        let hidden = self.sessions.hidden(at, RATE).sent.get();
        Taken { total: self.total, added, live: self.sessions.rows.len(), lost: lost.sent.get(), hidden }
    }

    fn list(&mut self, sessions: &[Session], at: Timestamp) -> Taken {
        self.take(sessions, &[], at)
    }

    /// After a restart.
    fn reopened(mut self) -> Self {
        let mut rows = BTreeMap::new();
        for (id, row) in std::mem::take(&mut self.sessions.rows) {
            rows.insert(id, postcard::from_bytes(&postcard::to_allocvec(&row).unwrap()).unwrap());
        }
        Self { sessions: Sessions::restore(self.complete_at, rows), ..self }
    }
}

fn sent(taken: &Taken) -> u64 {
    taken.total.sent.get()
}

/// The end of a session, as coturn reports it: without an age and peers.
fn end(number: u64, packets: u64) -> Session {
    Session { age: None, reach: Reach::Nobody, ..session(number, 0, packets) }
}

#[test]
fn a_session_is_counted_what_coturn_shows_and_at_its_end_exactly() {
    let mut book = Book::default();
    assert_eq!(sent(&book.list(&[session(1, 10, 2_048)], at(0))), 2_048_000);
    assert_eq!(sent(&book.list(&[session(1, 12, 4_096)], at(2_000))), 4_096_000);
    let taken = book.take(&[], &[end(1, 5_000)], at(4_000));
    assert_eq!((sent(&taken), taken.lost, taken.live), (5_000_000, 0, 0));
}

/// The report of an end can come before the listing that misses the session, with it, or after it.
#[test]
fn an_end_counts_once_whenever_its_report_comes() {
    let shown = [session(1, 12, 4_096)];
    let cases: [[(&[Session], &[Session]); 3]; 3] = [
        [(&shown, &[end(1, 5_000)]), (&shown, &[]), (&[], &[])],
        [(&shown, &[]), (&[], &[end(1, 5_000)]), (&[], &[])],
        [(&shown, &[]), (&[], &[]), (&[], &[end(1, 5_000)])],
    ];
    for (nth, listings) in cases.into_iter().enumerate() {
        let mut book = Book::default();
        for (seconds, (sessions, ended)) in (1..).zip(listings) {
            let taken = book.take(sessions, ended, at(seconds * 2_000));
            assert_eq!(taken.lost, 0, "case {nth}");
            book = book.reopened();
        }
        let taken = book.list(&[], at(8_000));
        assert_eq!((sent(&taken), taken.live), (5_000_000, 0), "case {nth}");
    }
}

#[test]
fn a_session_that_no_listing_showed_is_counted_at_its_end() {
    let taken = Book::default().take(&[], &[end(1, 1_900), end(2, 3)], at(0));
    assert_eq!((sent(&taken), taken.lost), (1_903_000, 0));
}

#[test]
fn what_a_session_hides_is_lost_if_two_listings_miss_it_and_nobody_reports_its_end() {
    let mut book = Book::default();
    book.list(&[session(1, 10, 2_048)], at(0));
    let missed = book.list(&[], at(2_000));
    assert_eq!((missed.lost, missed.hidden, missed.live), (0, HIDDEN_MAX, 1), "its report may be on its way");
    assert!(book.sessions.grants().is_empty(), "no promise waits for it");
    let taken = book.list(&[], at(4_000));
    assert_eq!((sent(&taken), taken.lost, taken.hidden, taken.live), (2_048_000, HIDDEN_MAX, 0, 0));
}

#[test]
fn a_claim_is_what_the_sessions_of_a_grant_can_hide_at_its_rate() {
    let figures = |reach, count: u64, millis| {
        let sessions: Vec<_> = (1..=count).map(|nth| Session { reach, ..session(nth, 0, 0) }).collect();
        let mut book = Book::default();
        book.list(&sessions, at(0));
        book.list(&sessions, at(millis)).hidden
    };
    assert_eq!(figures(Reach::Permitted, 10, 57_000), 0, "nothing is relayed without a channel");
    // A session of age 0 can have begun a second ago.
    assert_eq!(figures(Reach::Bound, 1, 2_000), 3 * 250_000);
    assert_eq!(figures(Reach::Bound, 1, 57_000), HIDDEN_MAX);
    assert_eq!(figures(Reach::Bound, 100, 57_000), 58 * 250_000, "all share the rate of their grant");
    let mut book = Book::default();
    book.list(&[session(1, 60, 2_048)], at(0));
    assert_eq!(book.list(&[session(1, 62, 4_096)], at(2_000)).hidden, 2 * 250_000, "since its last figure");
}

#[test]
fn a_reused_id_is_a_new_session() {
    let younger = session(1, 3, 90_000);
    let fallen = session(1, 120, 100);
    let other =
        Session { user: "carol".into(), grant: GrantId::of_foreign("carol"), ..session(1, 120, 90_000) };
    for (what, next) in [("younger", younger), ("fallen", fallen), ("of another user", other)] {
        let mut book = Book::default();
        let before = sent(&book.list(&[session(1, 100, 80_000)], at(0)));
        let shown = next.traffic.sent.get();
        let taken = book.list(&[next], at(20_000));
        assert_eq!((sent(&taken), taken.lost, taken.live), (before + shown, HIDDEN_MAX, 1), "{what}");
    }
}

#[test]
fn sessions_of_each_grant_and_of_each_foreign_name_are_counted_separately() {
    let carol = GrantId::of_foreign("carol");
    let others = Session { user: "carol".into(), grant: carol, ..session(1, 100, 20_480) };
    let second = Session { grant: grant(2), ..session(3, 100, 20_480) };
    let taken = Book::default().list(&[others, session(2, 100, 20_480), second], at(0));
    let sum = taken.added.values().fold(Traffic::ZERO, |sum, added| sum.plus(*added));
    assert_eq!(sum, taken.total);
    assert_eq!(taken.added.keys().copied().collect::<Vec<_>>(), [grant(1), grant(2), carol]);
}

#[test]
fn the_total_never_falls_and_is_the_sum_of_all_deltas() {
    for (seed, mut dice) in Dice::cases(128) {
        let mut book = Book::default();
        let (mut total, mut now) = (Traffic::ZERO, 0);
        for _ in 0..30 {
            now += dice.below(2_000_000);
            let [sessions, ended] =
                [(); 2].map(|()| (0..dice.below(6)).map(|_| any_session(&mut dice)).collect::<Vec<_>>());
            let shown = sessions.iter().map(|s| (s.id, s.traffic.sent)).collect::<BTreeMap<_, _>>();
            let taken = book.take(&sessions, &ended, at(now));
            let added = taken.added.values().fold(Traffic::ZERO, |sum, added| sum.plus(*added));
            total = total.plus(added);
            let shown = shown.values().fold(ByteCount::ZERO, |sum, bytes| sum.plus(*bytes));
            assert!(total.sent >= shown, "seed {seed}");
            book = book.reopened();
        }
    }
}

fn any_session(dice: &mut Dice) -> Session {
    let user = u8::try_from(dice.below(3)).unwrap();
    let bytes = dice.below(1 << 40);
    Session {
        user: user.to_string(),
        grant: if user > 0 { grant(user) } else { GrantId::of_foreign("0") },
        traffic: Traffic::new(bytes / 2, bytes),
        ..session(1 + dice.below(5), dice.below(9), dice.below(100_000))
    }
}

#[test]
fn only_a_session_that_has_changed_is_stored_again() {
    let mut book = Book::default().reopened();
    book.list(&[session(1, 0, 4_096), session(2, 0, 4_096)], at(0));
    book.list(&[session(1, 60, 4_096), session(2, 60, 4_096)], at(60_000));
    let _ = book.sessions.take_changes();
    book.list(&[session(1, 62, 4_096), session(2, 62, 8_192)], at(62_000));
    let changes = book.sessions.take_changes();
    assert_eq!(changes.keys().copied().collect::<Vec<_>>(), [id(2)]);
    book.take(&[session(2, 64, 8_192)], &[end(1, 4_096)], at(64_000));
    assert_eq!(book.sessions.take_changes().get(&id(1)), Some(&None), "the session has ended");
}
