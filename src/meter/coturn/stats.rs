//! coturn's own counter. With the line `redis-statsdb`, coturn tells a Redis of each allocation, and this is that Redis. It relies on these
//! facts (coturn 4.6.1 to 4.17):
//!
//! - Each thread that relays has a connection. It authenticates, selects the database of the line, which is the relay's place in
//!   `COTURN_URLS`, and publishes a heartbeat every 5 seconds.
//! - Threads that check credentials connect, too, if the Redis is there when coturn starts. They never publish, so a silent connection stays
//!   open.
//! - At the end of a session it publishes the exact total under `turn/realm/R/user/U/allocation/ID/total_traffic`. A user's name may have
//!   slashes, so the key is read from its right end. The same key with `/peer` has the bytes of the other leg, and `/traffic` the parts of
//!   the total, which the command line lists too.
//! - It connects again by itself. What it publishes meanwhile is lost.

use std::borrow::Cow;

use rustix::net::sockopt::set_socket_keepalive;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::listing::{own_sessions_removed, session, session_id, usage};
use crate::config::CoturnStatsConfig;
use crate::meter::prelude::*;
use turn_base::{Throttle, TokenDigest, clock};
use turn_ledger::{ClientKey, Session};
use turn_limits::{Bounds, MemoryQuota, SHARES};

/// The longest time to authenticate.
const LOGIN_MAX: Duration = Duration::from_secs(5);
/// After three heartbeats that did not come, a connection that has published is closed.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// So long after a connection was closed, each thread has sent a heartbeat over another one.
const RECONNECTED: Duration = Duration::from_secs(10);
/// The pause before another try to listen.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// The connections of an address, and of all. A coturn has one for each thread, at most 128.
pub const CONNECTIONS: Bounds = Bounds { client_max: 128, all_max: 128 * SHARES };
/// How often a replica looks whether another one leads.
const LEADER_LOOK: Duration = Duration::from_secs(1);
/// The longest command. A key has at most 1,023 bytes, and a message 512.
const COMMAND_MAX: usize = 4 * 1024;

/// The listener for all relays.
#[derive(Debug)]
pub struct CoturnStats {
    /// Where it listens.
    pub config: CoturnStatsConfig,
    /// What each relay of `COTURN_URLS` has reported, in their order.
    pub relays: Vec<Arc<Reports>>,
    /// The open connections.
    pub places: MemoryQuota,
    log: Throttle,
}

/// What a relay has reported.
#[derive(Debug, Default)]
pub struct Reports {
    heard: Mutex<Heard>,
    /// Notified when a session has ended.
    pub ended: Notify,
}

#[derive(Debug, Default)]
struct Heard {
    /// Open connections that have published.
    connections: usize,
    /// When each thread has connected again; `None` if no connection was closed.
    complete_at: Option<Instant>,
    /// Whether nothing can have been lost since the last [`Reports::take`].
    is_whole: bool,
    ended: Vec<Session>,
}

/// What a relay has reported since the last look.
#[derive(Debug)]
pub struct Taken {
    /// The sessions that have ended, with their exact totals.
    pub ended: Vec<Session>,
    /// Whether all that ends now is reported.
    pub is_live: bool,
    /// Whether reports may have been lost since the last look. At first they may.
    pub is_after_gap: bool,
}

impl Reports {
    /// Takes what was reported.
    pub fn take(&self) -> Taken {
        let mut heard = self.heard.lock();
        let is_live = heard.connections > 0 && heard.complete_at.is_none_or(|at| !at.elapsed().is_zero());
        let is_after_gap = !std::mem::replace(&mut heard.is_whole, is_live);
        Taken { ended: own_sessions_removed(std::mem::take(&mut heard.ended)), is_live, is_after_gap }
    }

    /// Whether a thread of the relay reports.
    pub fn is_connected(&self) -> bool {
        self.heard.lock().connections > 0
    }

    fn end(&self, session: Session) {
        let mut heard = self.heard.lock();
        if heard.ended.len() < SESSIONS_MAX {
            heard.ended.push(session);
        } else {
            heard.is_whole = false;
        }
        self.ended.notify_one();
    }
}

/// A connection over which a thread of this relay publishes.
struct Connection(Arc<Reports>);

impl Connection {
    fn open(reports: &Arc<Reports>) -> Self {
        reports.heard.lock().connections += 1;
        Self(Arc::clone(reports))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut heard = self.0.heard.lock();
        heard.connections -= 1;
        heard.complete_at = Some(clock::deadline(RECONNECTED));
        heard.is_whole = false;
    }
}

impl CoturnStats {
    /// One for so many relays of `COTURN_URLS`. Without any, there is one all the same.
    pub fn new(config: CoturnStatsConfig, relays: usize) -> Arc<Self> {
        let relays = (0..relays.max(1)).map(|_| Arc::default()).collect();
        Arc::new(Self { config, relays, places: MemoryQuota::new(0, CONNECTIONS), log: Throttle::default() })
    }

    /// Accepts connections of relays again and again.
    pub async fn run(self: Arc<Self>) {
        accept(&self.config, |socket| Arc::clone(&self).serve(socket), &self.places).await;
    }

    /// Answers commands until one side closes the connection, is silent, or does not authenticate.
    async fn serve(self: Arc<Self>, mut socket: TcpStream) {
        let mut client = Client::new(&self);
        let login_until = clock::deadline(LOGIN_MAX);
        let mut received = Vec::with_capacity(COMMAND_MAX);
        loop {
            let more = socket.read_buf(&mut received);
            let read = match client.until(login_until) {
                Some(until) => timeout_at(until, more).await.unwrap_or(Ok(0)),
                None => more.await,
            };
            if !read.is_ok_and(|count| count > 0) {
                return;
            }
            let (mut answers, mut done) = (String::new(), 0);
            let unread = loop {
                match words(&received[done..]) {
                    Ok((words, size)) => {
                        let Some(answer) = client.answer(&words) else { return };
                        answers.push_str(answer);
                        done += size;
                    }
                    Err(unread) => break unread,
                }
            };
            received.drain(..done);
            let is_sent = timeout(SILENCE_MAX, socket.write_all(answers.as_bytes())).await;
            if unread == Unread::Wrong || received.len() > COMMAND_MAX || !matches!(is_sent, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// One connection's state.
struct Client<'a> {
    stats: &'a CoturnStats,
    /// Whether it has authenticated.
    is_known: bool,
    /// Set once it has selected its relay.
    relay: Option<&'a Arc<Reports>>,
    /// Set once it has published.
    connection: Option<Connection>,
}

impl<'a> Client<'a> {
    fn new(stats: &'a CoturnStats) -> Self {
        Self { stats, is_known: false, relay: None, connection: None }
    }

    /// Without a command until then the connection is closed. `None`: it may be silent.
    fn until(&self, login_until: Instant) -> Option<Instant> {
        if !self.is_known {
            return Some(login_until);
        }
        self.connection.as_ref().map(|_| clock::deadline(SILENCE_MAX))
    }

    /// The answer to a command. `None`: the connection must be closed.
    fn answer(&mut self, words: &[Cow<'_, str>]) -> Option<&'static str> {
        let (name, rest) = words.split_first()?;
        match (name.to_ascii_uppercase().as_str(), rest) {
            ("AUTH", [.., password]) => {
                self.is_known = TokenDigest::of(&self.stats.config.password).matches(password);
                if !self.is_known && self.stats.log.pass(clock::timer_now().into_std()).is_some() {
                    tracing::warn!("COTURN_STATS_LISTEN: a client does not have COTURN_STATS_PASSWORD");
                }
                self.is_known.then_some("+OK\r\n")
            }
            _ if !self.is_known => Some("-NOAUTH Authentication required.\r\n"),
            ("SELECT", [place]) => {
                let relay = place.parse::<usize>().ok().and_then(|place| self.stats.relays.get(place));
                self.relay = relay;
                Some(if relay.is_some() { "+OK\r\n" } else { "-ERR DB index is out of range\r\n" })
            }
            ("PUBLISH", [key, message]) => {
                if let Some(relay) = self.relay {
                    self.connection.get_or_insert_with(|| Connection::open(relay));
                    if let Some(session) = ended(key, message) {
                        relay.end(session);
                    }
                }
                Some(":1\r\n")
            }
            // At its start coturn looks for sessions of its last run.
            ("KEYS", [_]) => Some("*0\r\n"),
            ("SET", [_, _]) => Some("+OK\r\n"),
            ("DEL", _) => Some(":1\r\n"),
            ("PING", _) => Some("+PONG\r\n"),
            _ => Some("-ERR unknown command\r\n"),
        }
    }
}

/// Why no command was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unread {
    /// More bytes have to come.
    Incomplete,
    /// It is no command.
    Wrong,
}

/// The words of the command that these bytes begin with, and its length. Commands are flat arrays of texts. A general parser of RESP takes
/// arrays in arrays too, and one of those that were tried ends the process with a stack overflow, before any password.
fn words(received: &[u8]) -> Result<(Vec<Cow<'_, str>>, usize), Unread> {
    let mut rest = received;
    let mut words = Vec::new();
    for _ in 0..number_line(&mut rest, '*')? {
        let size = number_line(&mut rest, '$')?;
        let (word, after) = rest.split_at_checked(size).ok_or(Unread::Incomplete)?;
        rest = after.split_at_checked(2).ok_or(Unread::Incomplete)?.1;
        words.push(String::from_utf8_lossy(word));
    }
    Ok((words, received.len() - rest.len()))
}

/// Takes a line with this mark and a number, at most [`COMMAND_MAX`].
fn number_line(rest: &mut &[u8], mark: char) -> Result<usize, Unread> {
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
        return Err(if rest.len() > COMMAND_MAX { Unread::Wrong } else { Unread::Incomplete });
    };
    let line = str::from_utf8(&rest[..end]).ok().and_then(|line| line.trim_end().strip_prefix(mark));
    *rest = &rest[end + 1..];
    let number = line.and_then(|line| line.parse().ok());
    number.filter(|number| *number <= COMMAND_MAX).ok_or(Unread::Wrong)
}

/// The end of a session, if a message is one.
fn ended(key: &str, message: &str) -> Option<Session> {
    let (rest, id) = key.strip_suffix("/total_traffic")?.rsplit_once("/allocation/")?;
    // A realm has no slash; coturn leaves it out if it is empty.
    let rest = rest.strip_prefix("turn/")?;
    let of_realm = rest.strip_prefix("realm/").and_then(|rest| rest.split_once('/')).map(|(_, rest)| rest);
    let user = of_realm.unwrap_or(rest).strip_prefix("user/")?;
    let figures = usage(message, ["rcvp=", "rcvb=", "sentp=", "sentb="])?;
    Some(session(session_id(id)?, user, figures))
}

/// Passes the connections of relays on to the leader, which listens on the same port, until another one leads. `leader`: its host, if it is
/// known.
pub async fn pass_on(
    config: &CoturnStatsConfig,
    leader: impl Fn() -> Option<String> + Clone + Send + Sync + 'static,
) {
    let pass = |mut socket: TcpStream| {
        let (leader, port) = (leader.clone(), config.listen.port());
        async move {
            let Some(host) = leader() else { return };
            let passed = async {
                if let Ok(Ok(mut to)) = timeout(LOGIN_MAX, TcpStream::connect((&*host, port))).await {
                    // The leader closes a connection that is silent.
                    let _ = copy_bidirectional(&mut socket, &mut to).await;
                }
            };
            // One that is paused closes nothing.
            let replaced = async {
                while leader().as_ref() == Some(&host) {
                    sleep(LEADER_LOOK).await;
                }
            };
            tokio::select! { () = passed => {}, () = replaced => {} }
        }
    };
    accept(config, pass, &MemoryQuota::new(0, CONNECTIONS)).await;
}

/// Accepts connections again and again, each in a task that ends with this one.
async fn accept<F: Future<Output = ()> + Send + 'static>(
    config: &CoturnStatsConfig,
    serve: impl Fn(TcpStream) -> F,
    places: &MemoryQuota,
) {
    let mut connections = JoinSet::new();
    let refusals = Throttle::default();
    loop {
        let listener = match TcpListener::bind(config.listen).await {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(address = %config.listen, "COTURN_STATS_LISTEN cannot be opened: {error}");
                sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((socket, peer)) => {
                        let mut place = places.open(ClientKey::of(peer.ip()));
                        if place.try_resize(1) {
                            // A relay whose machine is gone says nothing, and neither do some threads of one that is there.
                            let _ = set_socket_keepalive(&socket, true);
                            let served = serve(socket);
                            connections.spawn(async move {
                                let _place = place;
                                served.await;
                            });
                        } else if let Some(held_back) = refusals.pass(clock::timer_now().into_std()) {
                            tracing::warn!(held_back, "COTURN_STATS_LISTEN: an address has too many connections");
                        }
                    }
                    Err(_) => sleep(RETRY_PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

#[cfg(test)]
#[path = "stats_tests.rs"]
mod tests;
