//! Attackers, each with its own addresses: false reports, a spray of addresses, slow bodies and heads, wrong tokens.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::task::JoinHandle;

/// The names of the attacks, in the order of the counters.
const NAMES: [&str; 4] =
    ["false reports", "mints from a spray of addresses", "slow heads and bodies", "wrong operator tokens"];

pub(crate) struct Attackers {
    tasks: Vec<JoinHandle<()>>,
    attempts: Arc<[AtomicU64; 4]>,
}

impl Attackers {
    /// Ends them. Returns each attack with the number of attempts.
    pub(crate) fn stop(self) -> Vec<(&'static str, u64)> {
        for task in self.tasks {
            task.abort();
        }
        NAMES.into_iter().zip(self.attempts.iter().map(|attempts| attempts.load(Ordering::Relaxed))).collect()
    }
}

/// Starts them.
pub(crate) fn start(broker: SocketAddr) -> Attackers {
    let attempts = Arc::new([const { AtomicU64::new(0) }; 4]);
    let mut tasks = vec![
        tokio::spawn(report_falsely(broker, Arc::clone(&attempts))),
        tokio::spawn(spray(broker, Arc::clone(&attempts))),
        tokio::spawn(try_tokens(broker, Arc::clone(&attempts))),
    ];
    tasks.extend((0..200).map(|n| tokio::spawn(trickle(broker, n, Arc::clone(&attempts)))));
    Attackers { tasks, attempts }
}

fn client(from: [u8; 4]) -> reqwest::Client {
    let from = IpAddr::V4(Ipv4Addr::from(from));
    let builder = reqwest::Client::builder().no_proxy().local_address(from).timeout(Duration::from_secs(15));
    builder.build().expect("a plain client")
}

/// Mints as often as it may, opens as many connections as it can, and claims far more than they can carry.
async fn report_falsely(broker: SocketAddr, attempts: Arc<[AtomicU64; 4]>) {
    let client = client([127, 66, 0, 1]);
    loop {
        let minted = client.get(format!("http://{broker}/api/turn-credentials")).send().await;
        let body: Value = match minted {
            Ok(response) => response.json().await.unwrap_or_default(),
            Err(_) => Value::Null,
        };
        let token = body["grant"].as_str().unwrap_or_default().to_owned();
        for n in 0..64 {
            let call = |path: String, body: Value| {
                attempts[0].fetch_add(1, Ordering::Relaxed);
                client.post(format!("http://{broker}{path}")).bearer_auth(&token).json(&body).send()
            };
            let id = format!("{n}");
            let _ = call("/api/connections".into(), json!({ "connectionId": id })).await;
            let claim = json!({ "bytesReceived": u64::MAX / 2, "relayed": true });
            let _ = call(format!("/api/connections/{id}/heartbeat"), claim).await;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

/// One mint from each address of 127.64.0.0/16, 50 a second.
async fn spray(broker: SocketAddr, attempts: Arc<[AtomicU64; 4]>) {
    let request =
        format!("GET /api/turn-credentials?ttl=60 HTTP/1.1\r\nHost: {broker}\r\nConnection: close\r\n\r\n");
    for n in (1_u16..=u16::MAX).cycle() {
        let [third, fourth] = n.to_be_bytes();
        attempts[1].fetch_add(1, Ordering::Relaxed);
        if let Ok(mut stream) = connect([127, 64, third, fourth], broker).await {
            let _ = stream.write_all(request.as_bytes()).await;
            tokio::spawn(async move {
                let mut rest = vec![];
                let reading = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
                let _ = tokio::time::timeout(Duration::from_secs(15), reading).await;
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A socket that sends a head byte by byte, or a body in chunks of one byte, until the broker closes it.
async fn trickle(broker: SocketAddr, n: u8, attempts: Arc<[AtomicU64; 4]>) {
    let head = "POST /api/connections HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    loop {
        attempts[2].fetch_add(1, Ordering::Relaxed);
        if let Ok(mut stream) = connect([127, 66, 1, n], broker).await {
            let (first, piece) =
                if n.is_multiple_of(2) { (head, "1\r\na\r\n") } else { ("GET / HTTP/1.1\r\n", "a") };
            let mut is_open = stream.write_all(first.as_bytes()).await.is_ok();
            while is_open {
                tokio::time::sleep(Duration::from_millis(100)).await;
                is_open = stream.write_all(piece.as_bytes()).await.is_ok();
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Wrong operator tokens, 10 a second.
async fn try_tokens(broker: SocketAddr, attempts: Arc<[AtomicU64; 4]>) {
    let client = client([127, 66, 2, 1]);
    for n in 0_u64.. {
        attempts[3].fetch_add(1, Ordering::Relaxed);
        let request =
            client.get(format!("http://{broker}/metrics")).bearer_auth(format!("guess-number-{n:08}"));
        let _ = request.send().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn connect(from: [u8; 4], broker: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(broker).await
}
