//! The list of mutants in `mutants.sh` fits the code: each text that a mutant replaces is found in its file exactly once.

use std::path::Path;

const SCRIPT: &str = include_str!("mutants.sh");

/// A place that a mutant changes.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    mutant: String,
    file: String,
    text: String,
}

/// The place of one entry: `'name|file|text|replacement'`, with `\|` for a bar and `\n` for a line break.
fn place(line: &str) -> Option<Place> {
    let entry = line.strip_prefix("    '")?.strip_suffix('\'')?.replace("\\|", "\0");
    let parts: Vec<_> = entry.split('|').map(|part| part.replace('\0', "|").replace("\\n", "\n")).collect();
    let [mutant, file, text, _] = <[String; 4]>::try_from(parts).ok()?;
    Some(Place { mutant, file, text })
}

fn list() -> impl Iterator<Item = &'static str> {
    let after = SCRIPT.lines().skip_while(|line| *line != "mutants=(").skip(1);
    after.take_while(|line| *line != ")")
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test of the source files")]
fn the_text_of_each_mutant_is_found_exactly_once() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let problem = |line: &str| {
        let Some(Place { mutant, file, text }) = place(line) else {
            return Some(format!("no entry: {line}"));
        };
        let Ok(code) = std::fs::read_to_string(src.join(&file)) else {
            return Some(format!("{mutant}: there is no file {file}"));
        };
        let found = code.matches(&text).count();
        (found != 1).then(|| format!("{mutant}: found {found} times in {file}: {text}"))
    };
    let problems: Vec<_> = list().filter_map(problem).collect();
    assert!(list().count() > 100, "the list is found");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn an_entry_is_read_with_its_bars_and_line_breaks() {
    let expected = Place { mutant: "name".into(), file: "a/b.rs".into(), text: "x || y\nz".into() };
    assert_eq!(place(r"    'name|a/b.rs|x \|\| y\nz|'"), Some(expected));
    assert_eq!(place("    'name|a/b.rs|x'"), None);
}
