//! Item 1: false bytes. One address, or one IPv6 /48, mints as much as the default rate allows (ten at once, then one each
//! 30 s), opens a connection with every grant, and reports more bytes than any relay carries, every 30 s.

use crate::books::{as_gb, broker, used};
use crate::client::{Client, Cost};
use crate::honest::{Tally, round};
use crate::support::{REPORTER, TestBroker};
use crate::table::{Form, Outcome, count, grouped};
use crate::{Attack, Running};
use serde_json::json;

/// From heartbeat to heartbeat, and the time in which the default rate allows one more mint. Seconds.
const STEP: u64 = 30;
/// When a grant of a minute can be renewed. Seconds.
const STEP_RENEWING: u64 = 45;
const MINTS_AT_ONCE: usize = 10;
/// More than any relay carries.
const HUGE: u64 = 1 << 50;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        item: 1,
        name: "false bytes from one IPv4 address",
        allowance: "30 GB an hour",
        run: |form| boxed(claim(form, Attacker::OneAddress)),
    },
    Attack {
        item: 1,
        name: "false bytes with chained renewals",
        allowance: "30 GB an hour, 40 renewals at once and 480 an hour",
        run: |form| boxed(claim(form, Attacker::Renewing)),
    },
    Attack {
        item: 1,
        name: "false bytes from 16 networks of one IPv6 /48",
        allowance: "4 times 30 GB an hour",
        run: |form| boxed(claim(form, Attacker::Prefix)),
    },
    Attack {
        item: 1,
        name: "vouched reports beside false ones",
        allowance: "a reporter's 100 Mbps count in full",
        run: |form| boxed(vouched(form)),
    },
];

fn boxed(attack: impl Future<Output = Outcome> + Send + 'static) -> Running {
    Box::pin(attack)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Attacker {
    OneAddress,
    /// One address whose grants live for a minute and are renewed as early as possible.
    Renewing,
    /// 16 /64s of one /48, used in turn. Each keeps to its rate.
    Prefix,
}

impl Attacker {
    fn addresses(self) -> Vec<String> {
        match self {
            Self::OneAddress | Self::Renewing => vec!["198.51.100.7".into()],
            Self::Prefix => (0..16).map(|n| format!("2001:db8:7:{n:x}::1")).collect(),
        }
    }

    fn step(self) -> u64 {
        if self == Self::Renewing { STEP_RENEWING } else { STEP }
    }

    fn query(self) -> &'static str {
        if self == Self::Renewing { "?ttl=60" } else { "" }
    }
}

/// What an attacker has collected.
#[derive(Default)]
struct Collected {
    /// All its grants. Each has one connection.
    grants: Vec<String>,
    /// The grants of the last step, which can be renewed now.
    fresh: Vec<String>,
    renewals: u64,
    mints: u64,
}

async fn claim(form: Form, attacker: Attacker) -> Outcome {
    let step_seconds = attacker.step();
    let steps = form.choose(600, 3_600) / step_seconds;
    let rate = (steps + 10).to_string();
    let broker = broker(&[("RATE_LIMIT_REQUESTS", &rate)]).await;
    let mut clients: Vec<_> =
        attacker.addresses().iter().map(|address| Client::behind_proxy(broker.address, address)).collect();
    let mut loots: Vec<Collected> = clients.iter().map(|_| Collected::default()).collect();
    let (mut honest, mut spent_after) = (Tally::default(), None);
    for step in 0..=steps {
        for (client, collected) in clients.iter_mut().zip(&mut loots) {
            act(client, collected, attacker, if step == 0 { MINTS_AT_ONCE } else { 1 }).await;
        }
        if step % (steps / 3) == 0 {
            honest = honest.plus(round(broker.address, u32::try_from(step).unwrap()).await);
        }
        if broker.status().await["status"] == "LIMIT_EXCEEDED" {
            spent_after = Some(step * step_seconds / 60);
            honest = honest.plus(round(broker.address, 999).await);
            break;
        }
        if step < steps {
            broker.advance(step_seconds);
        }
    }
    let charged = used(&broker).await;
    let cost = clients.iter().fold(Cost::default(), |sum, client| sum.plus(client.cost));
    let (mints, renewals) =
        loots.iter().fold((0, 0), |sum, collected| (sum.0 + collected.mints, sum.1 + collected.renewals));
    let hourly = if attacker == Attacker::Prefix { 120_000_000_000 } else { 30_000_000_000 };
    let (minutes, seconds) = (steps * step_seconds / 60, steps * step_seconds);
    let is_within = charged <= hourly * seconds / 3_600 && renewals <= 40 + 40 * seconds.div_ceil(300);
    let end = spent_after.map_or_else(
        || format!("charged in {minutes} min"),
        |minute| format!("charged: the budget is spent after {minute} min"),
    );
    let effect =
        format!("{} {end}, {} mints, {} renewals", as_gb(charged), grouped(mints), grouped(renewals));
    Outcome { attempts: cost.requests, cost, effect, honest, is_within }
}

/// One step: mints, renews what can be renewed, and reports false bytes on every connection.
async fn act(client: &mut Client, collected: &mut Collected, attacker: Attacker, mints: usize) {
    let mut new = Vec::new();
    if attacker == Attacker::Renewing {
        for grant in std::mem::take(&mut collected.fresh) {
            new.extend(client.renew(&grant, attacker.query()).await);
        }
        collected.renewals += count(new.len());
    }
    for _ in 0..mints {
        let grant = client.mint(attacker.query()).await;
        collected.mints += u64::from(grant.is_some());
        new.extend(grant);
    }
    for grant in &new {
        client.open(grant, &name(grant)).await;
    }
    collected.fresh.clone_from(&new);
    collected.grants.extend(new);
    let reports: Vec<_> =
        collected.grants.iter().map(|grant| client.false_report(grant, &name(grant), HUGE)).collect();
    for batch in reports.chunks(100) {
        client.pipeline(batch).await;
    }
}

/// A connection's id from its grant: unique and short enough.
fn name(grant: &str) -> String {
    grant.chars().filter(char::is_ascii_alphanumeric).rev().take(24).collect()
}

/// An app server at the attacker's own address reports 100 Mbps while the attacker uses up the address's allowance.
async fn vouched(form: Form) -> Outcome {
    let broker = broker(&[("BANDWIDTH_LIMIT_GB", "10000")]).await;
    let seconds = form.choose(300, 3_600);
    let mut attacker = Client::behind_proxy(broker.address, "198.51.100.7");
    let mut reporter = Client::behind_proxy(broker.address, "198.51.100.7");
    let mut collected = Collected::default();
    reporter.open(REPORTER, "vouched").await;
    act(&mut attacker, &mut collected, Attacker::OneAddress, MINTS_AT_ONCE).await;
    let mut honest = Tally::default();
    for step in 1..=seconds / STEP {
        broker.advance(STEP);
        act(&mut attacker, &mut collected, Attacker::OneAddress, 1).await;
        honest.count(reporter.beat(REPORTER, "vouched", step * STEP * 12_500_000).await == 200);
    }
    let charged = charged_to(&broker, "vouched").await;
    let total = seconds / STEP * STEP * 12_500_000;
    let effect = format!("{} of {} reported are charged", as_gb(charged), as_gb(total));
    let cost = attacker.cost;
    honest = honest.plus(round(broker.address, 1).await);
    Outcome { attempts: cost.requests, cost, effect, honest, is_within: charged == total }
}

/// What the operator's list says of one connection.
async fn charged_to(broker: &TestBroker, id: &str) -> u64 {
    let listed = broker.operator("/api/connections").await.json();
    let connections = listed["connections"].as_array().unwrap();
    let found = connections.iter().find(|connection| connection["connectionId"] == json!(id));
    found.unwrap()["chargedBytes"].as_u64().unwrap()
}
