//! The test of docs/ARCHITECTURE.md: the files that it names are in the code. And of the ledger: its imports show what is below what, and its
//! modules say where their tests are.

use std::path::{Path, PathBuf};

use crate::support::repository::{root, sources};

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
fn the_ledger_imports_from_the_module_that_defines_a_name_and_its_modules_say_where_their_tests_are() {
    for (file, text) in modules_of_the_ledger() {
        let through_root = |line: &&str| {
            let path = line.trim_start().strip_prefix("use crate::");
            path.is_some_and(|path| !path.starts_with(|c: char| c.is_ascii_lowercase()))
        };
        assert_eq!(text.lines().find(through_root), None, "{}", file.display());
        if is_test(&file) {
            continue;
        }
        let noted = text.lines().take(2).find_map(|line| line.split_once("Tests: ")?.1.strip_suffix('.'));
        let file = file.display();
        let is_there = match noted {
            None => panic!("the first two lines of {file} do not say `Tests: <path>.`"),
            Some("below") => text.contains("\nmod tests {"),
            Some(path) => root().join("crates/ledger").join(path.trim_matches('`')).exists(),
        };
        assert!(is_there, "{file}: no tests {noted:?}");
    }
}

/// The files of the ledger with their texts, without its root. Paths are from its package.
fn modules_of_the_ledger() -> Vec<(PathBuf, String)> {
    let mut files = sources("crates/ledger/src");
    assert!(files.len() > 80, "the ledger is whole");
    files.retain(|(file, _)| !file.ends_with("src/lib.rs"));
    files
        .into_iter()
        .map(|(file, text)| (file.strip_prefix("crates/ledger").unwrap().to_owned(), text))
        .collect()
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
