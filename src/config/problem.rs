//! The problems of a configuration. No text contains the value of a secret.

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{variable}: {expected}")]
pub struct ConfigProblem {
    /// The variable, or the env file if it cannot be read or one of its lines sets nothing.
    pub variable: String,
    /// What was expected, and what was found unless it is a secret.
    pub expected: String,
}

/// All problems, sorted by variable, without duplicates. Prints one line for each, then the hints about names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.lines().join("\n"))]
pub struct ConfigErrors {
    pub(super) problems: Vec<ConfigProblem>,
    pub(super) hints: Vec<String>,
}

impl ConfigErrors {
    fn lines(&self) -> Vec<String> {
        self.problems.iter().map(ToString::to_string).chain(self.hints.iter().cloned()).collect()
    }
}
