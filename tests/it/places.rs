//! The places that callers share, as the one list of them has them: each is filled by one owner in a test, and then the next owner is served.

use turn_broker::app::places::PLACES;

use crate::acts::has_test;
use crate::support::prelude::*;

/// The test that fills places of this kind by one owner, and what the next owner then gets.
fn test_of(place: &str) -> &'static str {
    match place {
        "credentials" => {
            "in_strict_mode_an_address_that_has_used_its_share_gets_budget_exhausted_and_others_are_served"
        }
        "users" => "a_server_key_names_users_in_a_quarter_of_the_rows",
        "connections" => "one_address_opens_256_connections_and_others_are_served",
        "sockets" => "at_the_limit_the_longest_idle_socket_is_closed",
        "coming_bodies" => "slow_bodies_of_a_forwarded_address_end_each_other_and_no_body_of_another_one",
        "body_bytes" => "all_uses_of_one_client_have_one_share_and_leave_others_their_room",
        "requests" => "a_client_with_a_quarter_of_the_requests_in_progress_gets_503_and_others_are_served",
        "sign_ins" => "an_address_with_made_up_tokens_has_a_sixteenth_of_the_questions_in_progress",
        "coturn_reports" => "an_address_has_as_many_connections_as_a_coturn_has_threads",
        "signaling_sockets" => "a_client_has_a_number_of_places_and_all_clients_together_have_4096",
        "sfu_sessions" => "an_address_has_at_most_64_sessions_and_those_without_media_give_way",
        "rate_limit_rows" => "after_200_000_addresses_from_four_48s_newcomers_elsewhere_have_their_own_rows",
        other => panic!("{other}: no test fills these places"),
    }
}

#[test]
fn each_kind_of_places_is_filled_by_one_owner_in_a_test() {
    for place in PLACES {
        assert!(has_test(test_of(place.name)), "{}", place.name);
    }
}

#[tokio::test]
async fn the_metrics_say_of_each_kind_how_many_are_taken_and_how_many_there_are() {
    let (_cloudflare, broker) = with_cloudflare_and(&[
        ("SIGNALING", "ayame,sfu"),
        ("CALLS_APP_ID", "app"),
        ("CALLS_APP_SECRET", "secret-of-the-app"),
    ])
    .await;
    broker.grant().await;
    for place in PLACES {
        let figure = async |name: &str| {
            let line = format!("turn_broker_{name}{{place=\"{}\"}}", place.name);
            broker.metric(&line).await.unwrap_or_else(|| panic!("no {line}"))
        };
        let (taken, most) = (figure("places_taken").await, figure("places").await);
        // The scrape itself has a socket and a request.
        let is_in_use = ["credentials", "sockets", "requests", "rate_limit_rows"].contains(&place.name);
        assert!(is_in_use == (taken > 0) && taken < most, "{}: {taken} of {most}", place.name);
    }
}
