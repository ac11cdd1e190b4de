//! The lists of mutants (`tests/mutants`) fit the code: each text that a mutant replaces is found in its file exactly once.

use crate::support::repository::root;

/// The reproductions of the simulation that no mutant names, each with the reason.
const WITHOUT_MUTANT: &str = include_str!("../mutants/reproductions.txt");
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
    if !["base", "ledger", "lib", "it", "sfu", "store", "simulation"].contains(&program) {
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

/// The name of each reproduction of the ledger's simulation.
fn reproductions() -> Vec<String> {
    let directory = root().join("crates/ledger/tests/simulation/reproductions");
    let files = std::fs::read_dir(directory).unwrap();
    let text: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let names = text.split("#[test]\nfn ").skip(1).filter_map(|after| after.split_once("()"));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn each_reproduction_has_a_mutant_or_a_reason_why_it_has_none() {
    let tests = LISTS.into_iter().flat_map(str::lines).map(|line| fields(line)[1].clone());
    let parts: Vec<_> = tests.filter_map(|of| Some(of.strip_prefix("simulation ")?.to_owned())).collect();
    let reasons = || WITHOUT_MUTANT.lines().filter_map(|line| line.split_once('|'));
    let reproductions = reproductions();
    assert!(reproductions.len() > 40, "all are found");
    for name in &reproductions {
        let has_mutant = parts.iter().any(|part| name.contains(part));
        let has_reason = reasons().any(|(of, _)| of == name);
        assert!(
            has_mutant != has_reason,
            "{name}: name it in ledger.txt or in reproductions.txt, not in both"
        );
    }
    for (of, reason) in reasons() {
        assert!(
            reproductions.iter().any(|name| name == of) && !reason.is_empty(),
            "{of}: there is no such test"
        );
    }
}
