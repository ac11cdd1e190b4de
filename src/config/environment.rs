//! The raw variables: those of the process over those of `.env`, or pairs from a test. It also reads the files that
//! `NAME_FILE` names. No other module reads the environment, and none writes it. A variable of the process hides the
//! line in `.env` even if it is empty, so an operator can disable a line for one run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use super::problem::ConfigProblem;

/// The most bytes read from `.env` or from a file that a variable names. A secret has under 4 KiB.
const FILE_BYTES_MAX: u64 = 64 * 1024;

const DOTENV: &str = ".env";
const QUOTING: &str = "put a value with spaces, quotes, # or $ in 'single quotes'";

/// The raw variables. The `Debug` form shows names only.
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Problems with reading, reported together with those of the values.
    pub(super) problems: Vec<ConfigProblem>,
    /// What could not be read. Whether it is a problem is known once the settings are.
    pub(super) unreadable: Vec<UnreadableVariable>,
    pub(super) is_terminal: bool,
}

/// A variable that could not be read. It is a problem only if it is one of ours.
pub(super) struct UnreadableVariable {
    /// Its name.
    pub(super) name: String,
    /// What to report.
    pub(super) problem: ConfigProblem,
}

impl UnreadableVariable {
    /// `place`: the variable that is reported, or the file in which it is.
    fn new(name: &str, place: &str, expected: String) -> Self {
        let problem = ConfigProblem { variable: place.to_owned(), expected };
        Self { name: name.to_owned(), problem }
    }
}

impl Environment {
    /// The process's variables over those of `.env` in the working directory, if it exists.
    /// [`super::Config::from_env`] reports what could not be read.
    pub fn of_process() -> Self {
        Self::layered(std::env::vars_os(), read_from_disk(Path::new(DOTENV)))
            .with_terminal(io::stdout().is_terminal())
    }

    /// The process's variables with these names; `.env` is not read.
    pub fn of_process_only(names: &[&str]) -> Self {
        let ours = std::env::vars_os().filter(|(name, _)| names.iter().any(|known| name == known));
        Self::layered(ours, Err(io::ErrorKind::NotFound.into())).with_terminal(io::stdout().is_terminal())
    }

    /// Only these variables; standard output is not a terminal. For tests.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        Self {
            variables: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            problems: Vec::new(),
            unreadable: Vec::new(),
            is_terminal: false,
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

    /// Whether a variable is set and not empty.
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

    fn layered(process: impl Iterator<Item = (OsString, OsString)>, dotenv: io::Result<String>) -> Self {
        let mut environment = Self::from_pairs::<String, String>([]);
        match dotenv.map(|content| read_dotenv(&content)) {
            Ok(file) => {
                environment.variables.extend(file.variables);
                environment.unreadable.extend(file.swallowed);
                for expected in file.problems {
                    environment.refuse(DOTENV, expected);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => environment.refuse(DOTENV, format!("cannot read it: {error}")),
        }
        for (name, value) in process {
            let Ok(name) = name.into_string() else { continue };
            if let Ok(value) = value.into_string() {
                environment.variables.insert(name, value);
            } else {
                let unreadable = UnreadableVariable::new(&name, &name, "expected UTF-8 text".into());
                environment.unreadable.push(unreadable);
            }
        }
        environment
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

/// The text of a file without its last line end, or why it cannot be used. The error never contains the text.
pub(super) fn read_file(path: &str) -> Result<String, String> {
    let text = read_from_disk(Path::new(path)).map_err(|error| format!("cannot read {path:?}: {error}"))?;
    if text.trim().is_empty() {
        return Err(format!("expected a value in {path:?}"));
    }
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.unwrap_or(&text).to_owned())
}

/// Reads at most one byte more than allowed, so that a file that has grown meanwhile is detected. Opens only regular files,
/// because opening a named pipe would block the start until somebody writes to it.
fn read_from_disk(path: &Path) -> io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("expected a regular file"));
    }
    let mut bytes = Vec::new();
    let mut file = File::open(path)?.take(FILE_BYTES_MAX + 1);
    file.read_to_end(&mut bytes)?;
    if file.limit() == 0 {
        return Err(io::Error::other("expected at most 64 KiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("expected UTF-8 text"))
}

/// What is in `.env`.
#[derive(Default)]
struct DotenvFile {
    /// Names and values in their order. Names may repeat.
    variables: Vec<(String, String)>,
    /// One text for each line that cannot be used. It names the line by its number and never shows it, because it may be a secret.
    problems: Vec<String>,
    /// Lines inside quotes. A setting among them would be lost silently.
    swallowed: Vec<UnreadableVariable>,
}

fn read_dotenv(content: &str) -> DotenvFile {
    let content = content.trim_start_matches('\u{feff}');
    let mut file = DotenvFile::default();
    for line in dotenvy::from_read_iter(content.as_bytes()) {
        match line {
            Ok(variable) => file.variables.push(variable),
            Err(error) => {
                let place = line_number(content, &error).map_or(String::new(), |n| format!(" in line {n}"));
                file.problems.push(format!("expected NAME=value{place}; {QUOTING}"));
            }
        }
    }
    if file.problems.is_empty() {
        file.swallowed = swallowed(content, &file.variables);
    }
    file
}

/// Finds assignments that are inside quotes, perhaps by accident. A quoted value may span lines, and an apostrophe in a comment after
/// two spaces starts one.
fn swallowed(content: &str, variables: &[(String, String)]) -> Vec<UnreadableVariable> {
    let of_line = |(index, line): (usize, &str)| {
        let (name, _) = dotenvy::from_read_iter(line.as_bytes()).next()?.ok()?;
        let is_lost = variables.iter().all(|(read, _)| *read != name);
        let place = index + 1;
        let expected = format!(
            "{name} in line {place} is inside quotes that an earlier line opened, perhaps with an apostrophe in a comment; {QUOTING}"
        );
        is_lost.then(|| UnreadableVariable::new(&name, DOTENV, expected))
    };
    content.lines().enumerate().filter_map(of_line).collect()
}

/// The number of the line that dotenvy could not parse. dotenvy's error contains only text: that of the line, or of the value
/// in it. So this is the first line that contains the text and cannot be parsed alone.
fn line_number(content: &str, error: &dotenvy::Error) -> Option<usize> {
    let dotenvy::Error::LineParse(text, _) = error else { return None };
    let first = text.lines().next()?.trim();
    let is_bad = |line: &str| dotenvy::from_read_iter(line.as_bytes()).any(|parsed| parsed.is_err());
    content.lines().position(|line| line.contains(first) && is_bad(line)).map(|index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::load_in;
    use proptest::prelude::*;

    fn layered(process: &[(&str, &str)], dotenv: &str) -> Environment {
        let process = process.iter().map(|(name, value)| (name.into(), value.into()));
        Environment::layered(process, Ok(dotenv.to_owned()))
    }

    fn problem_of(environment: &Environment) -> String {
        let [problem] = &environment.problems[..] else { panic!("{:?}", environment.problems) };
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
        assert!(environment.problems.is_empty());
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
    fn a_missing_env_file_is_not_a_problem() {
        let environment = Environment::layered(std::iter::empty(), Err(io::ErrorKind::NotFound.into()));
        assert!(environment.problems.is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn invalid_utf8_is_a_problem_only_in_our_own_variables() {
        use std::os::unix::ffi::OsStringExt;
        let bad = || OsString::from_vec(vec![0xff]);
        let process = [("PORT".into(), bad()), ("OTHER".into(), bad()), (bad(), "x".into())];
        let environment = Environment::layered(process.into_iter(), Err(io::ErrorKind::NotFound.into()));
        assert_eq!(load_in(&environment).unwrap_err().to_string(), "PORT: expected UTF-8 text");
    }

    #[test]
    fn only_a_regular_file_of_64_kib_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [pipe.as_path(), directory.path(), Path::new("/dev/zero")] {
            let why = read_file(path.to_str().unwrap()).unwrap_err();
            assert_eq!(why, format!("cannot read {path:?}: expected a regular file"));
        }
        let dotenv = Environment::layered(std::iter::empty(), read_from_disk(&pipe));
        assert_eq!(problem_of(&dotenv), ".env: cannot read it: expected a regular file");
        let file = directory.path().join("file");
        for (length, is_read) in [(65_536, true), (65_537, false)] {
            std::fs::write(&file, vec![b'#'; length]).unwrap();
            assert_eq!(read_from_disk(&file).is_ok(), is_read);
        }
    }

    #[test]
    fn debug_output_shows_names_and_no_values() {
        let shown = format!("{:?}", Environment::from_pairs([("OPERATOR_TOKEN", "hush-hush")]));
        assert!(shown.contains("OPERATOR_TOKEN") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn an_invalid_line_is_named_by_number_and_never_shown() {
        for (content, line) in [
            ("PORT=1\n\nthis is my-secret\nHOST=::1", 3),
            ("# my-secret x\nA='my-secret x'\nCOTURN_SECRET=my-secret x", 3),
            ("# x\nCOTURN_SECRET='my-secret\nPORT=1\n", 2),
            ("A=b\n=my-secret", 2),
        ] {
            assert_eq!(
                read_dotenv(content).problems,
                [format!("expected NAME=value in line {line}; {QUOTING}")]
            );
        }
    }

    #[test]
    fn a_setting_inside_accidental_quotes_is_a_problem() {
        let swallowed = "A=1  # it's\nREPORTER_TOKEN=my-secret\nB=2  # it's\nPORT=1\n";
        let expected = format!(
            ".env: REPORTER_TOKEN in line 2 is inside quotes that an earlier line opened, perhaps with an apostrophe in a comment; {QUOTING}"
        );
        assert_eq!(load_in(&layered(&[], swallowed)).unwrap_err().to_string(), expected);
        let meant = "MANUAL_ICE_SERVERS='[\n  {\"urls\": \"stun:a\"}\n]'\nPORT=1 # the usual one\n";
        assert!(load_in(&layered(&[], meant)).is_ok());
        assert_eq!(read_dotenv(meant).variables[0].1, "[\n  {\"urls\": \"stun:a\"}\n]");
    }

    proptest! {
        #[test]
        fn no_env_file_makes_the_reader_panic_or_show_its_text(text in "[A-C=# \\\\\"'\\$\\{\\}é\n\r]{0,40}hush[A-C=# \"'\n\\$]{0,20}") {
            let problems = load_in(&layered(&[], &text)).err().map(|errors| errors.to_string());
            prop_assert!(problems.is_none_or(|problems| !problems.contains("hush")));
        }
    }
}
