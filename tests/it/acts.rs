//! Each act of the broker has four tests: one witness is not enough, what confirms it is, it is stated with its end, and it is undone.
//! This walks the table of acts, and finds each test in the code.

use std::sync::LazyLock;

use turn_broker::alert::Act;

use crate::support::prelude::*;

/// The tests of an act: one witness, two, the statement, the undoing.
fn tests_of(act: Act) -> [&'static str; 4] {
    match act {
        Act::StopMints => [
            "one_wrong_answer_stops_mints_and_ends_nothing_and_the_next_one_undoes_it",
            "what_an_app_server_vouches_for_reaches_the_limit_too",
            "each_fault_has_a_hint_and_if_it_is_a_warning_or_critical_an_alert_with_the_same_cause",
            "one_wrong_answer_stops_mints_and_ends_nothing_and_the_next_one_undoes_it",
        ],
        Act::EndCalls => [
            "one_wrong_answer_stops_mints_and_ends_nothing_and_the_next_one_undoes_it",
            "one_answer_decides_nothing_and_two_decide_what_both_have",
            "a_spent_budget_refuses_with_the_figures_and_the_wait_to_the_reset",
            "at_the_limit_all_credentials_are_revoked_until_their_source_has_answered_and_a_raised_limit_ends_it",
        ],
        Act::EndChain => [
            "one_answer_about_a_chain_revokes_nothing_and_raises_no_promise",
            "a_credential_that_relayed_more_than_one_may_is_revoked_and_not_renewed",
            "a_credential_that_relayed_more_than_one_may_is_revoked_and_not_renewed",
            "a_credential_that_relayed_more_than_one_may_is_revoked_and_not_renewed",
        ],
        Act::RefuseAddress => [
            "what_is_claimed_counts_until_a_count_replaces_it",
            "an_address_over_its_limit_gets_nothing_more_until_the_next_day",
            "an_address_without_a_user_gets_no_more_than_its_limit_of_a_day",
            "an_address_without_a_user_gets_no_more_than_its_limit_of_a_day",
        ],
        Act::RaiseRate => [
            "one_fast_client_raises_its_own_promises_alone",
            "twelve_honest_calls_raise_the_rate_of_all_and_the_bound_holds_again",
            "each_fault_has_a_hint_and_if_it_is_a_warning_or_critical_an_alert_with_the_same_cause",
            "a_raised_rate_ends_with_the_period_or_with_another_setting",
        ],
        Act::WithholdRelay => [
            "where_nothing_else_serves_a_relay_that_fails_the_probes_is_handed_out_degraded_and_promised",
            "a_relay_that_fails_two_probes_is_left_out_until_two_are_good_and_if_all_fail_the_next_source_serves",
            "each_fault_has_a_hint_and_if_it_is_a_warning_or_critical_an_alert_with_the_same_cause",
            "a_relay_that_fails_two_probes_is_left_out_until_two_are_good_and_if_all_fail_the_next_source_serves",
        ],
        Act::PauseProvider => [
            "a_pause_of_revocations_stops_no_mint",
            "a_pause_is_stated_with_its_end_and_ends_with_the_first_try_that_succeeds",
            "a_pause_is_stated_with_its_end_and_ends_with_the_first_try_that_succeeds",
            "a_pause_is_stated_with_its_end_and_ends_with_the_first_try_that_succeeds",
        ],
        Act::ForgetAddress => [
            "a_newer_answer_replaces_what_is_kept_and_only_the_end_of_the_name_removes_it",
            "a_newer_answer_replaces_what_is_kept_and_only_the_end_of_the_name_removes_it",
            "after_five_failures_the_breaker_opens_and_a_hint_says_what_to_do",
            "a_late_answer_is_kept_for_the_next_request_and_one_look_up_serves_all",
        ],
        Act::LoseLead => [
            "a_leader_that_answers_clients_of_its_own_keeps_the_lead_for_the_lease",
            "a_leader_whom_no_other_replica_reaches_gives_up_the_lead",
            "a_leader_notes_which_replicas_it_reaches_and_doctor_names_a_closed_port",
            "a_ledger_that_is_new_or_released_has_a_new_leader_at_once",
        ],
        Act::BeginPeriod => [
            "a_jump_of_the_time_since_boot_is_left_out_whether_a_reference_clock_answers_or_not",
            "a_jump_of_the_time_since_boot_that_a_reference_clock_confirms_is_taken_in_once",
            "each_fault_has_a_hint_and_if_it_is_a_warning_or_critical_an_alert_with_the_same_cause",
            "a_jump_of_the_time_since_boot_does_not_shorten_the_doubt_about_the_wall_clock",
        ],
    }
}

fn code(directory: &Path, text: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            code(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

pub(crate) fn has_test(name: &str) -> bool {
    static CODE: LazyLock<String> = LazyLock::new(|| {
        let mut text = String::new();
        for directory in ["src", "crates", "tests/it"] {
            code(&root().join(directory), &mut text);
        }
        text
    });
    CODE.contains(&format!("fn {name}()"))
}

#[test]
fn each_act_has_its_four_tests() {
    for act in Act::VARIANTS.iter().copied() {
        for test in tests_of(act) {
            assert!(has_test(test), "{}: there is no test {test}", act.name());
        }
    }
}
