use crate::testing::prelude::*;

use super::*;

/// 2 Mbps for a minute.
const MINUTE_BYTES: u64 = 15_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn rules() -> UsageRules {
    testing::rules(2_000_000)
}

fn grant(id: u8) -> Grant {
    Grant {
        id: GrantId::new([id; 16]),
        source: IceSource::Cloudflare,
        issued_at: at(0),
        expires_at: at(1_000),
    }
}

/// A table with room for three.
fn grants() -> Grants {
    bounded(Bounds { grants: 3, ..Bounds::default() })
}

fn bounded(bounds: Bounds) -> Grants {
    let terms = GrantTerms { bounds, ..GrantTerms::default() };
    let mut grants = Grants::new(terms, Period::default());
    grants.restore(Shards::default(), [].into(), |_| {});
    grants
}

fn promised(until: i64) -> PromisedTime {
    let from = Minute::new(0);
    let until = Minute::new(until);
    PromisedTime { from, reserved_from: from, chain_before: 0, until, per_minute: MINUTE_BYTES }
}

/// Raises the promises of a source to a tail of so many `seconds`. Returns how many minutes are promised in addition.
fn raise(grants: &mut Grants, source: IceSource, seconds: u64, since: Timestamp) -> u64 {
    let mut budget = testing::budget();
    grants.effects = Effects::default();
    for id in grants.next_promised(source.into(), &mut Walk::default()).0 {
        grants.raise_tail(id, Duration::from_secs(seconds), MINUTE_BYTES, since);
    }
    std::iter::from_fn(|| grants.effects.take()).for_each(|effect| budget.apply(effect));
    budget.figures().committed.get() / MINUTE_BYTES
}

fn issued(grants: &mut Grants, id: u8) -> Grant {
    let grant = grant(id);
    grants.issue(grant.id, GrantRow::new(&grant, Some("user"), Some(promised(20))));
    grants.note_written(grant.id);
    grant
}

#[test]
fn a_grant_renews_once_in_the_last_quarter_of_its_life() {
    let mut grants = grants();
    let grant = issued(&mut grants, 1);
    assert!(!grants.take_renewal(&grant, at(749)));
    assert!(grants.take_renewal(&grant, at(750)));
    assert!(!grants.take_renewal(&grant, at(751)), "it was already renewed");
    grants.give_renewal_back(grant.id);
    assert!(grants.take_renewal(&grant, at(999)));
    grants.give_renewal_back(grant.id);
    assert!(!grants.take_renewal(&grant, at(1_000)), "expired");
}

#[test]
fn a_second_revocation_keeps_the_time_of_the_first() {
    let mut grants = grants();
    let grant = issued(&mut grants, 1);
    assert_eq!(grants.revoke(grant.id, at(5), at(5)).unwrap().extra().revoked_at, Some(at(5)));
    assert_eq!(grants.revoke(grant.id, at(9), at(9)).unwrap().extra().revoked_at, Some(at(5)));
    assert_eq!(grants.revoke(GrantId::new([9; 16]), at(9), at(9)), None, "an unknown grant");
    let free = Grant { source: IceSource::Manual, ..self::grant(2) };
    grants.open_connection(&free, at(1), &rules()).unwrap();
    assert_eq!(grants.revoke(free.id, at(9), at(9)), None, "an unmetered grant");
}

#[test]
fn a_grant_with_an_open_connection_is_kept_after_its_expiry() {
    let mut grants = grants();
    let grant = issued(&mut grants, 1);
    grants.open_connection(&grant, at(10), &rules()).unwrap();
    grants.forget_expired(at(5_000));
    assert_eq!(grants.count(), 1);
    grants.allowances(Some(grant.id), at(5_001), &rules()).close(at(5_001));
    grants.forget_expired(at(5_000 + 60));
    assert_eq!(grants.count(), 0);
}

#[test]
fn a_grant_ends_at_its_expiry() {
    let mut grants = grants();
    let grant = issued(&mut grants, 1);
    for expiry in [None, Some(at(1)), Some(at(5_000))] {
        assert_eq!(grants.end_of(grant.id, expiry, false, at(999)), None);
        assert_eq!(grants.end_of(grant.id, expiry, false, at(1_000)), Some(GrantEnd::Expired));
    }
    let unknown = GrantId::new([9; 16]);
    assert_eq!(grants.end_of(unknown, Some(at(100)), false, at(99)), None);
    assert_eq!(grants.end_of(unknown, Some(at(100)), false, at(100)), Some(GrantEnd::Expired));
    assert_eq!(grants.end_of(unknown, None, false, at(1)), Some(GrantEnd::Expired), "its expiry is unknown");
}

#[test]
fn a_renewal_at_the_same_source_prolongs_the_sessions_of_the_renewed_grant() {
    let mut grants = grants();
    let first = issued(&mut grants, 1);
    let later = |id, source| Grant { source, expires_at: at(2_000), ..grant(id) };
    let renew = |grants: &mut Grants, renewal: Grant| {
        grants.issue(renewal.id, GrantRow::new(&renewal, Some("user"), Some(promised(40))));
        grants.note_written(renewal.id);
        grants.note_renewal(first.id, renewal.id);
        grants.edit(first.id, |row| row.extra_mut().renewed = true);
    };
    renew(&mut grants, later(2, IceSource::Coturn));
    assert_eq!(grants.end_of(first.id, None, false, at(1_000)), Some(GrantEnd::Expired), "another source");
    let second = later(3, IceSource::Cloudflare);
    renew(&mut grants, second);
    assert_eq!(grants.end_of(first.id, None, false, at(1_999)), None);
    assert_eq!(grants.end_of(first.id, None, true, at(1_000)), Some(GrantEnd::Spent));
    assert_eq!(grants.end_of(first.id, None, false, at(2_000)), Some(GrantEnd::Expired));
    grants.revoke(second.id, at(1_500), at(1_500)).unwrap();
    assert_eq!(grants.end_of(first.id, None, false, at(1_500)), Some(GrantEnd::Expired));
    assert_eq!(grants.end_of(second.id, None, false, at(1_500)), Some(GrantEnd::Revoked));
}

#[test]
fn a_longer_tail_extends_the_grants_that_can_still_relay() {
    let mut grants = grants();
    let grant = issued(&mut grants, 1);
    assert_eq!(raise(&mut grants, IceSource::Coturn, 7_200, at(0)), 0, "another source");
    assert_eq!(raise(&mut grants, IceSource::Cloudflare, 30, at(0)), 0, "a shorter tail");
    assert_eq!(raise(&mut grants, IceSource::Cloudflare, 7_200, at(1_200)), 0, "what was over then");
    let until = Minute::from_end(at(8_200));
    assert_eq!(raise(&mut grants, IceSource::Cloudflare, 7_200, at(0)), until.since(Minute::new(20)));
    assert_eq!(grants.get(grant.id).unwrap().promised, Some(promised(until.number())));
    assert_eq!(raise(&mut grants, IceSource::Cloudflare, 7_200, at(0)), 0, "once");
    grants.forget_expired(at(8_219));
    assert!(grants.get(grant.id).is_some(), "it stays until its tail has ended");
    grants.forget_expired(at(8_220));
    assert_eq!(grants.get(grant.id), None);
}

#[test]
fn a_longer_tail_is_promised_for_ended_grants_and_known_for_those_that_have_left_the_table() {
    let spenders = SpenderTerms { ended_max: 1, ..SpenderTerms::default() };
    let mut grants = bounded(Bounds { grants: 3, spenders, ..Bounds::default() });
    for id in 1..=3 {
        issued(&mut grants, id);
    }
    assert!(grants.forget_expired(at(1_200)));
    assert_eq!((grants.count(), grants.ended_count()), (0, 1));
    let mut rows = Shards::default();
    for (id, row) in grants.take_changes() {
        rows.insert(id, *row.unwrap());
    }
    let mut restored = self::grants();
    restored.restore(rows, [].into(), |_| {});
    restored.dropped = grants.dropped.clone();
    let until = Minute::from_end(at(8_200));
    assert_eq!(raise(&mut restored, IceSource::Cloudflare, 7_200, at(0)), until.since(Minute::new(20)));
    assert_eq!((restored.count(), restored.ended_count()), (1, 0), "it is live again");
    assert_eq!(raise(&mut restored, IceSource::Cloudflare, 7_200, at(0)), 0, "once");
    let may_relay = |seconds, since| {
        restored.may_relay_until(IceSource::Cloudflare, Duration::from_secs(seconds), at(since))
    };
    assert_eq!(may_relay(7_200, 0), Some(until.start()));
    assert_eq!(may_relay(200, 0), None, "they were promised until then");
    assert_eq!(may_relay(7_200, 1_200), None, "they were over by then");
    assert_eq!(restored.may_relay_until(IceSource::Coturn, Duration::from_secs(7_200), at(0)), None);
}

#[test]
fn what_has_left_the_table_of_one_relay_says_nothing_of_another() {
    let spenders = SpenderTerms { ended_max: 0, ..SpenderTerms::default() };
    let mut grants = bounded(Bounds { spenders, ..Bounds::default() });
    let owner = |host| CountOwner { source: IceSource::Coturn, issuer: Some(IdDigest::of(host)) };
    let of_a = Grant { source: IceSource::Coturn, ..grant(1) };
    let row = GrantRow::new(&of_a, None, Some(promised(20)));
    grants.issue(of_a.id, GrantRow { issuer: owner("a").issuer, ..row });
    while !grants.forget_expired(at(1_200)) {}
    assert_eq!(grants.rows.len(), 0);
    let may_relay = |host| grants.may_relay_until(owner(host), Duration::from_secs(7_200), at(0));
    assert_eq!((may_relay("a").is_some(), may_relay("b")), (true, None));
}

#[test]
fn many_grants_end_in_small_steps() {
    let mut grants = bounded(Bounds { grants: 2_000, ..Bounds::default() });
    for n in 0..1_100_u16 {
        let id = GrantId::new(u128::from(n).to_le_bytes());
        grants.issue(id, GrantRow::new(&grant(1), None, Some(promised(20))));
    }
    let step = |grants: &mut Grants| (grants.forget_expired(at(1_200)), grants.count());
    let steps = [0; 4].map(|_| step(&mut grants));
    assert_eq!(steps, [(false, 850), (false, 600), (false, 350), (false, 100)]);
    assert_eq!(step(&mut grants), (true, 0));
}

#[test]
fn what_a_row_says_of_a_grant_is_stored() {
    let mut row = GrantRow {
        state: GrantState::EndedReleased,
        spent: Some(Box::new(Spent { assumed: ByteCount::new(5), ..Spent::default() })),
        issuer: Some(IdDigest::of("first")),
        client: "2001:db8:1:2::/64".parse().ok(),
        spender: Spender { user: User::new("ann"), ..Spender::default() }.known(),
        ..GrantRow::new(&grant(1), Some("user"), Some(promised(20)))
    };
    let extra = row.extra_mut();
    (extra.renewed, extra.renewed_by) = (true, Some(GrantId::new([2; 16])));
    (extra.revoked_at, extra.revocation_answer) = (Some(at(3)), Some(RevocationAnswer::Revoked));
    (extra.reported, extra.later_by_millis) = (true, 90_000);
    extra.address = "2001:db8:1:2::3".parse().ok();
    let stored = postcard::to_allocvec(&row).unwrap();
    assert_eq!(postcard::from_bytes::<GrantRow>(&stored).unwrap(), row);
}

#[test]
fn a_user_name_is_kept_if_its_source_chooses_it() {
    let of = |source| GrantRow::new(&Grant { source, ..grant(1) }, Some("user"), None).username;
    assert_eq!(of(IceSource::Cloudflare).as_deref(), Some("user"));
    assert_eq!(of(IceSource::Coturn), None);
}

#[test]
fn a_stored_row_takes_at_most_134_bytes_with_its_id() {
    let grant = Grant { issued_at: at(1_736_942_400), expires_at: at(1_737_028_800), ..grant(7) };
    let until = Minute::of(grant.expires_at);
    let time = PromisedTime { from: Minute::of(grant.issued_at), ..promised(until.number()) };
    let time = PromisedTime { reserved_from: time.from, ..time };
    let time = PromisedTime { per_minute: 15_000_000, ..time };
    let client = "192.0.2.100".parse().ok();
    let row =
        GrantRow { client, ..GrantRow::new(&grant, Some(&format!("g0{}", "3f".repeat(31))), Some(time)) };
    let stored = postcard::to_allocvec(&row.stored()).unwrap();
    let read = postcard::from_bytes::<GrantRow>(&stored).unwrap();
    assert_eq!(read, GrantRow { state: GrantState::Live, ..row });
    let bytes = stored.len() + grant.id.as_bytes().len();
    assert!(bytes <= 134, "{bytes}");
    assert!(size_of::<GrantRow>() <= 120, "in memory: {}", size_of::<GrantRow>());
}
