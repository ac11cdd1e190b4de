//! The short times of the tests with a browser: nothing that somebody installs or runs has them.

use crate::support::repository::texts;

/// What builds, packs or runs the program for anybody but the tests.
const BUILDS: [&str; 8] =
    ["Dockerfile", "release.sh", "README.md", "third-party.sh", "deploy", "docs", ".github", "crates"];

#[test]
fn no_image_and_no_release_enables_the_short_times() {
    for (path, text) in BUILDS.into_iter().flat_map(texts) {
        for word in ["short-lives", "--all-features", "--features"] {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
    }
    let [(_, manifest)] = &texts("Cargo.toml")[..] else { panic!("one manifest") };
    assert!(!manifest.contains("\ndefault = ["), "no feature is enabled by default");
}
