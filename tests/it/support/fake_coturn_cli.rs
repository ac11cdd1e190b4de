//! A fake of coturn's CLI: it responds byte for byte like coturn 4.6.1, with sessions that the test sets. Like coturn, it
//! takes each read as one command. Faults affect one call or all calls. It records every command, and the password as
//! `<password>`.

use std::fmt::Write as _;
use std::sync::{MutexGuard, PoisonError};

use tokio_util::task::AbortOnDropHandle;

use crate::support::prelude::*;

pub(crate) const PASSWORD: &str = "coturn-cli-fixture-password";
const GREETING: &str = "TURN Server\nCoturn-4.6.1 'Gorst'\n\nType '?' for help\nEnter password: \n";
const COMMAND_MAX: usize = 4 * 1024;

/// A session as `ps` prints it.
#[derive(Clone, Debug)]
pub(crate) struct FakeSession {
    pub(crate) id: u64,
    pub(crate) user: String,
    /// The ORIGIN of the client; no line if empty.
    pub(crate) origin: String,
    pub(crate) seconds: u64,
    pub(crate) packets: u64,
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CliFault {
    /// Accepts the connection and sends nothing.
    Silence,
    /// Another service answers.
    OtherService,
    /// The connection ends within the listing.
    CutInListing,
    /// The listing is endless.
    EndlessListing,
    /// The listing arrives in pieces. Each ends with a prompt or in the middle of a line.
    Pieces,
    /// The listing arrives when the fault is cleared.
    Late,
}

#[derive(Debug)]
struct State {
    sessions: Vec<FakeSession>,
    /// `cli-max-output-sessions`.
    listed_max: usize,
    commands: Vec<String>,
    fault: Option<CliFault>,
}

/// The fake. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct FakeCoturnCli {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _task: AbortOnDropHandle<()>,
}

impl FakeSession {
    pub(crate) fn new(id: u64, user: impl Into<String>) -> Self {
        let (user, origin) = (user.into(), String::new());
        Self { id, user, origin, seconds: 10, packets: 2_048, received: 212_972, sent: 2_464_588 }
    }

    fn print(&self, ordinal: usize) -> String {
        let Self { id, user, origin, seconds, received, sent, .. } = self;
        let origin = if origin.is_empty() { String::new() } else { format!("      origin: {origin}\n") };
        let (rp, sp) = (self.packets / 2, self.packets - self.packets / 2);
        format!(
            "\n    {ordinal}) id={id:018}, user <{user}>:\n      realm: relay.test\n{origin}      started {seconds} secs ago\
             \n      expiring in 598 secs\n      client protocol UDP, relay protocol UDP\
             \n      client addr 127.0.0.1:43678, server addr 127.0.0.1:3478\n      relay addr 127.0.0.1:64694\
             \n      fingerprints enforced: ON\n      mobile: OFF\n      usage: rp={rp}, rb={received}, sp={sp}, sb={sent}\
             \n       rate: r=0, s=0, total=0 (bytes per sec)\n      peers:\n          127.0.0.1\n          127.0.0.1:52245\n"
        )
    }
}

impl FakeCoturnCli {
    /// Starts on a free port of 127.0.0.1, without sessions.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { sessions: vec![], listed_max: 256, commands: vec![], fault: None };
        let state = Arc::new(Mutex::new(state));
        let task = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { address, state, _task: AbortOnDropHandle::new(task) }
    }

    /// The settings of a broker that uses it.
    pub(crate) fn config(&self) -> CoturnCliConfig {
        CoturnCliConfig {
            host: None,
            address: self.address.to_string(),
            password: PASSWORD.to_owned().into(),
        }
    }

    pub(crate) fn set_sessions(&self, sessions: impl IntoIterator<Item = FakeSession>) {
        self.lock().sessions = sessions.into_iter().collect();
    }

    pub(crate) fn session_ids(&self) -> Vec<u64> {
        self.lock().sessions.iter().map(|session| session.id).collect()
    }

    /// Sets or clears the fault from now on.
    pub(crate) fn set_fault(&self, fault: Option<CliFault>) {
        self.lock().fault = fault;
    }

    /// All commands so far, of all connections.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.lock().commands.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut dialogues = JoinSet::new();
    loop {
        tokio::select! {
            Ok((socket, _)) = listener.accept() => drop(dialogues.spawn(dialogue(socket, Arc::clone(&state)))),
            Some(_) = dialogues.join_next() => {}
        }
    }
}

/// Serves one connection until either side closes it.
async fn dialogue(mut socket: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    let fault = lock(&state).fault;
    match fault {
        Some(CliFault::Silence) => return std::future::pending().await,
        Some(CliFault::OtherService) => socket.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").await?,
        _ => say(&mut socket, GREETING).await?,
    }
    let (mut tries, mut is_in) = (0, false);
    loop {
        let mut buffer = vec![0; COMMAND_MAX];
        let length = socket.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        let command = String::from_utf8_lossy(&buffer[..length]);
        let command = command.trim_start_matches([' ', '\t']).trim_end_matches(['\r', '\n']);
        if is_in {
            lock(&state).commands.push(command.to_owned());
            answer(&mut socket, command, &state, fault).await?;
        } else if command == PASSWORD {
            is_in = true;
            lock(&state).commands.push("<password>".to_owned());
            say(&mut socket, "> ").await?;
        } else {
            tries += 1;
            if tries == 5 {
                return socket.set_zero_linger();
            }
            say(&mut socket, "Enter password: \n").await?;
        }
    }
}

async fn answer(
    socket: &mut TcpStream,
    command: &str,
    state: &Mutex<State>,
    fault: Option<CliFault>,
) -> std::io::Result<()> {
    if command == "ps" {
        let listing = lock(state).listing();
        return match fault {
            Some(CliFault::CutInListing) => {
                say(socket, &listing[..listing.len() / 2]).await?;
                socket.shutdown().await
            }
            Some(CliFault::EndlessListing) => loop {
                say(socket, &listing[..listing.len() / 2]).await?;
            },
            Some(CliFault::Pieces) => in_pieces(socket, &listing).await,
            Some(CliFault::Late) => {
                while lock(state).fault == Some(CliFault::Late) {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
                say(socket, &listing).await
            }
            _ => say(socket, &listing).await,
        };
    }
    let text = lock(state).execute(command);
    say(socket, &(text + "> ")).await
}

/// Sends the next piece after a pause, so that the client could take the previous one for the complete listing.
async fn in_pieces(socket: &mut TcpStream, listing: &str) -> std::io::Result<()> {
    let mut rest = listing;
    while !rest.is_empty() {
        let cut = rest.find("\n> ").map_or_else(|| rest.len().min(97), |at| at + 3);
        let (piece, after) = rest.split_at(cut);
        say(socket, piece).await?;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        rest = after;
    }
    Ok(())
}

impl State {
    fn listing(&self) -> String {
        let mut text = String::new();
        for (place, session) in self.sessions.iter().take(self.listed_max).enumerate() {
            text.push_str(&session.print(place + 1));
        }
        text.push('\n');
        let is_cut = self.sessions.len() > self.listed_max;
        if is_cut {
            text.push_str("...\n\n");
        }
        let _ = write!(text, "  Total sessions: {}\n\n", self.sessions.len());
        if is_cut {
            text.push_str(
                "  Warning: too many output sessions, more than the\n  current value of cli-max-output-sessions CLI parameter.\
                 \n  Refine your request or increase cli-max-output-sessions value.\n\n",
            );
        }
        text + "> "
    }

    /// The response to any command except `ps`, without the prompt.
    fn execute(&mut self, command: &str) -> String {
        if let Some(most) = command.strip_prefix("cc cli-max-output-sessions") {
            // coturn reads a text that is not a number as zero.
            self.listed_max = most.trim().parse().unwrap_or(0);
            format!("  cli-max-output-sessions: {} (**)\n", self.listed_max)
        } else if let Some(name) = command.strip_prefix("cc ") {
            format!("\n  Error: unknown or constant parameter: {name}.\n\n")
        } else if let Some(id) = command.strip_prefix("cs ") {
            let digits: String = id.chars().take_while(char::is_ascii_digit).collect();
            let id: u64 = digits.parse().unwrap_or(0);
            self.sessions.retain(|session| session.id != id);
            String::new()
        } else {
            "Unknown command\n\n".to_owned()
        }
    }
}

/// The text with CRLF line ends.
async fn say(socket: &mut TcpStream, text: &str) -> std::io::Result<()> {
    let text = text.replace('\r', "\r\0").replace('\n', "\r\n");
    socket.write_all(text.as_bytes()).await
}
