//! The parser of `.env`. Every valid line becomes a variable. A problem names an invalid line by its number and never shows
//! its text, which may be a secret. No setting is lost silently.

use super::names;

const QUOTING: &str = "put a value with spaces, quotes, # or $ in 'single quotes'";

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct DotenvLines {
    /// Names and values in file order; names may repeat.
    pub(super) variables: Vec<(String, String)>,
    /// One text for each line that cannot be used.
    pub(super) problems: Vec<String>,
}

/// Parses a file.
pub(super) fn read(content: &str) -> DotenvLines {
    let content = content.trim_start_matches('\u{feff}');
    let mut lines = DotenvLines::default();
    for line in dotenvy::from_read_iter(content.as_bytes()) {
        match line {
            Ok(variable) => lines.variables.push(variable),
            Err(error) => {
                let place = line_number(content, &error).map_or(String::new(), |n| format!(" in line {n}"));
                lines.problems.push(format!("expected NAME=value{place}; {QUOTING}"));
            }
        }
    }
    if lines.problems.is_empty() {
        lines.problems = swallowed(content, &lines.variables);
    }
    lines
}

/// Finds settings that are inside quotes by accident. A quoted value may span lines, and an apostrophe in a comment after two
/// spaces starts one.
fn swallowed(content: &str, variables: &[(String, String)]) -> Vec<String> {
    let of_line = |(index, line): (usize, &str)| {
        let (name, _) = dotenvy::from_read_iter(line.as_bytes()).next()?.ok()?;
        let is_lost = names::is_known(&name) && variables.iter().all(|(read, _)| *read != name);
        let place = index + 1;
        is_lost.then(|| format!("{name} in line {place} is inside quotes that an earlier line opened, perhaps with an apostrophe in a comment; {QUOTING}"))
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
    use proptest::prelude::*;

    #[test]
    fn an_invalid_line_is_named_by_number_and_never_shown() {
        for (content, line) in [
            ("PORT=1\n\nthis is my-secret\nHOST=::1", 3),
            ("# my-secret x\nA='my-secret x'\nCOTURN_SECRET=my-secret x", 3),
            ("# x\nCOTURN_SECRET='my-secret\nPORT=1\n", 2),
            ("A=b\n=my-secret", 2),
        ] {
            assert_eq!(read(content).problems, [format!("expected NAME=value in line {line}; {QUOTING}")]);
        }
    }

    #[test]
    fn a_setting_inside_accidental_quotes_is_a_problem() {
        let swallowed = "A=1  # it's\nREPORTER_TOKEN=my-secret\nB=2  # it's\nPORT=1\n";
        let expected = format!(
            "REPORTER_TOKEN in line 2 is inside quotes that an earlier line opened, perhaps with an apostrophe in a comment; {QUOTING}"
        );
        assert_eq!(read(swallowed).problems, [expected]);
        let meant = "MANUAL_ICE_SERVERS='[\n  {\"urls\": \"stun:a\"}\n]'\nPORT=1 # the usual one\n";
        let lines = read(meant);
        assert!(lines.problems.is_empty());
        assert_eq!(lines.variables[0].1, "[\n  {\"urls\": \"stun:a\"}\n]");
    }

    proptest! {
        #[test]
        fn no_env_file_makes_the_reader_panic_or_show_its_text(text in "[A-C=# \\\\\"'\\$\\{\\}é\n\r]{0,40}hush[A-C=# \"'\n\\$]{0,20}") {
            prop_assert!(read(&text).problems.iter().all(|problem| !problem.contains("hush")));
        }
    }
}
