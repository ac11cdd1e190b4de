//! Item 6: one address that holds as many sockets as it can, with requests that never end, and opens each again once it is
//! closed.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::broker::Broker;
use super::wire::{address, connect, health_checks};
use super::{Outcome, Row};

const SOCKETS: u64 = 9_000;
/// All sockets are open by then.
const SETTLING: Duration = Duration::from_secs(3);
/// The attacker's own limit is on processor time. It opens a socket again after this time.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) async fn run(binary: &Path) -> Outcome {
    let mut rows = Vec::new();
    for (who, from) in [("another address", address(1)), ("the same address", address(0))] {
        let broker = Broker::start(binary, &[])?;
        let port = broker.port;
        let mut holding = JoinSet::new();
        for _ in 0..SOCKETS {
            holding.spawn(hold(address(0), port));
        }
        tokio::time::sleep(SETTLING).await;
        rows.push(Row {
            attack: format!("half heads from one address; honest requests from {who}"),
            attempts: SOCKETS,
            cost: "one address".to_owned(),
            honest: health_checks(from, port).await,
            effect: format!("{} MB", broker.memory_mb()?.1),
        });
    }
    Ok(rows)
}

/// A head that never ends, again and again.
async fn hold(from: Ipv4Addr, port: u16) {
    loop {
        // The broker may refuse; the attacker goes on.
        if let Ok(mut socket) = connect(from, port).await {
            let _ = socket.write_all(b"GET /health HTTP/1.1\r\n").await;
            let _ = socket.read(&mut [0]).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
