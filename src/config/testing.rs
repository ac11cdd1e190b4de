//! Helpers for the tests of the configuration: load some variables, or assert their problems.

use super::{Config, ConfigErrors, Environment};

/// Loads only these variables.
pub(crate) fn load<const N: usize>(pairs: [(&str, &str); N]) -> Config {
    let outcome = load_in(&Environment::from_pairs(pairs));
    outcome.unwrap_or_else(|errors| panic!("a valid configuration, but:\n{errors}"))
}

/// Loads an environment.
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

/// Asserts that these variables have exactly these problems, in this order, and that no message contains `hush`.
#[track_caller]
pub(crate) fn assert_refused<const N: usize>(pairs: [(&str, &str); N], lines: &[&str]) {
    let errors = load_in(&Environment::from_pairs(pairs)).expect_err("refused").to_string();
    assert_eq!(errors.lines().collect::<Vec<_>>(), lines, "{pairs:?}");
    assert!(!errors.contains("hush"), "{errors}");
}
