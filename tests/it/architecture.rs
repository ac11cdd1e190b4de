//! The test of docs/ARCHITECTURE.md: the files that it names are in the code. And of budget and ledger: their imports show what is below what, and
//! their modules say where their tests are.

use crate::support::prelude::*;

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
fn budget_and_ledger_import_from_the_module_that_defines_a_name_and_their_modules_say_where_their_tests_are()
{
    for (package, file, text) in [modules("budget", 40), modules("ledger", 60)].concat() {
        let through_root = |line: &&str| {
            let path = line.trim_start().strip_prefix("use crate::");
            path.is_some_and(|path| !path.starts_with(|c: char| c.is_ascii_lowercase()))
        };
        assert_eq!(text.lines().find(through_root), None, "{}", file.display());
        if is_test(&file) {
            continue;
        }
        let noted = text.lines().take(2).find_map(|line| line.split_once("Tests: ")?.1.strip_suffix('.'));
        let is_folder = file.ends_with("mod.rs");
        let file = file.display();
        let is_there = match noted {
            None => panic!("the first two lines of {file} do not say `Tests: <path>.`"),
            // A folder of modules that each say it.
            Some("in each module") => is_folder,
            Some("below") => text.contains("\nmod tests {"),
            Some(path) => root().join("crates").join(package).join(path.trim_matches('`')).exists(),
        };
        assert!(is_there, "{file}: no tests {noted:?}");
    }
}

/// The files of a package with their texts, without its root: at least so many. Paths are from the package.
fn modules(package: &'static str, least: usize) -> Vec<(&'static str, PathBuf, String)> {
    let folder = Path::new("crates").join(package);
    let mut files = sources(folder.join("src").to_str().unwrap());
    assert!(files.len() > least, "the package {package} is whole");
    files.retain(|(file, _)| !file.ends_with("src/lib.rs"));
    let from_package = |file: &Path| file.strip_prefix(&folder).unwrap().to_owned();
    files.into_iter().map(|(file, text)| (package, from_package(&file), text)).collect()
}

/// Whether a file contains tests only, or what they begin with.
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
