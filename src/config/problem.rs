//! What is wrong with the configuration, all of it at once. No text here ever holds a secret: the collector in
//! `settings.rs` shows a value only where the variable is none.

use std::fmt;

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigProblem {
    /// The variable to look at; `.env` where the file itself cannot be read.
    pub variable: String,
    /// What was expected, and what was found where that is no secret.
    pub expected: String,
}

/// Every problem that was found, sorted by variable, none twice. Prints one line for each, then the hints.
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

    /// The problems, in the order in which they are printed.
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
    fn problems_print_sorted_one_per_line_and_once() {
        let problem =
            |variable: &str| ConfigProblem { variable: variable.into(), expected: "expected x".into() };
        let errors = ConfigErrors::new(
            vec![problem("PORT"), problem("DOORS"), problem("PORT")],
            vec!["DOOR is not a setting".into()],
        );
        assert_eq!(errors.to_string(), "DOORS: expected x\nPORT: expected x\nDOOR is not a setting");
    }
}
