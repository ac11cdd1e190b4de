//! The client of coturn's CLI: it reads the listing and ends sessions. Whatever coturn or its clients do, a call ends in time
//! with a clear error.

use secrecy::SecretString;
use turn_broker::meter::coturn::cli::{CUTS_MAX, CliError, CoturnCli, DEADLINE};
use turn_ledger::{Listing, SESSIONS_MAX, SessionId};

use crate::support::prelude::*;

const OURS: &str = "1795169280:AAAAAAAAAAAAAAAAAAAAAA";

async fn coturn_with(sessions: impl IntoIterator<Item = FakeSession>) -> (FakeCoturnCli, CoturnCli) {
    let coturn = FakeCoturnCli::start().await;
    coturn.set_sessions(sessions);
    let cli = CoturnCli(coturn.config());
    (coturn, cli)
}

async fn sessions(cli: &CoturnCli) -> Result<Listing, CliError> {
    finished("a call ends", cli.sessions()).await
}

fn id(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

fn many(count: u64) -> impl Iterator<Item = FakeSession> {
    (1..=count).map(|number| FakeSession::new(number, OURS))
}

#[tokio::test]
async fn a_truncated_listing_is_requested_again_with_a_higher_limit() {
    let (coturn, cli) = coturn_with(many(300)).await;
    let listing = sessions(&cli).await.unwrap();
    assert_eq!((listing.sessions.len(), listing.is_complete), (300, true));
    assert!(coturn.commands().contains(&format!("cc cli-max-output-sessions {SESSIONS_MAX}")));
    let before = coturn.commands().len();
    assert!(sessions(&cli).await.unwrap().is_complete);
    // The relay keeps the limit: only password, ps and the word follow.
    assert_eq!(coturn.commands().len() - before, 3);
}

#[tokio::test]
async fn one_call_ends_only_the_sessions_that_are_named_a_bounded_number_of_them() {
    let (coturn, cli) = coturn_with(many(4)).await;
    assert_eq!(cli.cut(&[id(2), id(4), id(99)]).await.unwrap(), 3);
    assert_eq!(coturn.session_ids(), [1, 3]);
    let cut = ["<password>", "cs 000000000000000002", "cs 000000000000000004", "cs 000000000000000099"];
    assert_eq!(coturn.commands(), cut, "one command for each");

    let most = u64::try_from(CUTS_MAX).unwrap();
    let (coturn, cli) = coturn_with(many(most + 1)).await;
    let ids: Vec<_> = (1..=most + 1).map(id).collect();
    assert_eq!(cli.cut(&ids).await.unwrap(), CUTS_MAX);
    assert_eq!(coturn.session_ids(), [most + 1]);
    assert_eq!(cli.cut(&ids[CUTS_MAX..]).await.unwrap(), 1);
    assert!(coturn.session_ids().is_empty());

    let (coturn, cli) = coturn_with([]).await;
    assert_eq!(cli.cut(&[]).await.unwrap(), 0);
    assert!(coturn.commands().is_empty());
}

#[tokio::test]
async fn a_listing_in_pieces_is_read_to_its_real_end() {
    // A TURN client that makes coturn print a forged total and prompt.
    let forger = FakeSession { origin: "x\n  Total sessions: 2\n\n> ".into(), ..FakeSession::new(2, OURS) };
    let (coturn, cli) = coturn_with([FakeSession::new(1, OURS), forger, FakeSession::new(3, OURS)]).await;
    coturn.set_fault(Some(CliFault::Pieces));
    let listing = sessions(&cli).await.unwrap();
    let ids: Vec<_> = listing.sessions.iter().map(|session| session.id).collect();
    assert_eq!((ids, listing.is_complete), (vec![id(1), id(2), id(3)], true));
}

#[tokio::test]
async fn a_wrong_password_is_sent_once_and_never_shown_and_a_closed_port_is_unreachable() {
    let coturn = FakeCoturnCli::start().await;
    let password = SecretString::from("wrong-fixture-password");
    let cli = CoturnCli(CoturnCliConfig { password, ..coturn.config() });
    for error in [sessions(&cli).await.unwrap_err(), cli.cut(&[id(1)]).await.unwrap_err()] {
        assert_eq!(<&str>::from(&error), "wrong_password");
        assert!(error.to_string().contains("COTURN_CLI_PASSWORD"), "{error}");
        for secret in [PASSWORD, "wrong-fixture-password"] {
            assert!(!format!("{error:?} {error} {cli:?}").contains(secret));
        }
    }
    assert!(coturn.commands().is_empty());

    let port = HeldPort::new();
    let address = port.address().to_string();
    let cli = CoturnCli(CoturnCliConfig { host: None, address, password: PASSWORD.to_owned().into() });
    let error = sessions(&cli).await.unwrap_err();
    assert_eq!(<&str>::from(&error), "unreachable");
    assert!(error.to_string().contains("COTURN_CLI"), "{error}");
}

#[tokio::test]
async fn every_failure_has_its_own_name_and_ends_in_time() {
    let faults = [
        (CliFault::Silence, "timeout"),
        (CliFault::OtherService, "not_understood"),
        (CliFault::CutInListing, "broken"),
    ];
    assert!(DEADLINE <= Duration::from_secs(5));
    let mut checks = vec![];
    for (fault, outcome) in faults {
        checks.push(tokio::spawn(async move {
            let (coturn, cli) = coturn_with(many(3)).await;
            coturn.set_fault(Some(fault));
            let error = sessions(&cli).await.unwrap_err();
            assert_eq!(<&str>::from(&error), outcome, "{fault:?}: {error}");
            coturn.set_fault(None);
            // The next call has a new connection.
            assert!(sessions(&cli).await.unwrap().is_complete, "{fault:?}");
        }));
    }
    for check in checks {
        check.await.unwrap();
    }
}

#[tokio::test]
async fn an_endless_listing_ends_at_a_bound() {
    let (coturn, cli) = coturn_with(many(200)).await;
    coturn.set_fault(Some(CliFault::EndlessListing));
    let outcome = <&str>::from(sessions(&cli).await.unwrap_err());
    // It depends on the machine which of the two bounds applies first.
    assert!(["too_long", "timeout"].contains(&outcome), "{outcome}");
}
