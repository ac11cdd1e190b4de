//! The broker as the relay sees it: passwords, the ends of grants, and the ledger that takes what the relay carries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use turn_ledger::{
    BilledDirections, ByteCount, Carried, GrantEnd, GrantId, IceSource, ReadingOutcome, Timestamp, Traffic,
};
use turn_relay::{Event, Note, Relay, RelayBroker, Username};

use super::BuildError;
use crate::account::Account;
use crate::config::RelayConfig;
use crate::ice::{IceUrl, RestSecret, RestServer};
use crate::telemetry::metrics::Metrics;

/// What the relay needs of the service.
pub(super) struct RelayAccount {
    pub(super) account: Arc<Account>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) secret: RestSecret,
}

#[async_trait]
impl RelayBroker for RelayAccount {
    fn password(&self, username: &str) -> String {
        self.secret.password(username)
    }

    fn grant_end(&self, user: &Username) -> Option<GrantEnd> {
        self.account.read(|books| books.grant_end(user.grant, Some(user.expires_at)))
    }

    fn may_count_until(&self) -> Option<Timestamp> {
        self.account.read(|books| books.may_count().then(|| books.now()))
    }

    fn carry(&self, carried: &Carried, by_grant: &BTreeMap<GrantId, Traffic>) {
        self.account.change(|books| {
            books.carry(IceSource::Relay, carried);
            books.add_grant_traffic(IceSource::Relay, by_grant);
        });
        self.metrics.readings.count([IceSource::Relay.name(), ReadingOutcome::Taken.into()]);
    }

    async fn recorded(&self) -> bool {
        self.account.recorded().await.is_ok()
    }

    fn remaining(&self) -> ByteCount {
        self.account.snapshot().figures.remaining()
    }

    fn release_all_but(&self, present: &[GrantId]) {
        self.account.change(|books| {
            // An allocation continues under the renewals of its grant.
            let present: BTreeSet<_> =
                present.iter().flat_map(|grant| books.grants().with_renewals(*grant)).collect();
            books.release_gone(IceSource::Relay, |grant| present.contains(&grant));
        });
    }
}

/// The relay, and the ICE source that issues credentials for it. Their secret never leaves the process, so credentials and
/// allocations end with the process.
pub(super) fn open(
    RelayConfig { listen, public_ip }: RelayConfig,
    billed: BilledDirections,
    broker: RelayAccount,
) -> Result<(Relay, RestServer), BuildError> {
    let (metrics, secret) = (Arc::clone(&broker.metrics), broker.secret.clone());
    let note: Note = Arc::new(move |event| match event {
        Event::Allocations(allocations) => {
            metrics.relay_allocations.set(allocations);
        }
        Event::Ended(why) => metrics.relay_ends.count([why]),
        Event::Refused(why) => metrics.relay_refusals.count([why]),
        Event::Dropped(why) => metrics.relay_drops.count([why]),
    });
    let relay = Relay::open(listen, public_ip, billed, Arc::new(broker), note);
    let relay = relay.map_err(|why| format!("RELAY_LISTEN: {why}"))?;
    let url = IceUrl::parse(&format!("turn:{}?transport=udp", relay.public_address()));
    let url = url.expect("an address and a port form a turn: URL");
    Ok((relay, RestServer { urls: vec![url], secret }))
}
