//! The table in a document. The attacks and the soak share it.

use std::fs;
use std::path::Path;

/// Replaces what is between two marks of a document.
pub(crate) fn write_between(document: &Path, [begin, end]: [&str; 2], text: &str) {
    let page = fs::read_to_string(document).unwrap();
    let (head, rest) = page.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    fs::write(document, [head, begin, text, end, tail].concat()).unwrap();
}
