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

    /// The app server and the health check alone: five calls.
    pub(crate) async fn report_only(&mut self, server: SocketAddr, n: u32) {
        self.watch(Client::behind_proxy(server, "192.88.99.1"), n).await;
    }

    async fn visit(&mut self, mut page: Client, app_server: Client, n: u32) {
        let grant = page.mint("?ttl=600", "").await;
        self.count(grant.is_some());
        self.report(&mut page, &grant.unwrap_or_default(), &format!("page-{n}")).await;
        self.watch(app_server, n).await;
    }

    async fn watch(&mut self, mut app_server: Client, n: u32) {
        self.report(&mut app_server, REPORTER, &format!("call-{n}-{}", self.of)).await;
        self.count(app_server.get("/health", "").await.0 == 200);
    }

    /// Opens a connection, keeps it alive and closes it.
    async fn report(&mut self, client: &mut Client, token: &str, id: &str) {
        self.count(client.open(token, id).await);
        self.count(client.beat(token, id, Some(0)).await == 200);
        let (status, _) = client.post(&format!("/api/connections/{id}/close"), token, &json!({})).await;
        self.count(status == 204);
    }
}
