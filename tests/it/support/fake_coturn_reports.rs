//! A fake of the part of coturn that reports its sessions to a Redis: like a thread of coturn 4.6.1 it connects, authenticates, selects
//! the place of its relay, and sends a heartbeat. It connects again when the connection ends.

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use turn_broker::app::App;

use super::{HeldPort, eventually};
use crate::support::prelude::*;

pub(crate) const REPORTS_PASSWORD: &str = "coturn-stats-fixture-password";

/// The fake. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct FakeCoturnReports {
    pub(crate) address: String,
    messages: mpsc::UnboundedSender<Vec<String>>,
    _task: AbortOnDropHandle<()>,
    _held: Option<HeldPort>,
}

impl FakeCoturnReports {
    /// Reports the sessions of the relay with this place to a free port of 127.0.0.1, once something listens there.
    pub(crate) fn start(place: usize) -> Self {
        // Nobody else gets the port meanwhile.
        let held = HeldPort::new();
        let fake = Self::to(held.address(), place);
        Self { _held: Some(held), ..fake }
    }

    pub(crate) fn to(address: SocketAddr, place: usize) -> Self {
        let (messages, received) = mpsc::unbounded_channel();
        let task = AbortOnDropHandle::new(tokio::spawn(report(address, place, received)));
        Self { address: address.to_string(), messages, _task: task, _held: None }
    }

    pub(crate) fn settings(&self) -> [(&str, &str); 2] {
        [("COTURN_STATS_LISTEN", &self.address), ("COTURN_STATS_PASSWORD", REPORTS_PASSWORD)]
    }

    /// A session has ended that has received so many bytes from its client and has sent so many.
    pub(crate) fn end(&self, id: u64, user: &str, received: u64, sent: u64) {
        let key = format!("turn/realm/relay.test/user/{user}/allocation/{id:018}/total_traffic");
        let total = format!("rcvp=4096, rcvb={received}, sentp=4096, sentb={sent}");
        self.messages.send(vec!["publish".into(), key, total]).unwrap();
    }
}

/// Waits until all relays are connected.
pub(crate) async fn all_connected(app: &App) {
    let relays = &app.coturn_stats.as_ref().unwrap().relays;
    eventually("coturn reports", async || relays.iter().all(|relay| relay.is_connected())).await;
}

fn command(words: &[String]) -> Vec<u8> {
    let texts: Vec<_> = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{}", words.len(), texts.concat()).into_bytes()
}

async fn report(address: SocketAddr, place: usize, mut messages: mpsc::UnboundedReceiver<Vec<String>>) {
    let heartbeat = || vec!["publish".to_owned(), "__XXX__".to_owned(), "__YYY__".to_owned()];
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let Ok(mut socket) = TcpStream::connect(address).await else { continue };
        let login = [
            vec!["AUTH".to_owned(), REPORTS_PASSWORD.to_owned()],
            vec!["SELECT".to_owned(), place.to_string()],
            heartbeat(),
        ];
        for words in login {
            let _ = socket.write_all(&command(&words)).await;
        }
        let mut answers = [0; 256];
        loop {
            let words = tokio::select! {
                Some(words) = messages.recv() => words,
                () = tokio::time::sleep(Duration::from_secs(3)) => heartbeat(),
                read = socket.read(&mut answers) => match read {
                    Ok(count) if count > 0 => continue,
                    _ => break,
                },
            };
            let _ = socket.write_all(&command(&words)).await;
        }
    }
}
