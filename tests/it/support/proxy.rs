//! A proxy in front of a TCP server that does harm on request, to the connections that are open at that moment.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    None,
    /// Both directions wait.
    Pause,
    /// Requests wait. They are delivered later, also if the client has left.
    HoldRequests,
    /// Answers vanish.
    DropAnswers,
    /// Closed.
    Cut,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Answers,
}

/// The proxy. It ends with the runtime of the test.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    open: Arc<Mutex<Vec<watch::Sender<Harm>>>>,
    of_new: Arc<Mutex<Harm>>,
    refused: Arc<AtomicU32>,
}

impl Proxy {
    /// Starts in front of this address.
    pub(crate) async fn start(target: (&'static str, u16)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::<Mutex<Vec<watch::Sender<Harm>>>>::default();
        let of_new = Arc::new(Mutex::new(Harm::None));
        let refused = Arc::<AtomicU32>::default();
        let (links, first, count) = (Arc::clone(&open), Arc::clone(&of_new), Arc::clone(&refused));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let harm = watch::Sender::new(*first.lock().unwrap());
                if *harm.borrow() == Harm::Cut {
                    count.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let server = TcpStream::connect(target).await.unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(pump(Direction::Requests, from_client, to_server, harm.subscribe()));
                tokio::spawn(pump(Direction::Answers, from_server, to_client, harm.subscribe()));
                links.lock().unwrap().push(harm);
            }
        });
        Self { port, open, of_new, refused }
    }

    /// Harms the connections that are open.
    pub(crate) fn harm_open(&self, harm: Harm) {
        for link in self.open.lock().unwrap().iter() {
            link.send_replace(harm);
        }
    }

    /// Harms every connection, new ones too.
    pub(crate) fn harm_all(&self, harm: Harm) {
        *self.of_new.lock().unwrap() = harm;
        self.harm_open(harm);
    }

    /// How many connections were refused.
    pub(crate) fn refused(&self) -> u32 {
        self.refused.load(Ordering::Relaxed)
    }
}

async fn pump(
    direction: Direction,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut harm: watch::Receiver<Harm>,
) {
    let mut bytes = vec![0; 1 << 16];
    loop {
        let read = tokio::select! {
            read = from.read(&mut bytes) => read.unwrap_or(0),
            _ = harm.wait_for(|harm| *harm == Harm::Cut) => return,
        };
        let waits = |harm: &Harm| {
            *harm == Harm::Pause || (*harm == Harm::HoldRequests && direction == Direction::Requests)
        };
        let Ok(harm) = harm.wait_for(|harm| !waits(harm)).await.map(|harm| *harm) else { return };
        let vanishes = harm == Harm::DropAnswers && direction == Direction::Answers;
        if read == 0 || harm == Harm::Cut || (!vanishes && to.write_all(&bytes[..read]).await.is_err()) {
            return;
        }
    }
}
