//! The short times of the tests with a browser: nothing that somebody installs or runs has them.

use std::fs;
use std::path::{Path, PathBuf};

const FEATURE: &str = "short-lives";
/// What builds, packs or runs the program for anybody but the tests.
const BUILDS: [&str; 8] =
    ["Dockerfile", "release.sh", "README.md", "third-party.sh", "deploy", "docs", ".github", "crates"];

#[test]
fn no_image_and_no_release_enables_the_short_times() {
    let mut paths: Vec<PathBuf> = BUILDS.iter().map(|name| root().join(name)).collect();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            for word in [FEATURE, "--all-features", "--features"] {
                assert!(!text.contains(word), "{} has {word}", path.display());
            }
        }
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(!manifest.contains("\ndefault = ["), "no feature is enabled by default");
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
