//! What a session takes is charged by what the SFU says of it, at the assumed rate of its kind, within the allowance of its client.

use super::*;

/// `a` sends a track with sound and one with video; `b` is in the same room.
fn call() -> Table {
    call_at(TERMS.video)
}

fn call_at(video: VideoRates) -> Table {
    let sessions = Sessions::new(SfuTerms { video, ..TERMS });
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

#[test]
fn sound_counts_at_its_own_rate_and_what_is_not_known_as_video() {
    let mut table = call();
    let mut take = |n, expected| {
        let wanted = table.sessions.check_request(&id("b"), pull_of("a", n)).unwrap();
        assert_eq!(table.sessions.demand(&id("b"), &wanted.pulled), Ok(expected));
        table.add("b", &wanted, &[n]);
    };
    take(0, AUDIO_KBPS);
    take(1, VIDEO);
    take(7, VIDEO);
    assert_eq!(table.sessions.taken_by("b").kbps, AUDIO_KBPS + 2 * VIDEO);
    table.settle();
    table.see("b", &state(&[0]));
    let sound = Taken { kbps: AUDIO_KBPS, charged_kbps: AUDIO_KBPS };
    assert_eq!(table.sessions.taken_by("b"), sound, "a close leaves the others");
}

#[test]
fn video_is_charged_at_the_estimated_rate_and_promised_at_the_assumed_one() {
    let mut table = call_at(VideoRates { assumed: 8_000, estimated: 3_000 });
    for n in [0, 1] {
        table.add("b", &pull_of("a", n), &[n]);
    }
    let taken = Taken { kbps: 8_000 + AUDIO_KBPS, charged_kbps: 3_000 + AUDIO_KBPS };
    assert_eq!(table.sessions.taken_by("b"), taken);
}

#[test]
fn a_track_with_two_kinds_under_one_name_counts_as_video() {
    let mut table = call();
    // One of another mid, or of one that is used again.
    for (of, n) in [(0, 3), (1, 1)] {
        let again = Push { mid: Some(name(n)), name: Some(name(of)), kind: MediaKind::Video };
        let again = Push { kind: if of == 1 { MediaKind::Audio } else { again.kind }, ..again };
        table.add("a", &RequestedTracks { pushed: vec![again], ..push(0) }, &[n]);
        let wanted = table.sessions.check_request(&id("b"), pull_of("a", of)).unwrap();
        assert_eq!(wanted.pulled[0].kind, MediaKind::Video);
    }
}

#[test]
fn a_track_whose_name_or_mid_the_sfu_chooses_keeps_its_kind() {
    let mut table = call();
    let discovered = |n, kind| Push { mid: Some(name(n)), name: None, kind };
    let of_offer = vec![discovered(1, MediaKind::Video), discovered(2, MediaKind::Audio)];
    let wanted = RequestedTracks { pushed: of_offer, ..RequestedTracks::default() };
    let wanted = table.sessions.check_request(&id("a"), wanted).unwrap();
    assert_eq!(wanted.count(), 1, "mid 1 is known");
    let by_name = Push { mid: None, name: Some(name(8)), kind: MediaKind::Audio };
    let wanted = RequestedTracks { pushed: [&wanted.pushed[..], &[by_name]].concat(), ..wanted };
    let named = |m: usize, n: usize| Entry { name: Some(name(n)), ..entry(mid(m), None) };
    let call = table.ask("a", &wanted).unwrap();
    table.answer("a", call, Some(&answer(vec![named(2, 7), named(3, 8)])));
    for n in [7, 8] {
        let pull = table.sessions.check_request(&id("b"), pull_of("a", n)).unwrap();
        assert_eq!(pull.pulled[0].kind, MediaKind::Audio, "{n}");
    }
}

/// The name of a track that is sent proves nothing about one that is pulled, and a mid has a track in each direction.
#[test]
fn a_pull_under_the_name_or_the_mid_of_a_push_is_charged() {
    let mut table = call();
    let by_name = Push { mid: None, name: Some(name(1)), kind: MediaKind::Video };
    let both = RequestedTracks { pushed: vec![by_name], ..pull_of("a", 1) };
    let named = |n: usize| Entry { name: Some(name(1)), ..entry(mid(n), None) };
    let call = table.ask("b", &both).unwrap();
    table.answer("b", call, Some(&answer(vec![named(0), named(1)])));
    assert_eq!(table.sessions.taken_by("b"), videos(1, 1));
    let call = table.ask("b", &pull(&["a"])).unwrap();
    table.answer("b", call, Some(&state(&[0])));
    let both = Taken { kbps: VIDEO + AUDIO_KBPS, charged_kbps: VIDEO + AUDIO_KBPS };
    assert_eq!(table.sessions.taken_by("b"), both);
    table.settle();
    let (sent, taken) = (tracks(&[0]).entries, state(&[0, 1]).entries);
    table.see("b", &answer([sent, taken].concat()));
    assert_eq!(table.sessions.taken_by("b"), both);
}

#[test]
fn a_client_takes_no_more_at_a_time_than_its_allowance() {
    let mut table = Table::default();
    table.sessions.terms.client_kbps = 3 * VIDEO;
    let demand = |table: &Table, name: &str, tracks| {
        table.sessions.demand(&id(name), &pull(&vec!["a"; tracks]).pulled).map(drop)
    };
    for (name, address) in [("a", 1), ("b", 1), ("c", 2)] {
        table.open(name, Some("r"), caller(address)).unwrap();
    }
    assert_eq!([demand(&table, "a", 3), demand(&table, "a", 4)], [Ok(()), Err(SfuFault::TOO_MUCH)]);
    table.add("a", &pull(&["b", "b"]), &[0, 1]);
    // Of one address.
    assert_eq!([demand(&table, "b", 1), demand(&table, "b", 2)], [Ok(()), Err(SfuFault::TOO_MUCH)]);
    table.ask("b", &pull(&["a"])).unwrap();
    assert_eq!(demand(&table, "b", 1), Err(SfuFault::TOO_MUCH), "what the SFU is asked for counts");
    assert_eq!(demand(&table, "c", 3), Ok(()), "another address has its own");
    table.see_nothing("a");
    assert_eq!(demand(&table, "b", 2), Ok(()));
}

#[test]
fn a_change_of_layers_adds_no_track_and_makes_no_video_of_sound() {
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
    assert_eq!(check(1, 0), Err(SfuFault::MALFORMED), "sound was admitted at its own rate");
    let mut by_name = pull_of("a", 1);
    by_name.pulled[0].mid = Name::new("#0");
    let by_name = table.sessions.check_update(&id("b"), by_name).map(drop);
    assert_eq!(by_name, Err(SfuFault::MALFORMED), "a transceiver that is named could be any");
    let many = RequestedTracks {
        pulled: vec![pull_of("a", 1).pulled[0].clone(); 256],
        ..RequestedTracks::default()
    };
    assert_eq!(table.sessions.check_update(&id("b"), many).map(drop), Ok(()));
}
