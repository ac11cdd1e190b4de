//! Shared parts of the tests: a broker in this process, a manual clock, fakes of the services around it.

use std::sync::Arc;

use serde_json::Value;
use turn_broker::alert::ServiceFacts;

pub(crate) mod api;
#[expect(dead_code, reason = "the program of the same name uses more of it")]
pub(crate) mod fake_cloudflare;
pub(crate) mod fake_coturn_cli;
pub(crate) mod fake_coturn_reports;
pub(crate) mod fake_database;
pub(crate) mod fake_issuer;
pub(crate) mod fake_sfu;
pub(crate) mod fake_webhook;
pub(crate) mod held_port;
pub(crate) mod http2_front;
pub(crate) mod http_server;
pub(crate) mod log;
pub(crate) mod manual_clock;
pub(crate) mod pooler;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod repository;
pub(crate) mod socket_client;
pub(crate) mod state_dir;
pub(crate) mod test_broker;
pub(crate) mod tls;
pub(crate) mod turn_server;
pub(crate) mod wait;

pub(crate) use api::{Answer, Api};
pub(crate) use fake_cloudflare::{AnalyticsFault, FakeCloudflare, Fault, Shape};
pub(crate) use fake_coturn_cli::{CliFault, FakeCoturnCli, FakeSession, PASSWORD};
pub(crate) use fake_coturn_reports::{FakeCoturnReports, all_connected};
pub(crate) use fake_database::{CutOff, FakeDatabase, FakeElectorate, FakeStorage};
pub(crate) use fake_issuer::{FakeIssuer, Signer, USERS, sign, user_token};
pub(crate) use fake_sfu::{FakeSfu, SFU_APP, SFU_SECRET, SfuFault, sfu_at};
pub(crate) use fake_webhook::{FakeWebhook, Reply};
pub(crate) use held_port::HeldPort;
pub(crate) use http_server::Received;
pub(crate) use http2_front::Http2Front;
pub(crate) use log::Log;
pub(crate) use manual_clock::{ManualClock, timestamp};
pub(crate) use pooler::{Pooler, Pooling};
pub(crate) use postgres::{TestDatabase, url_at};
pub(crate) use process::{Process, command, far_billing_day, run};
pub(crate) use proxy::{Harm, Proxy};
pub(crate) use repository::{root, sources};
pub(crate) use socket_client::{Got, SocketClient};
pub(crate) use state_dir::{StateDir, once_free};
pub(crate) use test_broker::{START, TestBroker};
pub(crate) use tls::{AUTHORITY, TlsServer};
pub(crate) use turn_server::{RELAYED, TurnServer, start_redirect};
pub(crate) use wait::{eventually, finished};

/// What nearly every test needs.
pub(crate) mod prelude {
    pub(crate) use std::collections::{BTreeMap, BTreeSet, VecDeque};
    pub(crate) use std::net::{IpAddr, SocketAddr};
    pub(crate) use std::os::unix::fs::PermissionsExt;
    pub(crate) use std::path::{Path, PathBuf};
    pub(crate) use std::process::{Command, Output};
    pub(crate) use std::sync::{Arc, Mutex};
    pub(crate) use std::time::Duration;

    pub(crate) use axum::Router;
    pub(crate) use base64::Engine;
    pub(crate) use base64::engine::general_purpose::STANDARD;
    pub(crate) use futures_util::future::join_all;
    pub(crate) use reqwest::{Method, RequestBuilder, StatusCode};
    pub(crate) use serde_json::{Value, json};
    pub(crate) use strum::VariantArray;
    pub(crate) use tokio::io::{AsyncReadExt, AsyncWriteExt};
    pub(crate) use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
    pub(crate) use tokio::task::{JoinHandle, JoinSet};
    pub(crate) use turn_broker::alert::AlertKind;
    pub(crate) use turn_broker::config::{Config, CoturnCliConfig, DatabaseConfig, Environment};
    pub(crate) use turn_broker::lead::campaign::Electorate;
    pub(crate) use turn_broker::listen::Ended;
    pub(crate) use turn_broker::meter::cloudflare::MeterState;
    pub(crate) use turn_broker::meter::cloudflare::analytics::by_grant::PageBounds;
    pub(crate) use turn_broker::store::file::ledger_file::FILE_NAME;
    pub(crate) use turn_broker::store::rows::FORMAT_OLDEST;
    pub(crate) use turn_broker::store::{Contents, FORMAT, FileStorage, Lost, PostgresStorage, Storage};
    pub(crate) use turn_broker::telemetry::log::LostLines;
    pub(crate) use turn_ledger::{
        Batch, ByteCount, ClientKey, GrantId, IceSource, Minute, ReadingOutcome, Stored, Timestamp,
    };

    pub(crate) use super::*;
}

/// A client without time limits. A test sets its own.
pub(crate) fn http_client() -> reqwest::Client {
    client_builder().build().unwrap()
}

/// A client of a test's own. TLS needs a provider that is installed once in the process, also if only this test runs.
pub(crate) fn client_builder() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Tests speak plain HTTP. Without this, each client reads the certificates of the system.
    reqwest::Client::builder().no_proxy().tls_certs_only([])
}

/// `DOORS` with every format that a GET can ask for.
pub(crate) const ALL_DOORS: (&str, &str) = ("DOORS", "turn,matrix,ice,link,metered");
/// A mint in each format: that of the service, and those of [`ALL_DOORS`].
pub(crate) const MINT_PATHS: [&str; 6] = [
    "/api/turn-credentials",
    "/turn?service=turn",
    "/_matrix/client/v3/voip/turnServer",
    "/ice?service=turn",
    "/link",
    "/api/v1/turn/credentials",
];
/// The operator's token in tests.
pub(crate) const OPERATOR: &str = "operator-fixture-token-0123456789";
/// The reporter's token in tests.
pub(crate) const REPORTER: &str = "reporter-fixture-token-0123456789";
/// The token of monitoring.
pub(crate) const MONITOR: &str = "metrics-fixture-token-0123456789a";
/// The provider's token in tests.
pub(crate) const API_TOKEN: &str = "provider-fixture-token";

/// A source that mints without a provider.
pub(crate) const COTURN: [(&str, &str); 4] = [
    ("ICE_SOURCES", "coturn"),
    ("COTURN_URLS", "turn:relay.example:3478"),
    ("COTURN_SECRET", "coturn-fixture-secret"),
    // No relay is there.
    ("RELAY_PROBE", "off"),
];
pub(crate) const MANUAL: [(&str, &str); 2] = [
    ("ICE_SOURCES", "manual"),
    ("MANUAL_ICE_SERVERS", r#"[{"urls":"turn:own.example:3478","username":"u","credential":"c"}]"#),
];

pub(crate) fn hint_codes(status: &Value) -> Vec<&str> {
    status["hints"].as_array().unwrap().iter().map(|hint| hint["code"].as_str().unwrap()).collect()
}

/// A fake Cloudflare, and a broker that mints there.
pub(crate) async fn with_cloudflare() -> (FakeCloudflare, TestBroker) {
    with_cloudflare_and(&[]).await
}

pub(crate) async fn with_cloudflare_and(settings: &[(&str, &str)]) -> (FakeCloudflare, TestBroker) {
    let cloudflare = FakeCloudflare::start().await;
    let broker = broker_at(&cloudflare, settings).await;
    (cloudflare, broker)
}

/// A broker that mints at this fake, and reads its analytics if configured.
pub(crate) async fn broker_at(cloudflare: &FakeCloudflare, settings: &[(&str, &str)]) -> TestBroker {
    broker_with(cloudflare, settings, Arc::new(ManualClock::at(START))).await
}

/// The same with the clock of an earlier process.
pub(crate) async fn broker_with(
    cloudflare: &FakeCloudflare,
    settings: &[(&str, &str)],
    clock: Arc<ManualClock>,
) -> TestBroker {
    let base = cloudflare.base_url();
    let broker = TestBroker::start_at(&at_cloudflare(cloudflare, &base, settings), clock).await;
    cloudflare.analytics().follow(broker.clock());
    let clock = broker.clock();
    cloudflare.follow(move || clock.http_date());
    broker
}

/// The settings of a broker that mints at this fake.
fn at_cloudflare<'a>(
    cloudflare: &FakeCloudflare,
    base: &'a str,
    settings: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    cloudflare.require_key("key-id");
    cloudflare.require_token(API_TOKEN);
    let mut all = vec![
        ("CLOUDFLARE_API_BASE", base),
        ("CLOUDFLARE_ANALYTICS_BASE", base),
        ("CLOUDFLARE_TURN_KEY_ID", "key-id"),
        ("CLOUDFLARE_TURN_API_TOKEN", API_TOKEN),
    ];
    all.extend_from_slice(settings);
    all
}

/// What the service knows of its parts, with another state of the provider.
pub(crate) fn facts(broker: &TestBroker, is_up: bool) -> ServiceFacts {
    ServiceFacts { provider_down: (!is_up).then(String::new), ..broker.app.facts() }
}

/// The key of a minute or a day of a source, as the ledger stores it.
pub(crate) fn slot_key(source: &str, slot: i64) -> Vec<u8> {
    postcard::to_allocvec(&(source, (slot ^ i64::MIN).to_be_bytes())).unwrap()
}
