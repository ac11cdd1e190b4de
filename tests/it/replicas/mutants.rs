//! The list of `mutants.sh` fits the code: each text that a mutant replaces is found in its file exactly once.

use std::path::Path;

const SCRIPT: &str = include_str!("mutants.sh");

#[test]
fn the_text_of_each_mutant_is_found_exactly_once() {
    let list = SCRIPT.split("mutants=(\n").nth(1).unwrap().split("\n)").next().unwrap();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for line in list.lines() {
        let entry = line.trim().trim_matches('\'').replace("\\|", "\0");
        let parts: Vec<_> =
            entry.split('|').map(|part| part.replace('\0', "|").replace("\\n", "\n")).collect();
        let [name, tests, file, text, _] = &parts[..] else { panic!("no entry: {line}") };
        let program = tests.split(' ').next().unwrap();
        assert!(["lib", "it", "simulation"].contains(&program), "{name}: {program}");
        let code = std::fs::read_to_string(src.join(file)).unwrap();
        assert_eq!(code.matches(text.as_str()).count(), 1, "{name}: in {file}: {text}");
    }
}
