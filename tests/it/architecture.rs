//! The test of docs/ARCHITECTURE.md and docs/BOUNDS.md: what they name is in the code. And of the ledger: its imports show what is below
//! what, and its modules say where their tests are.

use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../docs/ARCHITECTURE.md");
const BOUNDS: &str = include_str!("../../docs/BOUNDS.md");
const SETTINGS: &str = include_str!("../../.env.example");

/// A walk names no more files.
const FILES_MAX: usize = 12;

#[test]
fn each_walk_names_a_few_files_that_exist() {
    let sections: Vec<_> = PAGE.split("\n## ").skip(1).collect();
    for section in &sections {
        let files: Vec<_> = in_backticks(section).filter(|text| is_file(text)).collect();
        let missing: Vec<_> = files.iter().filter(|file| !root().join(file).is_file()).collect();
        assert!(missing.is_empty(), "docs/ARCHITECTURE.md names {missing:?}");
    }
    let walks = sections.iter().take_while(|section| !section.starts_with("Packages"));
    let counts: Vec<_> = walks.map(|walk| walk.lines().filter(|line| line.contains(". `")).count()).collect();
    assert_eq!(counts.len(), 6);
    assert!(counts.iter().all(|count| (5..=FILES_MAX).contains(count)), "{counts:?}");
}

#[test]
fn each_bound_is_a_setting_or_a_constant_of_its_module() {
    let rows = BOUNDS.lines().filter(|line| line.starts_with('|')).skip(2);
    let problems: Vec<_> = rows.filter_map(|row| row.split('|').nth(2)).flat_map(problems).collect();
    assert!(problems.is_empty(), "docs/BOUNDS.md:\n{}", problems.join("\n"));
}

#[test]
fn a_bound_that_does_not_exist_is_reported() {
    assert_eq!(problems(" `BODY_MAX` (`turn_base::body`), or `RATE_LIMIT_REQUESTS` "), Vec::<String>::new());
    assert_eq!(problems("`BODY_MAX`"), ["`BODY_MAX` is no setting; write `BODY_MAX` (`module`)"]);
    assert_eq!(problems("`BODY` (`turn_base::body`)"), ["`turn_base::body` has no constant `BODY`"]);
    assert_eq!(problems("`BODY_MAX` (`http::nowhere`)"), ["`http::nowhere` has no constant `BODY_MAX`"]);
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

/// What is wrong with the names in a cell of the table.
fn problems(bound: &str) -> Vec<String> {
    let pieces: Vec<_> = bound.split('`').collect();
    let named = pieces.iter().enumerate().skip(1).step_by(2);
    let wrong = named.filter(|(_, name)| is_constant(name) && !is_setting(name)).filter_map(|(at, name)| {
        let module = pieces.get(at + 2).filter(|_| pieces.get(at + 1) == Some(&" ("));
        let Some(module) = module else {
            return Some(format!("`{name}` is no setting; write `{name}` (`module`)"));
        };
        let forms = [":", " ="].map(|after| format!("const {name}{after}"));
        let is_declared =
            source_of(module).is_some_and(|source| forms.iter().any(|form| source.contains(form)));
        (!is_declared).then(|| format!("`{module}` has no constant `{name}`"))
    });
    wrong.collect()
}

fn is_constant(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

fn is_setting(name: &str) -> bool {
    let names = SETTINGS.lines().filter_map(|line| line.trim_start_matches("# ").split_once('='));
    names.into_iter().any(|(setting, _)| setting == name)
}

/// The source text of a module, or of a file for browsers.
fn source_of(module: &str) -> Option<String> {
    let package = module.strip_prefix("turn_").map(|rest| rest.split_once("::").unwrap_or((rest, "lib")));
    let (folder, path) = package.map_or(("src".to_owned(), module), |(name, path)| {
        (format!("crates/{}/src", name.replace('_', "-")), path)
    });
    let path = path.replace("::", "/");
    let files = [format!("{path}.rs"), format!("{path}/mod.rs"), path];
    files.iter().find_map(|file| fs::read_to_string(root().join(&folder).join(file)).ok())
}

fn is_file(text: &str) -> bool {
    text.contains('/') && Path::new(text).extension().is_some_and(|extension| extension == "rs")
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
