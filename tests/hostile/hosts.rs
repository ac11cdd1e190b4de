//! Item 8: a page whose name resolves to the victim's machine, and requests that hide another one.

use std::path::Path;

use super::broker::Broker;
use super::wire::{address, exchange, get};
use super::{Outcome, Row};

const ATTEMPTS: u64 = 20;
/// A second request behind bodies whose end a proxy could see elsewhere.
const HIDING: [&str; 4] = [
    "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
];

pub(crate) async fn run(binary: &Path) -> Outcome {
    Ok(vec![rebinding(binary).await?, hiding(binary).await?])
}

async fn rebinding(binary: &Path) -> Result<Row, Box<dyn std::error::Error>> {
    let demo = Broker::start_demo(binary)?;
    let mint = async |host: &str| {
        let host = format!("{host}:{}", demo.port);
        let answer =
            get(address(0), demo.port, "/api/turn-credentials", &host, "Sec-Fetch-Site: same-origin\r\n");
        u64::from(answer.await.contains(r#""grant":"#))
    };
    let (mut minted, mut served) = (0, 0);
    for _ in 0..ATTEMPTS {
        minted += mint("evil.example").await;
        served += mint("localhost").await;
    }
    Ok(Row {
        attack: "DNS rebinding at the demo".to_owned(),
        attempts: ATTEMPTS,
        cost: "a page, and a name that resolves to 127.0.0.1".to_owned(),
        effect: format!("{minted} credentials minted"),
        honest: (served, ATTEMPTS),
    })
}

async fn hiding(binary: &Path) -> Result<Row, Box<dyn std::error::Error>> {
    let broker = Broker::start(binary, &[])?;
    let mut hidden = 0;
    for lines in HIDING {
        let request = format!(
            "POST /api/connections HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n0\r\n\r\n\
             GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        );
        let answer = exchange(address(0), broker.port, &request).await;
        hidden += u64::from(answer.matches("HTTP/1.1 ").count() > 1);
    }
    let answer = get(address(1), broker.port, "/health", "localhost", "").await;
    Ok(Row {
        attack: "a request hidden behind an unclear body".to_owned(),
        attempts: u64::try_from(HIDING.len())?,
        cost: "one socket each".to_owned(),
        effect: format!("{hidden} hidden requests served"),
        honest: (u64::from(answer.starts_with("HTTP/1.1 200 ")), 1),
    })
}
