//! For each setting, what it accepts and what it refuses: the ends of its range, and what is just beyond. The sentence says
//! what was expected; it shows the value unless it is a secret.

use super::Environment;
use super::names;
use super::settings::shown;
use super::testing::load_in;

/// The problems of `name` when it has this value, and no other setting has one.
fn problems(name: &str, value: &str) -> Vec<String> {
    let outcome = load_in(&Environment::from_pairs([(name, value)]));
    let problems = outcome.map_or_else(|errors| errors.problems().to_vec(), |_| Vec::new());
    problems.into_iter().filter(|problem| problem.variable == name).map(|problem| problem.expected).collect()
}

#[track_caller]
fn assert_accepted_and_refused(name: &str, expected: &str, accepted: &[&str], refused: &[&str]) {
    for value in accepted {
        assert!(problems(name, value).is_empty(), "{name}={value}: {:?}", problems(name, value));
    }
    let is_secret = names::ALL.iter().any(|known| known.is_secret && known.name == name);
    for value in refused {
        let found = if is_secret { String::new() } else { format!(", found {}", shown(value)) };
        assert_eq!(problems(name, value), [format!("expected {expected}{found}")], "{name}={value}");
    }
}

#[test]
fn whole_numbers_have_a_range() {
    for (name, min, max) in [
        ("PORT", 0, 65_535),
        ("RATE_LIMIT_REQUESTS", 1, 10_000),
        ("RATE_LIMIT_RENEWALS", 1, 10_000),
        ("RATE_LIMIT_WINDOW_SECONDS", 1, 86_400),
        ("RATE_LIMIT_IPV6_PREFIX", 1, 128),
        ("RATE_LIMIT_MAX_CLIENTS", 1, 10_000_000),
        ("TURN_TTL_SECONDS", 60, 172_800),
        ("TURN_POOL_MAX", 0, 4_096),
        ("TURN_EXPIRY_TAIL_SECONDS", 0, 604_800),
        ("RESERVED_PERCENT_PER_CLIENT", 1, 100),
        ("HEARTBEAT_SECONDS", 1, 3_600),
        ("CLOUDFLARE_ANALYTICS_INTERVAL_SECONDS", 1, 3_600),
        ("ANALYTICS_LAG_SECONDS", 0, 3_600),
        ("ANALYTICS_MARGIN_PERCENT", 0, 50),
        ("SIGNALING_TTL_SECONDS", 60, 86_400),
        ("SIGNALING_SOCKETS_PER_CLIENT", 1, 4_096),
        ("WS_PING_INTERVAL_SEC", 1, 3_600),
        ("WS_PONG_TIMEOUT_SEC", 1, 3_600),
        ("WS_READ_TIMEOUT_SEC", 1, 3_600),
        ("READ_LIMIT_BYTES", 1_024, 1_048_576),
        ("WEBHOOK_TIMEOUT_SEC", 1, 60),
        ("P2PCF_ORIGIN_QUOTA", 0, 1_000_000_000),
        ("ROOM_MEMBERS_MAX", 2, 256),
        ("ROOM_SWEEP_SECONDS", 1, 300),
    ] {
        let expected = format!("a number from {min} to {max}");
        let [below, above] = [min - 1, max + 1].map(|number: i64| number.to_string());
        let accepted = [&*min.to_string(), &max.to_string(), &format!("00{max}")];
        let refused =
            [&*below, &above, "+1", "-1", "1.0", "1e3", "60s", "abc", "٣", "99999999999999999999999"];
        assert_accepted_and_refused(name, &expected, &accepted, &refused);
    }
}

#[test]
fn amounts_have_decimals_and_a_range() {
    let texts = ["-1", "-0", "+1", "1e3", "nan", "inf", "1,5", "1 000", "1.2.3", ".", "1000000.1", "1 TB"];
    let gb = "GB from 0 to 1000000, decimals allowed";
    let gb_above_zero = "GB above 0, at most 1000000, decimals allowed";
    let rate = "Mbps above 0, at most 1000000, decimals allowed";
    let price = "a price from 0 to 1000000, at most six decimals";
    for (name, expected, accepted, refused) in [
        ("BANDWIDTH_LIMIT_GB", gb, "0", &[][..]),
        ("FREE_GB", gb, "0", &[]),
        ("USER_LIMIT_GB", gb_above_zero, "0.001", &["0", "0.0"]),
        ("ESTIMATED_MBPS_PER_CONNECTION", rate, "0.000001", &["0", "0.0000001"]),
        ("LIABILITY_MBPS_PER_GRANT", rate, "0.000001", &["0", "0.0000001"]),
        ("CLAIMS_MBPS_PER_CLIENT", rate, "0.000001", &["0", "0.0000001"]),
        ("PRICE_PER_GB", price, "0.000001", &["0.0000001", "$0.05"]),
    ] {
        let accepted = [accepted, "1000000", "0.5", ".5", "5.", "007"];
        assert_accepted_and_refused(name, expected, &accepted, &[&texts[..], refused].concat());
    }
    let days = "a number of days up to 3650, such as 30";
    assert_accepted_and_refused("KEY_ROTATION_DAYS", days, &["0.5", "3650"], &["0", "-1", "3651", "0.00001"]);
    let day = "a day of the month from 1 to 31";
    assert_accepted_and_refused("BILLING_DAY", day, &["1", "31"], &["0", "32", "-1", "+1", "1.5", "first"]);
    let percents = "percents from 1 to 100, comma-separated";
    assert_accepted_and_refused(
        "ALERT_PERCENTS",
        percents,
        &["1,100"],
        &["0", "101", "50;80", "50,,80", "-5"],
    );
}

#[test]
fn words_are_those_of_a_list_in_any_case() {
    let switch = "true or false";
    let yes_or_no = &["true", "FALSE", "1", "0", "Yes", "no", "on", "off"][..];
    for (name, expected, accepted) in [
        ("LOG_FORMAT", "text or json", &["Text", "json"][..]),
        ("DOORS", "turn, matrix or ice", &["turn,Matrix,ice"]),
        ("TURN_ENABLED", switch, yes_or_no),
        ("AUTH_REQUIRED", switch, &["false"]),
        ("TYPE_MESSAGE", switch, yes_or_no),
        ("SFU_STRICT_PASSTHROUGH", switch, yes_or_no),
        ("SFU_LOCK", "true, false or auto", yes_or_no),
        ("ICE_URLS", "short or all", &["Short", "all"]),
        ("ICE_SOURCES", "cloudflare, coturn, relay, manual or stun", &["cloudflare,relay,stun"]),
        ("BUDGET_MODE", "estimate or strict", &["estimate", "Strict"]),
        ("LIMIT_ACTION", "refuse or fallback", &["refuse", "fallback"]),
        ("BILLED_DIRECTIONS", "egress or both", &["egress", "both"]),
        ("CLIENT_ADDRESSES", "full, prefix or none", &["full", "prefix", "none"]),
        ("SIGNALING", "ayame, p2pcf, rooms, sfu, peerjs, yjs or reports", &["ayame, yjs"]),
    ] {
        assert_accepted_and_refused(name, expected, accepted, &["maybe"]);
    }
}

#[test]
fn addresses_and_names_have_one_form() {
    let ip = "an IP address such as 0.0.0.0, 127.0.0.1 or ::";
    let hosts = "host names or addresses such as turn.example, without a scheme";
    let cidrs = "addresses or CIDRs such as 10.0.0.0/8";
    let origins =
        "origins as scheme://host[:port] without a path, https://*.example.com for any one label, or * alone";
    let listen = "address:port such as 127.0.0.1:3478 or [::1]:3478";
    let public = "the address of a single host, such as 203.0.113.7";
    let cli = "host:port, such as 127.0.0.1:5766";
    let header = "the name of a header";
    let identifier = "1 to 128 letters, digits, _ or -";
    let (longest, long) = ("x".repeat(128), "x".repeat(129));
    for (name, expected, accepted, refused) in [
        ("HOST", ip, &["::1"][..], &["localhost", "0.0.0.0:3001"][..]),
        ("CLIENT_URL", origins, &["*"], &["https://example.com/app", "example.com", "null"]),
        ("ALLOWED_HOSTS", hosts, &["[::1]"], &["https://turn.example", "*.example"]),
        ("TRUSTED_PROXIES", cidrs, &["::1"], &["10.0.0.0/33", "proxy.example", "10.0.0.1:80"]),
        (
            "RELAY_LISTEN",
            listen,
            &["[::1]:0"],
            &["3478", "localhost:3478", "127.0.0.1", "::1:3478", "224.0.0.1:1", "[::ffff:127.0.0.1]:1"],
        ),
        (
            "RELAY_PUBLIC_IP",
            public,
            &["203.0.113.7"],
            &["relay.example", "0.0.0.0", "::", "127.0.0.1", "ff02::1", "::ffff:203.0.113.7"],
        ),
        (
            "COTURN_CLI",
            cli,
            &["[::1]:5766"],
            &["localhost", "localhost:", ":5766", "localhost:0", "localhost:65536", "::1:5766", "a b:1"],
        ),
        ("USER_HEADER", header, &["X-User"], &["a b"]),
        ("COUNTRY_HEADER", header, &["X-Country"], &["a b"]),
        ("COPY_WEBSOCKET_HEADER_NAMES", header, &["X-A,X-B"], &["a b"]),
        ("CLOUDFLARE_TURN_KEY_ID", identifier, &["abc_-1", &longest], &["a/b", &long, "é"]),
        ("CLOUDFLARE_ACCOUNT_ID", identifier, &["abc_-1"], &["a b"]),
        ("CALLS_APP_ID", identifier, &["abc_-1"], &["a.b"]),
        ("PEERJS_KEY", "1 to 64 letters, digits, _ or -", &["key", &longest[..64]], &["a/b", &longest[..65]]),
        ("AUTH_USER_CLAIM", "1 to 256 visible ASCII characters without spaces", &["sub"], &["a b"]),
        ("RUST_LOG", "log directives such as info or turn_broker=debug,warn", &["debug"], &["a=b=c"]),
        ("CURRENCY", "the three letters of a currency, as USD", &["chf"], &["$", "US", "EURO", "U5D"]),
    ] {
        assert_accepted_and_refused(name, expected, accepted, refused);
    }
}

#[test]
fn urls_have_a_scheme_and_no_user() {
    let base = "an http: or https: URL without user, query or fragment";
    let not_a_base = [
        "example.com",
        "ftp://example.com",
        "https://",
        "https:example.com",
        "https://example.com?a=b",
        "https://example.com#a",
        "http://a b",
    ];
    for name in ["CLOUDFLARE_API_BASE", "CLOUDFLARE_REST_BASE", "CLOUDFLARE_ANALYTICS_BASE", "CALLS_API_URL"]
    {
        assert_accepted_and_refused(name, base, &["http://127.0.0.1:1/proxy"], &not_a_base);
        let hidden = format!("expected {base}, found a value with an @, which is not shown");
        assert_eq!(problems(name, "https://me:hush@a.example"), [&*hidden]);
        assert_eq!(problems(name, "https://me@a.example"), [hidden]);
    }
    let public = "an http: or https: URL without user, query and fragment, at most 200 characters";
    assert_accepted_and_refused("PUBLIC_URL", public, &["https://a.example/base"], &not_a_base);
    let web = "an http: or https: URL without user";
    assert_accepted_and_refused("AUTH_JWKS_URL", web, &["https://a.example/k?a=b"], &["issuer.example"]);
    for name in ["ALERT_WEBHOOK_URL", "AUTHN_WEBHOOK_URL", "DISCONNECT_WEBHOOK_URL", "FEEDBACK_URL"] {
        let refused = ["hooks.example", "ftp://hooks.example", "https://me:hush@hooks.example"];
        assert_accepted_and_refused(name, web, &["https://hooks.example/?a"], &refused);
    }
    let stun = "stun: or stuns: URLs";
    assert_accepted_and_refused("STUN_URLS", stun, &["stun:a"], &["turn:a.example", "https://a.example"]);
    let turn = "stun:, stuns:, turn: or turns: URLs";
    assert_accepted_and_refused("COTURN_URLS", turn, &["turn:a"], &["b"]);
}

#[test]
fn a_path_has_plain_segments_and_no_other_route() {
    let path = "a path such as /calls that no other route has: letters, digits, - _ and . between slashes";
    let refused = [
        "p2pcf",
        "/",
        "//",
        "/a//b",
        "/..",
        "/{id}",
        "/a b",
        "/a?b",
        "/.ok",
        "/api",
        "/api/calls/x",
        "/health",
        "/turn/x",
        "/yjs",
        "/peerjs/x",
        "/call-quality-feedback",
    ];
    for name in ["P2PCF_PATH", "SFU_PREFIXES"] {
        assert_accepted_and_refused(name, path, &["/p2pcf", "/a/b.c/", "/api/calls"], &refused);
    }
}

#[test]
fn secrets_have_a_length_and_visible_characters() {
    let (max, long) = ("x".repeat(1_024), "x".repeat(1_025));
    for (name, min) in
        [("OPERATOR_TOKEN", 16), ("REPORTER_TOKEN", 16), ("AUTH_JWT_SECRET", 32), ("CALLS_APP_SECRET", 1)]
    {
        let expected = format!("{min} to 1024 visible ASCII characters without spaces");
        let (shortest, spaces) = ("x".repeat(min), "hush ".repeat(8) + "x");
        let mut refused = vec![&*spaces, "hush-hush-hush-ü-hush-hush-hush-hush", &long];
        if min > 1 {
            refused.push(&shortest[1..]);
        }
        assert_accepted_and_refused(name, &expected, &[&shortest, &max], &refused);
    }
    let key = "whsec_ and at least 16 bytes in base64, or 16 to 1024 visible ASCII characters without spaces";
    let refused =
        ["hush-hush-hush-", "hush hush hush hush", "whsec_hush-is-not-base64!", "whsec_aHVzaC1odXNoLWh1c2gt"];
    assert_accepted_and_refused("ALERT_WEBHOOK_SECRET", key, &[&max], &[&refused[..], &[&long]].concat());
    let token = "visible ASCII characters without spaces";
    for name in ["CLOUDFLARE_TURN_API_TOKEN", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ANALYTICS_TOKEN"] {
        assert_accepted_and_refused(name, token, &["h"], &["hush hush", "ü"]);
    }
    let password = "text without control characters";
    for name in ["COTURN_SECRET", "COTURN_CLI_PASSWORD"] {
        assert_accepted_and_refused(name, password, &["hush hush"], &["hush\u{7f}hush"]);
    }
}
