//! coturn's command line: plain TCP, a password, one command after the other. Facts that it was built on (coturn 4.6.1):
//!
//! - What one read of coturn's gets is one command, whether or not a line ends in it, so a command goes out in one piece
//!   and the next one only when the answer to it has begun. Commands are never made of text from outside.
//! - An answer ends with a prompt, `> `, and nothing else tells its end. A client can put a prompt into the listing
//!   (see [`listing`](super::listing)), so behind a listing goes a command whose answer repeats a random word: where
//!   that word comes, the listing has ended.
//! - `ps` prints 256 sessions, or `cli-max-output-sessions`, which the command line can raise until coturn restarts.
//! - `cs` answers with the prompt alone, whether or not there is such a session; the next listing tells.
//!
//! Each call has a connection of its own: what a call that was broken off left behind cannot be taken for an answer, a
//! coturn that restarted in between goes unnoticed, and it costs three short round trips.

use std::fmt;
use std::io;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::config::CoturnCliConfig;
use crate::random::{self, NoRandomness};
use turn_ledger::coturn::listing::{Listing, NotAListing, SESSIONS_MAX, SessionId};

/// For one call in all.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Sessions that one call cuts at most, one round trip each.
pub const CUTS_MAX: usize = 500;
/// The longest listing that is read. A session takes 430 to 700 bytes.
const LISTING_MAX: usize = 32 * 1024 * 1024;
/// The longest of the other answers.
const ANSWER_MAX: usize = 4 * 1024;
const GREETING: &[u8] = b"TURN Server\r\n";
const ASKS_PASSWORD: &[u8] = b"Enter password: \r\n";
const PROMPT: &[u8] = b"> ";

/// A coturn's command line.
pub struct CoturnCli {
    address: String,
    password: SecretString,
}

/// Why a call came to nothing. What coturn said is not kept.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// No connection: name, refused, no route.
    #[error("no connection to coturn's command line; check COTURN_CLI and that coturn runs without no-cli")]
    Unreachable(#[source] io::Error),
    /// The deadline passed.
    #[error("no answer from coturn's command line within {} s; check that COTURN_CLI is coturn's cli-port", DEADLINE.as_secs())]
    Timeout,
    /// The connection ended in mid-exchange.
    #[error("the connection to coturn's command line broke; see coturn's log")]
    Broken(#[source] io::Error),
    /// coturn asked for the password again.
    #[error(
        "coturn refused COTURN_CLI_PASSWORD; it must be coturn's cli-password, as text and not as its hash"
    )]
    WrongPassword,
    /// Longer than any real answer.
    #[error("coturn's answer is longer than {0} bytes")]
    TooLong(usize),
    /// Some other service, or a coturn that speaks differently.
    #[error("what answers is not the command line of a coturn that is understood; check COTURN_CLI")]
    NotUnderstood,
    /// No word can be made that nobody guesses.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

impl CliError {
    /// A short name for the metrics, from a closed set.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Timeout => "timeout",
            Self::Broken(_) => "broken",
            Self::WrongPassword => "wrong_password",
            Self::TooLong(_) => "too_long",
            Self::NotUnderstood => "not_understood",
            Self::Random(_) => "no_randomness",
        }
    }
}

impl From<NotAListing> for CliError {
    fn from(_: NotAListing) -> Self {
        Self::NotUnderstood
    }
}

impl CoturnCli {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(config: &CoturnCliConfig) -> Self {
        Self { address: config.address.clone(), password: config.password.clone() }
    }

    /// The sessions that coturn knows now, with its figures of them, which lag by up to 2,047 packets each.
    pub async fn sessions(&self) -> Result<Listing, CliError> {
        in_time(self.list()).await
    }

    /// Ends these sessions, the first [`CUTS_MAX`] of them. Returns how many were named to coturn; one that is gone
    /// already counts like one that is cut now.
    pub async fn cut(&self, ids: &[SessionId]) -> Result<usize, CliError> {
        let now = &ids[..ids.len().min(CUTS_MAX)];
        if !now.is_empty() {
            in_time(self.name_to_cut(now)).await?;
        }
        Ok(now.len())
    }

    async fn list(&self) -> Result<Listing, CliError> {
        let mut dialogue = Dialogue::open(&self.address, &self.password).await?;
        let listing = Listing::parse(&dialogue.listing().await?)?;
        if listing.is_complete || listing.forger.is_some() {
            return Ok(listing);
        }
        dialogue.ask(&format!("cc cli-max-output-sessions {SESSIONS_MAX}")).await?;
        Ok(Listing::parse(&dialogue.listing().await?)?)
    }

    async fn name_to_cut(&self, ids: &[SessionId]) -> Result<(), CliError> {
        let mut dialogue = Dialogue::open(&self.address, &self.password).await?;
        for id in ids {
            dialogue.ask(&format!("cs {id}")).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for CoturnCli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoturnCli").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    tokio::time::timeout(DEADLINE, call).await.unwrap_or(Err(CliError::Timeout))
}

/// A connection whose password was taken. Between calls coturn waits at its prompt.
struct Dialogue(TcpStream);

impl Dialogue {
    async fn open(address: &str, password: &SecretString) -> Result<Self, CliError> {
        let socket = TcpStream::connect(address).await.map_err(CliError::Unreachable)?;
        // Commands are short and wait for each other: there is nothing to gather.
        socket.set_nodelay(true).map_err(CliError::Broken)?;
        let mut dialogue = Self(socket);
        let greeting = dialogue.greeting().await?;
        // A coturn without a password prompts at once.
        if greeting.ends_with(ASKS_PASSWORD) {
            dialogue.say(password.expose_secret()).await?;
            let answer = dialogue
                .hear(ANSWER_MAX, |heard| is_prompted(heard) || heard.ends_with(ASKS_PASSWORD))
                .await?;
            if !is_prompted(&answer) {
                return Err(CliError::WrongPassword);
            }
        }
        Ok(dialogue)
    }

    async fn greeting(&mut self) -> Result<Vec<u8>, CliError> {
        let is_other = |heard: &[u8]| !GREETING.starts_with(&heard[..heard.len().min(GREETING.len())]);
        let is_end = |heard: &[u8]| is_other(heard) || is_prompted(heard) || heard.ends_with(ASKS_PASSWORD);
        let greeting = self.hear(ANSWER_MAX, is_end).await?;
        if is_other(&greeting) { Err(CliError::NotUnderstood) } else { Ok(greeting) }
    }

    /// The answer to `ps`, without the prompt.
    async fn listing(&mut self) -> Result<Vec<u8>, CliError> {
        self.say("ps").await?;
        let mut answer = self.hear(LISTING_MAX, is_prompted).await?;
        let word = format!("{:016x}", u64::from_be_bytes(random::bytes()?));
        // "Error: unknown or constant parameter: <word>."
        self.say(&format!("cc {word}")).await?;
        let has_word = |heard: &[u8]| {
            is_prompted(heard)
                && find(&heard[heard.len().saturating_sub(ANSWER_MAX)..], word.as_bytes()).is_some()
        };
        let rest = self.hear(LISTING_MAX - answer.len(), has_word).await?;
        answer.extend_from_slice(&rest);
        let word_at = find(&answer, word.as_bytes()).ok_or(CliError::NotUnderstood)?;
        let line_at = answer[..word_at].iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        answer.truncate(line_at);
        Ok(answer)
    }

    async fn ask(&mut self, command: &str) -> Result<(), CliError> {
        self.say(command).await?;
        self.hear(ANSWER_MAX, is_prompted).await.map(drop)
    }

    /// One command in one piece.
    async fn say(&mut self, command: &str) -> Result<(), CliError> {
        self.0.write_all(format!("{command}\r\n").as_bytes()).await.map_err(CliError::Broken)
    }

    /// What comes until it ends as it should.
    async fn hear(&mut self, most: usize, is_end: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, CliError> {
        let mut heard = Vec::with_capacity(ANSWER_MAX);
        loop {
            if self.0.read_buf(&mut heard).await.map_err(CliError::Broken)? == 0 {
                return Err(CliError::Broken(io::ErrorKind::UnexpectedEof.into()));
            }
            if heard.len() > most {
                return Err(CliError::TooLong(most));
            }
            if is_end(&heard) {
                return Ok(heard);
            }
        }
    }
}

/// Whether what was heard ends with a prompt, which stands at the begin of a line.
fn is_prompted(heard: &[u8]) -> bool {
    heard.strip_suffix(PROMPT).is_some_and(|before| before.is_empty() || before.ends_with(b"\n"))
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|part| part == word)
}
