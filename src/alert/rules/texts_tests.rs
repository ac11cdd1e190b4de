use super::*;
use crate::alert::{AlertCost, Forecast, SpenderNow, TopSpender};
use std::time::Duration;
use turn_ledger::{
    BillingDay, Block, ByteCount, GrantId, IceSource, Money, NamesPerson, Person, SpenderKey, SpenderKind,
    User,
};

/// Every message. After a change of the texts, the failing test prints the new content.
const EXPECTED: &str = include_str!("texts.txt");
const BLOCK: Option<Block> =
    Some(Block { until: None, since: Some(Timestamp::from_millis(1_736_992_980_000)) });
const GB: u64 = 1_000_000_000;
/// The longest message of Discord; Slack allows more.
const TEXT_MAX: usize = 2_000;
/// The longest link: the longest `PUBLIC_URL` and a section of the dashboard.
const LINK_MAX: usize = 230;

fn at(text: &str) -> Timestamp {
    serde_json::from_value(text.into()).unwrap()
}

/// All is well, with 812 of 1,000 GB.
fn input() -> AlertInput {
    let now = at("2025-01-16T03:04:05.678Z");
    AlertInput::without_faults(now, BillingDay::new(1).unwrap().period_at(now)).with_budget(|budget| {
        budget.used = ByteCount::new(812_344_000_000);
        budget.overshoot_bound = ByteCount::new(23_400_000_001);
        budget.uncut_overshoot = ByteCount::new(23_400_000_001);
    })
}

/// The same with so many GB.
fn with_used(gb: u64, input: AlertInput) -> AlertInput {
    input.with_budget(|budget| budget.used = ByteCount::new(gb * GB))
}

/// The same with the limit reached.
fn spent(input: AlertInput) -> AlertInput {
    let until = Some(input.period.end);
    AlertInput { minting: stop(StopCode::BudgetExhausted, until), ..input }
}

fn stop(code: StopCode, until: Option<Timestamp>) -> Result<(), MintStop> {
    Err(MintStop { code, message: String::new(), until })
}

fn stopped(code: StopCode) -> AlertInput {
    AlertInput { minting: stop(code, None), ..input() }
}

fn spending(names: [&str; 3]) -> Spending {
    let top = names.into_iter().zip([412, 101, 30]);
    let top = top.map(|(key, gb)| TopSpender {
        key: Some(key.into()),
        bytes: ByteCount::new(gb * GB),
        block: None,
        usable: 2,
    });
    let money = |units| Money::from_units(units).unwrap();
    let forecast = Forecast { used: ByteCount::new(1_650 * GB), cost: money(32.5) };
    let cost = AlertCost { currency: "USD".into(), so_far: money(0.0), forecast: Some(forecast) };
    let spender =
        TopSpender { key: Some(names[1].into()), bytes: ByteCount::new(3 * GB), block: None, usable: 2 };
    let now = SpenderNow {
        by: SpenderKind::User,
        spender,
        all: ByteCount::new(4 * GB),
        minutes: 5,
        counted_until: None,
    };
    Spending { by: Some(SpenderKind::User), top: top.collect(), now: Some(now), cost: Some(cost) }
}

fn alert(kind: AlertKind, input: &AlertInput, spending: &Spending) -> Alert {
    input.alert(kind, 0, at("2025-01-16T02:00:00Z")).with_spending(spending)
}

fn message(kind: AlertKind, input: &AlertInput) -> String {
    let alert = alert(kind, input, &spending(["ann@example.com", "bob", "carol"]));
    let link = format!("https://turn.example.com/dashboard#{}", alert.section());
    alert.text(Some(&link))
}

/// At 41.2 Mbps, which reach the limit from 958 GB in less than three hours.
fn at_rate(input: AlertInput) -> AlertInput {
    let is_near = input.budget.used == ByteCount::new(958 * GB);
    let limit_at = is_near.then(|| input.now.plus(Duration::from_secs(10_200)));
    with_limit_at(input, limit_at)
}

fn with_limit_at(mut input: AlertInput, limit_at: Option<Timestamp>) -> AlertInput {
    input.facts.rate.limit_at = limit_at;
    input
}

/// The same with the fault of which the alert says that it has begun.
fn begun(kind: AlertKind, input: &AlertInput) -> AlertInput {
    let mut begun = input.clone();
    if let AlertKind::Began(fault) = kind {
        begun.faults.push(fault.found(""));
    }
    if kind == AlertKind::GrantLimit {
        let who = [(SpenderKind::User, "ann@example.com"), (SpenderKind::Address, "203.0.113.9")];
        let who = who.map(|(kind, key)| SpenderKey::parse(kind, key).unwrap()).to_vec();
        let (grant, counted) = (GrantId::new([7; 16]), ByteCount::new(21 * GB));
        begun.spent_grants.push(SpentGrant { grant, who, counted });
    }
    begun
}

fn of_kind(kind: AlertKind) -> String {
    let used = match kind {
        AlertKind::Used(50) => 512,
        AlertKind::Used(95) => 958,
        AlertKind::Used(100) => 1_001,
        _ => 812,
    };
    let input = at_rate(with_used(used, begun(kind, &input())));
    let input = if used > 1_000 { spent(input) } else { input };
    let message = message(kind, &input);
    assert!(!message.starts_with("turn-broker: \n"), "no fixture of {}", kind.name());
    format!(
        "## {}, {}\n\n{message}",
        kind.name(),
        alert(kind, &input, &Spending::default()).severity().name(),
    )
}

#[test]
fn every_message_is_as_in_the_file() {
    let reached = spent(AlertInput {
        facts: ServiceFacts { used: vec![], ..input().facts },
        ..with_used(1_001, input())
    });
    let rows = Spending {
        by: Some(SpenderKind::Origin),
        ..spending(["https://a.example", "https://b.example", "c"])
    };
    let mut blocked = Spending { now: None, ..spending(["ann", "bob", "carol"]) };
    (blocked.top[0].block, blocked.top[0].usable) = (BLOCK, 0);
    let blocked = alert(AlertKind::Used(100), &reached, &blocked).text(None);
    let blocked = format!("## budget.used_100 by a user who is blocked\n\n{blocked}");
    let by_origin = alert(AlertKind::Used(100), &reached, &rows);
    let by_origin = format!("## budget.used_100 without Cloudflare, by origin\n\n{}", by_origin.text(None));
    let relays_down = ServiceFacts { relays_down: Some(String::new()), ..input().facts };
    let states = [
        ("while minting is stopped", stopped(StopCode::Frozen)),
        ("while the ledger cannot be written", stopped(StopCode::LedgerUnavailable)),
        (
            "while the limit is reached",
            spent(input().with_budget(|budget| budget.limit = ByteCount::new(GB))),
        ),
        ("while strict mode has no room", stopped(StopCode::BudgetExhausted)),
        ("without another provider", stopped(StopCode::ProviderUnavailable)),
        ("with too many live credentials", stopped(StopCode::GrantsFull)),
        ("while relays fail the probes", AlertInput { facts: relays_down, ..input() }),
    ];
    let after_limit = |name, input: AlertInput| {
        let alert = alert(AlertKind::Used(100), &spent(with_used(1_001, input)), &Spending::default());
        format!("## budget.used_100 {name}\n\n{}", alert.text(None))
    };
    let with = |facts: ServiceFacts| AlertInput { facts, ..reached.clone() };
    let coturn = |has_command_line| ServiceFacts {
        coturn: Some(has_command_line),
        used: vec![IceSource::Coturn],
        ..input().facts
    };
    let go_on = [
        after_limit("with a coturn without COTURN_CLI", with(coturn(false))),
        after_limit(
            "with a coturn whose calls are ended",
            with(ServiceFacts { at_limit: AtLimitState::Revokes, ..coturn(true) })
                .with_budget(|budget| budget.uncut_overshoot = ByteCount::new(GB)),
        ),
        after_limit(
            "with Cloudflare, the built-in relay, the SFU and servers by hand",
            with(ServiceFacts {
                used: vec![IceSource::Cloudflare, IceSource::Relay, IceSource::Sfu, IceSource::Manual],
                ..input().facts
            }),
        ),
        after_limit(
            "with AT_LIMIT=revoke and another provider",
            with(ServiceFacts {
                at_limit: AtLimitState::Revokes,
                used: vec![IceSource::Http],
                ..input().facts
            }),
        ),
        after_limit(
            "with AT_LIMIT=revoke, where pages have claimed what is used",
            with(ServiceFacts { at_limit: AtLimitState::WaitsForCount, ..input().facts }),
        ),
        after_limit(
            "with AT_LIMIT=revoke",
            with(ServiceFacts { at_limit: AtLimitState::Revokes, ..input().facts }),
        ),
        after_limit(
            "while coturn does not answer",
            AlertInput {
                faults: vec![Fault::CoturnUnreachable.found("")],
                ..with(ServiceFacts { used: vec![IceSource::Cloudflare], ..coturn(true) })
            },
        ),
    ];
    let near = at_rate(with_used(512, input()));
    let limit_at = Some(near.now.plus(Duration::from_secs(86)));
    let near = with_limit_at(near, limit_at);
    let near =
        format!("## budget.used_50 with a limit that is near\n\n{}", message(AlertKind::Used(50), &near));
    let down = |(state, input)| {
        let kind = AlertKind::Began(Fault::ProviderDown);
        format!("## provider.down {state}\n\n{}", message(kind, &begun(kind, &input)))
    };
    // The texts of the other faults differ by their facts only.
    let is_shown = |kind: &AlertKind| match kind {
        AlertKind::Began(Fault::CoturnUnreachable) => true,
        AlertKind::Began(fault) | AlertKind::Ended(fault) => *fault == Fault::ProviderDown,
        _ => true,
    };
    let kinds = AlertKind::all().filter(is_shown).map(of_kind);
    let messages: Vec<_> =
        kinds.chain(states.map(down)).chain([blocked, by_origin, near]).chain(go_on).collect();
    let all = messages.join("\n\n");
    assert!(all.trim() == EXPECTED.trim(), "texts.txt should be:\n{all}");
}

#[test]
fn a_large_proven_spender_is_named_first_with_the_commands_where_usage_or_the_rate_is_too_high() {
    use AlertKind::{Began, Used};
    let of = |kind, percent: u64, change: fn(&mut SpenderNow)| {
        let mut spending = spending(["ann", "bob", "carol"]);
        let now = spending.now.as_mut().unwrap();
        (now.spender.bytes, now.all) = (ByteCount::new(percent * GB), ByteCount::new(100 * GB));
        change(now);
        alert(kind, &begun(kind, &with_used(958, input())), &spending)
    };
    let bob = Some("turn-broker block bob; turn-broker revoke --user=bob".to_owned());
    for kind in [
        Used(80),
        Used(95),
        Used(100),
        Began(Fault::AssumptionRaised),
        Began(Fault::AssumptionBroken),
        Began(Fault::LimitNear),
        Began(Fault::LimitVeryNear),
    ] {
        let named = of(kind, 26, |_| ());
        assert_eq!(named.command(), bob);
        assert!(
            named.first_step().starts_with("Stop user \"bob\", who used 26 % in the last 5 minutes, "),
            "{}",
            named.first_step()
        );
        assert_eq!(named.section(), "by-user=bob");
        assert!(
            named.text(None).ends_with("\nCommand: turn-broker block bob; turn-broker revoke --user=bob")
        );
        assert!(kind == Used(100) || of(kind, 25, |_| ()).command().is_none(), "small");
        let ended = of(kind, 26, |now| (now.spender.block, now.spender.usable) = (BLOCK, 0));
        assert!(
            (kind == Used(100) || ended.command().is_none())
                && ended.text(None).contains("(blocked since 2025-01-16T02:03Z) (26 % in the"),
            "{}",
            ended.text(None)
        );
        // Its credentials still work.
        assert!(of(kind, 26, |now| now.spender.block = BLOCK).command().is_some());
        if kind == Used(100) {
            continue;
        }
        for chosen in [SpenderKind::Label, SpenderKind::Origin] {
            let other = of(
                kind,
                26,
                if chosen == SpenderKind::Label {
                    |now| now.by = SpenderKind::Label
                } else {
                    |now| now.by = SpenderKind::Origin
                },
            );
            assert_eq!(
                (other.command(), other.first_step()),
                (None, other.acts_as().first_step().to_owned())
            );
            assert!(other.text(None).contains("to revoke it ends 2 credentials, those of honest callers too. Against one caller at many addresses, run turn-broker freeze"));
        }
    }
    let raised = of(Began(Fault::AssumptionRaised), 26, |now| now.by = SpenderKind::Address).first_step();
    assert!(
        raised.contains(
            "This also ends others with this address: 2 credentials. If this is normal, set LIABILITY_"
        ),
        "{raised}"
    );
    let near = of(Began(Fault::LimitVeryNear), 26, |_| ());
    assert!(
        near.first_step().ends_with(" Or raise the limit: turn-broker limit GB."),
        "{}",
        near.first_step()
    );
    assert!(near.text(None).contains("\nNow: 41.2 Mbps, "), "{}", near.text(None));
    assert_eq!(of(Used(50), 26, |_| ()).command(), None, "nothing needs to happen now");
    let of_fault = |fault| of(Began(fault), 26, |_| ()).command();
    assert_eq!(of_fault(Fault::ProviderDown).as_deref(), Some("turn-broker doctor"));
    assert_eq!(of_fault(Fault::MintingOff), None, "who has stopped it may have a reason");
}

#[test]
fn a_limit_that_is_reached_soon_is_a_warning_or_critical_and_asks_who_spends() {
    let of = |percent: u16, seconds: Option<u64>| {
        let input = input();
        let limit_at = seconds.map(|seconds| input.now.plus(Duration::from_secs(seconds)));
        let input = with_limit_at(input, limit_at);
        let alert = alert(AlertKind::Used(percent), &input, &Spending::default());
        let verb = alert.first_step().split(' ').next().unwrap().to_owned();
        (alert.severity().name(), verb, alert.section())
    };
    let spenders = |severity| (severity, "Find".to_owned(), "spenders".to_owned());
    for calm in [None, Some(86_400)] {
        assert_eq!(of(50, calm), ("info", "Compare".to_owned(), "budget".to_owned()));
        assert_eq!(of(80, calm), spenders("warning"));
    }
    for percent in [1, 50, 79] {
        assert_eq!(of(percent, Some(86_399)), spenders("warning"), "{percent} %");
    }
    for percent in [1, 50, 80, 95] {
        assert_eq!(of(percent, Some(3_599)), spenders("critical"), "{percent} %");
    }
    assert_eq!(of(80, Some(3_600)), spenders("warning"));
}

#[test]
fn at_the_limit_a_spender_with_more_than_a_quarter_of_the_period_is_named_if_nobody_spends_now() {
    let input = with_used(1_001, input());
    let of = |percent: u32, by, is_blocked| {
        let bytes = ByteCount::saturating(input.budget.used.share_up(percent));
        let usable = if is_blocked { 0 } else { 2 };
        let spender =
            TopSpender { key: Some("ann".into()), bytes, block: is_blocked.then(Block::default), usable };
        let spent = Spending { by: Some(by), top: vec![spender], now: None, cost: None };
        let alert = alert(AlertKind::Used(100), &input, &spent);
        (alert.first_step().split(' ').next().unwrap().to_owned(), alert.command().is_some(), alert.section())
    };
    let raise = ("Raise".to_owned(), false, "limit-input".to_owned());
    let stop = |section: &str| ("Stop".to_owned(), true, section.to_owned());
    assert_eq!(of(25, SpenderKind::User, false), raise);
    assert_eq!(of(26, SpenderKind::User, false), stop("by-user=ann"));
    assert_eq!(of(26, SpenderKind::Address, false), stop("by-address=ann"));
    assert_eq!(of(26, SpenderKind::Key, false), stop("by-key=ann"));
    assert_eq!(of(70, SpenderKind::User, true), raise, "nothing is left to do");
    assert_eq!(of(70, SpenderKind::Label, false), raise, "anybody can choose it");
}

#[test]
fn each_first_step_begins_with_a_verb_or_says_that_there_is_nothing_to_do() {
    let verbs = [
        "Wait", "Compare", "Correct", "Stop", "Find", "Open", "Raise", "Run", "Revoke", "Check", "Set",
        "Nothing", "Report", "Start", "Change", "Double", "Block", "Do",
    ];
    for kind in AlertKind::all() {
        let step = kind.first_step();
        assert!(verbs.iter().any(|verb| step.starts_with(verb)), "{step}");
        assert_eq!(step == "Nothing to do.", !kind.shows_spending(), "{}", kind.name());
    }
}

#[test]
fn the_texts_have_no_chat_markup_and_no_mention() {
    for kind in AlertKind::all() {
        let markup = ['<', '>', '&', '@', '*', '`', '~', '|'];
        let alert = alert(kind, &begun(kind, &input()), &Spending::default());
        assert!(!alert.text(None).contains(markup), "{}", kind.name());
    }
}

#[test]
fn no_alert_names_a_person_who_was_removed() {
    let mut who = Person::new(&User::new("ann@example.com").unwrap(), Timestamp::default());
    who.names.extend(SpenderKey::parse(SpenderKind::Address, "203.0.113.9"));
    let names: Vec<_> = who.names.iter().map(ToString::to_string).collect();
    for kind in AlertKind::all() {
        let mut alert = alert(kind, &begun(kind, &input()), &spending(["ann@example.com"; 3]));
        alert.ends = Some((SpenderKind::User, "ann@example.com".into()));
        alert.forget(&mut who);
        let text = alert.text(None);
        assert!(alert.ends.is_none() && names.iter().all(|name| !text.contains(name)), "{text}");
    }
}

#[test]
fn the_longest_message_fits_into_a_chat() {
    for name in ["@".repeat(255), "a".repeat(255), "@".repeat(31)] {
        longest_with(&name);
    }
}

fn longest_with(name: &str) {
    let (mut spending, link) = (spending([name; 3]), format!("{}{}", "l".repeat(LINK_MAX), "%".repeat(80)));
    let all = spending.top.iter_mut().chain(spending.now.iter_mut().map(|now| &mut now.spender));
    all.for_each(|spender| (spender.block, spender.usable) = (BLOCK, u64::MAX));
    let most = ByteCount::new(u64::MAX);
    let states = [
        input(),
        stopped(StopCode::ProviderUnavailable),
        spent(AlertInput {
            facts: ServiceFacts { at_limit: AtLimitState::Revokes, ..input().facts },
            ..input()
        }),
    ];
    for state in states {
        for kind in AlertKind::all() {
            let budget = BudgetFigures {
                used: most,
                limit: most.minus(ByteCount::new(1)),
                uncut_overshoot: most,
                likely_overshoot: Some(most),
                ..state.budget
            };
            let input = AlertInput {
                budget,
                facts: ServiceFacts {
                    coturn: Some(false),
                    used: vec![IceSource::Cloudflare, IceSource::Http, IceSource::Relay, IceSource::Sfu],
                    ..state.facts.clone()
                },
                ..begun(kind, &state)
            };
            let unused = BudgetFigures { limit: most, used: ByteCount::ZERO, ..budget };
            for input in [input.clone(), AlertInput { budget: unused, ..input }] {
                let length = alert(kind, &input, &spending).text(Some(&link)).encode_utf16().count();
                assert!(length < TEXT_MAX, "{}: {length}", kind.name());
            }
        }
    }
}
