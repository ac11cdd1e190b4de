use turn_budget::ByteCount;

use super::PACKET_BYTES;
use super::*;
use crate::coturn::{HIDDEN_PACKETS_MAX, Reach};
use crate::testing::Dice;

const DEFAULT_RATE: BitRate = BitRate::new(2_000_000);

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

fn listing<const N: usize>(sessions: [Session; N]) -> Listing {
    Listing { sessions: sessions.into(), is_complete: true }
}

/// The sessions, with all that they were charged.
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
}

impl Book {
    fn take(&mut self, listing: &Listing, at: Timestamp) -> Taken {
        let SessionDelta { added, .. } = self.sessions.take(listing, at, DEFAULT_RATE, None);
        self.total = added.values().fold(self.total, |sum, added| sum.plus(*added));
        if listing.is_complete {
            self.complete_at = at;
        }
        Taken { total: self.total, added, live: self.sessions.rows.len() }
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

/// What was estimated before midnight is charged again after it, so that no day has less than was shown on it.
#[test]
fn an_estimate_of_one_day_charges_nothing_on_the_next() {
    let mut book = Book::default();
    book.take(&listing([session(1, 0, 0)]), at(0));
    book.take(&listing([session(1, 10, 4_096)]), at(10_000));
    let before = book.total.sent.get();
    assert_eq!(book.sessions.take_changes().len(), 1);
    book.sessions.begin_day(at(10_000), Duration::MAX);
    assert_eq!(book.sessions.take_changes().len(), 1, "it is stored");
    book.take(&listing([session(1, 12, 6_144)]), at(12_000));
    assert!(before > 4_096_000 && book.total.sent.get() - before >= 2_048_000);
}

#[test]
fn hidden_bytes_are_charged_once_at_the_last_rate() {
    let mut book = Book::default();
    // 2,048 packets in 10 s: 204.8 kB/s.
    book.take(&listing([session(1, 0, 0)]), at(0));
    let taken = book.take(&listing([session(1, 10, 2_048)]), at(10_000));
    assert!(sent(&taken) >= 2_048_000);
    let taken = book.take(&listing([session(1, 15, 2_048)]), at(15_000));
    let estimated = sent(&taken);
    assert!((2_048_000 + 1_024_000..=2_048_000 + 2_047_000).contains(&estimated), "{estimated}");
    let taken = book.take(&listing([session(1, 3_600, 2_048)]), at(3_600_000));
    assert_eq!(sent(&taken), 2_048_000 + 2_047_000, "one more packet and coturn would have shown them");
    let taken = book.take(&listing([session(1, 3_610, 4_096)]), at(3_610_000));
    let over = sent(&taken) - 4_096_000;
    assert!(over <= 2_047_000, "the estimate was not replaced: {over} bytes too many");
}

#[test]
fn a_session_that_ends_between_two_listings_is_charged_until_the_second() {
    let mut book = Book::default();
    book.take(&listing([session(1, 100, 20_480)]), at(0));
    book.take(&listing([session(1, 110, 22_528)]), at(10_000));
    let taken = book.take(&listing([]), at(20_000));
    // 10 s at 204.8 kB/s, or at up to 409.5 kB/s, plus the bytes that were hidden at the last listing.
    let bounds = 22_528_000 + 2_048_000..=22_528_000 + 4_095_000 + 2_047_000;
    assert!(bounds.contains(&sent(&taken)), "{}", sent(&taken));
    assert_eq!(taken.live, 0);
    let again = book.take(&listing([]), at(30_000));
    assert_eq!((again.total, again.added.len()), (taken.total, 0));
}

#[test]
fn an_idle_session_is_charged_little_for_its_end() {
    let mut book = Book::default();
    book.take(&listing([session(1, 100, 20_480)]), at(0));
    book.take(&listing([session(1, 110, 40_960)]), at(10_000));
    let rested = sent(&book.take(&listing([session(1, 210, 40_960)]), at(110_000)));
    assert_eq!(rested, 40_960_000 + 2_047_000);
    let ended = sent(&book.take(&listing([]), at(112_000)));
    // It carried at most 2,047 packets in 100 s, so at most 41 in 2 s.
    assert_eq!(ended - rested, 2_047_000 * 2 / 100);
}

#[test]
fn a_session_that_was_cut_is_charged_until_the_cut() {
    let charged_at_the_end = |cut: Option<u64>| {
        let mut book = Book::default();
        book.take(&listing([session(1, 100, 20_480)]), at(0));
        // It survives this cut.
        book.sessions.cut(&[id(1)], at(0));
        let before = sent(&book.take(&listing([session(1, 110, 40_960)]), at(10_000)));
        if let Some(cut) = cut {
            book.sessions.cut(&[id(1), id(2)], at(cut));
        }
        sent(&book.take(&listing([]), at(12_000))) - before
    };
    // 20,480 to 22,527 packets in 10 s. The hidden ones are already charged.
    let per_second = 2_252_700;
    assert_eq!(charged_at_the_end(None), 2 * per_second);
    assert_eq!(charged_at_the_end(Some(10_000)), 0);
    assert_eq!(charged_at_the_end(Some(10_500)), per_second / 2);
    assert_eq!(charged_at_the_end(Some(60_000)), 2 * per_second, "the listing shows an earlier end");
}

#[test]
fn a_session_that_ended_in_a_gap_is_charged_for_ten_minutes() {
    let mut book = Book::default();
    book.take(&listing([session(1, 100, 20_480)]), at(0));
    let mut book = book.reopened();
    let taken = book.take(&listing([]), at(8 * 3_600_000));
    // 20,480 to 22,527 packets in 100 s.
    let ten_minutes = 600 * 225_270;
    assert_eq!(sent(&taken), 20_480_000 + 2_047_000 + ten_minutes);
}

#[test]
fn a_session_that_was_never_measured_is_estimated_once_it_has_a_channel() {
    for (reach, most) in [(Reach::Nobody, 0), (Reach::Permitted, 0), (Reach::Bound, 2_047 * 1_200)] {
        let mut book = Book::default();
        let unreported = |seconds| Session { reach, ..session(1, seconds, 0) };
        let taken = book.take(&listing([unreported(2)]), at(0));
        assert_eq!(sent(&taken), most.min(750_000), "{reach:?}: 2 to 3 s at 2 Mbps");
        let taken = book.take(&listing([unreported(62)]), at(60_000));
        assert_eq!(sent(&taken), most, "{reach:?}");
        assert_eq!(sent(&book.take(&listing([]), at(70_000))), most, "{reach:?}");
    }
}

#[test]
fn a_reused_id_is_a_new_session() {
    let younger = session(1, 3, 90_000);
    let fallen = session(1, 120, 100);
    let other =
        Session { user: "carol".into(), grant: GrantId::of_foreign("carol"), ..session(1, 120, 90_000) };
    for (what, next) in [("younger", younger), ("fallen", fallen), ("of another user", other)] {
        let mut book = Book::default();
        let before = sent(&book.take(&listing([session(1, 100, 80_000)]), at(0)));
        let shown = next.traffic.sent.get();
        let taken = book.take(&listing([next]), at(20_000));
        assert!(sent(&taken) >= before + shown, "{what}: {} after {before}", sent(&taken));
        assert_eq!(taken.live, 1);
    }
}

#[test]
fn an_estimate_is_never_faster_than_a_relay() {
    let mut book = Book::default();
    book.take(&listing([session(1, 0, 0)]), at(0));
    let first = sent(&book.take(&listing([session(1, 0, 2_000_000)]), at(1)));
    let taken = book.take(&listing([]), at(8_001));
    assert!(sent(&taken) - first <= 100_000_000 + 2_047_000, "8 s at 100 Mbps");
}

#[test]
fn sessions_of_each_grant_and_of_each_foreign_name_are_counted_separately() {
    let carol = GrantId::of_foreign("carol");
    let others = Session { user: "carol".into(), grant: carol, ..session(1, 100, 20_480) };
    let second = Session { grant: grant(2), ..session(3, 100, 20_480) };
    let taken = Book::default().take(&listing([others, session(2, 100, 20_480), second]), at(0));
    let sum = taken.added.values().fold(Traffic::ZERO, |sum, added| sum.plus(*added));
    assert_eq!(sum, taken.total);
    assert_eq!(taken.added.keys().copied().collect::<Vec<_>>(), [grant(1), grant(2), carol]);
}

/// A session with packets of one size at one rate, as coturn shows it.
#[derive(Clone, Debug)]
struct Flowing {
    begins: u64,
    ends: u64,
    packet_bytes: u64,
    packets_per_second: u64,
}

impl Flowing {
    fn packets(&self, now: u64) -> u64 {
        now.min(self.ends).saturating_sub(self.begins) * self.packets_per_second / 1_000
    }

    fn bytes(&self, now: u64) -> u64 {
        self.packets(now) * self.packet_bytes
    }

    fn shown(&self, number: u64, now: u64) -> Option<Session> {
        let packets = self.packets(now) / 2_048 * 2_048;
        let traffic = Traffic::new(0, packets * self.packet_bytes);
        let session = session(number, now.saturating_sub(self.begins) / 1_000, packets);
        (self.begins <= now && now < self.ends).then_some(Session { traffic, ..session })
    }
}

#[test]
fn the_total_never_falls_and_is_the_sum_of_all_deltas() {
    for (seed, mut dice) in Dice::cases(128) {
        let mut book = Book::default();
        let (mut total, mut now) = (Traffic::ZERO, 0);
        for _ in 0..30 {
            now += dice.below(2_000_000);
            let sessions: Vec<_> = (0..dice.below(6)).map(|_| any_session(&mut dice)).collect();
            let shown = sessions.iter().map(|s| (s.id, s.traffic.sent)).collect::<BTreeMap<_, _>>();
            let listing = Listing { sessions, is_complete: dice.below(2) == 0 };
            let taken = book.take(&listing, at(now));
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
fn steady_sessions_are_charged_their_bytes_within_what_coturn_hides() {
    for (seed, mut dice) in Dice::cases(64) {
        let flows: Vec<_> = (0..=dice.below(5))
            .map(|_| {
                let begins = dice.below(100_000);
                let (packet_bytes, packets_per_second) = (60 + dice.below(1_240), 1 + dice.below(2_999));
                Flowing { begins, ends: begins + dice.below(300_000), packet_bytes, packets_per_second }
            })
            .collect();
        let pause = 1_000 + dice.below(14_000);
        let mut book = Book::default();
        let times = |until| (0..=until).step_by(usize::try_from(pause).unwrap());
        for now in times(450_000).take(60) {
            let sessions = (1..).zip(&flows).filter_map(|(n, flow)| flow.shown(n, now)).collect();
            let taken = book.take(&Listing { sessions, is_complete: true }, at(now));
            let (mut least, mut most) = (0, 0);
            for flow in &flows {
                let hidden = HIDDEN_PACKETS_MAX * flow.packet_bytes;
                let seen: Vec<_> = times(now).filter_map(|at| flow.shown(1, at)).collect();
                if seen.iter().any(|session| session.packets > 0) {
                    least += flow.bytes(now);
                }
                if !seen.is_empty() {
                    let between = flow.packet_bytes * flow.packets_per_second * pause / 1_000;
                    // Twice for packets hidden at both ends, and twice because an age of almost 2 s is shown as 1 s.
                    most += flow.bytes(now) + 2 * hidden + 4 * between + HIDDEN_PACKETS_MAX * PACKET_BYTES;
                }
            }
            let charged = sent(&taken);
            assert!((least..=most).contains(&charged), "{charged} of {least}..={most} at {now}, seed {seed}");
        }
    }
}

#[test]
fn only_a_session_that_has_changed_is_stored_again() {
    let mut book = Book::default().reopened();
    book.take(&listing([session(1, 0, 4_096), session(2, 0, 4_096)]), at(0));
    book.take(&listing([session(1, 60, 4_096), session(2, 60, 4_096)]), at(60_000));
    let _ = book.sessions.take_changes();
    book.take(&listing([session(1, 62, 4_096), session(2, 62, 8_192)]), at(62_000));
    let changes = book.sessions.take_changes();
    assert_eq!(changes.keys().copied().collect::<Vec<_>>(), [id(2)]);
    book.take(&listing([session(2, 64, 8_192)]), at(64_000));
    assert_eq!(book.sessions.take_changes().get(&id(1)), Some(&None), "the session has ended");
}

#[test]
fn a_restored_session_was_last_seen_in_the_last_complete_listing() {
    let mut book = Book::default().reopened();
    book.take(&listing([session(1, 0, 4_096)]), at(0));
    let stored = book.sessions.take_changes();
    book.take(&listing([session(1, 3_600, 4_096)]), at(3_600_000));
    let rows = stored.into_iter().filter_map(|(id, row)| Some((id, row?))).collect();
    let mut sessions = Sessions::restore(book.complete_at, rows);
    let ended = sessions.take(&listing([]), at(3_601_000), DEFAULT_RATE, None);
    let added = ended.added.values().map(|added| added.sent.get()).sum::<u64>();
    assert!(added < 1_000, "it was idle: {added} bytes for one second, not those of ten minutes");
}
