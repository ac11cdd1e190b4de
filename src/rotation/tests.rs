use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const START: Timestamp = Timestamp::from_millis(1_736_942_400_000);

/// The provider, the disk and the broker of one rotation.
struct World {
    rotation: KeyRotation,
    now: Timestamp,
    /// All keys of the account: id → name.
    keys: BTreeMap<String, String>,
    /// Creations that the provider carries out later.
    late: Vec<(Timestamp, String)>,
    /// Keys with live grants.
    with_grants: BTreeSet<KeyName>,
    made: u32,
}

/// What becomes of a call, and of the process that made it.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    Refused,
    RequestLost,
    AnswerLost,
    /// The request is carried out so many seconds later.
    Late(u64),
    /// The process ends before the request is sent.
    CrashBefore,
    /// The process ends after the request was carried out, before its outcome is on disk.
    CrashAfter,
}

#[derive(Clone, Debug)]
enum Op {
    Call(Fate),
    Advance(u64),
    Restart,
    /// The key that mints gets a grant.
    Grant,
    /// All grants of retired keys end.
    GrantsEnd,
}

impl World {
    fn new() -> Self {
        Self {
            rotation: KeyRotation::default(),
            now: START,
            keys: BTreeMap::from([("operators".into(), "turn-broker auto-1".into())]),
            late: Vec::new(),
            with_grants: BTreeSet::new(),
            made: 0,
        }
    }

    fn step(&mut self) -> Option<KeyRequest> {
        let has_grants = |key: KeyName| self.with_grants.contains(&key);
        let input = RotationInput {
            now: self.now,
            every: DAY,
            is_refused: self.rotation.current().is_some_and(|key| !self.keys.contains_key(&key.id)),
            has_grants: &has_grants,
            random: u64::from(self.made) << 8,
        };
        self.rotation.step(&input)
    }

    /// What is on disk: listing starts anew in each process.
    fn stored(&self) -> KeyRotation {
        serde_json::from_str(&serde_json::to_string(&self.rotation).unwrap()).unwrap()
    }

    fn create(&mut self, name: &str) -> String {
        self.made += 1;
        let id = format!("id-{}", self.made);
        self.keys.insert(id.clone(), name.to_owned());
        id
    }

    /// Carries a call out at the provider.
    fn carry_out(&mut self, call: &KeyRequest) -> CallOutcome {
        match call {
            KeyRequest::List => {
                let listed =
                    |(id, name): (&String, &String)| ListedKey { id: id.clone(), name: name.clone() };
                CallOutcome::Listed(self.keys.iter().map(listed).collect())
            }
            KeyRequest::Create { name } => {
                let id = self.create(name);
                let secret = KeySecret::new(format!("secret of {id}"));
                CallOutcome::Created { id, secret }
            }
            KeyRequest::Prove { key } if self.keys.contains_key(&key.id) => CallOutcome::Proven,
            KeyRequest::Prove { .. } => CallOutcome::Refused,
            KeyRequest::Delete { id } => {
                let name = self.rotation.retired().find(|key| key.id == *id).map(CreatedKey::name);
                assert!(
                    name.is_none_or(|name| !self.with_grants.contains(&name)),
                    "a key with grants is deleted"
                );
                assert_ne!(
                    self.rotation.current().map(|key| &key.id),
                    Some(id),
                    "the key that mints is deleted"
                );
                assert_ne!(id, "operators", "a key of somebody else is deleted");
                if self.keys.remove(id).is_some() { CallOutcome::Deleted } else { CallOutcome::Refused }
            }
        }
    }

    fn call(&mut self, fate: Fate) {
        let Some(call) = self.step() else { return };
        let stored = self.stored();
        let outcome = match fate {
            Fate::Answered => self.carry_out(&call),
            Fate::Refused => CallOutcome::Refused,
            Fate::RequestLost => CallOutcome::Unknown,
            Fate::AnswerLost => {
                self.carry_out(&call);
                CallOutcome::Unknown
            }
            Fate::Late(seconds) => {
                if let KeyRequest::Create { name } = &call {
                    self.late.push((self.now.plus(Duration::from_secs(seconds)), name.clone()));
                }
                CallOutcome::Unknown
            }
            Fate::CrashBefore => {
                self.rotation = stored;
                return;
            }
            Fate::CrashAfter => {
                self.carry_out(&call);
                self.rotation = stored;
                return;
            }
        };
        self.rotation.took(&call, outcome, self.now);
    }

    fn advance(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
        let (due, later) = std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= self.now);
        self.late = later;
        let due: Vec<(Timestamp, String)> = due;
        for (_, name) in due {
            self.create(&name);
        }
    }

    /// Some hours with a provider that works.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.advance(RETRY_MAX.as_secs());
            self.make_due_calls();
        }
    }

    fn make_due_calls(&mut self) {
        for _ in 0..50 {
            self.call(Fate::Answered);
        }
    }

    /// Every key of ours at the provider is known by its id, or by its name before it is asked for.
    fn check(&self) {
        let known: BTreeSet<&str> =
            self.rotation.ids().chain(self.rotation.orphans.iter().map(String::as_str)).collect();
        for (id, name) in self.keys.iter().filter(|(id, _)| *id != "operators") {
            let is_asked_for = self.rotation.attempts.iter().any(|attempt| attempt.name == *name);
            assert!(known.contains(&**id) || is_asked_for, "{id} {name} is an orphan of {:?}", self.rotation);
        }
        if let Some(current) = self.rotation.current() {
            assert!(self.keys.contains_key(&current.id), "the key that mints is gone");
        }
        assert!(self.rotation.attempts.len() <= ATTEMPTS_MAX && self.rotation.retired.len() <= RETIRED_MAX);
    }
}

#[test]
fn a_key_is_created_proven_and_used_and_the_old_one_is_deleted_after_its_last_grant() {
    let mut world = World::new();
    world.settle();
    let first = world.rotation.current().unwrap().clone();
    assert_eq!((first.name().as_str(), world.keys.len()), ("auto-1", 2));
    world.with_grants.insert(first.name());
    world.advance(DAY.as_secs());
    world.settle();
    assert_eq!(world.rotation.current().unwrap().name().as_str(), "auto-2");
    assert_eq!((world.rotation.retired().count(), world.keys.len()), (1, 3), "it has a live grant");
    world.with_grants.clear();
    world.settle();
    assert_eq!((world.rotation.retired().count(), world.keys.len()), (0, 2));
    assert_eq!(world.rotation.ids().count(), 2, "its bytes in this period are still ours");
    world.rotation.forget_deleted(world.now.plus(DAY));
    assert_eq!(world.rotation.ids().count(), 1);
}

#[test]
fn a_key_that_somebody_deleted_is_replaced() {
    let mut world = World::new();
    world.settle();
    let first = world.rotation.current().unwrap().id.clone();
    world.keys.remove(&first);
    world.settle();
    let second = world.rotation.current().unwrap().id.clone();
    assert!(second != first && world.keys.contains_key(&second));
    assert_eq!(world.rotation.retired().count(), 0, "the list says that it is gone");
    assert_eq!(world.rotation.failures(), 0);
}

#[test]
fn a_key_that_never_mints_is_deleted_after_its_last_proof() {
    let mut world = World::new();
    while world.rotation.candidate.is_none() {
        world.call(Fate::Answered);
    }
    for _ in 0..PROOFS_MAX {
        assert_eq!(world.keys.len(), 2);
        world.call(Fate::Refused);
        world.rotation.retry_at = world.now;
    }
    world.call(Fate::Answered);
    assert_eq!((world.keys.len(), world.rotation.current()), (1, None));
    world.settle();
    assert_eq!(world.rotation.current().unwrap().name().as_str(), "auto-2");
}

#[test]
fn failures_double_the_pause_up_to_ten_minutes() {
    let mut world = World::new();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        world.call(Fate::RequestLost);
        let pause = world.rotation.retry_at.since(world.now);
        pauses.push(pause.as_secs());
        world.advance(pause.as_secs() - 1);
        assert_eq!(world.step(), None);
        world.advance(1);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    assert_eq!((world.rotation.failures(), world.rotation.state()), (12, RotationState::Failing));
}

#[test]
fn a_key_that_the_provider_never_deletes_is_asked_for_less_and_less_often() {
    let mut world = World::new();
    world.settle();
    world.advance(DAY.as_secs());
    for _ in 0..100 {
        world.advance(60);
        if matches!(world.step(), Some(KeyRequest::Delete { .. })) {
            break;
        }
        world.call(Fate::Answered);
    }
    let mut pauses = Vec::new();
    for _ in 0..4 {
        for fate in [Fate::Refused, Fate::Answered] {
            world.call(fate);
            let pause = world.rotation.retry_at.since(world.now);
            pauses.push(pause.as_secs());
            world.advance(pause.as_secs());
        }
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128]);
    assert!(world.rotation.is_failing());
}

#[test]
fn no_key_is_created_while_too_many_are_doubtful_or_wait_for_their_end() {
    let mut world = World::new();
    world.call(Fate::Answered);
    for _ in 0..ATTEMPTS_MAX {
        world.call(Fate::RequestLost);
        world.rotation.retry_at = world.now;
    }
    assert_eq!((world.step(), world.rotation.attempts.len()), (None, ATTEMPTS_MAX));
    world.settle();
    assert!(world.rotation.current().is_some(), "once they cannot appear any more");
    for _ in 0..20 {
        world.with_grants.insert(world.rotation.current().unwrap().name());
        world.advance(DAY.as_secs());
        world.settle();
    }
    assert_eq!(world.rotation.retired().count(), RETIRED_MAX);
}

#[test]
fn the_secret_is_not_in_the_debug_output() {
    let mut world = World::new();
    world.settle();
    assert!(!format!("{:?}", world.rotation).contains("secret of"));
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Answered),
        1 => Just(Fate::Refused),
        1 => Just(Fate::RequestLost),
        1 => Just(Fate::AnswerLost),
        1 => (0..LATE_MAX.as_secs()).prop_map(Fate::Late),
        1 => Just(Fate::CrashBefore),
        1 => Just(Fate::CrashAfter),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => any_fate().prop_map(Op::Call),
        3 => (0u64..900).prop_map(Op::Advance),
        1 => (0u64..100_000).prop_map(Op::Advance),
        1 => Just(Op::Restart),
        1 => Just(Op::Grant),
        1 => Just(Op::GrantsEnd),
    ]
}

proptest! {
    #[test]
    fn no_crash_and_no_lost_call_orphans_a_key_or_deletes_one_that_is_used(
        ops in prop::collection::vec(any_op(), 0..200),
    ) {
        let mut world = World::new();
        for op in ops {
            match op {
                Op::Call(fate) => world.call(fate),
                Op::Advance(seconds) => world.advance(seconds),
                Op::Restart => world.rotation = world.stored(),
                Op::Grant => world.with_grants.extend(world.rotation.current().map(CreatedKey::name)),
                Op::GrantsEnd => {
                    let current = world.rotation.current().map(CreatedKey::name);
                    world.with_grants.retain(|key| Some(*key) == current);
                }
            }
            world.check();
        }
        // Everything works again, and all grants end.
        world.with_grants.clear();
        for _ in 0..300 {
            world.advance(RETRY_MAX.as_secs());
            world.make_due_calls();
            if world.rotation.current().is_some() && world.keys.len() == 2 && world.rotation.attempts.is_empty() {
                break;
            }
        }
        world.check();
        let ours: Vec<&String> = world.keys.keys().filter(|id| *id != "operators").collect();
        prop_assert_eq!(ours, [&world.rotation.current().unwrap().id]);
        prop_assert!(world.rotation.attempts.is_empty());
    }
}
