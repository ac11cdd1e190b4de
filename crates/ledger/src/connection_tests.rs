use crate::testing::prelude::*;

use super::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(0).plus_millis(seconds * 1_000)
}

fn rules() -> UsageRules {
    testing::rules(2_000_000)
}

/// An allowance of 100 Mbps.
#[derive(Default)]
struct Limit(Allowance);

impl Limit {
    fn at(&mut self, now: Timestamp) -> Allowances<'_> {
        let terms = AllowanceTerms::new(RELAY_RATE_MAX, &rules());
        Allowances::new([None, Some((&mut self.0, terms)), None, None, None, None], now)
    }
}

fn open(relayed: Option<bool>) -> (Connection, Limit) {
    let mut limit = Limit::default();
    let mut allowances = limit.at(at(0));
    allowances.open();
    let owner = IceSource::Cloudflare.into();
    let (connection, _) =
        Connection::open(Name::new("c", Owner::Reporter), owner, relayed, at(0), &rules(), &mut allowances);
    (connection, limit)
}

const NOTHING: Report = Report { bytes_sent: None, bytes_received: None, relayed: None };

fn received(bytes: u64) -> Report {
    Report { bytes_received: Some(bytes), ..NOTHING }
}

fn report_relayed(relayed: bool) -> Report {
    Report { relayed: Some(relayed), ..NOTHING }
}

fn bytes(bytes: u64, from: u64, to: u64) -> ChangeKind {
    ChangeKind::AddBytes(Spread::new(ByteCount::new(bytes), at(from), at(to)))
}

fn time(from: u64, to: u64) -> ChangeKind {
    ChangeKind::AddTime(Interval::new(at(from), at(to)))
}

fn not_time(from: u64, to: u64) -> ChangeKind {
    ChangeKind::RemoveTime(Interval::new(at(from), at(to)))
}

/// Reports of a connection, by the second at which they come, and what each one changes.
struct Story {
    name: &'static str,
    opened: Option<bool>,
    reports: Vec<(u64, Report, Vec<ChangeKind>)>,
    /// What it has been charged a minute and a half after its start, without a further report.
    charged: u64,
}

#[test]
fn each_report_changes_what_was_charged_before_it() {
    const START: ChangeKind = ChangeKind::START_CLOCK;
    const STOP: ChangeKind = ChangeKind::STOP_CLOCK;
    let direct = report_relayed(false);
    let direct_with = |bytes| Report { relayed: Some(false), ..received(bytes) };
    let relayed_with = |bytes| Report { relayed: Some(true), ..received(bytes) };
    let stories = [
        Story {
            name: "bytes replace the estimate, later ones add the difference, and fewer change nothing",
            opened: Some(true),
            reports: vec![
                (4, received(5_000), vec![STOP, not_time(0, 4), bytes(5_000, 0, 4)]),
                (9, received(7_000), vec![bytes(2_000, 4, 9)]),
                (10, received(4_000), vec![]),
            ],
            charged: 7_000,
        },
        Story {
            name: "one that stops reporting bytes is charged by time until it resumes",
            opened: Some(true),
            reports: vec![
                (4, received(0), vec![STOP, not_time(0, 4)]),
                (8, NOTHING, vec![time(4, 8), START]),
                (12, received(900), vec![STOP, not_time(4, 12), bytes(900, 4, 12)]),
            ],
            charged: 900,
        },
        Story {
            name: "bytes replace estimates from before a direct span",
            opened: Some(true),
            reports: vec![
                (10, direct, vec![STOP]),
                (20, relayed_with(4_000_000), vec![not_time(0, 10), bytes(4_000_000, 0, 20)]),
            ],
            charged: 4_000_000,
        },
        Story {
            name: "a report without received bytes keeps their estimate",
            opened: None,
            reports: vec![(4, Report { bytes_sent: Some(900), ..NOTHING }, vec![])],
            charged: 34 * 250_000,
        },
        Story {
            name: "a direct one costs nothing while it is direct",
            opened: Some(false),
            reports: vec![
                (10, direct_with(9_000), vec![]),
                (20, relayed_with(9_500), vec![bytes(500, 10, 20)]),
            ],
            charged: 500,
        },
        Story {
            name: "the first direct report makes the time since the last report free",
            opened: None,
            reports: vec![(10, NOTHING, vec![]), (20, direct, vec![STOP, not_time(10, 20)])],
            charged: 2_500_000,
        },
        Story {
            name: "also with bytes",
            opened: None,
            reports: vec![(10, NOTHING, vec![]), (20, direct_with(5), vec![STOP, not_time(10, 20)])],
            charged: 2_500_000,
        },
        Story {
            name: "after a switch to direct the time before the report is charged",
            opened: Some(true),
            reports: vec![(8, direct, vec![STOP]), (12, report_relayed(true), vec![time(8, 12), START])],
            charged: 42 * 250_000,
        },
    ];
    for Story { name, opened, reports, charged } in stories {
        let (mut connection, mut limit) = open(opened);
        for (seconds, report, changes) in reports {
            let now = at(seconds);
            let changed = connection.report(report, now, &rules(), &mut limit.at(now));
            assert_eq!(changed, changes, "{name}, {now}");
        }
        assert_eq!(connection.charged(at(90), &rules()).get(), charged, "{name}");
    }
}

#[test]
fn sent_bytes_are_charged_only_if_both_directions_are_billed() {
    let report = Report { bytes_sent: Some(900), bytes_received: Some(100), relayed: None };
    for (billed, charged) in [(BilledDirections::Egress, 100), (BilledDirections::Both, 1_000)] {
        let rules = UsageRules { billed: billed.into(), ..rules() };
        let (mut connection, mut limit) = open(None);
        let _ = connection.report(report, at(4), &rules, &mut limit.at(at(4)));
        assert_eq!((connection.bytes_sent, connection.charged(at(4), &rules).get()), (900, charged));
    }
}

#[test]
fn the_time_after_the_last_byte_count_is_charged_by_time() {
    let (mut closed, mut limit) = open(Some(true));
    let _ = closed.report(received(900), at(4), &rules(), &mut limit.at(at(4)));
    assert_eq!(closed.close(at(8), &rules(), &mut limit.at(at(8))), [time(4, 8)]);
    let (mut lost, mut limit) = open(Some(true));
    let _ = lost.report(received(900), at(4), &rules(), &mut limit.at(at(4)));
    assert_eq!(lost.due_at(&rules()), at(94));
    assert_eq!(lost.elapse(&rules(), &mut limit.at(at(94))), (vec![time(4, 34)], true));
    assert_eq!(lost.charged(at(94), &rules()), ByteCount::new(900 + 30 * 250_000));
}

#[test]
fn the_number_of_kept_estimates_is_bounded() {
    let (mut connection, mut limit) = open(Some(true));
    for n in 1..100 {
        let _ = connection.report(report_relayed(n % 4 < 2), at(n), &rules(), &mut limit.at(at(n)));
    }
    assert!(connection.estimates.len() <= ESTIMATES_MAX);
}

#[test]
fn a_late_heartbeat_charges_the_gap_and_a_lost_connection_one_interval() {
    let (mut connection, mut limit) = open(None);
    assert_eq!(connection.due_at(&rules()), at(30));
    let stopped = (vec![ChangeKind::STOP_CLOCK], false);
    assert_eq!(connection.elapse(&rules(), &mut limit.at(at(30))), stopped);
    assert_eq!(connection.due_at(&rules()), at(90));
    let late = connection.report(NOTHING, at(50), &rules(), &mut limit.at(at(50)));
    assert_eq!(late, [time(30, 50), ChangeKind::START_CLOCK]);

    assert_eq!(connection.elapse(&rules(), &mut limit.at(at(80))), stopped);
    assert_eq!(connection.elapse(&rules(), &mut limit.at(at(140))), (vec![], true));
    assert_eq!(connection.charged(at(140), &rules()), ByteCount::new(80 * 250_000));
}

#[test]
fn closing_charges_the_time_until_the_close() {
    let (mut running, mut limit) = open(None);
    assert_eq!(running.close(at(4), &rules(), &mut limit.at(at(4))), [ChangeKind::STOP_CLOCK]);
    assert_eq!(running.charged(at(90), &rules()), ByteCount::new(1_000_000));
    let (mut stopped, mut limit) = open(None);
    let _ = stopped.elapse(&rules(), &mut limit.at(at(30)));
    assert_eq!(stopped.close(at(40), &rules(), &mut limit.at(at(40))), [time(30, 40)]);
    assert_eq!(stopped.charged(at(90), &rules()), ByteCount::new(10_000_000));
}

#[test]
fn a_row_is_small_and_read_back_without_its_name() {
    let (mut connection, mut limit) = open(None);
    let _ = connection.report(received(150_000_000), at(600), &rules(), &mut limit.at(at(600)));
    let row = postcard::to_allocvec(&connection).unwrap();
    assert!(row.len() < 50, "{}", row.len());
    let _ = connection.report(report_relayed(true), at(610), &rules(), &mut limit.at(at(610)));
    let _ = connection.elapse(&rules(), &mut limit.at(at(640)));
    let _ = connection.report(NOTHING, at(650), &rules(), &mut limit.at(at(650)));
    connection.spender = Spender { label: Label::new("room-1"), ..Spender::default() }.known();
    let read: Connection = postcard::from_bytes(&postcard::to_allocvec(&connection).unwrap()).unwrap();
    assert_eq!(read.name, Name::default());
    assert_eq!(Connection { name: Name::new("c", Owner::Reporter), ..read }, connection);
}

/// The heartbeat interval was longer when the connection last reported.
#[test]
fn a_connection_is_not_given_up_before_its_clock_stops() {
    let (mut connection, mut limit) = open(None);
    let _ = connection.pause(at(60), &mut limit.at(at(60)));
    let shorter = UsageRules { heartbeat: Duration::from_secs(5), ..rules() };
    assert_eq!(connection.due_at(&rules()), at(90));
    assert_eq!(connection.due_at(&shorter), at(30), "the clock stopped there");
}
