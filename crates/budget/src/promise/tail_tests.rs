use super::*;

const MAX: Duration = Duration::from_secs(7_200);
const LIFE: Duration = Duration::from_secs(60);

/// So many seconds after 12:00:10.
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_738_324_810_000).plus_millis(seconds * 1_000)
}

fn minute(number: i64) -> Minute {
    Minute::new(Minute::of(at(0)).number() + number)
}

/// What the way and the server do at a time in seconds: whether data come back, and whether the credential is refused.
type Server<'a> = &'a dyn Fn(u64) -> (bool, bool);

/// The trial of a credential that ends at 60 s, or is revoked at 30 s, looked at each 15 s.
fn run(end: CredentialEnd, server: Server<'_>) -> TailTrial {
    let mut trial = TailTrial::new(end, at(0), LIFE);
    for now in (0..10_000).step_by(15) {
        match trial.step(at(now), MAX) {
            TrialStep::Wait => {}
            TrialStep::Relay { .. } => {
                let (came_back, refused) = server(now);
                trial.sent(at(now), came_back, refused);
            }
            TrialStep::Revoke => trial.revoked(at(now)),
            TrialStep::Finish => return trial,
        }
    }
    panic!("it has an end")
}

/// Data come back until a time in seconds. Then the credential is refused.
fn until(seconds: u64) -> impl Fn(u64) -> (bool, bool) {
    move |now| (now < seconds, now >= seconds)
}

fn sent(trial: &TailTrial) -> usize {
    trial.sent.len()
}

fn billed(minutes: impl IntoIterator<Item = i64>) -> BTreeSet<Minute> {
    minutes.into_iter().map(minute).collect()
}

#[test]
fn data_are_sent_each_minute_for_twenty_minutes_and_then_each_fifth_until_the_longest_tail() {
    let trial = run(CredentialEnd::Expiry, &|_| (true, false));
    let minutes: Vec<_> = trial.sent.iter().map(|(at, _)| Minute::of(*at).since(minute(0))).collect();
    let dense: Vec<_> = [0].into_iter().chain(0..=20).collect();
    assert_eq!(minutes[..22], dense, "the second ones are sent shortly before the end");
    assert_eq!(minutes[22..26], [25, 30, 35, 40]);
    assert!((41..=43).contains(&sent(&trial)), "4.2 MB at most: {}", sent(&trial));
    assert_eq!(
        trial
            .judge(Some(&minutes.iter().map(|nth| minute(i64::try_from(*nth).unwrap())).collect()), MAX)
            .tail,
        Some(MAX)
    );
}

#[test]
fn where_nobody_counts_a_trial_that_relays_on_proves_nothing() {
    let ever = run(CredentialEnd::Expiry, &|_| (true, false));
    assert!(ever.relays_on(MAX));
    assert_eq!((ever.judge(None, MAX).tail, ever.relayed_for(MAX)), (None, Duration::MAX));
    let ended = run(CredentialEnd::Expiry, &until(660));
    assert!(!ended.relays_on(MAX));
    let [tail, relayed] = [590, 540].map(Duration::from_secs);
    assert_eq!((ended.judge(None, MAX).tail, ended.relayed_for(MAX)), (Some(tail), relayed));
}

#[test]
fn a_trial_is_over_when_the_credential_is_refused_in_two_minutes_in_a_row() {
    let trial = run(CredentialEnd::Expiry, &until(660));
    assert_eq!(sent(&trial), 14);
    assert_eq!(trial.refused_at, Some(at(660)));
    // One minute is lost on the way while new allocations are refused, and the running one goes on.
    let lossy = run(CredentialEnd::Expiry, &|now| (now < 660 && now / 60 != 5, now >= 120));
    assert_eq!(sent(&lossy), 14);
    assert_eq!(
        lossy.judge(Some(&billed((0..12).filter(|nth| *nth != 5))), MAX).tail,
        Some(Duration::from_secs(650))
    );
}

#[test]
fn the_tail_lasts_from_the_end_of_the_credential_to_that_of_the_last_billed_minute() {
    let trial = run(CredentialEnd::Expiry, &until(660));
    let tail = |until: i64| trial.judge(Some(&billed(0..until)), MAX).tail.map(|tail| tail.as_secs());
    assert_eq!(tail(11), Some(590), "it ended at 12:01:10, and the last byte is of 12:10");
    assert_eq!(tail(2), Some(50), "billing stops at the end although data come back");
    // After the twentieth minute the four that follow a billed one are not looked at.
    let long = run(CredentialEnd::Expiry, &until(2_400));
    let relayed: BTreeSet<_> = long
        .sent
        .iter()
        .filter(|(_, answer)| *answer == TrialAnswer::Relayed)
        .map(|(at, _)| Minute::of(*at))
        .collect();
    assert_eq!(long.judge(Some(&relayed), MAX).tail, Some(Duration::from_secs(40 * 60 - 70)));
    assert_eq!(
        long.judge(None, MAX).tail,
        Some(Duration::from_secs(40 * 60 - 70)),
        "what came back stands in"
    );
}

#[test]
fn a_trial_whose_minutes_before_the_end_are_not_billed_proves_nothing() {
    let trial = run(CredentialEnd::Expiry, &until(660));
    for lost in [vec![], vec![1, 2, 3], (1..11).collect()] {
        let shown = trial.judge(Some(&billed(lost.clone())), MAX);
        assert_eq!(shown.tail, None, "{lost:?}");
        assert_eq!(
            (shown.refused_at, shown.relayed_until),
            (Some(at(660)), Some(at(600))),
            "but it is shown"
        );
    }
    let refused_at_once = run(CredentialEnd::Expiry, &until(0));
    assert_eq!(refused_at_once.judge(Some(&billed([])), MAX).tail, None);
}

#[test]
fn a_trial_without_answers_ends_and_proves_nothing() {
    let trial = run(CredentialEnd::Expiry, &|now| (now < 300, false));
    assert_eq!(sent(&trial), 9, "three minutes without an answer end it");
    assert_eq!(trial.judge(Some(&billed(0..5)), MAX).tail, None);
}

#[test]
fn a_revocation_is_made_at_thirty_seconds_and_the_tail_counts_from_it() {
    let trial = run(CredentialEnd::Revocation, &until(120));
    assert_eq!(trial.ended_at, Some(at(30)));
    assert_eq!(trial.judge(Some(&billed(0..2)), MAX).tail, Some(Duration::from_secs(80)));
    let early = TailTrial::new(CredentialEnd::Revocation, at(0), LIFE);
    assert_eq!(early.judge(Some(&billed([0])), MAX).tail, None, "it was not revoked");
}

#[test]
fn three_proofs_of_the_last_eight_days_make_a_tail_of_the_longest_and_five_minutes() {
    const DAYS: u64 = 86_400;
    let mut trials = TailTrials::default();
    let shown = |began, tail: Option<u64>| TailEvidence {
        began_at: at(began),
        billed_until: None,
        relayed_until: None,
        refused_at: None,
        tail: tail.map(Duration::from_secs),
    };
    let proven =
        |trials: &TailTrials, now| trials.proven(at(now)).map(|it| (it.tail.as_secs(), it.measured_at));
    for (began, tail) in [(0, Some(590)), (DAYS / 4, None), (DAYS / 2, Some(50))] {
        assert!(trials.is_due(at(began)));
        trials.begin(at(began));
        trials.take(shown(began, tail));
        assert!(!trials.is_due(at(began + 21_599)), "not within six hours");
        assert_eq!(proven(&trials, began), None);
    }
    trials.begin(at(DAYS));
    trials.take(shown(DAYS, Some(0)));
    assert_eq!(proven(&trials, DAYS), Some((900, at(DAYS))));
    assert!(!trials.is_due(at(2 * DAYS - 1)) && trials.is_due(at(2 * DAYS)), "once a day now");
    assert_eq!(proven(&trials, 8 * DAYS), Some((900, at(DAYS))));
    assert_eq!(proven(&trials, 8 * DAYS + 1), None, "the first one is too old");
    trials.take(shown(2 * DAYS, Some(1_800)));
    assert_eq!(proven(&trials, 2 * DAYS), Some((2_100, at(2 * DAYS))), "a longer one counts at once");
    trials.contradict(at(2 * DAYS));
    assert_eq!(proven(&trials, 2 * DAYS), None);
    (3..=5).for_each(|day| trials.take(shown(day * DAYS, Some(60))));
    assert_eq!(proven(&trials, 5 * DAYS), Some((360, at(5 * DAYS))), "those before count no more");
    (0..100).for_each(|_| trials.take(shown(5 * DAYS, None)));
    assert_eq!(trials.evidence().len(), TRIALS_MAX);
}

#[test]
fn no_trial_begins_while_one_waits_for_its_count() {
    let mut trials =
        TailTrials { uncounted: Some(run(CredentialEnd::Expiry, &until(660))), ..TailTrials::default() };
    assert!(!trials.is_due(at(100_000)));
    let too_old = 8 * 86_400 + 1;
    assert!(!trials.is_due(at(too_old - 1)) && trials.is_due(at(too_old)), "its count would prove nothing");
    trials.take(trials.uncounted.clone().unwrap().judge(None, MAX));
    assert!(trials.is_due(at(100_000)));
}
