//! The charge for a grant that never reported a connection, after it was revoked.

use super::*;

const CHARGE: u64 = 5_000_000;
/// After the end of a grant that was minted at zero.
const ENDED: u64 = 600_000;

fn setup_with_charge() -> Setup {
    let mut setup = setup(BudgetMode::Estimate);
    setup.terms.rates.unreported_grant = ByteCount::new(CHARGE);
    setup
}

/// Commits a grant at zero, for 300 s.
fn committed(books: &mut Books) -> (Grant, Option<Batch>) {
    let hold = books.reserve(IceSource::Cloudflare, Duration::from_secs(300), Duration::ZERO, None).unwrap();
    let grant = minted(at(0), 300);
    let (_, batch) = books.commit(hold, &grant, None, None).unwrap();
    (grant, batch)
}

#[test]
fn a_revoked_grant_is_not_charged_as_unreported() {
    for revocations in 0..3 {
        let mut books = setup_with_charge().open(None, at(0));
        let (grant, _) = committed(&mut books);
        for _ in 0..revocations {
            books.revoke(grant.id).unwrap();
        }
        assert_eq!(books.snapshot().counts.reported, 0, "its client has reported nothing");
        books.advance(at(ENDED));
        let expected = if revocations == 0 { CHARGE } else { 0 };
        assert_eq!(used(&books), expected, "{revocations} revocations");
    }
}

#[test]
fn a_revoked_grant_is_not_charged_as_unreported_after_a_restart() {
    let setup = setup_with_charge();
    let mut books = setup.open(Some(Stored::default()), at(0));
    let (grant, batch) = committed(&mut books);
    books.revoke(grant.id).unwrap();
    let mut stored = Stored::default();
    stored.apply(batch.unwrap());
    stored.apply(books.take_batch());
    assert_eq!(used(&setup.open(Some(stored), at(ENDED))), 0);
}

#[test]
fn a_grant_that_is_revoked_after_its_first_report_takes_no_charge_from_another() {
    let mut books = setup_with_charge().open(None, at(0));
    let (grant, _) = committed(&mut books);
    let hold = books.reserve(IceSource::Cloudflare, Duration::from_secs(300), Duration::ZERO, None).unwrap();
    let other = Grant { id: GrantId::new([1; 16]), ..grant };
    let _ = books.commit(hold, &other, None, None).unwrap();
    books.open(Caller::Grant(grant), "c", Some(false)).unwrap();
    books.revoke(grant.id).unwrap();
    books.advance(at(ENDED));
    assert_eq!(used(&books), CHARGE);
}

#[test]
fn a_grant_that_is_revoked_before_its_write_fails_takes_no_charge_from_another() {
    let mut books = setup_with_charge().open(None, at(0));
    let (other, _) = committed(&mut books);
    let hold = books.reserve(IceSource::Cloudflare, Duration::from_secs(300), Duration::ZERO, None).unwrap();
    let grant = Grant { id: GrantId::new([1; 16]), ..other };
    let (commit, _) = books.commit(hold, &grant, None, None).unwrap();
    books.revoke(grant.id).unwrap();
    assert_eq!(books.settle(&commit, Written::No), Err(NotRecorded));
    books.advance(at(ENDED));
    assert_eq!(used(&books), CHARGE);
}
