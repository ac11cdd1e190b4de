//! For the tests of this module: load a few variables, or see which problems they make.

use super::{Config, ConfigErrors, Environment};

/// Loads these variables and no others.
pub(super) fn load<const N: usize>(pairs: [(&str, &str); N]) -> Config {
    let outcome = load_in(&Environment::from_pairs(pairs));
    outcome.unwrap_or_else(|errors| panic!("a valid configuration, but:\n{errors}"))
}

/// Loads an environment.
pub(super) fn load_in(environment: &Environment) -> Result<Config, ConfigErrors> {
    Config::from_env(environment)
}

/// These variables make exactly these problems, in this order, and no message holds the word `hush`.
#[track_caller]
pub(super) fn assert_refused<const N: usize>(pairs: [(&str, &str); N], lines: &[&str]) {
    let errors = load_in(&Environment::from_pairs(pairs)).expect_err("refused").to_string();
    assert_eq!(errors.lines().collect::<Vec<_>>(), lines, "{pairs:?}");
    assert!(!errors.contains("hush"), "{errors}");
}
