//! Log output: text on a terminal, otherwise one JSON object a line. A separate thread writes it. Each request logs one line, and after an
//! error of the service a second line that names the client. Every other line that a client can trigger goes through a
//! [`Throttle`](turn_base::throttle::Throttle).

use std::borrow::Cow;
use std::io::{BufWriter, IsTerminal, Result as IoResult, Stdout, Write};
use std::time::Duration;

use parking_lot::RwLock;
use secrecy::{ExposeSecret, SecretString};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogConfig;

/// Lines that can wait to be written. Further lines are dropped and counted, so a slow reader of the log does not slow the
/// service.
const WAITING_MAX: usize = 8_192;
/// The pause after lines were written. Lines that come meanwhile are written together, and no caller has to wake the writer.
const WRITE_PAUSE: Duration = Duration::from_millis(2);

/// Bytes of lines that are written at once.
const BUFFER_BYTES: usize = 32 * 1_024;

/// A shorter secret is not hidden, because it could be a word.
const SECRET_MIN: usize = 16;

/// Standard output that gathers the waiting lines and writes them at once. A crash loses the lines of the last [`WRITE_PAUSE`].
struct Gathered(BufWriter<Stdout>);

/// The secrets of this process, as lines have them.
static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// No line of this process has these secrets from now on.
pub fn hide<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) {
    let mut hidden = SECRETS.write();
    for secret in in_lines(secrets) {
        if !hidden.contains(&secret) {
            hidden.push(secret);
        }
    }
}

impl Write for Gathered {
    /// Takes one line: the thread that writes gets whole lines.
    fn write(&mut self, line: &[u8]) -> IoResult<usize> {
        let shown = escaped(line);
        self.0.write_all(&without_secrets(&shown, &SECRETS.read())).map(|()| line.len())
    }

    /// Called when no line waits any more.
    fn flush(&mut self) -> IoResult<()> {
        self.0.flush()?;
        std::thread::sleep(WRITE_PAUSE);
        Ok(())
    }
}

/// A line in which characters that show nothing, or change the direction of text, are written as escapes of JSON. With such characters, a
/// name could look like another one, and so could its line.
fn escaped(line: &[u8]) -> Cow<'_, [u8]> {
    // Nearly all lines are printable ASCII.
    if line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
        return Cow::Borrowed(line);
    }
    let text = String::from_utf8_lossy(line);
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(line);
    }
    let escaped_unit = |unit: &u16| format!("\\u{unit:04x}");
    let escape = |c: char| match c.encode_utf16(&mut [0; 2]) {
        units if is_unprintable(c) => units.iter().map(escaped_unit).collect::<Vec<_>>().concat(),
        _ => c.to_string(),
    };
    Cow::Owned(text.chars().map(escape).collect::<String>().into_bytes())
}

/// The secrets in the form that they have in a line.
fn in_lines<'a>(secrets: impl IntoIterator<Item = &'a SecretString>) -> Vec<String> {
    let long =
        secrets.into_iter().map(ExposeSecret::expose_secret).filter(|secret| secret.len() >= SECRET_MIN);
    long.map(|secret| secret.replace('\\', r"\\").replace('"', r#"\""#)).collect()
}

/// A line with `[token]` in place of each secret. A caller can send a secret as a name.
fn without_secrets<'a>(line: &'a [u8], secrets: &[String]) -> Cow<'a, [u8]> {
    let text = String::from_utf8_lossy(line);
    let mut found = secrets.iter().filter(|secret| text.contains(&***secret)).peekable();
    if found.peek().is_none() {
        return Cow::Borrowed(line);
    }
    let hidden = found.fold(text.clone().into_owned(), |line, secret| line.replace(&**secret, "[token]"));
    Cow::Owned(hidden.into_bytes())
}

/// The lines themselves escape most characters of ASCII. A mark that follows a letter, such as an accent, is printable.
fn is_unprintable(c: char) -> bool {
    c == '\u{7f}' || !c.is_ascii() && format!("a{c}").escape_debug().nth(1) == Some('\\')
}

/// Number of log lines that were dropped because the reader was too slow.
#[derive(Clone, Debug, Default)]
pub struct LostLines(Option<ErrorCounter>);

impl LostLines {
    /// The number since the start.
    pub fn count(&self) -> u64 {
        let lost = self.0.as_ref().map_or(0, ErrorCounter::dropped_lines);
        u64::try_from(lost).unwrap_or(u64::MAX)
    }
}

/// Sets up logging for this process. Called once, by `main`. The guard keeps the log's writer thread running; dropping it at the end of
/// the process writes the lines that still wait.
pub fn install(
    config: &LogConfig,
    secrets: &[SecretString],
) -> Result<(WorkerGuard, LostLines), Box<dyn std::error::Error + Send + Sync>> {
    hide(secrets);
    let is_terminal = std::io::stdout().is_terminal();
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING_MAX)
        .thread_name("log")
        .finish(Gathered(BufWriter::with_capacity(BUFFER_BYTES, std::io::stdout())));
    let lost = LostLines(Some(writer.error_counter()));
    let filter: Targets = config.filter.parse()?;
    let lines = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(is_terminal)
        .with_writer(writer);
    if config.is_json {
        lines.json().flatten_event(true).with_current_span(false).finish().with(filter).try_init()?;
    } else {
        lines.with_target(false).finish().with(filter).try_init()?;
    }
    Ok((guard, lost))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_comes_later_is_hidden_too_and_is_kept_once() {
        let key = SecretString::from("key-that-came-with-a-new-file");
        hide([&key, &key]);
        hide([&key]);
        let line = without_secrets(b"user=key-that-came-with-a-new-file", &SECRETS.read()).into_owned();
        assert_eq!(line, b"user=[token]");
        assert_eq!(SECRETS.read().iter().filter(|secret| *secret == key.expose_secret()).count(), 1);
    }

    #[test]
    fn a_secret_that_a_caller_sends_as_a_name_is_not_in_the_line() {
        let secrets = ["0123456789abcdef", "a\"quote-and-a-\\slash", "a-word"].map(SecretString::from);
        let shown = |line: &str| {
            let hidden = without_secrets(line.as_bytes(), &in_lines(&secrets)).into_owned();
            String::from_utf8(hidden).unwrap()
        };
        assert_eq!(shown(r#"{"label":"0123456789abcdef","a":1}"#), r#"{"label":"[token]","a":1}"#);
        assert_eq!(shown(r#"user="a\"quote-and-a-\\slash""#), r#"user="[token]""#);
        assert_eq!(shown("a-word, 0123456789abcde"), "a-word, 0123456789abcde");
    }

    #[test]
    fn a_name_cannot_change_the_direction_in_which_a_line_is_shown_or_hide_characters() {
        let line = |name: &str| format!("{{\"user\":\"{name}\"}}\n").into_bytes();
        for (name, shown) in [
            ("Zoë Zoe\u{308} 😀", "Zoë Zoe\u{308} 😀"),
            ("a\u{202e}b\u{2066}\u{61c}", r"a\u202eb\u2066\u061c"),
            ("\u{200b}\u{7f}\u{ad}\u{a0}\u{e0061}", r"\u200b\u007f\u00ad\u00a0\udb40\udc61"),
        ] {
            assert_eq!(escaped(&line(name)), line(shown), "{name:?}");
            let read: serde_json::Value = serde_json::from_slice(&escaped(&line(name))).unwrap();
            assert_eq!(read["user"], name, "the value is the same");
        }
    }
}
