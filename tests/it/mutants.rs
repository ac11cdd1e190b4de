//! The lists of mutants (`tests/mutants`) fit the code: each text that a mutant replaces is found in its file exactly once.

use crate::support::repository::root;

const LISTS: [&str; 2] = [include_str!("../mutants/ledger.txt"), include_str!("../mutants/replicas.txt")];

/// The fields of a line, with `\|` for a bar and `\n` for a line break.
fn fields(line: &str) -> Vec<String> {
    let line = line.replace("\\|", "\0");
    line.split('|').map(|field| field.replace('\0', "|").replace("\\n", "\n")).collect()
}

fn problem(line: &str) -> Option<String> {
    let [name, tests, file, text, _] = &fields(line)[..] else {
        return Some(format!("not five fields: {line}"));
    };
    let program = tests.split(' ').next()?;
    if !["ledger", "lib", "it", "sfu", "store", "simulation"].contains(&program) {
        return Some(format!("{name}: unknown tests: {tests}"));
    }
    let Ok(code) = std::fs::read_to_string(root().join(file)) else {
        return Some(format!("{name}: there is no file {file}"));
    };
    let found = code.matches(text.as_str()).count();
    (found != 1).then(|| format!("{name}: found {found} times in {file}: {text}"))
}

#[test]
fn the_text_of_each_mutant_is_found_exactly_once() {
    for list in LISTS {
        assert!(list.lines().count() > 50, "the list is whole");
        let problems: Vec<_> = list.lines().filter_map(problem).collect();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
