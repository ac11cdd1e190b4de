//! The sessions of the SFU: promised and counted for their owners, until a look does not find them.

mod clocks;
mod limits;

use super::*;

const MINUTE: u64 = 60_000;
/// A track of 2 Mbps, as sent with video, and one of 0.1 Mbps, as sent with sound.
const VIDEO: u32 = 2_000;
const AUDIO: u32 = 100;
/// What one track with video may take in a minute, and is counted for it.
const TRACK_MINUTE: u64 = 15_000_000;
/// Minutes that a look promises from now on, the one that has just begun included.
const AHEAD: u64 = 5 + CLOCKS;
/// The same with those before it.
const PROMISED: u64 = CLOCKS + AHEAD;

fn setup_of(mode: BudgetMode, user_limit: Option<u64>) -> Setup {
    let mut setup = setup(mode);
    if mode == BudgetMode::Estimate {
        setup.terms.limit = ByteCount::new(100_000_000_000);
    }
    setup.sources.push(SourceTerms { is_read: true, ..SourceTerms::of_unconfigured(IceSource::Sfu) });
    let user_limit = user_limit.map(ByteCount::new);
    setup.bounds.spenders = SpenderTerms { user_limit, ..SpenderTerms::default() };
    setup.bounds.client.reserved_percent = 100;
    setup
}

fn open(mode: BudgetMode) -> Books {
    setup_of(mode, None).open(Some(Stored::default()), at(0))
}

fn session(tracks: u32, charged: u32) -> SfuSession {
    let (user, call) = (User::new("ann"), Some(Call::of("sfu", "r")));
    SfuSession {
        spender: Spender { user, call, ..Spender::default() }.known(),
        opened_by: None,
        client: "192.0.2.1".parse().unwrap(),
        ends_at: at(48 * 60 * MINUTE),
        kbps: tracks * VIDEO,
        charged_kbps: charged * VIDEO,
    }
}

/// What the SFU has answered.
fn set(books: &mut Books, name: &str, tracks: u32, charged: u32) {
    books.set_sfu_session(&name.into(), Some(&session(tracks, charged)));
}

/// A look has found a session with these tracks.
fn look(books: &mut Books, name: &str, tracks: u32) {
    set(books, name, tracks, tracks);
    books.extend_sfu_session(name);
}

/// The session `a` asks for tracks with video.
fn pull(books: &mut Books, tracks: u32) -> Result<(), NotAdmitted> {
    books.pull("a", tracks * VIDEO)
}

fn end(books: &mut Books, name: &str) {
    books.set_sfu_session(&name.into(), None);
}

fn committed(books: &Books) -> u64 {
    books.snapshot().figures.committed.get()
}

fn to_close(books: &Books) -> Vec<Arc<str>> {
    books.sfu_sessions_to_close()
}

fn restarted(setup: &Setup, books: &mut Books, now: Timestamp) -> Books {
    setup.open(Some(crate::testing::stored_by(books)), now)
}

#[test]
fn a_pull_is_promised_before_the_sfu_is_asked_and_charged_from_its_answer() {
    let mut books = open(BudgetMode::Estimate);
    set(&mut books, "a", 0, 0);
    assert_eq!(pull(&mut books, 2), Ok(()));
    assert_eq!((used(&books), committed(&books)), (0, 2 * PROMISED * TRACK_MINUTE));
    books.advance(at(MINUTE));
    assert_eq!(used(&books), 0, "the SFU has not answered");
    set(&mut books, "a", 2, 1);
    books.advance(at(2 * MINUTE));
    assert_eq!((used(&books), committed(&books)), (TRACK_MINUTE, 2 * PROMISED * TRACK_MINUTE));
    look(&mut books, "a", 2);
    assert_eq!(committed(&books), 2 * (2 + PROMISED) * TRACK_MINUTE, "a look promises it for longer");
    assert_eq!(books.snapshot().live_grants, 1);
}

#[test]
fn more_tracks_count_at_once_and_fewer_once_nothing_of_the_time_before_is_counted_any_more() {
    let mut books = open(BudgetMode::Estimate);
    look(&mut books, "a", 1);
    books.advance(at(MINUTE + MINUTE / 2));
    // In the middle of a minute, a minute more is promised, and one is over: the first one before the session.
    let promised = PROMISED + 1;
    assert_eq!(pull(&mut books, 2), Ok(()));
    assert_eq!(committed(&books), (1 + 3 * promised) * TRACK_MINUTE);
    // The minutes before, this one, and those in which the provider may count it.
    let kept = CLOCKS + 1 + CLOCKS;
    for _ in 0..9 {
        look(&mut books, "a", 1);
        let expected = 1 + 3 * kept + (promised - kept);
        assert_eq!(committed(&books), expected * TRACK_MINUTE, "the highest rate of the minute");
    }
    assert_eq!(pull(&mut books, 1), Ok(()));
    assert!(committed(&books) >= (1 + 3 * kept + 2 * (promised - kept)) * TRACK_MINUTE);
    books.advance(at(2 * MINUTE));
    look(&mut books, "a", 0);
    books.advance(at(3 * MINUTE));
    let before = committed(&books);
    books.advance(at(60 * MINUTE));
    assert_eq!(committed(&books), before, "it takes nothing any more");
}

/// The estimated and the assumed rate of a grant are those of video.
#[test]
fn a_promise_that_is_over_covers_nothing_of_the_minute_in_which_less_is_pulled() {
    let mut books = open(BudgetMode::Estimate);
    set(&mut books, "a", 0, 0);
    assert_eq!(pull(&mut books, 4), Ok(()));
    // The SFU has refused them.
    set(&mut books, "a", 0, 0);
    books.advance(at(10 * MINUTE));
    assert_eq!(pull(&mut books, 1), Ok(()));
    assert_eq!(committed(&books), (4 * PROMISED + PROMISED) * TRACK_MINUTE);
}

#[test]
fn sound_alone_is_promised_and_charged_at_its_own_rate() {
    for mode in [BudgetMode::Estimate, BudgetMode::Strict] {
        let mut setup = setup_of(mode, Some(100 * TRACK_MINUTE));
        (setup.terms.rates.liability, setup.rules.estimated_rate) =
            (BitRate::new(8_000_000), BitRate::new(4_000_000));
        let mut books = setup.open(Some(Stored::default()), at(0));
        let sound = SfuSession { kbps: 3 * AUDIO, charged_kbps: 2 * AUDIO, ..session(0, 0) };
        books.set_sfu_session(&"a".into(), Some(&SfuSession { kbps: 0, charged_kbps: 0, ..sound.clone() }));
        assert_eq!(books.pull("a", 3 * AUDIO), Ok(()));
        books.set_sfu_session(&"a".into(), Some(&sound));
        let minute = TRACK_MINUTE / 20;
        assert_eq!(committed(&books), 3 * PROMISED * minute, "{mode:?}");
        books.advance(at(10 * MINUTE));
        books.extend_sfu_session("a");
        assert_eq!(
            (used(&books), committed(&books)),
            (20 * minute, 3 * (10 + PROMISED) * minute),
            "{mode:?}"
        );
        let mut again = restarted(&setup, &mut books, at(20 * MINUTE));
        // Without a look, this minute is promised, with those in which the provider may count it.
        let promised = CLOCKS + 21 + CLOCKS;
        assert_eq!((used(&again), committed(&again)), (40 * minute, 3 * promised * minute), "{mode:?}");
        end(&mut again, "a");
        again.advance(at(21 * MINUTE));
        let user = User::new("ann").unwrap();
        let share = again.user_share(&user).unwrap();
        assert_eq!((used(&again), share.usage.used.get()), (40 * minute, 40 * minute), "{mode:?}");
    }
}

#[test]
fn a_session_that_takes_nothing_or_has_ended_releases_what_is_ahead() {
    for ends in [true, false] {
        let mut books = open(BudgetMode::Estimate);
        look(&mut books, "a", 2);
        books.advance(at(2 * MINUTE + 1));
        if ends {
            end(&mut books, "a");
        } else {
            look(&mut books, "a", 0);
        }
        let stays = 2 * (CLOCKS + 3 + CLOCKS) * TRACK_MINUTE;
        assert_eq!(committed(&books), stays, "the minute that has begun may be counted later");
        books.advance(at(60 * MINUTE));
        assert!(books.tidy());
        let snapshot = books.snapshot();
        assert_eq!((committed(&books), snapshot.live_grants), (stays, 0));
        assert_eq!(books.grants.count(), usize::from(!ends));
        set(&mut books, "a", 1, 1);
        assert_eq!(books.grants.count(), usize::from(!ends), "what is over does not come back");
    }
}

/// Nobody asks an SFU that is not in the settings any more whether a page has left.
#[test]
fn without_the_sfu_in_the_settings_a_session_ends_with_its_life() {
    let with = setup_of(BudgetMode::Estimate, None);
    let without = Setup { sources: with.sources[..1].to_vec(), ..with.clone() };
    let life = 50;
    for (setup, is_over) in [(with.clone(), false), (without, true)] {
        let mut books = with.open(Some(Stored::default()), at(0));
        let open = SfuSession { ends_at: at(life * MINUTE), ..session(2, 2) };
        books.set_sfu_session(&"a".into(), Some(&open));
        books.extend_sfu_session("a");
        let mut again = restarted(&setup, &mut books, at(MINUTE));
        again.advance(at(life * MINUTE - 1));
        assert_eq!(again.sfu_sessions().count(), 1);
        again.advance(at(life * MINUTE));
        again.advance(at(2 * life * MINUTE));
        let minutes = if is_over { life } else { 2 * life };
        assert_eq!(used(&again), minutes * 2 * TRACK_MINUTE);
        assert_eq!(again.sfu_sessions().count(), usize::from(!is_over));
    }
}

#[test]
fn a_restart_knows_the_open_sessions_and_what_is_promised_for_them() {
    let setup = setup_of(BudgetMode::Estimate, None);
    let mut books = open(BudgetMode::Estimate);
    look(&mut books, "a", 3);
    set(&mut books, "b", 0, 0);
    look(&mut books, "c", 1);
    end(&mut books, "c");
    let mut again = restarted(&setup, &mut books, at(1));
    assert_eq!(committed(&again), committed(&books));
    let mut known: Vec<_> = again.sfu_sessions().collect();
    known.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(known, [("a".into(), session(3, 3)), ("b".into(), session(0, 0))]);
    let twice = restarted(&setup, &mut again, at(2));
    assert!(twice.sfu_sessions().count() <= 2);
}

#[test]
fn the_bytes_of_a_session_count_for_its_user_label_address_and_call() {
    let mut books = open(BudgetMode::Estimate);
    let of = session(2, 2);
    let by_page = Spender {
        label: Label::new("team-1"),
        origin: Some("https://a.example".into()),
        ..of.spender.as_deref().cloned().unwrap()
    };
    books.set_sfu_session(&"a".into(), Some(&SfuSession { spender: by_page.known(), ..of }));
    books.advance(at(10 * MINUTE));
    books.extend_sfu_session("a");
    let names = [
        (SpenderKind::User, "ann"),
        (SpenderKind::Label, "team-1"),
        (SpenderKind::Origin, "https://a.example"),
        (SpenderKind::Address, "192.0.2.1"),
        (SpenderKind::Call, "sfu/r"),
    ];
    for (kind, name) in names {
        let rows = crate::testing::spenders(&books, kind);
        let row = rows.iter().find(|row| row.key.is_some()).unwrap();
        assert_eq!(row.key.as_ref().unwrap().to_string(), name);
        assert_eq!(row.sums.bytes().get(), 20 * TRACK_MINUTE, "{name}");
        assert_eq!(row.sums.claimed(), ByteCount::ZERO, "the SFU said so");
    }
}

#[test]
fn a_session_without_a_row_pulls_nothing() {
    assert_eq!(open(BudgetMode::Estimate).pull("a", 1), Err(NotAdmitted::TooManyGrants));
}

#[test]
fn only_bytes_of_the_sfu_replace_what_is_promised_there() {
    let mut setup = setup_of(BudgetMode::Estimate, None);
    setup.sources[1].proof = ProofRule::Bytes;
    let mut books = setup.open(Some(Stored::default()), at(0));
    look(&mut books, "a", 1);
    books.advance(at(10 * MINUTE));
    look(&mut books, "a", 1);
    let count = |books: &mut Books, owner: IceSource, minutes, bytes| {
        crate::testing::take(books, owner, crate::testing::reading(at(minutes * MINUTE), bytes))
    };
    let before = (used(&books), committed(&books));
    assert_eq!(count(&mut books, IceSource::Cloudflare, 6, 7), ReadingOutcome::Taken);
    // TURN says nothing of the SFU.
    assert_eq!((used(&books), committed(&books)), (before.0 + 7, before.1 + 7));
    assert_eq!(count(&mut books, IceSource::Sfu, 6, 0), ReadingOutcome::Unproven);
    assert_eq!((used(&books), committed(&books)), (before.0 + 7, before.1 + 7));
    assert!(!books.budget().needs_probe(IceSource::Cloudflare, ByteCount::ZERO), "no probe shows the SFU");
    assert_eq!(count(&mut books, IceSource::Sfu, 6, 5), ReadingOutcome::Taken);
    assert_eq!(used(&books), 12 + 4 * TRACK_MINUTE);
    assert_eq!(committed(&books), 12 + (4 + AHEAD) * TRACK_MINUTE, "all until its end is released");
    assert_eq!(books.snapshot().measured.observed, None, "it is no rate of ours");
    assert!(books.snapshot().bound_holds());
    books.set_sfu_session(&"a".into(), None);
    books.advance(at(20 * MINUTE));
    // It had pulled until then.
    assert_eq!(count(&mut books, IceSource::Sfu, 19, 5), ReadingOutcome::Unproven);
    books.advance(at(78 * MINUTE));
    assert_eq!(count(&mut books, IceSource::Sfu, 77, 5), ReadingOutcome::Unproven);
    let snapshot = books.snapshot();
    assert_eq!(snapshot.measured.disbelieved, Some(IceSource::Sfu.into()));
    assert!(!snapshot.bound_holds());
}

#[test]
fn an_empty_count_of_the_sfu_is_right_while_no_session_pulls() {
    let mut setup = setup_of(BudgetMode::Estimate, None);
    setup.sources[1].proof = ProofRule::Bytes;
    let mut books = setup.open(Some(Stored::default()), at(0));
    books.advance(at(10 * MINUTE));
    let reading = crate::testing::reading(at(MINUTE), 0);
    assert_eq!(crate::testing::take(&mut books, IceSource::Sfu, reading), ReadingOutcome::Taken);
}

#[test]
fn a_session_that_ends_while_the_time_is_in_doubt_is_charged_until_the_time_is_known() {
    let mut books = open(BudgetMode::Estimate);
    look(&mut books, "a", 1);
    books.advance(Moment { wall: at(30 * MINUTE), in_doubt: true, ..at(MINUTE).into() });
    assert!(!books.set_sfu_session(&"a".into(), None), "it must be noted again");
    assert_eq!(books.sfu_sessions().count(), 1);
    books.advance(at(30 * MINUTE));
    assert!(books.set_sfu_session(&"a".into(), None));
    assert_eq!((used(&books), books.sfu_sessions().count()), (30 * TRACK_MINUTE, 0));
}

#[test]
fn what_a_session_takes_over_a_reset_is_charged_in_parts_to_its_user() {
    let reset = 120 * MINUTE;
    let mut books =
        setup_of(BudgetMode::Estimate, Some(100_000_000_000)).open(Some(Stored::default()), at(0));
    books.advance(at(reset - 10 * MINUTE));
    look(&mut books, "a", 1);
    books.advance(at(reset + 5 * MINUTE));
    set(&mut books, "a", 1, 0);
    let share = books.user_share(&User::new("ann").unwrap()).unwrap();
    assert_eq!(share.usage.used.get(), 5 * TRACK_MINUTE);
}

#[test]
fn a_session_of_a_person_who_was_removed_is_looked_at_until_it_has_ended() {
    let mut books = open(BudgetMode::Estimate);
    books.set_sfu_session(&"a".into(), Some(&session(0, 0)));
    books.pull("a", VIDEO).unwrap();
    set(&mut books, "a", 1, 1);
    let _ = books.forget_user(&User::new("ann").unwrap());
    let left: Vec<_> = books.sfu_sessions().collect();
    assert_eq!(
        left.iter().map(|(name, session)| (&**name, session.kbps)).collect::<Vec<_>>(),
        [("a", VIDEO)]
    );
    assert_eq!(left[0].1.spender.as_ref().and_then(|of| of.user.clone()), None);
}
