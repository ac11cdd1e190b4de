//! Item 6: sockets, heads and bodies. The program runs in its own process, so that its memory can be read. The honest clients
//! have other addresses. If the attacker's sockets are idle, a health check comes from the attacker's address too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Attack;
use crate::client::{Client, Cost};
use crate::honest::{Tally, round, round_directly};
use crate::memory;
use crate::program;
use crate::table::{Form, Outcome, count, grouped, size};

/// Sockets of a peer that is not a trusted proxy.
const SOCKETS_MAX: u64 = 256;
/// The most memory that all sockets of such a peer may need. Bytes.
const MEMORY_MAX: u64 = 25_000_000;
/// The most memory that a socket behind a trusted proxy may need with a whole head or body: a read buffer, the body and a
/// task. Bytes.
const MEMORY_PER_SOCKET_MAX: u64 = 64 * 1024;
/// Bytes of a body before its last chunk. The longest body has 16 KiB.
const BODY: usize = 16 * 1024 - 1;
/// Sockets and memory are at their peak once neither has grown for this long. It is short, because a request may take only
/// 10 s.
const SETTLE: Duration = Duration::from_millis(500);
const SETTLE_MAX: u32 = 8;
/// The pause before a closed socket is opened again.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        item: 6,
        name: "bodies of one-byte chunks from one peer",
        allowance: "256 sockets, 25 MB",
        run: |form| Box::pin(hold(form, Load::Body { chunk: 1 }, false)),
    },
    Attack {
        item: 6,
        name: "bodies of one-byte chunks through a trusted proxy",
        allowance: "65 kB a socket",
        run: |form| Box::pin(hold(form, Load::Body { chunk: 1 }, true)),
    },
    Attack {
        item: 6,
        name: "bodies of 20-byte chunks through a trusted proxy",
        allowance: "65 kB a socket",
        run: |form| Box::pin(hold(form, Load::Body { chunk: 20 }, true)),
    },
    Attack {
        item: 6,
        name: "heads of 31 KiB from one peer",
        allowance: "256 sockets, 25 MB",
        run: |form| Box::pin(hold(form, Load::Head { kib: 31 }, false)),
    },
    Attack {
        item: 6,
        name: "heads of 15 KiB through a trusted proxy",
        allowance: "65 kB a socket",
        run: |form| Box::pin(hold(form, Load::Head { kib: 15 }, true)),
    },
    Attack {
        item: 6,
        name: "silent sockets of one peer",
        allowance: "256 sockets, its own health check is served",
        run: |form| Box::pin(hold(form, Load::Silence, false)),
    },
];

/// What each socket sends. No request is ever complete.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// A body of the largest size, in chunks of this many bytes.
    Body {
        chunk: usize,
    },
    /// A head of this many KiB.
    Head {
        kib: usize,
    },
    Silence,
}

impl Load {
    fn sockets(self, form: Form) -> u64 {
        match self {
            Self::Body { .. } => form.choose(400, 3_000),
            Self::Head { .. } => form.choose(600, 4_000),
            Self::Silence => form.choose(600, 9_000),
        }
    }

    fn bytes(self, grant: &str) -> Vec<u8> {
        match self {
            Self::Body { chunk } => {
                let head = format!(
                    "POST /api/connections HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {grant}\r\nTransfer-Encoding: chunked\r\n\r\n"
                );
                let part = format!("{chunk:x}\r\n{}\r\n", " ".repeat(chunk));
                (head + &part.repeat(BODY / chunk)).into_bytes()
            }
            Self::Head { kib } => {
                let line = format!("X-Filler: {}\r\n", "a".repeat(1_000));
                let lines = line.repeat(kib * 1_024 / line.len());
                format!("GET /health HTTP/1.1\r\nHost: x\r\n{lines}").into_bytes()
            }
            Self::Silence => vec![],
        }
    }

    /// Whether such a socket counts as idle, so that it makes room for another one of its peer.
    fn is_idle(self) -> bool {
        !matches!(self, Self::Body { .. })
    }
}

async fn hold(form: Form, load: Load, is_proxied: bool) -> Outcome {
    let settings: &[(&str, &str)] = if is_proxied { &[("TRUSTED_PROXIES", "127.0.0.1")] } else { &[] };
    let process = program::start(settings);
    let server = program::address(&process);
    let mut client = Client::new(server);
    let grant = client.mint("").await.unwrap();
    drop(client);
    let mut honest = beside(server, is_proxied, 1).await;
    let (before, others) = (memory::resident(process.id()), memory::handles(process.id()));
    let (bytes, sockets) = (load.bytes(&grant), load.sockets(form));
    let held = Held::start(server, sockets, &bytes);
    settle(process.id(), &held).await;
    honest = honest.plus(beside(server, is_proxied, 2).await);
    if load.is_idle() {
        for _ in 0..5 {
            honest.count(is_healthy(server).await);
        }
    }
    held.end().await;
    let open = memory::handles(process.id()).saturating_sub(others);
    let grown = memory::peak(process.id()).saturating_sub(before);
    let opened = held.counts.opened.load(Ordering::Relaxed);
    let cost = Cost { requests: 0, sockets: opened, bytes: opened * count(bytes.len()) };
    let effect =
        format!("holds {} of {} sockets, memory grows by {}", grouped(open), grouped(sockets), size(grown));
    let is_within = if is_proxied {
        grown <= sockets * MEMORY_PER_SOCKET_MAX
    } else {
        open <= SOCKETS_MAX && grown <= MEMORY_MAX
    };
    Outcome { attempts: sockets, cost, effect, honest, is_within }
}

/// Whether a health check from the attacker's address is served. It is tried three times, as a container engine does.
async fn is_healthy(server: SocketAddr) -> bool {
    for _ in 0..3 {
        if Client::new(server).get("/health", &[]).await.is_some_and(|reply| reply.status == 200) {
            return true;
        }
    }
    false
}

/// Waits until the broker has read what the sockets sent.
async fn settle(process: u32, held: &Held) {
    let mut before = (0, 0);
    for _ in 0..SETTLE_MAX {
        tokio::time::sleep(SETTLE).await;
        let now = (held.counts.opened.load(Ordering::Relaxed), memory::peak(process));
        if now == before {
            return;
        }
        before = now;
    }
}

async fn beside(server: SocketAddr, is_proxied: bool, n: u32) -> Tally {
    if is_proxied { round(server, n).await } else { round_directly(server, n).await }
}

/// Sockets that are opened again whenever the broker closes them. Dropping it closes them all.
struct Held {
    _tasks: JoinSet<()>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Sockets opened so far.
    opened: AtomicU64,
    /// Whether closed sockets stay closed from now on.
    is_ending: AtomicBool,
}

impl Held {
    fn start(server: SocketAddr, sockets: u64, bytes: &[u8]) -> Self {
        let counts = Arc::new(Counts::default());
        let bytes: Arc<[u8]> = bytes.into();
        let mut tasks = JoinSet::new();
        for _ in 0..sockets {
            tasks.spawn(keep(server, Arc::clone(&bytes), Arc::clone(&counts)));
        }
        Self { _tasks: tasks, counts }
    }

    /// Opens nothing more, and gives the broker time to close what it does not hold.
    async fn end(&self) {
        self.counts.is_ending.store(true, Ordering::Relaxed);
        tokio::time::sleep(SETTLE * 2).await;
    }
}

/// Keeps one socket open.
async fn keep(server: SocketAddr, bytes: Arc<[u8]>, counts: Arc<Counts>) {
    while !counts.is_ending.load(Ordering::Relaxed) {
        if let Ok(mut stream) = TcpStream::connect(server).await {
            counts.opened.fetch_add(1, Ordering::Relaxed);
            if stream.write_all(&bytes).await.is_ok() {
                // A response ends the attempt like a close, because the broker then no longer keeps what was sent.
                let _ = stream.read(&mut [0]).await;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
