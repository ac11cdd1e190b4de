//! The problems of a configuration, all together. No text contains a secret: `settings.rs` shows a value only if its
//! variable is not secret.

use std::fmt;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigProblem {
    /// The variable, or `.env` if the file itself cannot be read.
    pub variable: String,
    /// What was expected, and what was found unless it is a secret.
    pub expected: String,
}

/// All problems, sorted by variable, without duplicates. Prints one line for each, then the hints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    problems: Vec<ConfigProblem>,
    hints: Vec<String>,
}

impl ConfigErrors {
    pub(super) fn new(mut problems: Vec<ConfigProblem>, hints: Vec<String>) -> Self {
        problems.sort_unstable();
        problems.dedup();
        Self { problems, hints }
    }

    /// The problems in printing order.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.variable, self.expected)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems = self.problems.iter().map(ToString::to_string);
        let lines: Vec<_> = problems.chain(self.hints.iter().cloned()).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_print_sorted_and_without_duplicates() {
        let problem =
            |variable: &str| ConfigProblem { variable: variable.into(), expected: "expected x".into() };
        let errors = ConfigErrors::new(
            vec![problem("PORT"), problem("DOORS"), problem("PORT")],
            vec!["DOOR is not a setting".into()],
        );
        assert_eq!(errors.to_string(), "DOORS: expected x\nPORT: expected x\nDOOR is not a setting");
    }
}
