//! An account in memory for the tests of other modules: the relay is its only source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Account;
use crate::store::changes::Contents;
use crate::store::writer::Store;
use crate::telemetry::metrics::Metrics;
use turn_base::clock::Clock;
use turn_ledger::{
    BilledDirections, BillingDay, BitRate, Bounds, BudgetMode, ByteCount, Grant, GrantId, IceSource,
    ProofRule, Rates, Requester, Setup, SourceTerms, Tariff, Terms, UsageRules,
};

const SOURCE: IceSource = IceSource::Relay;
const LIFE: Duration = Duration::from_secs(600);

pub(crate) fn account(clock: Arc<dyn Clock>) -> Arc<Account> {
    account_with(None, clock)
}

/// The same, stored by a store.
pub(crate) fn account_with(store: Option<Store>, clock: Arc<dyn Clock>) -> Arc<Account> {
    let rate = BitRate::new(2_000_000);
    let terms = Terms {
        ends_calls: true,
        limit: ByteCount::new(1_000_000_000_000),
        billing_day: BillingDay::new(1).unwrap(),
        rates: Rates { estimated: rate, liability: rate, promises_cap_claims: false },
        mode: BudgetMode::Estimate,
    };
    let rules = UsageRules {
        heartbeat: Duration::from_secs(30),
        billed: BilledDirections::Egress.into(),
        estimated_rate: rate,
    };
    let relay = SourceTerms {
        owner: SOURCE.into(),
        tail: Duration::ZERO,
        cut_tail: None,
        limit: None,
        sampling: 0,
        is_read: true,
        proof: ProofRule::Missing,
        counted_in: None,
    };
    let setup = Setup {
        terms,
        sources: vec![relay],
        unseen: vec![],
        server_limits: BTreeMap::new(),
        rules,
        bounds: Bounds::default(),
        default_source: SOURCE,
        turn_keys: vec![],
        tariff: Tariff::default(),
    };
    Arc::new(Account::new(&setup, Contents::default(), store, None, clock, Arc::new(Metrics::default())))
}

/// Issues a grant of ten minutes.
pub(crate) async fn mint(account: &Arc<Account>, id: u8) -> GrantId {
    renew(account, None, id).await
}

/// Issues a grant of ten minutes that renews another one.
pub(crate) async fn renew(account: &Arc<Account>, renewed: Option<GrantId>, id: u8) -> GrantId {
    let requester = Requester { renews: renewed, ..Requester::default() };
    let reserved = account.reserve(SOURCE, LIFE, requester, |_, _| Ok(Some(()))).unwrap();
    let (reservation, ()) = reserved.unwrap();
    let (id, issued_at) = (GrantId::new([id; 16]), reservation.at());
    let grant = Grant { id, source: SOURCE, issued_at, expires_at: issued_at.plus(LIFE) };
    reservation.commit(&grant, None, Some("name"), None).await.unwrap();
    id
}
