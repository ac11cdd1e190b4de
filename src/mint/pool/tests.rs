use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::ice::server::OnBadUrl;

const DAY: Duration = Duration::from_secs(86_400);

#[expect(clippy::disallowed_methods, reason = "an instant cannot be made otherwise")]
fn start() -> Moment {
    Moment { wall: Timestamp::from_millis(1_736_942_400_000), instant: Instant::now() }
}

fn after(start: Moment, seconds: u64) -> Moment {
    let span = Duration::from_secs(seconds);
    Moment { wall: start.wall.plus(span), instant: start.instant + span }
}

fn pooled(number: u64, asked: Moment) -> PooledCredential {
    let json = r#"[{"urls":"turn:a.example","username":"u","credential":"c"}]"#;
    let servers = IceServerList::clean(serde_json::from_str(json).unwrap(), OnBadUrl::Refuse).unwrap();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    PooledCredential { servers, grant: GrantId::new(id), turn_key: None, asked }
}

/// A provider that mints at once, and callers who use the pool first and the provider otherwise.
struct Scene {
    pool: Pool,
    start: Moment,
    /// Credentials minted so far.
    made: u64,
}

impl Scene {
    fn new(life: Duration, max: u64) -> Self {
        let start = start();
        Self { pool: Pool::new(life, Duration::ZERO, max, start.instant), start, made: 0 }
    }

    /// Whether the caller got a credential from the pool.
    fn call(&mut self, second: u64) -> bool {
        let taken = self.pool.take(after(self.start, second)).is_some();
        if !taken {
            self.made += 1;
            self.pool.minted();
        }
        taken
    }

    /// How many credentials were added to the pool.
    fn fill(&mut self, second: u64) -> u64 {
        let now = after(self.start, second);
        let started = self.pool.start(u64::MAX, now);
        for _ in 0..started {
            self.made += 1;
            self.pool.finished(Some(pooled(self.made, now)));
        }
        started
    }
}

#[test]
fn nothing_is_minted_ahead_for_a_few_callers_or_a_burst() {
    let mut scene = Scene::new(DAY, 100);
    for second in 0..600 {
        if second % 45 == 0 || second == 301 {
            let callers = if second == 301 { 300 } else { 1 };
            (0..callers).for_each(|_| assert!(!scene.call(second)));
        }
        assert_eq!(scene.fill(second), 0, "{second} s");
    }
}

#[test]
fn steady_callers_are_served_from_the_pool_from_the_fourth_minute_on() {
    let mut scene = Scene::new(DAY, 100);
    let served = (0..600).filter(|second| {
        let served = scene.call(*second);
        scene.fill(*second);
        assert!(scene.pool.counts().ready <= 30, "half of a minute's callers");
        served
    });
    assert_eq!(served.count(), 600 - 181);
    assert_eq!(scene.pool.counts().wasted, 0);
}

#[test]
fn a_started_mint_is_not_started_again_until_it_has_finished() {
    let mut scene = Scene::new(DAY, 100);
    (0..180).for_each(|second| assert!(!scene.call(second)));
    let now = after(scene.start, 180);
    assert_eq!(scene.pool.start(10, now), 10, "at most the requested number");
    assert_eq!(scene.pool.start(100, now), 20);
    assert_eq!(scene.pool.start(100, now), 0);
    (0..5).for_each(|_| scene.pool.finished(None));
    assert_eq!(scene.pool.start(100, now), 5);
}

#[test]
fn callers_without_a_credential_do_not_fill_the_pool() {
    // 60 callers in a minute, and the provider has minted for 9 of them.
    let mut scene = Scene::new(DAY, 100);
    (0..180).for_each(|second| assert!(scene.pool.take(after(scene.start, second)).is_none()));
    let now = after(scene.start, 180);
    assert_eq!(scene.pool.start(100, now), 0);
    (0..9).for_each(|_| scene.pool.minted());
    assert_eq!(scene.pool.start(100, now), 8, "8 of 17 is less than half, 9 of 18 is not");
    assert_eq!(scene.pool.start(100, now), 0);
}

#[test]
fn with_short_lives_only_callers_of_the_next_seconds_are_expected() {
    // Half of 12 s is 6 s: of 60 callers in a minute 6 come while it is young.
    let mut scene = Scene::new(Duration::from_secs(12), 100);
    (0..300).for_each(|second| {
        scene.call(second);
        scene.fill(second);
        assert!(scene.pool.counts().ready <= 3);
    });
    assert_eq!(scene.pool.counts().ready, 3);
}

#[test]
fn a_mint_without_a_response_limits_further_mints_like_a_wasted_credential() {
    let mut scene = Scene::new(DAY, 100);
    (0..180).for_each(|second| assert!(scene.pool.take(after(scene.start, second)).is_none()));
    (0..19).for_each(|_| scene.pool.minted());
    let now = after(scene.start, 180);
    assert_eq!(scene.pool.start(10, now), 10);
    (0..10).for_each(|_| scene.pool.finished(None));
    assert_eq!(scene.pool.start(100, now), 8, "with the ten lost responses, 18 of 37 would be wasted");
    (0..8).for_each(|_| scene.pool.finished(None));
    assert_eq!(scene.pool.start(100, now), 0, "a provider that never responds is not called forever");
    assert_eq!(scene.pool.counts(), PoolCounts::default(), "nothing was discarded");
}

#[test]
fn discarded_credentials_do_not_fill_the_pool() {
    let mut scene = Scene::new(Duration::from_secs(600), 100);
    (0..180).for_each(|second| assert!(scene.pool.take(after(scene.start, second)).is_none()));
    (0..9).for_each(|_| scene.pool.minted());
    assert_eq!(scene.fill(180), 8);
    let now = after(scene.start, 180);
    let later = Moment { wall: now.wall.plus(Duration::from_secs(301)), ..now };
    assert_eq!(scene.pool.start(100, later), 0);
    assert_eq!(scene.pool.counts().wasted, 8);
    scene.pool.minted();
    assert_eq!(scene.pool.start(100, later), 1, "9 of 19 would be wasted");
}

#[test]
fn an_old_credential_behind_a_younger_one_is_discarded() {
    let life = Duration::from_secs(600);
    let mut scene = Scene::new(life, 10);
    let [older, younger] = [0, 3].map(|second| after(scene.start, second));
    scene.pool.finished(Some(pooled(1, younger)));
    scene.pool.finished(Some(pooled(2, older)));
    let now = after(scene.start, 302);
    let (taken, left) = scene.pool.take(now).unwrap();
    assert_eq!((taken.asked.instant, left.as_secs()), (younger.instant, 301));
    assert!(scene.pool.take(now).is_none());
    assert_eq!(scene.pool.counts().wasted, 1);
}

#[test]
fn old_credentials_are_discarded_without_callers() {
    for (left_min, age_max) in [(0, 43_200), (64_800, 21_600), (86_400, 0)] {
        let mut scene = Scene::new(DAY, 10);
        scene.pool = Pool::new(DAY, Duration::from_secs(left_min), 10, scene.start.instant);
        scene.pool.finished(Some(pooled(1, scene.start)));
        for (second, ready) in [(age_max, 1), (age_max + 1, 0)] {
            assert_eq!(scene.pool.start(10, after(scene.start, second)), 0);
            assert_eq!(scene.pool.counts().ready, ready, "{second} s");
        }
    }
}

#[test]
fn a_key_that_is_gone_discards_only_its_own_credentials() {
    let mut scene = Scene::new(DAY, 10);
    let other =
        PooledCredential { turn_key: Some(turn_ledger::IdDigest::of("other")), ..pooled(1, scene.start) };
    scene.pool.finished(Some(other));
    scene.pool.finished(Some(pooled(2, scene.start)));
    scene.pool.discard_turn_key(None);
    assert_eq!(scene.pool.counts(), PoolCounts { ready: 1, handed_out: 0, wasted: 1 });
    assert_eq!(scene.pool.take(scene.start).unwrap().0.turn_key, Some(turn_ledger::IdDigest::of("other")));
}

#[test]
fn debug_output_holds_no_credential() {
    let mut scene = Scene::new(DAY, 10);
    let servers = IceServerList::of_turn(vec![], "user-name".into(), "pass-word".into());
    scene.pool.finished(Some(PooledCredential { servers, ..pooled(1, scene.start) }));
    let shown = format!("{:?}", scene.pool);
    assert!(shown.contains("PooledCredential"), "{shown}");
    let shown = format!("{shown} {:?}", scene.pool.take(scene.start).unwrap());
    assert!(!shown.contains("pass-word") && !shown.contains("user-name"), "{shown}");
}

/// One step of a random history.
#[derive(Clone, Copy, Debug)]
enum Event {
    Callers(u8),
    Start(u8),
    /// `finished` pending mints finish; the first `failing` of them without a credential.
    End {
        finished: u8,
        failing: u8,
    },
    KeyDeleted,
    /// The wall clock is set to this many seconds off the true time.
    Wall(i64),
    Nothing,
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        8 => (1_u8..40).prop_map(Event::Callers),
        8 => (0_u8..64).prop_map(Event::Start),
        8 => (0_u8..64, 0_u8..8).prop_map(|(finished, failing)| Event::End { finished, failing }),
        1 => Just(Event::KeyDeleted),
        1 => (-5_000_i64..5_000).prop_map(Event::Wall),
        2 => Just(Event::Nothing),
    ];
    let pause = prop_oneof![6 => 0_u64..20, 2 => 20_u64..90, 1 => 90_u64..2_000];
    prop::collection::vec((pause, event), 1..400)
}

proptest! {
    #[test]
    fn no_credential_is_handed_out_twice_or_too_old_and_less_than_half_are_wasted(
        life in 60_u64..10_000,
        max in 0_u64..64,
        events in events(),
    ) {
        let mut scene = Scene::new(Duration::from_secs(life), max);
        let (mut second, mut wall, mut handed_out) = (0, 0, BTreeSet::new());
        let (mut pending, mut failed) = (VecDeque::new(), 0);
        for (pause, event) in events {
            second += pause;
            let now = after(scene.start, second);
            let now = Moment { wall: Timestamp::from_millis(now.wall.as_millis() + wall * 1_000), ..now };
            match event {
                Event::Callers(callers) => for _ in 0..callers {
                    let Some((pooled, left)) = scene.pool.take(now) else {
                        scene.made += 1;
                        scene.pool.minted();
                        continue;
                    };
                    prop_assert!(handed_out.insert(pooled.grant), "{} twice", pooled.grant);
                    prop_assert!(left.as_secs() * 2 >= life, "{left:?} left of {life} s");
                    // The simulated machine never sleeps: its monotonic clock is right.
                    let end = pooled.asked.instant + Duration::from_secs(life);
                    prop_assert!(now.instant + left <= end, "{left:?} left");
                },
                Event::Start(most) => for _ in 0..scene.pool.start(most.into(), now) {
                    // The credential exists even if its response is lost.
                    scene.made += 1;
                    pending.push_back(pooled(scene.made, now));
                },
                Event::End { finished, failing } => for number in 0..finished {
                    let Some(pooled) = pending.pop_front() else { break };
                    failed += u64::from(number < failing);
                    scene.pool.finished((number >= failing).then_some(pooled));
                },
                Event::KeyDeleted => scene.pool.discard_turn_key(None),
                Event::Wall(offset) => wall = offset,
                Event::Nothing => {}
            }
            let counts = scene.pool.counts();
            let pending_count = u64::try_from(pending.len()).unwrap();
            prop_assert!(counts.ready + pending_count <= max);
            // Everything in the pool or pending may still be wasted.
            let wasted = counts.wasted + failed + counts.ready + pending_count;
            prop_assert!(wasted == 0 || wasted * 2 < scene.made, "{wasted} of {}", scene.made);
        }
    }
}
