//! False bytes. One address, or one IPv6 /48, mints as much as the default rate allows (ten at once, then one each 30 s), opens
//! a connection with every grant, and reports more bytes than any relay carries, every 30 s. Connections that report nothing are
//! charged by time, within the same allowance.

use serde_json::json;

use crate::client::{Client, HUGE};
use crate::honest::Tally;
use crate::support::REPORTER;
use crate::{Attack, Form, Outcome, as_gb, broker, grouped};

/// From heartbeat to heartbeat, and the time in which the default rate allows one more mint. Seconds.
const STEP: u64 = 30;
/// When a grant of a minute can be renewed. Seconds.
const STEP_RENEWING: u64 = 45;
const MINTS_AT_ONCE: usize = 10;
const STRANGER: &str = "198.51.100.7";
/// `CLAIMS_MBPS_PER_CLIENT`.
const CLAIMS_MBPS: u64 = 50;
/// Connections of one grant.
const CONNECTIONS: u32 = 64;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        name: "false bytes from one IPv4 address",
        allowance: "30 GB an hour",
        run: |form| Box::pin(claim(form, Attacker::OneAddress)),
    },
    Attack {
        name: "false bytes with chained renewals",
        allowance: "30 GB an hour, 40 renewals at once and 480 an hour",
        run: |form| Box::pin(claim(form, Attacker::Renewing)),
    },
    Attack {
        name: "false bytes from 16 networks of one IPv6 /48",
        allowance: "4 times 30 GB an hour",
        run: |form| Box::pin(claim(form, Attacker::Prefix)),
    },
    Attack {
        name: "vouched reports beside false ones",
        allowance: "a reporter's 100 Mbps count in full",
        run: |form| Box::pin(vouched(form)),
    },
    Attack {
        name: "64 silent connections of one grant",
        allowance: "50 Mbps",
        run: |form| Box::pin(silent(form, "2", false)),
    },
    Attack {
        name: "64 silent connections that also claim",
        allowance: "50 Mbps",
        run: |form| Box::pin(silent(form, "2", true)),
    },
    Attack {
        name: "64 silent connections at ESTIMATED_MBPS_PER_CONNECTION=8",
        allowance: "50 Mbps",
        run: |form| Box::pin(silent(form, "8", false)),
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Attacker {
    OneAddress,
    /// One address whose grants live for a minute and are renewed as early as possible.
    Renewing,
    /// 16 /64s of one /48, used in turn. Each keeps to its rate.
    Prefix,
}

/// One address, and what it has collected.
struct Liar {
    client: Client,
    attacker: Attacker,
    /// All its grants. Each has one connection.
    grants: Vec<String>,
    /// The grants of the last step, which can be renewed now.
    fresh: Vec<String>,
    renewals: u64,
    mints: u64,
}

async fn claim(form: Form, attacker: Attacker) -> Outcome {
    let is_prefix = attacker == Attacker::Prefix;
    let step_seconds = if attacker == Attacker::Renewing { STEP_RENEWING } else { STEP };
    let steps = form.choose(600, 3_600) / step_seconds;
    let rate = (steps + 10).to_string();
    let broker = broker(&[("RATE_LIMIT_REQUESTS", &rate)]).await;
    let addresses = if is_prefix { 0..16 } else { 0..1 };
    let address = |n| if is_prefix { format!("2001:db8:7:{n:x}::1") } else { STRANGER.to_owned() };
    let mut liars: Vec<_> =
        addresses.map(|n| Liar::new(Client::behind_proxy(broker.address, &address(n)), attacker)).collect();
    let mut honest = Tally::default();
    for step in 0..=steps {
        for liar in &mut liars {
            liar.act(if step == 0 { MINTS_AT_ONCE } else { 1 }).await;
        }
        if step % (steps / 3) == 0 {
            honest.round(broker.address, u32::try_from(step).unwrap()).await;
        }
        if step < steps {
            broker.advance(step_seconds);
        }
    }
    let charged = broker.used().await;
    let sum = |figure: fn(&Liar) -> u64| liars.iter().map(figure).sum::<u64>();
    let (mints, renewals) = (sum(|liar| liar.mints), sum(|liar| liar.renewals));
    let hourly = if is_prefix { 120_000_000_000 } else { 30_000_000_000 };
    let seconds = steps * step_seconds;
    let is_within = charged <= hourly * seconds / 3_600 && renewals <= 40 + 40 * seconds.div_ceil(300);
    let effect = format!(
        "{} charged in {} min, {} mints, {} renewals",
        as_gb(charged),
        seconds / 60,
        grouped(mints),
        grouped(renewals)
    );
    Outcome { attempts: sum(|liar| liar.client.requests), effect, honest, is_within }
}

impl Liar {
    fn new(client: Client, attacker: Attacker) -> Self {
        Self { client, attacker, grants: vec![], fresh: vec![], renewals: 0, mints: 0 }
    }

    /// One step: mints, renews what can be renewed, and reports false bytes on every connection.
    async fn act(&mut self, mints: usize) {
        let query = if self.attacker == Attacker::Renewing { "?ttl=60" } else { "" };
        let mut new = Vec::new();
        if self.attacker == Attacker::Renewing {
            for grant in std::mem::take(&mut self.fresh) {
                let renewed = self.client.mint(query, &grant).await;
                self.renewals += u64::from(renewed.is_some());
                new.extend(renewed);
            }
        }
        for _ in 0..mints {
            let grant = self.client.mint(query, "").await;
            self.mints += u64::from(grant.is_some());
            new.extend(grant);
        }
        for grant in &new {
            self.client.open(grant, &name(grant)).await;
        }
        self.fresh.clone_from(&new);
        self.grants.extend(new);
        for grant in &self.grants {
            self.client.beat(grant, &name(grant), Some(HUGE)).await;
        }
    }
}

/// A connection's id from its grant: unique and short enough.
fn name(grant: &str) -> String {
    grant.chars().filter(char::is_ascii_alphanumeric).rev().take(24).collect()
}

/// An app server at the attacker's own address reports 100 Mbps while the attacker uses up the address's allowance.
async fn vouched(form: Form) -> Outcome {
    let broker = broker(&[("BANDWIDTH_LIMIT_GB", "10000")]).await;
    let mut liar = Liar::new(Client::behind_proxy(broker.address, STRANGER), Attacker::OneAddress);
    let mut reporter = Client::behind_proxy(broker.address, STRANGER);
    reporter.open(REPORTER, "vouched").await;
    liar.act(MINTS_AT_ONCE).await;
    let (mut honest, mut total) = (Tally::default(), 0);
    for _ in 0..form.choose(300, 3_600) / STEP {
        broker.advance(STEP);
        liar.act(1).await;
        total += STEP * 12_500_000;
        honest.serve(async { reporter.beat(REPORTER, "vouched", Some(total)).await == 200 }).await;
    }
    let listed = broker.operator("/api/connections").await.json();
    let mut rows = listed["connections"].as_array().unwrap().iter();
    let charged =
        rows.find(|row| row["connectionId"] == json!("vouched")).unwrap()["chargedBytes"].as_u64().unwrap();
    honest.round(broker.address, 1).await;
    let effect = format!("{} of {} reported are charged", as_gb(charged), as_gb(total));
    Outcome { attempts: liar.client.requests, effect, honest, is_within: charged == total }
}

/// One grant with all its connections. If one of them claims, the others are kept alive and report nothing.
async fn silent(form: Form, estimated: &str, claims: bool) -> Outcome {
    let settings = [("ESTIMATED_MBPS_PER_CONNECTION", estimated), ("BANDWIDTH_LIMIT_GB", "10000")];
    let broker = broker(&settings).await;
    let mut client = Client::behind_proxy(broker.address, STRANGER);
    let grant = client.mint("", "").await.unwrap_or_default();
    for n in 0..CONNECTIONS {
        client.open(&grant, &format!("s{n}")).await;
    }
    let seconds = form.choose(600, 3_600);
    let (mut honest, mut honest_bytes) = (Tally::default(), 0);
    for step in 1..=seconds / STEP {
        broker.advance(STEP);
        for n in 0..CONNECTIONS {
            client.beat(&grant, &format!("s{n}"), (n == 0 && claims).then_some(HUGE)).await;
        }
        if step % 10 == 0 {
            let before = broker.used().await;
            honest.round(broker.address, u32::try_from(step).unwrap()).await;
            honest_bytes += broker.used().await - before;
        }
    }
    let mbps = ((broker.used().await - honest_bytes) * 8).div_ceil(seconds * 1_000_000);
    let effect = format!("charged {mbps} Mbps");
    Outcome { attempts: client.requests, effect, honest, is_within: mbps <= CLAIMS_MBPS }
}
