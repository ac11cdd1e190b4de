//! The raw variables: those of the process over those of `.env`, or pairs from a test. It also reads the files that
//! `NAME_FILE` names. No other module reads the environment, and none writes it. A variable of the process hides the
//! line in `.env` even if it is empty, so an operator can disable a line for one run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use super::dotenv::{self, DotenvLines};
use super::names;
use super::settings::ConfigProblem;

/// The most bytes read from `.env` or from a file that a variable names. A secret has under 4 KiB.
const FILE_BYTES_MAX: usize = 64 * 1024;

const DOTENV: &str = ".env";

type FileReader = Box<dyn Fn(&Path) -> io::Result<Vec<u8>> + Send + Sync>;

/// The raw variables. The `Debug` form shows names only.
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Problems with reading, reported together with those of the values.
    problems: Vec<ConfigProblem>,
    is_terminal: bool,
    read_file: FileReader,
}

impl Environment {
    /// The process's variables over those of `.env` in the working directory, if it exists.
    /// [`super::Config::from_env`] reports what could not be read.
    #[must_use]
    pub fn of_process() -> Self {
        Self::layered(std::env::vars_os(), read_from_disk(Path::new(DOTENV)))
            .with_terminal(io::stdout().is_terminal())
    }

    /// The process's variables with these names; `.env` is not read.
    #[must_use]
    pub fn of_process_only(names: &[&str]) -> Self {
        let ours = std::env::vars_os().filter(|(name, _)| names.iter().any(|known| name == known));
        Self::layered(ours, Err(io::ErrorKind::NotFound.into())).with_terminal(io::stdout().is_terminal())
    }

    /// Only these variables; standard output is not a terminal; `NAME_FILE` is read from disk. For tests.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self {
            variables: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            problems: Vec::new(),
            is_terminal: false,
            read_file: Box::new(read_from_disk),
        }
    }

    /// Sets whether standard output is a terminal, which decides the default of `LOG_FORMAT`.
    #[must_use]
    pub fn with_terminal(mut self, is_terminal: bool) -> Self {
        self.is_terminal = is_terminal;
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Sets a variable that is unset or empty.
    #[must_use]
    pub fn with_default(self, name: &str, value: &str) -> Self {
        if self.is_set(name) { self } else { self.with(name, value) }
    }

    /// Replaces how the files that `NAME_FILE` names are read.
    #[must_use]
    pub fn with_file_reader<F>(mut self, read_file: F) -> Self
    where
        F: Fn(&Path) -> io::Result<Vec<u8>> + Send + Sync + 'static,
    {
        self.read_file = Box::new(read_file);
        self
    }

    /// Whether terminal output may be coloured: `NO_COLOR` is unset and `TERM` is not `dumb`.
    #[must_use]
    pub fn wants_colour(&self) -> bool {
        self.get("NO_COLOR").is_none() && self.get("TERM") != Some("dumb")
    }

    /// Whether a variable is set and not empty.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The trimmed value; an empty one counts as unset.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The names of variables that are set and not empty.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str).filter(|name| self.get(name).is_some())
    }

    pub(super) fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The text of a file without its last line end, or why it cannot be used. The error never contains the text.
    pub(super) fn read_file(&self, path: &str) -> Result<String, String> {
        let expected = |what: &str| format!("expected {what} in {path:?}");
        let bytes =
            (self.read_file)(Path::new(path)).map_err(|error| format!("cannot read {path:?}: {error}"))?;
        let mut text = text_of(bytes).map_err(expected)?;
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        if text.trim().is_empty() { Err(expected("a value")) } else { Ok(text) }
    }

    fn layered(process: impl Iterator<Item = (OsString, OsString)>, dotenv: io::Result<Vec<u8>>) -> Self {
        let mut environment = Self::from_pairs::<String, String>([]);
        match dotenv {
            Ok(bytes) => environment.add_dotenv(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => environment.refuse(DOTENV, format!("cannot read it: {error}")),
        }
        for (name, value) in process {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(environment.variables.insert(name, value)),
                Err(_) if names::is_known(&name) => environment.refuse(&name, "expected UTF-8 text".into()),
                Err(_) => {}
            }
        }
        environment
    }

    /// Adds every valid line.
    fn add_dotenv(&mut self, bytes: Vec<u8>) {
        let content = match text_of(bytes) {
            Ok(content) => content,
            Err(what) => return self.refuse(DOTENV, format!("expected {what}")),
        };
        let DotenvLines { variables, problems } = dotenv::read(&content);
        self.variables.extend(variables);
        for expected in problems {
            self.refuse(DOTENV, expected);
        }
    }

    fn refuse(&mut self, variable: &str, expected: String) {
        self.problems.push(ConfigProblem { variable: variable.to_owned(), expected });
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("names", &self.variables.keys()).finish_non_exhaustive()
    }
}

/// Reads at most one byte more than allowed, so that a file that has grown meanwhile is detected. Opens only regular files,
/// because opening a named pipe would block the start until somebody writes to it.
fn read_from_disk(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("expected a regular file"));
    }
    let mut bytes = Vec::new();
    let allowed_and_one = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(allowed_and_one).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The bytes as text, or what was expected.
fn text_of(bytes: Vec<u8>) -> Result<String, &'static str> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err("at most 64 KiB");
    }
    String::from_utf8(bytes).map_err(|_| "UTF-8 text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layered(process: &[(&str, &str)], dotenv: &str) -> Environment {
        let process = process.iter().map(|(name, value)| (name.into(), value.into()));
        Environment::layered(process, Ok(dotenv.as_bytes().to_vec()))
    }

    fn problem_of(environment: &Environment) -> String {
        let [problem] = environment.problems() else { panic!("{:?}", environment.problems()) };
        problem.to_string()
    }

    #[test]
    fn process_variables_override_the_file_and_an_empty_one_hides_a_line() {
        let environment = layered(
            &[("PORT", "1"), ("DOORS", "")],
            "\u{feff}PORT=2\nDOORS=ice\nHOST='::1' # local\nexport A=b",
        );
        assert_eq!(environment.get("PORT"), Some("1"));
        assert_eq!(environment.get("DOORS"), None);
        assert_eq!(environment.get("HOST"), Some("::1"));
        assert_eq!(environment.get("A"), Some("b"));
        assert!(environment.problems().is_empty());
    }

    #[test]
    fn values_are_trimmed_and_blank_ones_count_as_unset() {
        let environment = Environment::from_pairs([("A", "  x "), ("B", " \t "), ("C", "")]);
        assert_eq!(
            (environment.get("A"), environment.get("B"), environment.get("C")),
            (Some("x"), None, None)
        );
        assert_eq!(environment.names().collect::<Vec<_>>(), ["A"]);
    }

    #[test]
    fn no_color_and_a_dumb_terminal_disable_colour() {
        for (pairs, wanted) in [
            (&[][..], true),
            (&[("NO_COLOR", "")], true),
            (&[("NO_COLOR", "1")], false),
            (&[("TERM", "dumb")], false),
            (&[("TERM", "xterm")], true),
        ] {
            assert_eq!(Environment::from_pairs(pairs.iter().copied()).wants_colour(), wanted, "{pairs:?}");
        }
    }

    #[test]
    fn an_unreadable_env_file_is_a_problem() {
        let read = |dotenv| problem_of(&Environment::layered(std::iter::empty(), dotenv));
        assert_eq!(read(Ok(vec![0xff, 0xfe])), ".env: expected UTF-8 text");
        assert_eq!(read(Ok(vec![b'#'; FILE_BYTES_MAX + 1])), ".env: expected at most 64 KiB");
        assert!(read(Err(io::ErrorKind::PermissionDenied.into())).starts_with(".env: cannot read it: "));
    }

    #[test]
    fn a_missing_env_file_is_not_a_problem() {
        let environment = Environment::layered(std::iter::empty(), Err(io::ErrorKind::NotFound.into()));
        assert!(environment.problems().is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn invalid_utf8_is_a_problem_only_in_our_own_variables() {
        use std::os::unix::ffi::OsStringExt;
        let bad = || OsString::from_vec(vec![0xff]);
        let process = [("PORT".into(), bad()), ("OTHER".into(), bad()), (bad(), "x".into())];
        let environment = Environment::layered(process.into_iter(), Err(io::ErrorKind::NotFound.into()));
        assert_eq!(problem_of(&environment), "PORT: expected UTF-8 text");
    }

    #[test]
    fn reading_a_file_removes_only_one_line_end() {
        for (content, text) in [("x\n", "x"), ("x\r\n", "x"), ("x", "x"), (" x \n\n", " x \n")] {
            let environment =
                Environment::from_pairs([("A", "b")]).with_file_reader(|_| Ok(content.as_bytes().to_vec()));
            assert_eq!(environment.read_file("/f"), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_file_from_disk_is_read_up_to_its_bound() {
        let environment = Environment::from_pairs([("A", "b")]);
        assert!(environment.read_file("Cargo.toml").is_ok());
        let directory = tempfile::tempdir().unwrap();
        let large = directory.path().join("large");
        std::fs::write(&large, vec![b'x'; FILE_BYTES_MAX + 1]).unwrap();
        let large = large.to_str().unwrap();
        assert_eq!(environment.read_file(large), Err(format!("expected at most 64 KiB in {large:?}")));
        assert!(
            environment.read_file("/no/such").is_err_and(|why| why.starts_with("cannot read \"/no/such\": "))
        );
    }

    #[test]
    fn only_a_regular_file_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let environment = Environment::from_pairs([("A", "b")]);
        for path in [pipe.as_path(), directory.path(), Path::new("/dev/zero")] {
            let why = environment.read_file(path.to_str().unwrap()).unwrap_err();
            assert_eq!(why, format!("cannot read {path:?}: expected a regular file"));
        }
        let dotenv = Environment::layered(std::iter::empty(), read_from_disk(&pipe));
        assert_eq!(problem_of(&dotenv), ".env: cannot read it: expected a regular file");
    }

    #[test]
    fn debug_output_shows_names_and_no_values() {
        let shown = format!("{:?}", Environment::from_pairs([("OPERATOR_TOKEN", "hush-hush")]));
        assert!(shown.contains("OPERATOR_TOKEN") && !shown.contains("hush"), "{shown}");
    }
}
