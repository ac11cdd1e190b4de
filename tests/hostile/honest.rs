//! Honest clients during an attack: a page that mints and reports one connection, an app server that reports, and a health
//! check. A call counts as served if its response is as documented.

use std::net::SocketAddr;

use serde_json::json;

use crate::client::Client;
use crate::support::REPORTER;

/// How many of the honest calls were served.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) served: u64,
    pub(crate) of: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, served: bool) {
        self.of += 1;
        self.served += u64::from(served);
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { served: self.served + other.served, of: self.of + other.of }
    }

    pub(crate) fn is_complete(self) -> bool {
        self.served == self.of
    }
}

/// One visit of a page and one round of the app server: eight calls. `n` determines their addresses and names.
pub(crate) async fn round(server: SocketAddr, n: u32) -> Tally {
    let octets = n.to_be_bytes();
    let page = Client::behind_proxy(server, &format!("192.0.{}.{}", octets[2], octets[3]));
    visit(page, Client::behind_proxy(server, "192.88.99.1"), n).await
}

/// The same without a proxy: the clients have addresses of their own in the loopback network.
pub(crate) async fn round_directly(server: SocketAddr, n: u32) -> Tally {
    let octets = n.to_be_bytes();
    visit(Client::at(server, [127, 1, octets[2], octets[3]]), Client::at(server, [127, 2, 0, 1]), n).await
}

/// The app server and the health check alone: five calls.
pub(crate) async fn report_only(server: SocketAddr, n: u32) -> Tally {
    let mut tally = Tally::default();
    watch(&mut tally, Client::behind_proxy(server, "192.88.99.1"), n).await;
    tally
}

async fn visit(mut page: Client, app_server: Client, n: u32) -> Tally {
    let mut tally = Tally::default();
    let grant = page.mint("?ttl=600").await;
    tally.count(grant.is_some());
    report(&mut tally, &mut page, &grant.unwrap_or_default(), &format!("page-{n}")).await;
    watch(&mut tally, app_server, n).await;
    tally
}

async fn watch(tally: &mut Tally, mut app_server: Client, n: u32) {
    report(tally, &mut app_server, REPORTER, &format!("call-{n}-{}", tally.of)).await;
    tally.count(app_server.get("/health", &[]).await.is_some_and(|reply| reply.status == 200));
}

/// Opens a connection, keeps it alive and closes it.
async fn report(tally: &mut Tally, client: &mut Client, token: &str, id: &str) {
    tally.count(client.open(token, id).await);
    tally.count(client.beat(token, id, 0).await == 200);
    let closed = client.post(&format!("/api/connections/{id}/close"), token, &json!({})).await;
    tally.count(closed.is_some_and(|reply| reply.status == 204));
}
