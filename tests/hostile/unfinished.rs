//! Requests that never end: sockets that hold a part of a head or of a body. The attacks and the soak share it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::support::prelude::*;

/// Bytes of a body before its last chunk. The longest body has 16 KiB.
const BODY: usize = 16 * 1024 - 1;
/// Bytes of the head before such a body. The longest head has 16 KiB.
const HEAD: usize = 15 * 1024;
/// The pause before a closed socket is opened again.
const PAUSE: Duration = Duration::from_millis(500);

/// What each socket sends. No request is ever complete.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// A head and a body of the largest size, the body in chunks of this many bytes.
    Body {
        chunk: usize,
    },
    /// A head of this many KiB.
    Head {
        kib: usize,
    },
    /// A body of one forwarded client that never ends.
    Slow,
    Silence,
}

impl Load {
    pub(crate) fn bytes(self, grant: &str) -> Vec<u8> {
        match self {
            Self::Body { chunk } => {
                let lines = filler(HEAD);
                let head = format!(
                    "POST /api/connections HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {grant}\r\n{lines}Transfer-Encoding: chunked\r\n\r\n"
                );
                let part = format!("{chunk:x}\r\n{}\r\n", " ".repeat(chunk));
                (head + &part.repeat(BODY / chunk)).into_bytes()
            }
            Self::Head { kib } => {
                format!("GET /health HTTP/1.1\r\nHost: x\r\n{}", filler(kib * 1_024)).into_bytes()
            }
            Self::Slow => {
                b"POST /api/connections HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.99\r\nContent-Length: 9999\r\n\r\n{".into()
            }
            Self::Silence => vec![],
        }
    }
}

/// Lines of a head that have about so many bytes together.
fn filler(bytes: usize) -> String {
    let line = format!("X-Filler: {}\r\n", "a".repeat(1_000));
    line.repeat(bytes / line.len())
}

#[derive(Default)]
pub(crate) struct Counts {
    /// Sockets opened so far.
    pub(crate) opened: AtomicU64,
    /// Whether closed sockets stay closed from now on.
    pub(crate) is_ending: AtomicBool,
}

/// Keeps one socket open, and opens it again whenever the broker closes it.
pub(crate) async fn keep(server: SocketAddr, from: [u8; 4], bytes: Arc<[u8]>, counts: Arc<Counts>) {
    while !counts.is_ending.load(Ordering::Relaxed) {
        let _ = hold(server, from, &bytes, &counts).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn hold(server: SocketAddr, from: [u8; 4], bytes: &[u8], counts: &Counts) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(server).await?;
    counts.opened.fetch_add(1, Ordering::Relaxed);
    stream.write_all(bytes).await?;
    // A response ends the attempt like a close, because the broker then no longer keeps what was sent.
    stream.read(&mut [0]).await.map(drop)
}
