//! `doctor --tail`: until when a credential of each TURN key relays after its expiry and after its revocation, in the hands of the worst
//! client. It asks for the longest LIFETIME, refreshes just before the end, and tries new allocations after it. Nobody else gets these
//! credentials. With Cloudflare's analytics, doctor also waits for the count, and says which minutes were billed.

use std::cell::RefCell;
use std::collections::BTreeSet;

use futures_util::future::join_all;
use strum::IntoEnumIterator as _;
use tokio::time::timeout;

use super::Examination;
use super::prelude::*;
use super::provider::{KeyClient, TTL};
use crate::ice::call::DEADLINE;
use crate::ice::cloudflare::OWN_IDENTIFIERS;
use crate::ice::relays;
use crate::meter::cloudflare::analytics::{CloudflareAnalytics, Counted};
use turn_ledger::polls::spans::{Span, final_after};
use turn_ledger::{IdDigest, Minute, RevocationAnswer};
use turn_relay::client::{Allocation, RelayError};

/// For how long a credential is tried after its end.
const TRIED_FOR: Duration = IceSource::Cloudflare.expiry_tail();
/// A trial is over once nothing was relayed for this long.
const QUIET_FOR: Duration = Duration::from_secs(600);
/// A credential that is revoked would expire this long after its trial.
const LONGER: Duration = Duration::from_secs(900);
const MINUTE: Duration = Duration::from_secs(60);
/// A new allocation is tried every so many minutes, and whenever the present one relays nothing.
const ALLOCATES_EVERY: u32 = 5;
/// The first allocation is made this long before the expiry, and refreshed this long before it.
const BEFORE_EXPIRY: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(3)];
/// What is added to the longest time that was seen.
const MARGIN: Duration = Duration::from_secs(300);
/// What is relayed in one minute: so many datagrams of 1,000 bytes.
const DATAGRAMS: u16 = 100;
/// The time limit for them. They normally take seconds.
const RELAY_MAX: Duration = Duration::from_secs(30);
/// The pause after which is checked again whether something is due.
const PAUSE: Duration = Duration::from_millis(250);

/// How a credential ends.
#[derive(Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
enum CredentialEnd {
    Expiry,
    Revocation,
}

impl Examination<'_, '_> {
    /// Tries credentials of all TURN keys at the same time, one for each end. At the end, states the setting
    /// that follows from the longest tail; none if one tail is not known.
    pub(super) async fn tails(&mut self) {
        let (config, keys, clock) = (self.config, self.keys, &**self.clock);
        let own_keys = config.ice.cloudflare.as_ref().map(CloudflareConfig::own_keys).unwrap_or_default();
        let analytics = config.meter.analytics.as_ref().map(|settings| {
            let api = CloudflareAnalytics::new(self.client.clone(), settings, own_keys, Counted::of(config));
            (api, final_after(settings.lag))
        });
        let keys = keys.iter().filter(|key| key.api.source() == IceSource::Cloudflare);
        let keys = keys.zip(config.ice.turn_keys().map(|key| IdDigest::of(&key.id)));
        let examination = RefCell::new(self);
        let say = |key: &KeyClient, verdict| {
            examination.borrow_mut().found(Check::Tail, &key.subject, verdict);
        };
        let (analytics, say) = (analytics.as_ref(), &say);
        let trials = keys.flat_map(|(key, turn_key)| {
            CredentialEnd::iter().map(move |end| async move {
                let trial = Trial { key, turn_key, end, clock, analytics, say: &|verdict| say(key, verdict) };
                trial.run().await
            })
        });
        let tails: Vec<_> = join_all(trials).await;
        let of_expiry = tails.into_iter().filter(|(end, _)| *end == CredentialEnd::Expiry);
        let longest = of_expiry.map(|(_, tail)| tail).collect::<Option<Vec<_>>>();
        let verdict = match longest.and_then(|tails| tails.into_iter().max()) {
            Some(tail) => {
                let minutes = tail.saturating_add(MARGIN).as_secs().div_ceil(60);
                ok(format!("put this line into .env: TURN_EXPIRY_TAIL_SECONDS={}", minutes * 60))
            }
            None => warn("no tail was measured", "follow the warnings above, and run doctor --tail again"),
        };
        examination.borrow_mut().found(Check::Tail, "", verdict);
    }
}

/// What one credential relays after its end.
struct Trial<'a> {
    key: &'a KeyClient,
    turn_key: IdDigest,
    end: CredentialEnd,
    clock: &'a dyn Clock,
    /// Cloudflare's count, and the age at which it is final.
    analytics: Option<&'a (CloudflareAnalytics, Duration)>,
    say: &'a dyn Fn(Verdict),
}

impl Trial<'_> {
    /// Returns for how long the credential relayed or was billed after its end; `None` if that is not known.
    async fn run(&self) -> (CredentialEnd, Option<Duration>) {
        let measured = self.measure().await;
        (self.end, measured.map_err(|unknown| (self.say)(unknown)).ok())
    }

    async fn measure(&self) -> Result<Duration, Verdict> {
        let (name, began_at): (&str, _) = (self.end.into(), self.clock.now());
        let identifier = format!("{OWN_IDENTIFIERS}{name}-{}", Minute::of(began_at).number());
        let life = match self.end {
            CredentialEnd::Expiry => TTL,
            CredentialEnd::Revocation => TRIED_FOR + LONGER,
        };
        let listed =
            self.key.api.mint(life, &identifier, DEADLINE).await.map_err(|error| {
                warn(format!("no credential to try: {error}"), self.key.api.remedy(&error))
            })?;
        let mut client = WorstClient { servers: listed.servers, allocation: None };
        let ended_at = self.use_until_end(&mut client, began_at.plus(life)).await?;
        let mut relayed_until = None;
        for minute in 0..=u32::try_from(TRIED_FOR.as_secs() / 60).unwrap_or(0) {
            self.wait_until(ended_at.plus(MINUTE * minute)).await;
            let (now, relayed) = (self.clock.now(), client.relay(minute % ALLOCATES_EVERY == 0).await);
            let seen = match relayed {
                Ok(()) => "relays",
                Err(RelayError::Refused { .. }) => "relays nothing: the credential is refused",
                Err(_) => "relays nothing: no answer",
            };
            (self.say)(ok(format!("{now}, +{} s from the {name}: {seen}", now.since(ended_at).as_secs())));
            relayed_until = relayed.ok().map(|()| now).or(relayed_until);
            if now.since(relayed_until.unwrap_or(ended_at)) >= QUIET_FOR {
                break;
            }
        }
        client.close().await;
        let relayed_for = relayed_until.map_or(Duration::ZERO, |at| at.since(ended_at));
        let goes_on = relayed_for + MINUTE > TRIED_FOR;
        let relays = if goes_on { "relays as long as was looked at" } else { "relays for the last time" };
        (self.say)(ok(format!("{relays} after its {name}: {} s", relayed_for.as_secs())));
        Ok(relayed_for.max(self.billed_for(identifier, [began_at, ended_at]).await?))
    }

    /// Uses the credential shortly before its end, and until it ends. Returns when that is, at the earliest.
    async fn use_until_end(
        &self,
        client: &mut WorstClient,
        expires_at: Timestamp,
    ) -> Result<Timestamp, Verdict> {
        let [allocates_at, refreshes_at] = BEFORE_EXPIRY.map(|before| expires_at.minus(before));
        if self.end == CredentialEnd::Expiry {
            self.wait_until(allocates_at).await;
        }
        if let Err(error) = client.relay(true).await {
            let remedy = "allow UDP from here to turn.cloudflare.com, and run doctor --tail again";
            return Err(warn(format!("the credential does not relay before its end: {error}"), remedy));
        }
        if self.end == CredentialEnd::Expiry {
            self.wait_until(refreshes_at).await;
            client.refresh().await;
            self.wait_until(expires_at).await;
            return Ok(expires_at);
        }
        client.refresh().await;
        let (now, username) = (self.clock.now(), client.servers.username().unwrap_or_default());
        if !matches!(self.key.api.revoke(username).await, Ok(RevocationAnswer::Revoked)) {
            client.close().await;
            let remedy = "run doctor again, and compare its check `revoke`";
            return Err(warn("the credential was not revoked", remedy));
        }
        (self.say)(ok("the credential is revoked"));
        Ok(now)
    }

    /// Asks for how long the credential was billed after its end, once the count is final. Zero without analytics.
    async fn billed_for(&self, identifier: String, times: [Timestamp; 2]) -> Result<Duration, Verdict> {
        let name: &str = self.end.into();
        let Some((api, final_after)) = self.analytics else {
            (self.say)(ok("which minutes are billed is not known without CLOUDFLARE_ANALYTICS_TOKEN"));
            return Ok(Duration::ZERO);
        };
        let [from, ended_at] = times;
        let until = Minute::of(self.clock.now().plus(MINUTE)).end();
        self.wait_until(until.plus(*final_after)).await;
        let span = Span { from: Minute::of(from.minus(MINUTE)).start(), until, age: *final_after };
        let counted = api.minutes_of(Some(self.turn_key), vec![identifier], span).await;
        let counted =
            counted.map_err(|error| warn(format!("the count was not read: {error}"), error.remedy()))?;
        let billed: BTreeSet<_> = counted.values().flat_map(|minutes| minutes.keys()).collect();
        let Some(last) = billed.last().filter(|_| billed.iter().any(|minute| minute.start() < ended_at))
        else {
            let remedy = "check that CLOUDFLARE_ACCOUNT_ID is the account of the TURN key";
            return Err(warn("the count lacks what the credential relayed before its end", remedy));
        };
        let after = billed.iter().map(|minute| minute.end()).filter(|end| *end > ended_at);
        let after: Vec<_> = after.map(|end| (end.since(ended_at).as_secs() / 60).to_string()).collect();
        (self.say)(ok(format!("billed in these minutes after its {name}: {}", after.join(" "))));
        Ok(last.end().since(ended_at))
    }

    async fn wait_until(&self, at: Timestamp) {
        while self.clock.now() < at {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// See the module's description.
struct WorstClient {
    servers: IceServerList,
    allocation: Option<Allocation>,
}

impl WorstClient {
    /// Relays over the present allocation, and over a new one if nothing comes back. If `allocates`, tries a new one first. A new
    /// allocation that relays replaces the present one.
    async fn relay(&mut self, allocates: bool) -> Result<(), RelayError> {
        if !allocates && self.present_relays().await {
            return Ok(());
        }
        match timeout(RELAY_MAX, self.open()).await.unwrap_or(Err(RelayError::NothingThrough)) {
            Ok(new) => {
                self.close().await;
                self.allocation = Some(new);
                Ok(())
            }
            Err(_) if allocates && self.present_relays().await => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether data come back over the present allocation; `false` without one.
    async fn present_relays(&self) -> bool {
        match &self.allocation {
            Some(allocation) => matches!(timeout(RELAY_MAX, allocation.relay(DATAGRAMS)).await, Ok(Ok(_))),
            None => false,
        }
    }

    /// A new allocation that relays, over the first UDP relay in the list.
    async fn open(&self) -> Result<Allocation, RelayError> {
        let relay = relays::first(&self.servers).await.ok_or(RelayError::Unreachable)?;
        let allocation = Allocation::open(&relay, true).await?;
        match allocation.relay(DATAGRAMS).await {
            Ok(_) => Ok(allocation),
            Err(error) => {
                allocation.close().await;
                Err(error)
            }
        }
    }

    async fn refresh(&self) {
        if let Some(allocation) = &self.allocation {
            allocation.refresh().await;
        }
    }

    /// Releases the allocation.
    async fn close(&mut self) {
        if let Some(allocation) = self.allocation.take() {
            allocation.close().await;
        }
    }
}
