//! A proxy in front of a TCP server that does harm on request, to the connections that are open at that moment.

use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use crate::support::prelude::*;

/// What happens to the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    None,
    /// Both directions wait.
    Pause,
    /// Answers vanish.
    DropAnswers,
    /// Closed.
    Cut,
}

/// The proxy. It ends with the runtime of the test.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    open: Arc<Mutex<Vec<watch::Sender<Harm>>>>,
    of_new: Arc<Mutex<Harm>>,
}

impl Proxy {
    /// Starts in front of this address.
    pub(crate) async fn start(target: (&'static str, u16)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::<Mutex<Vec<watch::Sender<Harm>>>>::default();
        let of_new = Arc::new(Mutex::new(Harm::None));
        let (links, first) = (Arc::clone(&open), Arc::clone(&of_new));
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let harm = watch::Sender::new(*first.lock().unwrap());
                if *harm.borrow() == Harm::Cut {
                    continue;
                }
                let server = TcpStream::connect(target).await.unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(pump(false, from_client, to_server, harm.subscribe()));
                tokio::spawn(pump(true, from_server, to_client, harm.subscribe()));
                links.lock().unwrap().push(harm);
            }
        });
        Self { port, open, of_new }
    }

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
}

async fn pump(
    is_answers: bool,
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
        let Ok(harm) = harm.wait_for(|harm| *harm != Harm::Pause).await.map(|harm| *harm) else { return };
        let vanishes = harm == Harm::DropAnswers && is_answers;
        if read == 0 || harm == Harm::Cut || (!vanishes && to.write_all(&bytes[..read]).await.is_err()) {
            return;
        }
    }
}
