//! Honest clients during an attack: a page that mints and reports one connection, an app server that reports, and a health
//! check. A call counts as served if its response is as documented.

use turn_base::{Clock, SystemClock};

use crate::client::Client;
use crate::support::REPORTER;
use crate::support::prelude::*;

/// How many of the honest calls were served, and how long each took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) served: u64,
    pub(crate) of: u64,
    times: Vec<Duration>,
}

impl Tally {
    /// Makes one call, which returns whether it was served.
    pub(crate) async fn serve(&mut self, call: impl Future<Output = bool>) {
        let began = SystemClock.instant();
        let is_served = call.await;
        self.times.push(SystemClock.instant().saturating_duration_since(began));
        self.of += 1;
        self.served += u64::from(is_served);
    }

    pub(crate) fn add(&mut self, others: Self) {
        self.served += others.served;
        self.of += others.of;
        self.times.extend(others.times);
    }

    /// The time that 99 of 100 calls do not exceed. It depends on the machine, so nothing is tested with it.
    pub(crate) fn p99(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let rank = (times.len() * 99).div_ceil(100);
        times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// One visit of a page and one round of the app server: eight calls. `n` determines their addresses and names.
    pub(crate) async fn round(&mut self, server: SocketAddr, n: u32) {
        let [.., third, fourth] = n.to_be_bytes();
        let page = Client::behind_proxy(server, &format!("192.0.{third}.{fourth}"));
        self.visit(page, Client::behind_proxy(server, "192.88.99.1"), n).await;
    }

    /// The same without a proxy: the clients have addresses of their own in the loopback network.
    pub(crate) async fn round_directly(&mut self, server: SocketAddr, n: u32) {
        let [.., third, fourth] = n.to_be_bytes();
        let page = Client::at(server, [127, 1, third, fourth]);
        self.visit(page, Client::at(server, [127, 2, 0, 1]), n).await;
    }

    async fn visit(&mut self, mut page: Client, mut app_server: Client, n: u32) {
        let mut grant = None;
        self.serve(async {
            grant = page.mint("?ttl=600", "").await;
            grant.is_some()
        })
        .await;
        self.report(&mut page, &grant.unwrap_or_default(), &format!("page-{n}")).await;
        self.report(&mut app_server, REPORTER, &format!("call-{n}-{}", self.of)).await;
        self.serve(async { app_server.get("/health", "").await.0 == 200 }).await;
    }

    /// Opens a connection, keeps it alive and closes it.
    async fn report(&mut self, client: &mut Client, token: &str, id: &str) {
        self.serve(client.open(token, id)).await;
        self.serve(async { client.beat(token, id, Some(0)).await == 200 }).await;
        let path = format!("/api/connections/{id}/close");
        self.serve(async { client.post(&path, token, &json!({})).await.0 == 204 }).await;
    }
}
