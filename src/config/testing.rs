//! Helpers for the tests of the configuration: load some variables, or check a table of them.

use super::names::Names;
use super::settings::{Settings, shown};
use super::{Config, ConfigErrors, Environment};

/// Loads only these variables.
pub(crate) fn load<const N: usize>(pairs: [(&str, &str); N]) -> Config {
    let outcome = load_in(&Environment::from_pairs(pairs));
    outcome.unwrap_or_else(|errors| panic!("a valid configuration, but:\n{errors}"))
}

pub(crate) fn load_in(environment: &Environment) -> Result<Config, ConfigErrors> {
    Config::from_env(environment)
}

/// Loads one variable that names a file with this content, or returns the problems, with `FILE` for its path.
pub(crate) fn load_file(variable: &str, content: impl AsRef<[u8]>) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    std::fs::write(&path, content).unwrap();
    let path = path.to_str().unwrap();
    load_in(&Environment::from_pairs([(variable, path)]))
        .map_err(|errors| errors.to_string().replace(path, "FILE"))
}

/// Every setting, as a reading with no variables leaves them.
pub(super) fn all_names() -> Names {
    let nothing = Environment::from_pairs::<String, String>([]);
    let mut settings = Settings::new(&nothing);
    let _ = Config::read(&mut settings);
    settings.names
}

/// Settings, separated by semicolons.
pub(super) fn pairs(text: &str) -> Vec<(&str, &str)> {
    text.split("; ").map(|setting| setting.split_once('=').expect("NAME=value")).collect()
}

/// Checks a table of settings and what they lead to, in the form that `cases.txt` describes. There are no other problems and no other
/// warnings, and nothing contains `hush`.
#[track_caller]
pub(super) fn assert_cases(table: &str) {
    let mut lines = table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
    while let Some(line) = lines.next() {
        if let Some((name, (min, max))) =
            line.split_once(" from ").and_then(|(name, range)| Some((name, range.split_once(" to ")?)))
        {
            let [below, above] = [(min, -1), (max, 1)].map(|(end, by)| end.parse::<i64>().unwrap() + by);
            let problem = format!("! {name}: expected a number from {min} to {max}, found <value>");
            for (value, expected) in
                [(min, ""), (max, ""), (&below.to_string(), &problem), (&above.to_string(), &problem)]
            {
                assert_outcome(&Environment::from_pairs([(name, value)]), value, &[expected]);
            }
            continue;
        }
        let mut expected = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(['!', '?', '='])) {
            expected.push(line);
        }
        if let Some(file) = line.strip_prefix(".env: ") {
            assert_outcome(&Environment::of_dotenv(&file.replace('⏎', "\n")), file, &expected);
            continue;
        }
        let settings = pairs(line);
        let ((name, values), others) = settings.split_last().expect("a setting");
        for value in values.split(" | ") {
            let settings = others.iter().copied().chain([(*name, value.trim())]);
            assert_outcome(&Environment::from_pairs(settings), value.trim(), &expected);
        }
    }
}

/// `value`: what stands for `<value>`.
#[track_caller]
fn assert_outcome(environment: &Environment, value: &str, expected: &[&str]) {
    let names: Vec<_> = environment.names().collect();
    let (lines, config) = match load_in(environment) {
        Ok(config) => {
            (config.warnings.iter().map(|text| format!("? {text}")).collect(), format!("{config:?}"))
        }
        Err(errors) => {
            (errors.to_string().lines().map(|line| format!("! {line}")).collect::<Vec<_>>(), String::new())
        }
    };
    let (parts, messages): (Vec<&str>, Vec<&str>) =
        expected.iter().filter(|line| !line.is_empty()).copied().partition(|line| line.starts_with('='));
    let messages: Vec<_> = messages.iter().map(|line| line.replace("<value>", &shown(value))).collect();
    assert_eq!(lines, messages, "{names:?} with {value}");
    for part in parts {
        assert!(
            config.contains(part.trim_start_matches("= ")),
            "{part}\nis missing with {names:?} and {value} in\n{config}"
        );
    }
    assert!(!lines.concat().contains("hush") && !config.contains("hush"), "{lines:?} {config}");
}
