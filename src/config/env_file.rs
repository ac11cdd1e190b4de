//! The check of `.env` and of the file that `--env-file` names, before dotenvy reads the values. Docker, `kubectl`, systemd and shells read
//! such files too, each by its own rules. A value that these readers would not all read alike is a fault here. A fault names the line, and
//! never shows it, because the line may have a secret.

use std::collections::BTreeMap;

/// A file of settings.
#[derive(Default)]
pub(super) struct EnvFile {
    /// The value of each name, or why the value cannot be used.
    pub(super) values: BTreeMap<String, Result<String, EnvFault>>,
    /// The numbers of the lines that set nothing, without comments and blank lines.
    pub(super) bad_lines: Vec<usize>,
    /// The first line that sets each name.
    pub(super) lines: BTreeMap<String, usize>,
}

/// Why a variable cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EnvFault {
    /// The value needs quotes, or other quotes. Some programs keep quotes as a part of the value.
    #[error("{0}")]
    Quotes(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl EnvFile {
    /// `file`: its name, for messages.
    pub(super) fn parse(text: &str, file: &str) -> Self {
        let mut parsed = Self::default();
        let (mut rest, mut number) = (text, 1);
        while !rest.is_empty() {
            let (line, mut after) = split_line(rest);
            if let Some((name, written)) = assignment(line) {
                let value;
                let place = format!("line {number} of {file}");
                // Reads the text behind the `=` beyond the end of the line: a value in quotes may have several lines.
                (value, after) = read_value(&rest[line.len() - written.len()..], &place);
                let lines = rest[..rest.len() - after.len()].lines().zip(number..);
                let settings_inside: Vec<_> = lines.skip(1).filter_map(setting_inside).collect();
                let unclosed = settings_inside.first().map(|(_, line)| {
                    EnvFault::Other(format!(
                        "expected an end of the quotes that line {number} of {file} opens before line {line}"
                    ))
                });
                parsed.add(name, unclosed.map_or(value, Err), number, file);
                for (name, line) in settings_inside {
                    let fault = format!(
                        "expected it outside of the quotes that line {number} of {file} opens, found it in line {line}"
                    );
                    parsed.add(name, Err(EnvFault::Other(fault)), line, file);
                }
            } else if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
                parsed.bad_lines.push(number);
            }
            number += rest[..rest.len() - after.len()].matches('\n').count();
            rest = after;
        }
        parsed.take_dotenvy_values(text);
        parsed
    }

    /// Replaces each value without a fault by what dotenvy reads.
    fn take_dotenvy_values(&mut self, text: &str) {
        for (name, read) in dotenvy::from_read_iter(text.as_bytes()).flatten() {
            if let Some(Ok(value)) = self.values.get_mut(&name) {
                *value = read;
            }
        }
    }

    /// Sets a name, in the line with this number. A second line with the same name is a fault.
    fn add(&mut self, name: &str, value: Result<String, EnvFault>, number: usize, file: &str) {
        let first = *self.lines.entry(name.to_owned()).or_insert(number);
        let value = if first == number {
            value
        } else {
            Err(EnvFault::Other(format!(
                "expected it once, found it in lines {first} and {number} of {file}"
            )))
        };
        self.values.insert(name.to_owned(), value);
    }
}

/// The fault of a value with a character that some readers interpret. `has_apostrophe`: whether single quotes cannot enclose the value.
fn special(character: char, has_apostrophe: bool, place: &str) -> EnvFault {
    let quotes = if has_apostrophe {
        "\"double quotes\" around the value, and a backslash before each \" $ \\ and ` in it"
    } else {
        "'single quotes' around the value"
    };
    let found = described(character);
    EnvFault::Quotes(format!("expected {quotes}, because {place} has {found} outside of them"))
}

fn described(character: char) -> &'static str {
    match character {
        '$' => "a $",
        '\\' => "a backslash",
        '`' => "a backtick",
        '#' => "a #",
        '\'' | '"' => "a quote",
        _ => "a space",
    }
}

/// The first line without its end, and what is behind it.
fn split_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// The name that a line sets, and what is written behind `=`.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let (name, written) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let name = name.trim();
    let is_inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.');
    let is_name =
        name.bytes().all(is_inside) && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    is_name.then_some((name, written))
}

/// The setting that a line inside of quotes seems to set, with the number of the line. If there is such a setting, the quotes were probably
/// left open by mistake.
fn setting_inside((line, number): (&str, usize)) -> Option<(&str, usize)> {
    let (name, _) = assignment(line)?;
    let is_setting = !name.contains(|c: char| c.is_ascii_lowercase());
    is_setting.then_some((name, number))
}

/// Reads the value at the beginning of a text. Also returns the text behind the last line of the value.
fn read_value<'a>(written: &'a str, place: &str) -> (Result<String, EnvFault>, &'a str) {
    let (line, after) = split_line(written);
    let start = written.trim_start_matches([' ', '\t']);
    let closed = match start.as_bytes().first() {
        Some(b'\'') => start[1..].split_once('\'').map(|(value, behind)| (Ok(value.to_owned()), behind)),
        Some(b'"') => in_double_quotes(&start[1..], place),
        _ => return (without_quotes(line, place), after),
    };
    let Some((value, behind)) = closed else {
        return (Err(EnvFault::Other(format!("expected an end of the quotes that {place} opens"))), after);
    };
    let (behind, after) = split_line(behind);
    if without_comment(behind).trim().is_empty() {
        return (value, after);
    }
    let expected = format!("expected nothing but a comment behind the quotes that {place} opens");
    (Err(EnvFault::Other(expected)), after)
}

/// The value up to the closing quote, and what is behind it. `None` if nothing closes it.
fn in_double_quotes<'a>(text: &'a str, place: &str) -> Option<(Result<String, EnvFault>, &'a str)> {
    let (mut value, mut found) = (String::new(), None);
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => {
                let has_apostrophe = text[..at].contains('\'');
                let fault = found.map(|character| special(character, has_apostrophe, place));
                return Some((fault.map_or(Ok(value), Err), &text[at + 1..]));
            }
            (_, '\\') => match characters.next()?.1 {
                escaped @ ('"' | '\\' | '$' | '`') => value.push(escaped),
                _ => found = Some('\\'),
            },
            (_, character) => {
                if matches!(character, '$' | '`') {
                    found = Some(character);
                }
                value.push(character);
            }
        }
    }
}

/// The value that `line`, the rest of a line behind `=`, states without quotes.
fn without_quotes(line: &str, place: &str) -> Result<String, EnvFault> {
    let value = without_comment(line).trim();
    let is_special = |c: &char| c.is_whitespace() || matches!(c, '$' | '\\' | '`' | '\'' | '"');
    // A # at the beginning is a comment for dotenvy, and a part of the value for a shell.
    let found = if value.starts_with('#') { Some('#') } else { value.chars().find(is_special) };
    match found {
        Some(character) => Err(special(character, value.contains('\''), place)),
        None => Ok(value.to_owned()),
    }
}

/// A line without its comment, which begins with a # behind a space.
fn without_comment(line: &str) -> &str {
    let mut marks = line.match_indices('#').map(|(at, _)| &line[..at]);
    marks.find(|before| before.ends_with([' ', '\t'])).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(line: &str) -> Option<String> {
        let mut values = EnvFile::parse(line, "FILE").values;
        values.remove("A").and_then(Result::ok)
    }

    #[test]
    fn a_value_has_no_quotes_and_no_comment_and_is_refused_if_readers_would_differ() {
        for (line, value) in [
            ("A=", ""),
            ("A= # b", ""),
            ("A=b#c", "b#c"),
            ("A = b \t# c", "b"),
            ("A=b;c&d|(e)~*=f", "b;c&d|(e)~*=f"),
            ("A='b c $d `e` \\f \"g\"'", "b c $d `e` \\f \"g\""),
            ("A=\"b 'c' \\$d \\\\ \\\" \\`\"", "b 'c' $d \\ \" `"),
            ("A='b\n#c\n' # d\nB=e", "b\n#c\n"),
            ("A='b'\r\n", "b"),
            ("A=b\r\n", "b"),
        ] {
            assert_eq!(value_of(line).as_deref(), Some(value), "{line}");
        }
        for line in
            ["A=#b", "A=b c", "A='b", "A=\"b\\", "A='b'c", "A='b'#c", "A=b'c'", "1A=b", "A-B=c", "# A=b", "A"]
        {
            assert_eq!(value_of(line), None, "{line}");
        }
    }

    #[test]
    fn lines_behind_a_value_of_several_lines_keep_their_numbers() {
        let file = EnvFile::parse("A='1\n2\n3'\nB=$4\nbad\nC=\"7\n8", "FILE");
        assert_eq!(file.bad_lines, [5, 7]);
        let faults = file.values.values().filter_map(|value| value.as_ref().err()).map(EnvFault::to_string);
        let lines: Vec<bool> = faults
            .zip(["line 4 of FILE", "line 6 of FILE"])
            .map(|(fault, line)| fault.contains(line))
            .collect();
        assert_eq!(lines, [true, true]);
    }
}
