//! What many tests begin with.

#[path = "../../budget/src/testing/dice.rs"]
mod dice;

use std::sync::atomic::{AtomicI64, Ordering};

use prelude::*;

/// What most unit tests use.
pub(crate) mod prelude {
    pub(crate) use std::collections::BTreeMap;
    pub(crate) use std::time::Duration;

    pub(crate) use crate::testing::{self, Broker, Dice, grant_id};
    pub(crate) use crate::*;
}

pub(crate) use dice::Dice;

/// A report each 30 s. A connection is charged this rate while it reports no bytes.
pub(crate) fn rules(rate: u64) -> UsageRules {
    UsageRules {
        heartbeat: Duration::from_secs(30),
        billed: BilledDirections::Egress.into(),
        estimated_rate: BitRate::new(rate),
    }
}

/// 1 GB a month and 2 Mbps for each grant, of Cloudflare alone, whose count may miss 5 %.
pub(crate) fn setup(mode: BudgetMode) -> Setup {
    let rules = rules(2_000_000);
    let rate = rules.estimated_rate;
    let promises_cap_claims = mode == BudgetMode::Strict;
    let source = IceSource::Cloudflare;
    Setup {
        terms: Terms {
            ends_calls: true,
            limit: ByteCount::new(1_000_000_000),
            billing_day: BillingDay::new(1).unwrap(),
            mode,
            rates: Rates { estimated: rate, liability: rate, promises_cap_claims },
        },
        sources: vec![SourceTerms {
            owner: source.into(),
            tail: Duration::from_secs(7_200),
            cut_tail: None,
            limit: None,
            sampling: 5,
            is_read: true,
            proof: ProofRule::Missing,
            counted_in: None,
        }],
        unseen: vec![],
        server_limits: BTreeMap::new(),
        rules,
        bounds: Bounds::default(),
        default_source: source,
        turn_keys: vec![],
        tariff: Tariff::default(),
    }
}

/// The same with this limit, and with a source that is read, whose count misses nothing.
pub(crate) fn setup_of(source: IceSource, mode: BudgetMode, limit: ByteCount) -> Setup {
    let mut setup = setup(mode);
    setup.terms.limit = limit;
    setup.sources = vec![SourceTerms { is_read: true, ..SourceTerms::of_unconfigured(source) }];
    Setup { default_source: source, ..setup }
}

/// An empty ledger of Cloudflare and coturn, in 1970.
pub(crate) fn budget() -> Budget {
    let Setup { terms, mut sources, .. } = setup(BudgetMode::Estimate);
    sources.push(SourceTerms::of_unconfigured(IceSource::Coturn));
    Budget::open(terms, &sources, Timestamp::default(), PeriodCounts::default(), &BTreeMap::new())
}

/// A count of the day of Cloudflare or of the SFU until this instant, or of the day that ends then.
pub(crate) fn reading(as_of: Timestamp, granted: u64) -> Reading {
    Reading {
        day: Day::until(as_of),
        as_of,
        at: as_of,
        granted: ByteCount::new(granted),
        other: ByteCount::ZERO,
    }
}

/// Takes a reading that the provider gives twice, a minute apart and a minute after all others of this process.
pub(crate) fn take(books: &mut Books, owner: impl Into<CountOwner>, reading: Reading) -> ReadingOutcome {
    static ANSWERS: AtomicI64 = AtomicI64::new(1);
    let owner = owner.into();
    let mut answer = || {
        let at = Timestamp::from_millis(ANSWERS.fetch_add(1, Ordering::Relaxed) * 60_000);
        books.take_reading(owner, &Reading { at, ..reading })
    };
    let _ = answer();
    answer()
}

impl Books {
    /// What a user has used and reserved under the limit for each user; `None` without such a limit.
    pub(crate) fn user_share(&mut self, user: &User) -> Option<LimitShare> {
        self.limit_share(&Limited::User(user.clone()))
    }
}

/// Books with their settings, and what is on disk of them. What goes through `books` directly is on disk after `flush`.
pub(crate) struct Broker {
    pub(crate) setup: Setup,
    pub(crate) books: Books,
    pub(crate) disk: Stored,
    minted: u64,
}

impl Broker {
    pub(crate) fn open(setup: Setup, now: Timestamp) -> Self {
        let books = setup.open(Some(Stored::default()), now);
        Self { setup, books, disk: Stored::default(), minted: 0 }
    }

    pub(crate) fn flush(&mut self) {
        self.disk.apply(self.books.take_batch());
    }

    /// The process is killed, and another one opens what is on disk.
    pub(crate) fn crash_until(&mut self, now: Timestamp) {
        self.books = self.setup.open(Some(self.disk.clone()), now);
    }

    /// The same once everything is on disk, in the same instant.
    pub(crate) fn restart(&mut self) {
        self.flush();
        self.crash_until(self.books.now());
    }

    /// Room for a credential of the default source, for so many seconds.
    pub(crate) fn reserve(&mut self, life: u64, requester: &Requester) -> Result<Hold, NotAdmitted> {
        self.books.reserve(self.setup.default_source, Duration::from_secs(life), MINT_SLACK, requester)
    }

    /// The credential is made now. Its write has not ended.
    pub(crate) fn commit(
        &mut self,
        hold: Hold,
        requester: Requester,
    ) -> Result<(Grant, Commit), NotAdmitted> {
        self.minted += 1;
        let (id, issued_at) = (grant_id(self.minted), self.books.now());
        let expires_at = issued_at.plus(hold.life);
        let grant = Grant { id, source: self.setup.default_source, issued_at, expires_at };
        let commit = self.books.commit(hold, &grant, Some("name"), requester)?;
        self.flush();
        Ok((grant, commit))
    }

    pub(crate) fn mint(&mut self, requester: Requester, life: u64) -> Result<Grant, NotAdmitted> {
        let hold = self.reserve(life, &requester)?;
        let (grant, commit) = self.commit(hold, requester)?;
        self.books.note_written(&commit, Written::Yes)?;
        Ok(grant)
    }

    /// A credential of nobody in particular.
    pub(crate) fn mint_any(&mut self, life: u64) -> Grant {
        self.mint(Requester::default(), life).unwrap()
    }

    pub(crate) fn used(&self) -> u64 {
        self.books.snapshot().figures.used.get()
    }

    pub(crate) fn committed(&self) -> u64 {
        self.books.snapshot().figures.committed.get()
    }

    /// What is committed in this period and in the next one.
    pub(crate) fn promised(&self) -> u64 {
        let figures = self.books.snapshot().figures;
        figures.committed.plus(figures.committed_next).get()
    }
}

/// The id of the grant that was minted as the first, second, ...
pub(crate) fn grant_id(number: u64) -> GrantId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    GrantId::new(id)
}

/// What these books have to store, on an empty disk.
pub(crate) fn stored_by(books: &mut Books) -> Stored {
    let mut stored = Stored::default();
    stored.apply(books.take_batch());
    stored
}

/// Who has spent in this period, looked at in one step.
pub(crate) fn walk(books: &Books, kind: SpenderKind) -> SpenderWalk {
    let mut walk = SpenderWalk::new(kind, None);
    while !walk.look(books.grants()) {}
    walk
}

/// The rows of who spends, most bytes first.
pub(crate) fn spenders(books: &Books, kind: SpenderKind) -> Vec<SpenderSums> {
    let mut rows = walk(books, kind).rows(&books.period_bytes());
    rows.sort_by(|a, b| a.order().cmp(&b.order()));
    rows
}
