//! The client of coturn's CLI: plain TCP, a password, then one command at a time. It relies on these facts (coturn 4.6.1 to
//! 4.17):
//!
//! - coturn takes each read as one command, with or without a line end. So a command is one write, and the next one waits
//!   for the response. Commands never contain text from outside.
//! - A response ends with the prompt `> `, and nothing else marks its end. A TURN client can put a prompt into the listing
//!   (see [`listing`](super::listing)). So after the listing comes a second command, whose response repeats a random word. The listing ends
//!   before the line with that word.
//! - `ps` prints at most 256 sessions, or `cli-max-output-sessions`. The CLI can raise that number until coturn restarts.
//! - `cs` responds with the prompt only, whether or not the session exists. The next listing shows the result.
//!
//! Each call uses its own connection. So no call reads what a canceled one left behind, and a restart of coturn between two
//! calls does no harm. The cost is three short round trips.

use std::io;

use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::listing::parse;
use crate::config::CoturnCliConfig;
use crate::meter::prelude::*;
use turn_base::random::{self, NoRandomness};
use turn_ledger::{Listing, SessionId};

/// The time limit of one call.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// The most sessions that one call cuts, one round trip each.
pub const CUTS_MAX: usize = 500;
/// The longest listing. A session takes 430 to 700 bytes.
const LISTING_MAX: usize = 32 * 1024 * 1024;
/// The longest other response.
const ANSWER_MAX: usize = 4 * 1024;
const GREETING: &[u8] = b"TURN Server\r\n";
const ASKS_PASSWORD: &[u8] = b"Enter password: \r\n";
const PROMPT: &[u8] = b"> ";

/// The CLI of one coturn.
#[derive(Debug)]
pub struct CoturnCli(pub CoturnCliConfig);

/// Why a call failed. The text of coturn is not kept.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum CliError {
    /// No connection: DNS, refused, no route.
    #[error(
        "no connection to coturn's CLI; check COTURN_CLI, and that coturn runs with the line cli (since 4.10) and without no-cli"
    )]
    Unreachable(#[source] io::Error),
    /// The deadline passed.
    #[error("no response from coturn's CLI within {} s; check that COTURN_CLI is coturn's cli-port", DEADLINE.as_secs())]
    Timeout,
    /// The connection broke.
    #[error("the connection to coturn's CLI broke; see coturn's log")]
    Broken(#[source] io::Error),
    /// The connection broke when coturn had the password.
    #[error(
        "coturn ended the connection when it got the password; cli-password must be text: its hash ends a coturn 4.6.1 or 4.6.2 that was built with FORTIFY_SOURCE"
    )]
    LoginBroken(#[source] io::Error),
    /// coturn asked for the password again.
    #[error("coturn refused COTURN_CLI_PASSWORD; it must be coturn's cli-password, as text, not its hash")]
    WrongPassword,
    /// Longer than any real response.
    #[error("coturn's response is longer than {0} bytes")]
    TooLong(usize),
    /// Another service, or an unknown version of coturn.
    #[error("another service, or an unsupported version of coturn, answers there; check COTURN_CLI")]
    NotUnderstood,
    /// It lists its sessions, and does not report their ends.
    #[error(
        "coturn does not report its sessions to COTURN_STATS_LISTEN; add the line redis-statsdb that turn-broker doctor prints to turnserver.conf, and restart coturn"
    )]
    Unreported,
    /// The operating system returned no random bytes.
    #[error(transparent)]
    #[strum(to_string = "no_randomness")]
    Random(#[from] NoRandomness),
}

impl CoturnCli {
    /// The current sessions. Their figures lag by up to 2,047 packets each.
    pub async fn sessions(&self) -> Result<Listing, CliError> {
        in_time(self.list()).await
    }

    /// The version of coturn, such as `4.6.1`, if its greeting says it.
    pub async fn version(&self) -> Result<Option<String>, CliError> {
        let dialogue = in_time(Dialogue::open(&self.0)).await?;
        let greeting = String::from_utf8_lossy(&dialogue.greeting);
        let version =
            greeting.lines().find_map(|line| line.strip_prefix("Coturn-")?.split_whitespace().next());
        Ok(version.map(str::to_owned))
    }

    /// Ends the first [`CUTS_MAX`] of these sessions. Returns the number of commands that were sent. Sessions that had already ended count
    /// too.
    pub async fn cut(&self, ids: &[SessionId]) -> Result<usize, CliError> {
        let first = &ids[..ids.len().min(CUTS_MAX)];
        if !first.is_empty() {
            in_time(self.send_cuts(first)).await?;
        }
        Ok(first.len())
    }

    /// Lists the sessions. If coturn has truncated the list, raises coturn's limit and lists them again.
    async fn list(&self) -> Result<Listing, CliError> {
        let mut dialogue = Dialogue::open(&self.0).await?;
        let listing = dialogue.listing().await?;
        if listing.is_complete {
            return Ok(listing);
        }
        dialogue.ask(&format!("cc cli-max-output-sessions {SESSIONS_MAX}")).await?;
        dialogue.listing().await
    }

    async fn send_cuts(&self, ids: &[SessionId]) -> Result<(), CliError> {
        let mut dialogue = Dialogue::open(&self.0).await?;
        for id in ids {
            dialogue.ask(&format!("cs {id}")).await?;
        }
        Ok(())
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::time::timeout(DEADLINE, call).await.unwrap_or(Err(CliError::Timeout))
}

/// A connection with an accepted password. Between commands coturn waits at its prompt.
struct Dialogue {
    socket: TcpStream,
    greeting: Vec<u8>,
}

impl Dialogue {
    async fn open(CoturnCliConfig { address, password, .. }: &CoturnCliConfig) -> Result<Self, CliError> {
        let socket = TcpStream::connect(address).await.map_err(CliError::Unreachable)?;
        // Commands are short and sequential: delaying them to fill a packet only adds latency.
        socket.set_nodelay(true).map_err(CliError::Broken)?;
        let mut dialogue = Self { socket, greeting: vec![] };
        dialogue.greeting = dialogue.greet().await?;
        // Without a password coturn prompts at once.
        if dialogue.greeting.ends_with(ASKS_PASSWORD) {
            dialogue.send(password.expose_secret()).await?;
            let answer = dialogue
                .receive(ANSWER_MAX, |received| is_prompted(received) || received.ends_with(ASKS_PASSWORD))
                .await
                .map_err(|error| match error {
                    CliError::Broken(error) => CliError::LoginBroken(error),
                    other => other,
                })?;
            if !is_prompted(&answer) {
                return Err(CliError::WrongPassword);
            }
        }
        Ok(dialogue)
    }

    /// The greeting, which ends where coturn asks for the password or for a command.
    async fn greet(&mut self) -> Result<Vec<u8>, CliError> {
        let is_other_service =
            |received: &[u8]| !GREETING.starts_with(&received[..received.len().min(GREETING.len())]);
        let is_end = |received: &[u8]| {
            is_other_service(received) || is_prompted(received) || received.ends_with(ASKS_PASSWORD)
        };
        let greeting = self.receive(ANSWER_MAX, is_end).await?;
        if is_other_service(&greeting) { Err(CliError::NotUnderstood) } else { Ok(greeting) }
    }

    /// The response to `ps`.
    async fn listing(&mut self) -> Result<Listing, CliError> {
        self.send("ps").await?;
        let mut answer = self.receive(LISTING_MAX, is_prompted).await?;
        let word = format!("{:016x}", u64::from_be_bytes(random::bytes()?));
        // coturn answers "Error: unknown or constant parameter: <word>."
        self.send(&format!("cc {word}")).await?;
        // The response is short, so the word can only be near the end.
        let has_word = |received: &[u8]| {
            is_prompted(received)
                && find(&received[received.len().saturating_sub(ANSWER_MAX)..], word.as_bytes()).is_some()
        };
        let rest = self.receive(LISTING_MAX - answer.len(), has_word).await?;
        answer.extend_from_slice(&rest);
        let word_at = find(&answer, word.as_bytes()).ok_or(CliError::NotUnderstood)?;
        let line_at = answer[..word_at].iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        parse(&answer[..line_at]).ok_or(CliError::NotUnderstood)
    }

    async fn ask(&mut self, command: &str) -> Result<(), CliError> {
        self.send(command).await?;
        self.receive(ANSWER_MAX, is_prompted).await.map(drop)
    }

    /// Sends one command in one write.
    async fn send(&mut self, command: &str) -> Result<(), CliError> {
        self.socket.write_all(format!("{command}\r\n").as_bytes()).await.map_err(CliError::Broken)
    }

    /// Reads until `is_end` is true of everything that was received, but at most `most` bytes.
    async fn receive(&mut self, most: usize, is_end: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, CliError> {
        let mut received = Vec::with_capacity(ANSWER_MAX);
        loop {
            if self.socket.read_buf(&mut received).await.map_err(CliError::Broken)? == 0 {
                return Err(CliError::Broken(io::ErrorKind::UnexpectedEof.into()));
            }
            if received.len() > most {
                return Err(CliError::TooLong(most));
            }
            if is_end(&received) {
                return Ok(received);
            }
        }
    }
}

/// Whether this ends with a prompt at the start of a line.
fn is_prompted(received: &[u8]) -> bool {
    received.strip_suffix(PROMPT).is_some_and(|before| before.is_empty() || before.ends_with(b"\n"))
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|part| part == word)
}
