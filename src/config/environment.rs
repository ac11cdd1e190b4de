//! The raw variables: those of the process over those of an env file, or pairs from a test. It also reads the files that
//! `NAME_FILE` names. No other module reads the environment, and none writes it. A variable of the process hides the
//! line of the file with the same name, even if the variable is empty. So an operator can disable a line for one run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use turn_base::access::foreign_owner;

use super::env_file::{EnvFault, EnvFile};
use super::form::is_quoted;
use super::memory::allowed;
use super::problem::ConfigProblem;

/// The most bytes read from an env file or from a file that a variable names. A secret has under 4 KiB.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The env file in the working directory, which may be missing.
const DOTENV: &str = ".env";
/// The write permissions of everybody except the owner.
const WRITE_OF_OTHERS: u32 = 0o022;
/// The permission to read of everybody who is neither the owner nor in the group.
const READ_OF_OTHERS: u32 = 0o004;
const QUOTING: &str = "put a value with spaces, quotes, # or $ in 'single quotes'";

/// The raw variables. The `Debug` form shows names only.
#[derive(Default)]
pub struct Environment {
    /// The value of each variable, or why the value cannot be used, which is a problem only if a setting has this name.
    variables: BTreeMap<String, Result<String, EnvFault>>,
    /// The line of the env file that each variable comes from. Variables of the process have none.
    lines: BTreeMap<String, String>,
    /// Problems with the env file, reported together with those of the values.
    pub(super) problems: Vec<ConfigProblem>,
    /// Warnings about the env file.
    pub(super) warnings: Vec<String>,
    /// Which file was read, in a few words.
    pub origin: String,
    /// The warning that others may read the env file.
    pub readable_by_others: Option<String>,
    /// Whether standard output is a terminal, which decides the default of `LOG_FORMAT`.
    pub(super) is_terminal: bool,
    /// The bytes of memory that the process may use, which decide the default of `GRANTS_MAX`; `None` if that is not known.
    pub(super) memory: Option<u64>,
}

impl Environment {
    /// The process's variables over those of an env file: `file`, or `.env` in the working directory, if it exists.
    /// [`super::Config::from_env`] reports what could not be read.
    pub fn of_process(file: Option<&Path>) -> Self {
        let mut environment = Self::default();
        let path = file.unwrap_or(Path::new(DOTENV));
        match read_from_disk(path) {
            Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => {
                let here = std::env::current_dir().unwrap_or_default();
                environment.origin =
                    format!("the environment alone: there is no {DOTENV} in {}", here.display());
            }
            text => {
                environment.origin = format!("{} and the environment", path.display());
                // A command in the directory of another user must not follow that user's settings.
                let foreign = foreign_owner(path).filter(|_| file.is_none());
                environment.add_file(foreign.map_or(text, |owner| Err(of_another_user(owner))), path);
                environment.warnings.extend(writable_by_others(path));
                environment.readable_by_others = open_to_others(path, READ_OF_OTHERS, "be read", "o-r");
            }
        }
        environment.add_process(std::env::vars_os());
        environment
    }

    /// The process's variables with these names; no file is read.
    pub fn of_process_only(names: &[&str]) -> Self {
        let mut environment = Self::from_pairs::<String, String>([]);
        environment
            .add_process(std::env::vars_os().filter(|(name, _)| names.iter().any(|known| name == known)));
        environment
    }

    /// Only these variables; standard output is not a terminal. For tests, and without pairs as the empty environment.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let variables = pairs.into_iter().map(|(name, value)| (name.into(), Ok(value.into()))).collect();
        Self { variables, origin: "the environment alone".to_owned(), ..Self::default() }
    }

    /// Only what a `.env` with this text sets. For tests.
    #[cfg(test)]
    pub(super) fn of_dotenv(text: &str) -> Self {
        let mut environment = Self::from_pairs::<String, String>([]);
        environment.add_file(Ok(text.to_owned()), Path::new(DOTENV));
        environment
    }

    /// Sets a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), Ok(value.into()));
        self.lines.remove(name);
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

    /// The trimmed value, or why it cannot be used. `None` if it is unset or empty.
    pub(super) fn get(&self, name: &str) -> Option<Result<&str, &EnvFault>> {
        let value = self.variables.get(name)?.as_ref().map(|value| value.trim());
        (value != Ok("")).then_some(value)
    }

    /// Where the value comes from, as `line 3 of .env`; `None` if not from a file.
    pub(super) fn line(&self, name: &str) -> Option<&str> {
        self.lines.get(name).map(String::as_str)
    }

    /// The names of variables that are set and not empty.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str).filter(|name| self.is_set(name))
    }

    fn add_file(&mut self, text: io::Result<String>, path: &Path) {
        let name = path.display().to_string().escape_debug().to_string();
        let expected = match text {
            Ok(text) => {
                let file = EnvFile::parse(&text, &name);
                self.variables.extend(file.values);
                let place = |(variable, number)| (variable, format!("line {number} of {name}"));
                self.lines.extend(file.lines.into_iter().map(place));
                let line = |number| format!("expected NAME=value in line {number}; {QUOTING}");
                file.bad_lines.into_iter().map(line).collect()
            }
            Err(error) => vec![format!("cannot read it: {error}")],
        };
        let problem = |expected| ConfigProblem { variable: name.clone(), expected };
        self.problems.extend(expected.into_iter().map(problem));
    }

    fn add_process(&mut self, variables: impl Iterator<Item = (OsString, OsString)>) {
        self.is_terminal = io::stdout().is_terminal();
        self.memory = allowed(|path| std::fs::read_to_string(path).ok());
        for (name, value) in variables {
            let value = value.into_string().map_err(|_| EnvFault::Other("expected UTF-8 text".into()));
            if let Ok(name) = name.into_string() {
                self.lines.remove(&name);
                self.variables.insert(name, value);
            }
        }
    }
}

fn of_another_user(owner: u32) -> io::Error {
    io::Error::other(format!(
        "it belongs to user {owner}, who is neither this user nor root; give it with --env-file if you trust it"
    ))
}

/// The text of a file, or why it cannot be used. The text is trimmed like the value of a variable, because editors add line ends. The error
/// never contains the text.
pub(super) fn read_file(path: &Path) -> Result<String, String> {
    let name = path.to_string_lossy();
    let text = read_from_disk(path).map_err(|error| format!("cannot read {name:?}: {error}"))?;
    match text.trim() {
        "" => Err(format!("expected a value in {name:?}")),
        text if is_quoted(text) => Err(format!("expected a value without quotes around it in {name:?}")),
        text => Ok(text.to_owned()),
    }
}

/// The warning about a file with settings that other users of the machine may write: they could change the settings.
pub(super) fn writable_by_others(path: &Path) -> Option<String> {
    open_to_others(path, WRITE_OF_OTHERS, "be written", "go-w")
}

/// The warning about a file of which others have one of these permissions.
fn open_to_others(path: &Path, permissions: u32, what: &str, remedy: &str) -> Option<String> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    let warning =
        || format!("{} can {what} by others (mode {mode:04o}): run chmod {remedy} on it", path.display());
    (mode & permissions != 0).then(warning)
}

/// The text of a file, without a byte order mark. Opens only regular files, because opening a named pipe would block the start until
/// somebody writes to it. Reads one byte more than is allowed, if there is one: then the file is too long.
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
    let text = std::str::from_utf8(&bytes).map_err(|_| io::Error::other("expected UTF-8 text"))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::load_in;
    use proptest::prelude::*;

    fn text<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
        environment.get(name).and_then(Result::ok)
    }

    #[test]
    fn process_variables_override_the_file_and_an_empty_one_hides_a_line() {
        let mut environment = Environment::of_dotenv("PORT=2\nDOORS=i$ce\nHOST=::1\n");
        let process = [("PORT", "1"), ("DOORS", "")];
        environment.add_process(process.into_iter().map(|(name, value)| (name.into(), value.into())));
        assert_eq!(text(&environment, "PORT"), Some("1"));
        assert!(!environment.is_set("DOORS"));
        assert_eq!(text(&environment, "HOST"), Some("::1"));
        assert!(load_in(&environment).is_ok());
    }

    #[test]
    fn values_are_trimmed_and_blank_ones_count_as_unset() {
        let environment = Environment::from_pairs([("A", "  x "), ("B", " \t "), ("C", "")]);
        let values = ["A", "B", "C"].map(|name| text(&environment, name));
        assert_eq!(values, [Some("x"), None, None]);
        assert_eq!(environment.names().collect::<Vec<_>>(), ["A"]);
    }

    #[test]
    fn a_file_of_settings_that_others_may_write_is_a_warning() {
        use std::fs::Permissions;
        let directory = tempfile::tempdir().unwrap();
        let (settings, token) = (directory.path().join("settings"), directory.path().join("token"));
        std::fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
        std::fs::write(&settings, format!("OPERATOR_TOKEN_FILE={}\n", token.display())).unwrap();
        for (modes, expected) in
            [([0o600, 0o644], 0), ([0o660, 0o644], 1), ([0o600, 0o646], 1), ([0o666, 0o666], 2)]
        {
            for (path, mode) in [&settings, &token].into_iter().zip(modes) {
                std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            }
            let mut environment = Environment::from_pairs::<String, String>([]);
            environment.add_file(read_from_disk(&settings), &settings);
            environment.warnings.extend(writable_by_others(&settings));
            let warnings = load_in(&environment).unwrap().warnings;
            assert_eq!(warnings.len(), expected, "{warnings:?}");
            assert!(
                warnings.iter().all(|text| text.contains("can be written by others (mode 06")),
                "{warnings:?}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn invalid_utf8_is_a_problem_only_in_our_own_variables() {
        use std::os::unix::ffi::OsStringExt;
        let bad = || OsString::from_vec(vec![0xff]);
        let process = [("PORT".into(), bad()), ("OTHER".into(), bad()), (bad(), "x".into())];
        let mut environment = Environment::from_pairs::<String, String>([]);
        environment.add_process(process.into_iter());
        assert_eq!(load_in(&environment).unwrap_err().to_string(), "PORT: expected UTF-8 text");
    }

    #[test]
    fn only_a_regular_file_of_at_most_64_kib_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [pipe.as_path(), directory.path(), Path::new("/dev/zero")] {
            let why = read_file(path).unwrap_err();
            assert_eq!(why, format!("cannot read {path:?}: expected a regular file"));
        }
        let errors = load_in(&Environment::of_process(Some(&pipe))).unwrap_err();
        assert!(errors.to_string().contains("/pipe: cannot read it: expected a regular file"), "{errors}");
        let file = directory.path().join("file");
        for (length, is_read) in [(65_536, true), (65_537, false)] {
            std::fs::write(&file, vec![b'#'; length]).unwrap();
            assert_eq!(read_from_disk(&file).is_ok(), is_read);
        }
    }

    #[test]
    fn a_line_that_sets_nothing_is_named_by_number_and_never_shown() {
        for (content, line) in [("PORT=1\n\nthis is my-secret\nHOST=::1", 3), ("A=b\n=my-secret", 2)] {
            let errors = load_in(&Environment::of_dotenv(content)).unwrap_err().to_string();
            assert_eq!(errors, format!(".env: expected NAME=value in line {line}; {QUOTING}"));
        }
    }

    proptest! {
        #[test]
        fn no_env_file_makes_the_reader_panic_or_show_its_text(text in "[A-C=# \\\\\"'\\$\\{\\}é\n\r]{0,40}hush[A-C=# \"'\n\\$]{0,20}") {
            let problems = load_in(&Environment::of_dotenv(&text)).err().map(|errors| errors.to_string());
            prop_assert!(problems.is_none_or(|problems| !problems.contains("hush")));
        }
    }
}
