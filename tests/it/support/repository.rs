//! The files of this repository, for the tests that read them.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text files at or below this place, each with its path from the root. What is not UTF-8 is left out.
pub(crate) fn texts(place: &str) -> Vec<(PathBuf, String)> {
    let (mut places, mut texts) = (vec![root().join(place)], vec![]);
    while let Some(path) = places.pop() {
        if path.is_dir() {
            places.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            texts.push((path.strip_prefix(root()).unwrap().to_owned(), text));
        }
    }
    texts
}

/// The Rust files of [`texts`].
pub(crate) fn sources(place: &str) -> Vec<(PathBuf, String)> {
    let mut sources = texts(place);
    sources.retain(|(path, _)| path.extension().is_some_and(|extension| extension == "rs"));
    sources
}

/// The lines of a source that are not comments.
pub(crate) fn code(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter(|line| !line.trim_start().starts_with("//"))
}
