//! The browser module as an npm package, so that `npm install https://BROKER/turn-client.tgz` works. It has the version of the
//! broker, and the same bytes in every process of that version, because npm stores a hash of the package.

use std::io;
use std::sync::LazyLock;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use tar::{Builder, Header};

use super::{TURN_CLIENT, TURN_CLIENT_TYPES};

/// The package as `npm pack` would make it.
pub(super) static TARBALL: LazyLock<Vec<u8>> =
    LazyLock::new(|| tarball().expect("writing to memory does not fail"));

fn tarball() -> io::Result<Vec<u8>> {
    let manifest = manifest();
    let files = [
        ("package.json", manifest.as_str()),
        ("turn-client.js", TURN_CLIENT),
        ("turn-client.d.ts", TURN_CLIENT_TYPES),
        ("README.md", include_str!("turn-client/README.md")),
        ("examples/plain.html", include_str!("turn-client/examples/plain.html")),
        ("examples/reporter.mjs", include_str!("turn-client/examples/reporter.mjs")),
        ("examples/useWebRTC.tsx", include_str!("turn-client/examples/useWebRTC.tsx")),
    ];
    let gzip: GzEncoder<Vec<u8>> = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut archive = Builder::new(gzip);
    for (name, text) in files {
        let mut header = Header::new_gnu();
        header.set_size(u64::try_from(text.len()).map_err(io::Error::other)?);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, format!("package/{name}"), text.as_bytes())?;
    }
    archive.into_inner()?.finish()
}

/// The module's `package.json` with the version of the broker. The version is put into the text, so the other fields keep their order:
/// TypeScript requires `types` to be the first condition of an export.
fn manifest() -> String {
    let version = concat!("{\n  \"version\": \"", env!("CARGO_PKG_VERSION"), "\",\n");
    include_str!("turn-client/package.json").replacen("{\n", version, 1)
}
