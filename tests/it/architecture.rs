//! The test of docs/ARCHITECTURE.md: the files that it names are in the code. And of the ledger: its imports show what is below what, and its
//! modules say where their tests are.

use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../docs/ARCHITECTURE.md");

/// A walk has no more steps.
const STEPS_MAX: usize = 12;
/// A walk names no more files.
const FILES_MAX: usize = 30;

#[test]
fn each_walk_names_a_few_files_that_exist() {
    let sections: Vec<_> = PAGE.split("\n## ").skip(1).collect();
    for section in &sections {
        let missing: Vec<_> = files(section).filter(|file| !root().join(file).is_file()).collect();
        assert!(missing.is_empty(), "docs/ARCHITECTURE.md names {missing:?}");
    }
    let walks: Vec<_> = sections.iter().take_while(|section| !section.starts_with("Packages")).collect();
    assert_eq!(walks.len(), 5);
    for walk in walks {
        let steps = walk.lines().filter(|line| line.contains(". `")).count();
        assert!((5..=STEPS_MAX).contains(&steps) && files(walk).count() <= FILES_MAX, "{walk}");
    }
}

#[test]
fn the_ledger_imports_from_the_module_that_defines_a_name() {
    for (file, text) in modules_of_the_ledger() {
        let through_root = |line: &&str| {
            let path = line.trim_start().strip_prefix("use crate::");
            path.is_some_and(|path| !path.starts_with(|c: char| c.is_ascii_lowercase()))
        };
        assert_eq!(text.lines().find(through_root), None, "{}", file.display());
    }
}

#[test]
fn each_module_of_the_ledger_says_where_its_tests_are() {
    for (file, text) in modules_of_the_ledger().filter(|(file, _)| !is_test(file)) {
        let file = file.display();
        let noted = text.lines().take(2).find_map(|line| line.split_once("Tests: ")?.1.strip_suffix('.'));
        let place =
            noted.unwrap_or_else(|| panic!("the first two lines of {file} do not say `Tests: <path>.`"));
        let is_there = match place {
            "below" => text.contains("\nmod tests {"),
            path => root().join("crates/ledger").join(path.trim_matches('`')).exists(),
        };
        assert!(is_there, "{file}: no tests {place}");
    }
}

/// The files of the ledger with their texts, without its root.
fn modules_of_the_ledger() -> impl Iterator<Item = (PathBuf, String)> {
    let package = root().join("crates/ledger");
    let mut folders = vec![package.join("src")];
    let mut files = vec![];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    assert!(files.len() > 80, "the ledger is whole");
    files.retain(|file| !file.ends_with("src/lib.rs"));
    files.into_iter().map(move |file| {
        let text = fs::read_to_string(&file).unwrap();
        (file.strip_prefix(&package).unwrap().to_owned(), text)
    })
}

/// Whether a file of the ledger contains tests only, or what they begin with.
fn is_test(file: &Path) -> bool {
    let is_of_tests = |name: &str| name.ends_with("_tests") || ["tests", "testing"].contains(&name);
    file.with_extension("").iter().filter_map(|part| part.to_str()).any(is_of_tests)
}

fn is_file(text: &str) -> bool {
    text.contains('/') && Path::new(text).extension().is_some_and(|extension| extension == "rs")
}

/// The files that a text names in backticks.
fn files(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|text| is_file(text))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
