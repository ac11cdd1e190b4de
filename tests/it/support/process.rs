//! The program as a child process: with only the given variables, in a directory without `.env`, on a free port. It ends with
//! the test.

use std::io::{BufRead, BufReader, Read};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use chrono::Datelike;
use turn_base::clock::{Clock, SystemClock};

use super::api::Api;

/// An output of the program.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    /// Standard output: the log.
    Log,
    /// Standard error: what a person reads.
    Person,
}

/// A running program.
pub(crate) struct Process {
    child: Child,
    /// The stream that was waited on.
    output: BufReader<Box<dyn Read + Send>>,
    other: Box<dyn Read + Send>,
    /// What was read of `output` so far.
    pub(crate) seen: String,
    pub(crate) port: u64,
    api: Api,
}

pub(crate) fn command(variables: &[(&str, &str)]) -> Command {
    let directory = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let mut command = Command::new(program());
    command.env_clear().envs(variables.iter().copied()).current_dir(directory);
    command
}

/// The program. Cargo names it for integration tests only; an example of the same build is one directory below it.
pub(crate) fn program() -> PathBuf {
    let beside_the_examples =
        || std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("turn-broker");
    option_env!("CARGO_BIN_EXE_turn-broker").map_or_else(beside_the_examples, PathBuf::from)
}

pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(variables).args(arguments).output().unwrap()
}

/// No billing period ends during a test, or soon after it: strict mode reserves only for the present one.
pub(crate) fn far_billing_day() -> (&'static str, &'static str) {
    ("BILLING_DAY", if SystemClock.now().to_utc().day() < 15 { "22" } else { "8" })
}

impl Process {
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        let mut all = vec![("HOST", "127.0.0.1"), ("PORT", "0"), far_billing_day()];
        all.extend_from_slice(variables);
        Self::spawn(&mut command(&all))
    }

    /// Spawns the program, and waits until it listens.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self::spawn_until(command, Stream::Log, "listening on port ").0
    }

    /// Spawns the program, and waits for the line with `begin` and its port. Returns that line too.
    pub(crate) fn spawn_until(command: &mut Command, stream: Stream, begin: &str) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log: Box<dyn Read + Send> = Box::new(child.stdout.take().unwrap());
        let person: Box<dyn Read + Send> = Box::new(child.stderr.take().unwrap());
        let (output, other) = match stream {
            Stream::Log => (log, person),
            Stream::Person => (person, log),
        };
        let (output, seen, api) = (BufReader::new(output), String::new(), Api::new(""));
        let mut process = Self { child, output, other, seen, port: 0, api };
        let line = process.read_until(begin);
        let port = line.split(begin).nth(1).unwrap();
        process.port = port.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
        process.api = Api::new(format!("http://127.0.0.1:{}", process.port));
        (process, line)
    }

    /// Reads the output up to the line that contains `text`, and returns that line.
    pub(crate) fn read_until(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "{text:?} is missing in\n{}", self.seen);
            self.seen.push_str(&line);
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        // The shell's built-in `kill`: a minimal system may have no other.
        let kill = format!("kill {name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success());
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end; returns the whole output and the exit status.
    pub(crate) fn finish(self) -> (String, Option<i32>) {
        let (output, other, code) = self.finish_apart();
        (output + &other, code)
    }

    /// As [`Self::finish`], with the stream that was waited on before the other one.
    pub(crate) fn finish_apart(mut self) -> (String, String, Option<i32>) {
        self.output.read_to_string(&mut self.seen).unwrap();
        let mut other = String::new();
        self.other.read_to_string(&mut other).unwrap();
        let status = self.child.wait().unwrap();
        (std::mem::take(&mut self.seen), other, status.code())
    }
}

impl Deref for Process {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
