//! Item 6: sockets that make the broker hold as much as possible of requests that never end.

use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::broker::Broker;
use super::wire::{address, connect, health_checks};
use super::{Outcome, Row};

/// Sockets of one address. Fewer than what one address may hold.
const PER_ADDRESS: u32 = 250;
/// The attack is under way by then.
const SETTLING: Duration = Duration::from_secs(1);
/// The attack has arrived by then, or the broker has refused it.
const SENDING_MAX: Duration = Duration::from_secs(20);

const CHUNKED: &str = "POST /api/connections HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The start of a request, as long as this, whose head does not end.
fn endless(method_and_path: &str, kib: usize) -> String {
    let begin = format!("{method_and_path} HTTP/1.1\r\nHost: x\r\nX: ");
    let rest = "a".repeat(kib * 1_024 - begin.len());
    begin + &rest
}

pub(crate) async fn run(binary: &Path) -> Outcome {
    let tiny = CHUNKED.to_owned() + &"1\r\n \r\n".repeat(16_383);
    let usual = CHUNKED.to_owned() + &format!("400\r\n{}\r\n", " ".repeat(1_024)).repeat(15);
    let waiting = "\r\nContent-Length: 16384\r\n\r\n".to_owned() + &" ".repeat(16_383);
    let both = endless("POST /api/connections", 15) + &waiting;
    let mut rows = Vec::new();
    for (name, sockets, bytes) in [
        ("bodies of 16 KiB in chunks of one byte", 3_000, tiny),
        ("bodies of 16 KiB in chunks of 1 KiB", 3_000, usual),
        ("heads of 31 KiB without an end", 4_000, endless("GET /health", 31)),
        ("heads of 15 KiB without an end", 4_000, endless("GET /health", 15)),
        ("heads of 15 KiB with bodies of 16 KiB without an end", 4_000, both),
    ] {
        rows.push(attack(binary, name, sockets, bytes).await?);
    }
    Ok(rows)
}

/// Sends `bytes` over many sockets, and keeps them open.
async fn attack(
    binary: &Path,
    name: &str,
    sockets: u32,
    bytes: String,
) -> Result<Row, Box<dyn std::error::Error>> {
    let broker = Broker::start(binary, &[("RUST_LOG", "warn,turn_broker::telemetry::startup=info")])?;
    let bytes: &'static str = bytes.leak();
    let (port, mut sending) = (broker.port, JoinSet::new());
    for number in 0..sockets {
        sending.spawn(send(number, port, bytes));
    }
    tokio::time::sleep(SETTLING).await;
    let honest = health_checks(address(u32::MAX >> 12), port).await;
    let mut open = Vec::new();
    let all_sent = async {
        while let Some(sent) = sending.join_next().await {
            open.extend(sent.ok().flatten());
        }
    };
    // What the broker has closed meanwhile does not matter: the most that it held counts.
    let _ = tokio::time::timeout(SENDING_MAX, all_sent).await;
    // What has been sent is read a little later.
    tokio::time::sleep(SETTLING).await;
    let (_, most) = broker.memory_mb()?;
    Ok(Row {
        attack: name.to_owned(),
        attempts: u64::from(sockets),
        cost: format!(
            "{} addresses, {} kB each socket",
            sockets.div_ceil(PER_ADDRESS),
            bytes.len().div_ceil(1_000)
        ),
        effect: format!("{most} MB"),
        honest,
    })
}

/// The socket, if it could be opened. A broker that refuses the bytes closes it.
async fn send(number: u32, port: u16, bytes: &'static str) -> Option<TcpStream> {
    let mut socket = connect(address(number / PER_ADDRESS), port).await.ok()?;
    let _ = socket.write_all(bytes.as_bytes()).await;
    Some(socket)
}
