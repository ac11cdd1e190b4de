//! What a session takes is charged by what the SFU says of it, at the assumed rate of its kind, within the allowance of its client.

use super::*;

/// `a` sends a track with sound and one with video; `b` is in the same room.
fn call() -> Table {
    call_at(TERMS.video)
}

fn call_at(video: VideoRates) -> Table {
    let sessions = Sessions::new(SfuTerms { video, ..TERMS }, 1);
    let mut table = Table { sessions, now: Duration::ZERO };
    for name in ["a", "b"] {
        table.open(name, Some("r"), caller(1)).unwrap();
    }
    let mut sends = push(2);
    sends.pushed[0].kind = MediaKind::Audio;
    table.add("a", &sends, &[0, 1]);
    table
}

/// A pull of what `from` sends under this name.
fn pull_of(from: &str, n: usize) -> RequestedTracks {
    let pulled = vec![Pull { session: id(from), name: Some(name(n)), mid: None, kind: MediaKind::Video }];
    RequestedTracks { pulled, ..RequestedTracks::default() }
}

fn taken_by(table: &Table, name: &str) -> (u32, u32) {
    let Taken { kbps, active_kbps } = table.sessions.rows[&id(name)].taken();
    (kbps, active_kbps)
}

#[test]
fn sound_counts_at_its_own_rate_and_what_is_not_known_as_video() {
    let mut table = call();
    let mut take = |n, expected| {
        let wanted = table.sessions.check_request(&id("b"), pull_of("a", n)).unwrap();
        assert_eq!(table.sessions.demand(&id("b"), &wanted.pulled), Ok(Demand { tracks: 1, kbps: expected }));
        table.add("b", &wanted, &[n]);
    };
    take(0, AUDIO_KBPS);
    take(1, VIDEO);
    take(7, VIDEO);
    assert_eq!(taken_by(&table, "b").0, AUDIO_KBPS + 2 * VIDEO);
    table.closed("b", &[1, 7]);
    assert_eq!(taken_by(&table, "b"), (AUDIO_KBPS, AUDIO_KBPS), "a close leaves the others");
}

#[test]
fn video_is_charged_at_the_estimated_rate_and_promised_at_the_assumed_one() {
    let mut table = call_at(VideoRates { assumed: 8_000, estimated: 3_000 });
    for n in [0, 1] {
        let wanted = table.sessions.check_request(&id("b"), pull_of("a", n)).unwrap();
        table.add("b", &wanted, &[n]);
    }
    assert_eq!(taken_by(&table, "b"), (8_000 + AUDIO_KBPS, 3_000 + AUDIO_KBPS));
}

#[test]
fn a_track_with_two_kinds_under_one_name_counts_as_video() {
    let mut table = call();
    let mut sends = push(4);
    sends.pushed.drain(..3);
    sends.pushed[0].name = Some(name(0));
    table.add("a", &sends, &[3]);
    let wanted = table.sessions.check_request(&id("b"), pull_of("a", 0)).unwrap();
    assert_eq!(wanted.pulled[0].kind, MediaKind::Video);
}

#[test]
fn what_the_sfu_names_itself_has_its_kind() {
    let mut table = call();
    let discovered = |n, kind| Push { mid: Some(name(n)), name: None, kind };
    let of_offer = vec![discovered(1, MediaKind::Video), discovered(2, MediaKind::Audio)];
    let wanted = RequestedTracks { pushed: of_offer, ..RequestedTracks::default() };
    let wanted = table.sessions.check_request(&id("a"), wanted).unwrap();
    assert_eq!(wanted.count(), 1, "mid 1 is known");
    let by_name = Push { mid: None, name: Some(name(8)), kind: MediaKind::Audio };
    let wanted = RequestedTracks { pushed: [&wanted.pushed[..], &[by_name]].concat(), ..wanted };
    let named =
        |mid: usize, n: usize| ConfirmedTrack { name: Some(name(n)), ..entry(sent(mid).id, None, true) };
    let answer = SfuAnswer { tracks: vec![named(2, 7), named(3, 8)], ..SfuAnswer::default() };
    table.sessions.answered(&id("a"), &wanted, &answer, table.now);
    for n in [7, 8] {
        let pull = table.sessions.check_request(&id("b"), pull_of("a", n)).unwrap();
        assert_eq!(pull.pulled[0].kind, MediaKind::Audio, "{n}");
    }
}

/// The name of a track that is sent proves nothing about one that is pulled.
#[test]
fn a_pull_under_the_name_of_a_push_is_pulled() {
    let mut table = call();
    let by_name = Push { mid: None, name: Some(name(1)), kind: MediaKind::Video };
    let both = RequestedTracks { pushed: vec![by_name], ..pull_of("a", 1) };
    let named = |mid: usize| ConfirmedTrack { name: Some(name(1)), ..entry(sent(mid).id, None, true) };
    let answer = SfuAnswer { tracks: vec![named(0), named(1)], ..SfuAnswer::default() };
    table.sessions.answered(&id("b"), &both, &answer, table.now);
    assert_eq!(table.sessions.rows[&id("b")].tracks(), [taken(0), taken(1)]);
}

#[test]
fn a_pull_that_is_changed_from_sound_to_video_counts_as_video() {
    let mut table = call();
    let wanted = table.sessions.check_request(&id("b"), pull_of("a", 0)).unwrap();
    table.add("b", &wanted, &[0]);
    let see = |table: &mut Table, n| {
        let (session, name) = (Some(id("a")), Some(name(n)));
        let track = ConfirmedTrack { session, name, ..entry(sent(0).id, Some(Direction::Remote), true) };
        table.see("b", &SfuAnswer { tracks: vec![track], ..SfuAnswer::default() });
    };
    see(&mut table, 0);
    assert_eq!(taken_by(&table, "b"), (AUDIO_KBPS, AUDIO_KBPS));
    see(&mut table, 1);
    assert_eq!(taken_by(&table, "b"), (VIDEO, VIDEO));
}

#[test]
fn a_pull_is_charged_from_the_look_that_reports_it_active() {
    let mut table = call();
    table.sessions.answered(&id("b"), &pull(&["a"]), &tracks(&[0]), table.now);
    assert_eq!(taken_by(&table, "b"), (VIDEO, 0), "nobody has seen it");
    table.now += secs(20);
    table.see("b", &state(&[(0, true)]));
    assert_eq!(taken_by(&table, "b"), (VIDEO, VIDEO));
    let late = |table: &mut Table| {
        let changed = table.sessions.take_changed(table.now);
        changed.into_iter().flat_map(|session| session.late).collect::<Vec<_>>()
    };
    let since = LateTrack { kbps: VIDEO, span: secs(20) };
    assert_eq!(late(&mut table), [since], "no look has shown it before, so since it was added");
    table.see("b", &state(&[(0, false)]));
    table.now += secs(20);
    table.see("b", &state(&[(0, true)]));
    assert_eq!(late(&mut table), [since], "active at either of two looks is active between them");
    assert_eq!(late(&mut table), [], "it is reported once");
    table.now += secs(20);
    table.see("b", &state(&[(0, true)]));
    assert_eq!(late(&mut table), [], "it was charged all the time");
}

#[test]
fn a_mid_has_a_track_in_each_direction() {
    let mut table = call();
    table.add("b", &push(1), &[0]);
    let reported = ConfirmedTrack { direction: Some(Direction::Remote), ..entry(sent(0).id, None, true) };
    let answer = SfuAnswer { tracks: vec![reported], ..SfuAnswer::default() };
    table.sessions.answered(&id("b"), &pull(&["a"]), &answer, table.now);
    assert_eq!(table.sessions.rows[&id("b")].tracks(), [sent(0), taken(0)]);
}

#[test]
fn a_client_takes_no_more_at_a_time_than_its_allowance() {
    let mut table = Table::default();
    table.sessions.terms.client_kbps = 3 * VIDEO;
    let group = |n: u16| ClientKey::of(IpAddr::V6([0x2001, 0xdb8, 7, n, 0, 0, 0, 1].into()));
    let demand = |table: &Table, name: &str, tracks| {
        table.sessions.demand(&id(name), &pull(&vec!["a"; tracks]).pulled).map(drop)
    };
    for (name, n) in [("a", 1), ("b", 1), ("c", 2), ("d", 3), ("e", 4), ("f", 5), ("g", 6)] {
        table.open(name, Some("r"), Caller { user: None, grant: None, address: group(n) }).unwrap();
    }
    assert_eq!((demand(&table, "a", 3), demand(&table, "a", 4)), (Ok(()), Err(Fault::TooMuch)));
    table.add("a", &pull(&["b", "b"]), &[0, 1]);
    assert_eq!(
        (demand(&table, "b", 1), demand(&table, "b", 2)),
        (Ok(()), Err(Fault::TooMuch)),
        "of one address"
    );
    table.sessions.ask(&id("b"), Demand { tracks: 1, kbps: VIDEO }, table.now);
    assert_eq!(demand(&table, "b", 1), Err(Fault::TooMuch), "what the SFU is asked for counts");
    assert_eq!(demand(&table, "c", 3), Ok(()), "another address has its own");
    for name in ["c", "d", "e"] {
        table.add(name, &pull(&["a"; 3]), &[0, 1, 2]);
    }
    assert_eq!(demand(&table, "f", 1), Err(Fault::TooMuch), "a /48 has four times as much");
    table.closed("e", &[0, 1, 2]);
    assert_eq!(demand(&table, "f", 3), Ok(()));
}

#[test]
fn a_user_has_one_allowance_on_all_addresses_and_an_address_with_users_ten() {
    let mut table = Table::default();
    table.sessions.terms.client_kbps = 3 * VIDEO;
    let user = |n: u8, address| Caller { user: User::new(&n.to_string()), ..caller(address) };
    let demand = |table: &Table, name: &str, tracks| {
        table.sessions.demand(&id(name), &pull(&vec!["0"; tracks]).pulled).map(drop)
    };
    for n in 0..11 {
        table.now += secs(1);
        table.open(&n.to_string(), Some("r"), user(n, 1)).unwrap();
    }
    table.open("far", Some("r"), user(0, 2)).unwrap();
    table.add("0", &pull(&["0"; 3]), &[0, 1, 2]);
    assert_eq!(demand(&table, "far", 1), Err(Fault::TooMuch), "the same user");
    for n in 1..10 {
        assert_eq!(demand(&table, &n.to_string(), 3), Ok(()));
        table.add(&n.to_string(), &pull(&["0"; 3]), &[0, 1, 2]);
    }
    assert_eq!(demand(&table, "10", 1), Err(Fault::TooMuch), "the address");
    table.now += secs(1);
    table.open("anonymous", Some("r"), caller(1)).unwrap();
    assert_eq!(demand(&table, "anonymous", 3), Ok(()), "whoever has no user has an allowance apart");
}

#[test]
fn a_session_that_cannot_be_looked_at_three_times_is_closed() {
    let mut table = call();
    table.add("b", &pull(&["a"]), &[0]);
    for n in 1..FAILED_LOOKS_MAX {
        table.sessions.look_failed(&id("b"), table.now);
        assert_eq!(table.wait(Duration::ZERO), [], "look {n}");
    }
    table.see("b", &state(&[(0, true)]));
    for _ in 0..FAILED_LOOKS_MAX {
        assert_eq!(table.wait(Duration::ZERO), [], "an answer in between counts");
        table.sessions.look_failed(&id("b"), table.now);
    }
    assert_eq!(table.wait(Duration::ZERO), [(id("b"), vec![taken(0)])]);
}

/// A page that knows when it is looked at is silent then. Over many looks at times that it does not know, all that flows is charged.
#[test]
fn a_page_that_is_silent_at_each_look_that_it_causes_is_charged_for_what_flows() {
    let mut table = call();
    let wanted = table.sessions.check_request(&id("b"), pull_of("a", 1)).unwrap();
    table.add("b", &wanted, &[1]);
    table.see("b", &state(&[(1, false)]));
    table.sessions.take_changed(table.now);
    let (mut charged, mut flowed) = (0_u64, 0_u64);
    for second in 1..40_000_u64 {
        // It sends for 13 s, then it is silent for a second and causes a look.
        let (is_active, causes_look) = (second % 14 != 0, second % 14 == 0);
        flowed += u64::from(is_active);
        charged += u64::from(taken_by(&table, "b").1 / VIDEO);
        table.now += secs(1);
        if causes_look {
            table.sessions.may_have_changed(&id("b"));
        }
        for look in table.sessions.take_looks(9, table.now).iter().filter(|look| look.id == id("b")) {
            table.sessions.looked(look, &state(&[(1, is_active)]), table.now);
        }
        let late = table.sessions.take_changed(table.now).into_iter().flat_map(|session| session.late);
        charged += late.map(|late| late.span.as_secs()).sum::<u64>();
    }
    let percent = charged * 100 / flowed;
    assert!((95..=115).contains(&percent), "{percent} %");
}

#[test]
fn a_track_that_is_closed_before_a_look_has_shown_it_is_looked_at_first() {
    let mut table = call();
    let wanted = table.sessions.check_request(&id("b"), pull_of("a", 1)).unwrap();
    table.sessions.answered(&id("b"), &wanted, &tracks(&[1]), table.now);
    table.now += secs(1);
    let look = table.sessions.look_before_close(&id("b")).unwrap();
    table.sessions.looked(&look, &state(&[(1, true)]), table.now);
    let changed = table.sessions.take_changed(table.now);
    let late: Vec<_> = changed.into_iter().flat_map(|session| session.late).collect();
    assert_eq!(late, [LateTrack { kbps: VIDEO, span: secs(1) }]);
    assert_eq!(table.sessions.look_before_close(&id("b")), None, "what is active is charged already");
}

#[test]
fn a_change_of_layers_needs_no_room_and_makes_no_video_of_sound() {
    let mut table = call();
    for n in [0, 1] {
        let wanted = table.sessions.check_request(&id("b"), pull_of("a", n)).unwrap();
        table.add("b", &wanted, &[n]);
    }
    let check = |n, mid| {
        let mut wanted = pull_of("a", n);
        wanted.pulled[0].mid = Some(name(mid));
        table.sessions.check_update(&id("b"), wanted).map(drop)
    };
    assert_eq!([check(0, 0), check(1, 1), check(0, 1)], [Ok(()), Ok(()), Ok(())]);
    assert_eq!(check(1, 0), Err(Fault::Malformed), "sound was admitted at its own rate");
    let mut by_name = pull_of("a", 1);
    by_name.pulled[0].mid = Name::new("#0");
    let by_name = table.sessions.check_update(&id("b"), by_name).map(drop);
    assert_eq!(by_name, Err(Fault::Malformed), "a transceiver that is named could be any");
    let many = RequestedTracks {
        pulled: vec![pull_of("a", 1).pulled[0].clone(); 256],
        ..RequestedTracks::default()
    };
    assert_eq!(table.sessions.check_update(&id("b"), many).map(drop), Ok(()));
}

#[test]
fn after_a_failed_look_and_a_change_the_session_is_looked_at_at_once() {
    let mut table = call();
    table.add("b", &pull(&["a"]), &[0]);
    let due = |table: &mut Table| {
        table.sessions.take_looks(9, table.now).into_iter().map(|look| look.id).collect::<Vec<_>>()
    };
    assert_eq!(due(&mut table), []);
    table.sessions.may_have_changed(&id("b"));
    assert_eq!(due(&mut table), [id("b")]);
    table.sessions.look_failed(&id("b"), table.now);
    assert_eq!(due(&mut table), [id("b")]);
    table.sessions.look_failed(&id("b"), table.now);
    assert_eq!(due(&mut table), [], "then after a while");
    table.now += LOOK_AGAIN;
    assert_eq!(due(&mut table), [id("b")]);
}

/// What is asked for is unseen, and looked at after a while. What the SFU has answered may flow at once.
#[test]
fn a_page_is_looked_at_soon_after_the_answer_to_each_of_its_pulls() {
    let mut table = call();
    for mid in [0, 1] {
        table.sessions.ask(&id("b"), Demand { tracks: 1, kbps: VIDEO }, table.now);
        table.sessions.answered(&id("b"), &pull(&["a"]), &tracks(&[mid]), table.now);
        let due = table.sessions.looks.of(&id("b")).unwrap();
        assert!(due <= table.now + LOOK_SOON_MAX, "due at {due:?}");
        table.sessions.looks.set(id("b"), table.now + LOOK_AFTER_MAX);
    }
}

#[test]
fn the_times_of_looks_are_random_and_soon_while_a_page_connects() {
    let mut table = call();
    let spans =
        |table: &mut Table| (0..1_000).map(|_| table.sessions.look_after(&id("b"))).collect::<BTreeSet<_>>();
    let ends = |spans: BTreeSet<Duration>| (*spans.first().unwrap(), *spans.last().unwrap());
    assert_eq!(ends(spans(&mut table)), (LOOK_AFTER_MIN, LOOK_AFTER_MAX));
    table.sessions.answered(&id("b"), &pull(&["a"]), &tracks(&[0]), table.now);
    for _ in 0..3 {
        assert_eq!(ends(spans(&mut table)), (LOOK_SOON_MIN, LOOK_SOON_MAX));
        table.see("b", &state(&[(0, false)]));
    }
    assert_eq!(ends(spans(&mut table)), (LOOK_AFTER_MIN, LOOK_AFTER_MAX), "it stays silent");
    assert_ne!(Sessions::new(TERMS, 2).look_after(&id("b")), Sessions::new(TERMS, 1).look_after(&id("b")));
}
