//! Tests of the statement whether a metered credential would be issued now.

use crate::account::testing::account;
use crate::alert::{MintFacts, MintStop, StopCode, minting};
use std::sync::Arc;
use turn_base::clock::SystemClock;
use turn_ledger::{ByteCount, NotAdmitted, Refusal, Snapshot};

fn idle() -> Snapshot {
    account(Arc::new(SystemClock)).snapshot()
}

fn spent() -> Snapshot {
    let mut snapshot = idle();
    snapshot.figures.limit = ByteCount::ZERO;
    refused(snapshot, true)
}

/// The budget has no room. `awaits_reading`: whether a count may make some.
fn refused(mut snapshot: Snapshot, awaits_reading: bool) -> Snapshot {
    let figures = snapshot.figures;
    let refusal = Refusal { figures, awaits_reading, client_frees_at: None, limited: None };
    snapshot.refusal = Some(NotAdmitted::Refused(refusal));
    snapshot
}

/// Nothing metered is minted for another reason.
fn stopped_by(refusal: NotAdmitted) -> Snapshot {
    Snapshot { refusal: Some(refusal), ..idle() }
}

fn stated(snapshot: &Snapshot, facts: &MintFacts) -> MintStop {
    minting(snapshot, facts).unwrap_err()
}

#[test]
fn each_cause_has_its_code_and_the_first_one_that_a_mint_meets_is_stated() {
    assert_eq!(minting(&idle(), &MintFacts::default()), Ok(()));
    let disabled = MintFacts { is_disabled: true, ..MintFacts::default() };
    let unwritable = MintFacts { is_unwritable: true, ..MintFacts::default() };
    let failure = "Cloudflare: answered 401.".to_owned();
    let of = |code| MintFacts { sources: Some(code), failure: failure.clone(), ..MintFacts::default() };
    let down = of(StopCode::ProviderUnavailable);
    let used_up = of(StopCode::BudgetExhausted);
    let cases = [
        (
            Snapshot { frozen: true, ..spent() },
            disabled.clone(),
            StopCode::Frozen,
            "The operator has stopped it.",
        ),
        (spent(), disabled, StopCode::Disabled, "TURN_ENABLED is false."),
        (spent(), of(StopCode::NotConfigured), StopCode::NotConfigured, "Set CLOUDFLARE_TURN_KEY_ID"),
        (spent(), unwritable, StopCode::LedgerUnavailable, "cannot be written"),
        (
            stopped_by(NotAdmitted::ClockInDoubt),
            down.clone(),
            StopCode::ClockDisagrees,
            "Correct the machine's clock",
        ),
        (spent(), down.clone(), StopCode::BudgetExhausted, "Raise the limit"),
        (
            refused(idle(), false),
            down.clone(),
            StopCode::BudgetExhausted,
            "cannot reserve another credential",
        ),
        (stopped_by(NotAdmitted::TooManyGrants), down.clone(), StopCode::GrantsFull, "Raise GRANTS_MAX"),
        (idle(), down, StopCode::ProviderUnavailable, "Cloudflare: answered 401."),
        (idle(), used_up, StopCode::BudgetExhausted, "Each relay has used what it may."),
    ];
    for (snapshot, facts, code, says) in cases {
        let stop = stated(&snapshot, &facts);
        assert_eq!(stop.code, code);
        assert!(stop.message.contains(says), "{code:?}: {}", stop.message);
    }
}

#[test]
fn the_end_of_a_refusal_is_known_unless_a_count_may_release_something() {
    let until = |snapshot| stated(&snapshot, &MintFacts::default()).until;
    let reset = Some(idle().figures.period.end);
    assert_eq!(until(spent()), reset);
    assert_eq!(until(refused(idle(), false)), reset);
    assert_eq!(until(refused(idle(), true)), None);
}

#[test]
fn refused_mints_have_the_same_text_as_the_statement() {
    let unwritable = MintFacts { is_unwritable: true, ..MintFacts::default() };
    for (snapshot, facts, code) in [
        (stopped_by(NotAdmitted::ClockInDoubt), MintFacts::default(), StopCode::ClockDisagrees),
        (stopped_by(NotAdmitted::TooManyGrants), MintFacts::default(), StopCode::GrantsFull),
        (idle(), unwritable, StopCode::LedgerUnavailable),
    ] {
        assert_eq!(stated(&snapshot, &facts), MintStop::of(code, ""));
    }
}
