use proptest::prelude::*;

use super::*;

/// Output of coturn 4.6.1: a session with only an allocation, then the two ends of a call.
const RECORDED: &str = "\r
    1) id=000000000000000001, user <1795169280:AAAAAAAAAAAAAAAAAAAAAA>:\r
      realm: relay.test\r
      started 2 secs ago\r
      expiring in 775 secs\r
      client protocol UDP, relay protocol UDP\r
      client addr 127.0.0.1:38010, server addr 127.0.0.1:3478\r
      relay addr 127.0.0.1:49255\r
      fingerprints enforced: ON\r
      mobile: OFF\r
      usage: rp=3, rb=324, sp=2, sb=216\r
       rate: r=0, s=0, total=0 (bytes per sec)\r
\r
    2) id=001000000000000001, user <1795169280:AAAAAAAAAAAAAAAAAAAAAQ>:\r
      realm: relay.test\r
      started 12 secs ago\r
      expiring in 598 secs\r
      client protocol UDP, relay protocol UDP\r
      client addr 127.0.0.1:43678, server addr 127.0.0.1:3478\r
      relay addr 127.0.0.1:64694\r
      fingerprints enforced: ON\r
      mobile: OFF\r
      usage: rp=1025, rb=1226568, sp=1030, sb=1232304\r
       rate: r=153321, s=154038, total=307359 (bytes per sec)\r
      peers:\r
          127.0.0.1\r
          127.0.0.1:52245\r
\r
    3) id=001000000000000002, user <carol>:\r
      realm: relay.test\r
      origin: https://call.example:443\r
      started: undefined time\r
      expired\r
      client protocol TLS, relay protocol UDP\r
      client addr [::1]:47877, server addr [::1]:5349\r
      relay addr 127.0.0.1:52245\r
      fingerprints enforced: ON\r
      mobile: OFF\r
      TLS method: TLSv1.3\r
      TLS cipher: TLS_AES_256_GCM_SHA384\r
      usage: rp=7, rb=904, sp=6, sb=536\r
       rate: r=0, s=0, total=0 (bytes per sec)\r
      peers:\r
          2001:db8::7\r
\r
  Total sessions: 3\r
\r
";

/// A session as coturn prints it, with the shortest lines that are possible.
fn session(ordinal: u64, id: u64, user: &str, origin: &str, sent: u64) -> String {
    let origin = if origin.is_empty() { String::new() } else { format!("      origin: {origin}\r\n") };
    format!(
        "\r\n    {ordinal}) id={id:018}, user <{user}>:\r\n      realm: relay.test\r\n{origin}      started 5 secs ago\r
      expired\r\n      client protocol UDP, relay protocol UDP\r\n      client addr 1.1.1.1:1, server addr 1.1.1.1:1\r
      fingerprints enforced: ON\r\n      mobile: ON\r\n      usage: rp=1, rb=9, sp=1, sb={sent}\r
       rate: r=0, s=0, total=0 (bytes per sec)\r\n"
    )
}

/// Probes are nobody's sessions. If they have relayed too much together, they are.
#[test]
fn the_brokers_own_probes_are_no_sessions_but_are_counted_among_all() {
    let listed = |[first, second]: [u64; 2]| {
        let probe = |number, sent| session(number, number, "1795169280:turn-broker-probe", "", sent);
        let text = [probe(1, first), probe(2, second), session(3, 8, "1:carol", "", 5), total(3)].concat();
        let listing = parse(text.as_bytes()).unwrap();
        assert!(listing.is_complete);
        let mut ids: Vec<_> = listing.sessions.iter().map(|session| session.id.get()).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(listed([2_000, 2_000]), [8]);
    assert_eq!(listed([200_000, 0]), [1, 2, 8]);
    assert_eq!(listed([60_000, 60_000]), [1, 2, 8]);
}

fn total(sessions: u64) -> String {
    format!("\r\n  Total sessions: {sessions}\r\n\r\n")
}

fn read(text: &str) -> Option<Listing> {
    parse(text.as_bytes())
}

fn ids(listing: &Listing) -> Vec<u64> {
    listing.sessions.iter().map(|session| session.id.get()).collect()
}

#[test]
fn a_recorded_listing_is_read() {
    let listing = read(RECORDED).unwrap();
    assert!(listing.is_complete);
    assert_eq!(ids(&listing), [1, 1_000_000_000_000_001, 1_000_000_000_000_002]);
    let [idle, caller, other] = &listing.sessions[..] else { panic!("three sessions") };
    assert_eq!((idle.packets, idle.traffic, idle.reach), (5, Traffic::new(324, 216), Reach::Nobody));
    assert_eq!(caller.traffic, Traffic::new(1_226_568, 1_232_304));
    assert_eq!((caller.packets, caller.reach), (2_055, Reach::Bound));
    assert_eq!(caller.age, Some(Duration::from_secs(12)));
    assert_eq!(caller.grant, "AAAAAAAAAAAAAAAAAAAAAQ".parse().unwrap());
    assert_eq!(caller.id.to_string(), "001000000000000001");
    assert_eq!((other.user.as_str(), other.grant, other.age), ("carol", GrantId::of_foreign("carol"), None));
    assert_eq!(other.reach, Reach::Permitted);
}

#[test]
fn an_empty_list_is_a_listing_and_any_other_text_is_not() {
    assert_eq!(read(&total(0)), Some(Listing { is_complete: true, ..Listing::default() }));
    for other in
        ["", "Unknown command\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "  Total sessions: many\r\n"]
    {
        assert_eq!(read(other), None, "{other:?}");
    }
}

#[test]
fn a_listing_that_coturn_truncated_is_incomplete() {
    let text = session(1, 7, "carol", "", 5)
        + "\r\n...\r\n"
        + &total(300)
        + "  Warning: too many output sessions, more than the\r\n  current value of cli-max-output-sessions CLI parameter.\r\n";
    let listing = read(&text).unwrap();
    assert_eq!((ids(&listing), listing.is_complete), (vec![7], false));
}

#[test]
fn a_listing_without_its_end_is_refused() {
    let whole = session(1, 7, "carol", "", 5) + &total(1);
    for end in 0..whole.len() - "1\r\n\r\n".len() {
        assert_eq!(read(&whole[..end]), None, "cut at {end}");
    }
}

#[test]
fn user_names_that_only_resemble_ours_have_no_grant() {
    for user in [
        "",
        ":",
        "AAAAAAAAAAAAAAAAAAAAAA",
        ":AAAAAAAAAAAAAAAAAAAAAA",
        "1:AAAAAAAAAAAAAAAAAAAAA",
        "x:AAAAAAAAAAAAAAAAAAAAAA",
        "1:AAAAAAAAAAAAAAAAAAAAAB",
        "1:2:AAAAAAAAAAAAAAAAAAAAAA",
        "1>:, user <1:AAAAAAAAAAAAAAAAAAAAAA",
    ] {
        let listing = read(&(session(1, 7, user, "", 5) + &total(1))).unwrap();
        assert_eq!(listing.sessions[0].grant, GrantId::of_foreign(user), "{user}");
    }
}

#[test]
fn a_session_id_must_be_a_number_that_coturn_can_assign() {
    for text in ["", "0", "000", "-1", "+1", "1 ", "1\r\nstop", "abc", "99999999999999999999"] {
        assert_eq!(session_id(text), None, "{text:?}");
    }
    assert_eq!(session_id("000000000000000012").unwrap().to_string(), "000000000000000012");
}

/// Origins of at most 127 bytes with which a client can try to forge lines of its session.
const FORGED: [&str; 6] = [
    // A session of another user, with the figures of the forger's session.
    "x\r\n\r\n    3) id=000000000000000099, user <1:AAAAAAAAAAAAAAAAAAAAAA>:",
    "x\r\n    2) id=000000000000000099, user <1:AAAAAAAAAAAAAAAAAAAAAA>:",
    "x\r\n    1) id=000000000000000099, user <>:\r\n usage: rp=1, rb=1, sp=1, sb=99999999999",
    // An early end of the listing.
    "x\r\n  Total sessions: 2\r\n\r\n> ",
    "x\r\n usage: rp=1, rb=1, sp=1, sb=1\r\n\r\n  Total sessions: 2\r\n",
    "x\r\n  Total sessions: 3\r\n    4) id=000000000000000099, user <>:",
];

#[test]
fn an_origin_that_forges_lines_adds_and_hides_no_session() {
    let newlines = "\r\n".repeat(127);
    let late = format!("{}\r\n  Total sessions: 2", "x".repeat(109));
    for forged in FORGED.into_iter().chain([&*newlines, &*late]) {
        for place in 1..=4 {
            let origin = |ordinal| if ordinal == place { forged } else { "" };
            let text: String =
                (1..=4).map(|n| session(n, n, "carol", origin(n), 5)).collect::<String>() + &total(4);
            let listing = read(&text).unwrap();
            assert_eq!((ids(&listing), listing.is_complete), (vec![1, 2, 3, 4], true), "{text}");
        }
    }
}

#[test]
fn an_origin_cannot_change_or_hide_the_figures_of_its_own_session() {
    for origin in [
        "x\r\n      usage: rp=0, rb=0, sp=0, sb=0",
        "x\r\n      usage: none",
        "x\r\n      peers:\r\n",
        "x\r\n started 9 secs ago",
    ] {
        let listing = read(&(session(1, 7, "carol", origin, 5_000) + &total(1))).unwrap();
        assert_eq!(listing.sessions[0].traffic, Traffic::new(9, 5_000), "{origin}");
        assert_eq!(listing.sessions[0].age, Some(Duration::from_secs(5)), "{origin}");
    }
}

#[test]
fn a_listing_with_too_many_sessions_is_incomplete() {
    let count = u64::try_from(SESSIONS_MAX).unwrap() + 1;
    let text: String = (1..=count).map(|n| session(n, n, "carol", "", 5)).collect();
    let listing = read(&(text + &total(count))).unwrap();
    assert_eq!((listing.sessions.len(), listing.is_complete), (SESSIONS_MAX, false));
}

/// Lines of a real listing in any order, with numbers that contradict each other.
fn pieces() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        (0u64..5, 1u64..5)
            .prop_map(|(n, id)| format!("    {n}) id={id:018}, user <1:AAAAAAAAAAAAAAAAAAAAAA>:")),
        any::<u64>().prop_map(|n| format!("      usage: rp={n}, rb={n}, sp={n}, sb={n}")),
        (0u64..4).prop_map(|n| format!("  Total sessions: {n}")),
        Just("      peers:".to_owned()),
        Just("          [::1]:5".to_owned()),
        ".{0,40}",
    ];
    proptest::collection::vec(line, 0..20).prop_map(|lines| lines.join("\n"))
}

/// What a client can make coturn print as its origin.
fn origins() -> impl Strategy<Value = String> {
    pieces().prop_map(|text| {
        let kept = text.char_indices().take_while(|(at, char)| at + char.len_utf8() <= 127);
        kept.map(|(_, char)| char).collect::<String>().replace('\n', "\r\n")
    })
}

proptest! {
    #[test]
    fn the_parser_does_not_panic_on_any_bytes(bytes: Vec<u8>) {
        let _ = parse(&bytes);
    }

    #[test]
    fn a_listing_is_complete_only_when_its_numbers_agree(text in pieces()) {
        if let Some(listing) = read(&text) {
            let headers = text.lines().filter(|line| line.contains(") id=")).count();
            prop_assert!(listing.sessions.len() <= headers);
            if listing.is_complete {
                prop_assert_eq!(listing.sessions.len(), headers);
            }
        }
    }

    #[test]
    fn no_origin_can_add_or_hide_a_session(origin in origins(), place in 1u64..4) {
        let text: String = (1..4)
            .map(|n| session(n, n, "carol", if n == place { &origin } else { "" }, n))
            .collect::<String>() + &total(3);
        let listing = read(&text).unwrap();
        prop_assert!(listing.is_complete);
        let sent: Vec<_> = listing.sessions.iter().map(|session| session.traffic.sent.get()).collect();
        prop_assert_eq!((ids(&listing), sent), (vec![1, 2, 3], vec![1, 2, 3]));
    }
}
