use super::by_time::ESTIMATES_MAX;
use super::*;
use crate::allowance::{Allowance, AllowanceTerms, RELAY_RATE_MAX};
use crate::spender::Label;
use crate::testing;
use std::time::Duration;

const SECOND: u64 = 1_000;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(0).plus_millis(seconds * SECOND)
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
    let source = IceSource::Cloudflare;
    let (connection, _) =
        Connection::open(Name::new("c", None), source, relayed, at(0), &rules(), &mut allowances);
    (connection, limit)
}

fn received(bytes: u64) -> Report {
    Report { bytes_received: Some(bytes), ..Report::default() }
}

fn report_relayed(relayed: bool) -> Report {
    Report { relayed: Some(relayed), ..Report::default() }
}

#[test]
fn reported_bytes_replace_the_estimate_and_later_reports_add_the_difference() {
    let (mut connection, mut limit) = open(Some(true));
    let first = connection.report(received(5_000), at(4), &rules(), &mut limit.at(at(4)));
    assert_eq!(
        first,
        [
            ChangeKind::STOP_CLOCK,
            ChangeKind::RemoveTime { from: at(0), to: at(4) },
            ChangeKind::AddBytes { bytes: ByteCount::new(5_000), from: at(0), to: at(4) },
        ]
    );
    let second = connection.report(received(7_000), at(9), &rules(), &mut limit.at(at(9)));
    assert_eq!(second, [ChangeKind::AddBytes { bytes: ByteCount::new(2_000), from: at(4), to: at(9) }]);
    assert_eq!(connection.charged(at(1_000), &rules()), ByteCount::new(7_000));
    assert_eq!(connection.close(at(9), &mut limit.at(at(9))), [], "all its bytes are counted");
}

#[test]
fn a_connection_that_stops_reporting_bytes_is_charged_by_time_until_it_resumes() {
    let (mut connection, mut limit) = open(Some(true));
    let _ = connection.report(received(0), at(4), &rules(), &mut limit.at(at(4)));
    let unreported = connection.report(Report::default(), at(8), &rules(), &mut limit.at(at(8)));
    assert_eq!(unreported, [ChangeKind::AddTime { from: at(4), to: at(8) }, ChangeKind::START_CLOCK]);
    assert_eq!(connection.charged(at(12), &rules()), ByteCount::new(2_000_000));
    let counted = connection.report(received(900), at(12), &rules(), &mut limit.at(at(12)));
    assert_eq!(
        counted,
        [
            ChangeKind::STOP_CLOCK,
            ChangeKind::RemoveTime { from: at(4), to: at(12) },
            ChangeKind::AddBytes { bytes: ByteCount::new(900), from: at(4), to: at(12) },
        ]
    );
}

#[test]
fn the_time_after_the_last_byte_count_is_charged_by_time() {
    let (mut closed, mut limit) = open(Some(true));
    let _ = closed.report(received(900), at(4), &rules(), &mut limit.at(at(4)));
    assert_eq!(closed.close(at(8), &mut limit.at(at(8))), [ChangeKind::AddTime { from: at(4), to: at(8) }]);
    let (mut lost, mut limit) = open(Some(true));
    let _ = lost.report(received(900), at(4), &rules(), &mut limit.at(at(4)));
    assert_eq!(lost.due_at(&rules()), at(94));
    assert_eq!(
        lost.elapse(&rules(), &mut limit.at(at(94))),
        (vec![ChangeKind::AddTime { from: at(4), to: at(34) }], true)
    );
    assert_eq!(lost.charged(at(94), &rules()), ByteCount::new(900 + 30 * 250_000));
}

#[test]
fn a_byte_count_replaces_estimates_from_before_a_direct_span() {
    let (mut connection, mut limit) = open(Some(true));
    let _ = connection.report(report_relayed(false), at(10), &rules(), &mut limit.at(at(10)));
    let report = Report { bytes_received: Some(4_000_000), ..report_relayed(true) };
    let _ = connection.report(report, at(20), &rules(), &mut limit.at(at(20)));
    assert_eq!(connection.charged(at(20), &rules()), ByteCount::new(4_000_000));
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
fn a_lower_byte_count_changes_nothing() {
    let (mut connection, mut limit) = open(Some(true));
    let _ = connection.report(received(5_000), at(4), &rules(), &mut limit.at(at(4)));
    let lower = connection.report(received(4_000), at(5), &rules(), &mut limit.at(at(5)));
    assert_eq!(lower, []);
    assert_eq!(connection.bytes_received, 5_000);
}

#[test]
fn sent_bytes_are_charged_only_if_both_directions_are_billed() {
    let report = Report { bytes_sent: Some(900), bytes_received: Some(100), relayed: None };
    let (mut egress, mut limit) = open(None);
    let _ = egress.report(report, at(4), &rules(), &mut limit.at(at(4)));
    assert_eq!((egress.bytes_sent, egress.charged(at(4), &rules())), (900, ByteCount::new(100)));

    let both = UsageRules { billed: BilledDirections::Both, ..rules() };
    let (mut connection, mut limit) = open(None);
    let _ = connection.report(report, at(4), &both, &mut limit.at(at(4)));
    assert_eq!(connection.charged(at(4), &both), ByteCount::new(1_000));
}

#[test]
fn a_report_without_received_bytes_keeps_their_estimate() {
    let (mut connection, mut limit) = open(None);
    let report = Report { bytes_sent: Some(900), ..Report::default() };
    let _ = connection.report(report, at(4), &rules(), &mut limit.at(at(4)));
    assert_eq!(connection.charged(at(8), &rules()), ByteCount::new(2_000_000));
}

#[test]
fn a_direct_connection_costs_nothing_while_it_is_direct() {
    let (mut connection, mut limit) = open(Some(false));
    let direct = Report { bytes_received: Some(9_000), ..report_relayed(false) };
    assert_eq!(connection.report(direct, at(10), &rules(), &mut limit.at(at(10))), []);
    let moved = Report { bytes_received: Some(9_500), ..report_relayed(true) };
    let changes = connection.report(moved, at(20), &rules(), &mut limit.at(at(20)));
    assert_eq!(changes, [ChangeKind::AddBytes { bytes: ByteCount::new(500), from: at(10), to: at(20) }]);
}

#[test]
fn the_first_direct_report_makes_the_time_since_the_last_report_free() {
    for direct in [report_relayed(false), Report { bytes_received: Some(5), ..report_relayed(false) }] {
        let (mut connection, mut limit) = open(None);
        let _ = connection.report(Report::default(), at(10), &rules(), &mut limit.at(at(10)));
        let changes = connection.report(direct, at(20), &rules(), &mut limit.at(at(20)));
        assert_eq!(changes, [ChangeKind::STOP_CLOCK, ChangeKind::RemoveTime { from: at(10), to: at(20) }]);
        assert_eq!(connection.charged(at(90), &rules()), ByteCount::new(2_500_000), "{direct:?}");
    }
}

#[test]
fn after_a_switch_to_direct_the_time_before_the_report_is_charged() {
    let (mut connection, mut limit) = open(Some(true));
    let changes = connection.report(report_relayed(false), at(8), &rules(), &mut limit.at(at(8)));
    assert_eq!(changes, [ChangeKind::STOP_CLOCK]);
    assert_eq!(connection.charged(at(90), &rules()), ByteCount::new(2_000_000));
    let back = connection.report(report_relayed(true), at(12), &rules(), &mut limit.at(at(12)));
    assert_eq!(back, [ChangeKind::AddTime { from: at(8), to: at(12) }, ChangeKind::START_CLOCK]);
}

#[test]
fn a_late_heartbeat_charges_the_gap_and_a_lost_connection_one_interval() {
    let (mut connection, mut limit) = open(None);
    assert_eq!(connection.due_at(&rules()), at(30));
    let stopped = (vec![ChangeKind::STOP_CLOCK], false);
    assert_eq!(connection.elapse(&rules(), &mut limit.at(at(30))), stopped);
    assert_eq!(connection.due_at(&rules()), at(90));
    let late = connection.report(Report::default(), at(50), &rules(), &mut limit.at(at(50)));
    assert_eq!(late, [ChangeKind::AddTime { from: at(30), to: at(50) }, ChangeKind::START_CLOCK]);

    assert_eq!(connection.elapse(&rules(), &mut limit.at(at(80))), stopped);
    assert_eq!(connection.elapse(&rules(), &mut limit.at(at(140))), (vec![], true));
    assert_eq!(connection.charged(at(140), &rules()), ByteCount::new(80 * 250_000));
}

#[test]
fn closing_charges_the_time_until_the_close() {
    let (mut running, mut limit) = open(None);
    assert_eq!(running.close(at(4), &mut limit.at(at(4))), [ChangeKind::STOP_CLOCK]);
    assert_eq!(running.charged(at(90), &rules()), ByteCount::new(1_000_000));
    let (mut stopped, mut limit) = open(None);
    let _ = stopped.elapse(&rules(), &mut limit.at(at(30)));
    assert_eq!(
        stopped.close(at(40), &mut limit.at(at(40))),
        [ChangeKind::AddTime { from: at(30), to: at(40) }]
    );
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
    let _ = connection.report(Report::default(), at(650), &rules(), &mut limit.at(at(650)));
    connection.spender = Spender { label: Label::new("room-1"), ..Spender::default() }.known();
    let read: Connection = postcard::from_bytes(&postcard::to_allocvec(&connection).unwrap()).unwrap();
    assert_eq!(read.name, Name::default());
    assert_eq!(Connection { name: Name::new("c", None), ..read }, connection);
}

/// The heartbeat was longer when it last reported.
#[test]
fn a_connection_is_charged_until_its_clock_stops_before_it_is_given_up() {
    let (mut connection, mut limit) = open(None);
    let _ = connection.pause(at(60), &mut limit.at(at(60)));
    let shorter = UsageRules { heartbeat: Duration::from_secs(5), ..rules() };
    assert_eq!(connection.due_at(&rules()), at(90));
    assert_eq!(connection.due_at(&shorter), at(30), "the clock stopped there");
}
