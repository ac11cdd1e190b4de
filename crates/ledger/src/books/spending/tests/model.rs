//! The sums after random histories, compared with a sum over all grants of the period.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Clone, Debug)]
enum Step {
    Mint { user: usize, life: u64 },
    Open { nth: usize },
    Beat { nth: usize, bytes: Option<u64> },
    Close { nth: usize },
    Count { bytes: Vec<u64>, is_final: bool },
    Advance { seconds: u64, tidies: bool },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_usize..6, 60_u64..900).prop_map(|(user, life)| Step::Mint { user, life }),
        2 => (0_usize..4).prop_map(|nth| Step::Open { nth }),
        3 => (0_usize..4, prop::option::of(0_u64..90_000_000)).prop_map(|(nth, bytes)| Step::Beat { nth, bytes }),
        1 => (0_usize..4).prop_map(|nth| Step::Close { nth }),
        3 => (prop::collection::vec(0_u64..50_000_000, 0..5), any::<bool>())
            .prop_map(|(bytes, is_final)| Step::Count { bytes, is_final }),
        4 => (prop_oneof![9 => 1_u64..400, 1 => 1_u64..8_000], any::<bool>())
            .prop_map(|(seconds, tidies)| Step::Advance { seconds, tidies }),
        1 => Just(Step::Restart),
    ]
}

const USERS: [&str; 6] = ["", "ann", "bob", "eve", "joe", "zoe"];

/// The last known share of every grant of the period, live, ended or dropped: its user, what was measured and claimed, and whether it
/// counts as a grant of the period yet.
#[derive(Default)]
struct Model {
    period: Option<Timestamp>,
    grants: HashMap<GrantId, (Option<String>, u64, u64, u64)>,
}

impl Model {
    fn look(&mut self, books: &Books) {
        let period = books.snapshot().figures.period.start;
        if self.period != Some(period) {
            *self = Self { period: Some(period), grants: HashMap::new() };
        }
        if books.grants().reset.is_none() {
            // A grant can begin anew and be dropped in one step.
            self.grants.values_mut().for_each(|(.., counts)| *counts = 1);
        }
        for (id, row) in books.grants().iter() {
            let user = row.spender.as_deref().and_then(|spender| spender.user.as_ref());
            let user = user.map(|user| user.as_str().to_owned());
            let spent = books.grants().spent_of(row);
            let counts = u64::from(books.grants().has_begun(row));
            self.grants.insert(*id, (user, spent.measured().get(), spent.claimed().get(), counts));
        }
    }

    /// Measured, claimed, all bytes and the number of grants that `is` holds for.
    fn sum(&self, is: impl Fn(&Option<String>) -> bool) -> [u64; 4] {
        let of_it = self.grants.values().filter(|(user, ..)| is(user));
        of_it.fold([0; 4], |[a, b, c, d], (_, measured, claimed, counts)| {
            [a + measured, b + claimed, c + measured + claimed, d + counts]
        })
    }
}

fn figures(sums: &Sums) -> [u64; 4] {
    [sums.measured().get(), sums.claimed().get(), sums.bytes().get(), sums.grants()]
}

fn run(steps: Vec<Step>, users: usize, ended_max: usize) {
    let mut broker = Broker::new(
        BudgetMode::Estimate,
        SpenderTerms { users_max: users, others_max: 10, ended_max, ..SpenderTerms::default() },
    );
    let mut model = Model::default();
    let mut held: Vec<Grant> = vec![];
    for step in steps {
        let nth = |held: &Vec<Grant>, nth: usize| held.iter().rev().nth(nth).copied();
        match step {
            Step::Mint { user, life } => held.extend(broker.mint(requester(USERS[user]), life)),
            Step::Open { nth: n } => {
                if let Some(grant) = nth(&held, n) {
                    let _ = broker.books.open(Caller::Grant(grant), "c", None);
                }
            }
            Step::Beat { nth: n, bytes } => {
                if let Some(grant) = nth(&held, n) {
                    let report = Report { bytes_received: bytes, ..Report::default() };
                    let _ = broker.books.heartbeat(Caller::Grant(grant), "c", report);
                }
            }
            Step::Close { nth: n } => {
                if let Some(grant) = nth(&held, n) {
                    let _ = broker.books.close(Caller::Grant(grant), "c", Report::default());
                }
            }
            Step::Count { bytes, is_final } => {
                let bytes: Vec<_> =
                    held.iter().rev().zip(bytes).map(|(grant, bytes)| (grant.id, bytes)).collect();
                let until = broker.books.now();
                broker.count(until, is_final, &bytes, 0);
            }
            Step::Advance { seconds, tidies } => {
                let now = broker.books.now();
                broker.books.advance(now.plus_millis(seconds * 1_000));
                // A grant can be dropped as soon as it ends.
                model.look(&broker.books);
                if tidies {
                    broker.books.tidy();
                }
            }
            Step::Restart => broker.restart(),
        }
        model.look(&broker.books);
        check(&broker, &model, users);
    }
}

fn check(broker: &Broker, model: &Model, users: usize) {
    let spenders = broker.books.grants().spenders();
    let rows = broker.books.spenders(SpenderKind::User, 100, None);
    let of = |kind, key| spenders.get(&SpenderKey::parse(kind, key).unwrap());
    for name in USERS.iter().skip(1).filter(|_| users >= USERS.len()) {
        let found = of(SpenderKind::User, name).map(|row| figures(&row.sums)).unwrap_or_default();
        assert_eq!(found, model.sum(|user| user.as_deref() == Some(name)), "{name}");
    }
    let [measured, _, _, grants] = model.sum(|_| true);
    let bytes: u64 = rows.iter().map(|row| row.sums.bytes().get()).sum();
    let whole = broker.books.snapshot().figures.used.get().max(measured);
    let rounding = u64::try_from(rows.len()).unwrap();
    assert!(bytes <= whole && bytes + rounding >= whole, "they add up to {whole}: {rows:?}");
    let shown = rows.iter().map(|row| row.sums.grants()).sum::<u64>();
    assert!(
        shown == grants || shown < grants && rows.iter().all(|row| row.key.is_some()),
        "{grants}: {rows:?}"
    );
    let by_address = of(SpenderKind::Address, "203.0.113.9");
    assert_eq!(by_address.map(|row| figures(&row.sums)).unwrap_or_default(), model.sum(|_| true));
}

proptest! {
    #[test]
    fn the_sums_are_those_of_all_grants(
        steps in prop::collection::vec(step(), 0..60), users in prop::sample::select(vec![2, 10]),
        ended_max in prop::sample::select(vec![0, 2, 100]),
    ) {
        run(steps, users, ended_max);
    }
}
