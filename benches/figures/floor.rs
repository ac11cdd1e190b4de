//! The floor: a program that does the work of a durable mint and nothing else. Also here: a bare axum route.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::ListenerExt;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use hmac::{Hmac, KeyInit, Mac};
use redb::{Database, TableDefinition};
use sha1::Sha1;
use sha2::Sha256;
use tokio::sync::{mpsc, oneshot};
use turn_base::clock::{Clock, SystemClock};
use turn_base::random;
use turn_ledger::{Grant, GrantId, GrantRow, IceSource};

const GRANTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("grants");
const LIFE: u64 = 86_400;

/// A grant, its row, and the mint that waits for it.
type Write = (GrantId, GrantRow, oneshot::Sender<()>);

struct Floor {
    limit: DefaultKeyedRateLimiter<IpAddr>,
    credential: Hmac<Sha1>,
    token: Hmac<Sha256>,
    writer: mpsc::Sender<Write>,
}

/// Serves a mint with its ledger in a directory, and one route without state: so many bytes of JSON.
pub(crate) fn serve(port: u16, directory: &str, bytes: usize) {
    let body: &'static str = format!("\"{}\"", "x".repeat(bytes - 2)).leak();
    let bare = get(async move || ([(CONTENT_TYPE, "application/json")], body));
    let (writer, requests) = mpsc::channel(1_024);
    let database = Database::create(Path::new(directory).join("floor")).unwrap();
    std::thread::spawn(move || write(&database, requests));
    let limit = RateLimiter::keyed(Quota::per_second(NonZeroU32::new(10_000).unwrap()));
    let (credential, token) =
        (Hmac::new_from_slice(b"a secret").unwrap(), Hmac::new_from_slice(b"a key").unwrap());
    let floor = Arc::new(Floor { limit, credential, token, writer });
    let router = Router::new().route("/ready", get(async || "ok")).route("/api/bandwidth-status", bare);
    let router = router.route("/api/turn-credentials", get(mint)).with_state(floor);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let listener = listener.tap_io(|socket| socket.set_nodelay(true).unwrap());
        axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await.unwrap();
    });
}

async fn mint(
    State(floor): State<Arc<Floor>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> impl IntoResponse {
    floor.limit.check_key(&peer.ip()).unwrap();
    let issued_at = SystemClock.now();
    let [expires_at, refresh_after] = [LIFE, LIFE / 4 * 3].map(|life| issued_at.plus_millis(life * 1_000));
    let id = GrantId::at(issued_at, random::bytes().unwrap());
    let username = format!("{}:{id}", expires_at.as_secs());
    let password = floor.credential.clone().chain_update(&username).finalize().into_bytes();
    let mut token = id.as_bytes().to_vec();
    token.extend([issued_at, expires_at].map(|at| at.as_millis().to_be_bytes()).concat());
    let signature = floor.token.clone().chain_update(&token).finalize().into_bytes();
    token.extend_from_slice(&signature);
    let grant = Grant { id, source: IceSource::Coturn, issued_at, expires_at };
    let (done, written) = oneshot::channel();
    floor.writer.send((id, GrantRow::new(&grant, None, None), done)).await.unwrap();
    written.await.unwrap();
    let [password, token] = [STANDARD.encode(password), URL_SAFE_NO_PAD.encode(token)];
    let body = format!(
        r#"{{"iceServers":[{{"urls":["turn:relay.example"],"username":"{username}","credential":"{password}"}}],"ttl":{LIFE},"issuedAt":"{issued_at}","expiresAt":"{expires_at}","refreshAfter":"{refresh_after}","source":"coturn","degraded":false,"grant":"{token}"}}"#
    );
    ([(CONTENT_TYPE, "application/json")], body)
}

/// Writes all grants that wait in one transaction.
fn write(database: &Database, mut requests: mpsc::Receiver<Write>) {
    let mut batch = vec![];
    while requests.blocking_recv_many(&mut batch, 1_024) > 0 {
        let transaction = database.begin_write().unwrap();
        let mut grants = transaction.open_table(GRANTS).unwrap();
        for (id, row, _) in &batch {
            grants.insert(&id.as_bytes()[..], &*postcard::to_allocvec(row).unwrap()).unwrap();
        }
        drop(grants);
        transaction.commit().unwrap();
        batch.drain(..).for_each(|(_, _, done)| done.send(()).unwrap());
    }
}
