#!/bin/sh
# Makes the files of a release: for each architecture an archive with a static program, which needs no libraries and no Rust, and
# a bill of materials (SBOM, CycloneDX), then SHA256SUMS. Needs git, rustup and a Debian or Ubuntu. Takes minutes.
#   release.sh [DIRECTORY]            writes there, by default into dist/
#   ARCHITECTURES='x86_64 aarch64'    only these
#   SOURCE_DATE_EPOCH                 the time in the files, by default that of the commit
# The same commit, Rust version and compiler make the same files. tests/release/run.sh checks them.
#
# The programs have musl as their C library: to resolve names, a static glibc loads the modules that /etc/nsswitch.conf names, and
# crashes where they need another glibc (one of Debian 12 on Debian 13 with libnss-mdns: SIGFPE). The container image has no such
# modules, so it can use glibc, which needs less CPU time.
set -eu
export LC_ALL=C
umask 022
output=$(realpath -m "${1:-"$(dirname "$0")/dist"}")
cd "$(dirname "$(realpath "$0")")"
# shellcheck source=tests/machine.sh
. tests/machine.sh

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
[ -n "${SOURCE_DATE_EPOCH:-}" ] || SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
BROKER_REVISION=$(git describe --always --exclude '*' --dirty)
export SOURCE_DATE_EPOCH BROKER_REVISION
target_dir=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$(mktemp -d)
trap 'rm -rf "$work" turn-broker.cdx.json crates/*/turn-broker.cdx.json' EXIT
trap 'exit 130' INT TERM

# require ARCHITECTURE: the C compiler, for the crate `ring` and as the linker, and Rust's standard library.
require() {
    if [ "$1" = "$(uname -m)" ]; then need "$1-linux-gnu-gcc=gcc libc6-dev"; else
        debian=$(echo "$1" | sed 's/aarch64/arm64/; s/x86_64/amd64/')
        need "$1-linux-gnu-gcc=gcc-$(echo "$1" | tr _ -)-linux-gnu libc6-dev-$debian-cross"
    fi
    [ -d "$(rustc --print target-libdir --target "$1-unknown-linux-musl")" ] ||
        rustup target add "$1-unknown-linux-musl" || {
        echo "Rust's standard library for $1-unknown-linux-musl is missing and cannot be installed." >&2
        echo "Install it with \`rustup target add\` or from your distribution, or name other ARCHITECTURES." >&2
        exit 1
    }
}

# build ARCHITECTURE...: the programs, without the paths of this machine. They are built at the same time, because each is linked by
# one core.
build() (
    for architecture; do
        triple=$architecture-unknown-linux-musl
        variable=$(echo "$triple" | tr - _)
        # Ubuntu's compiler calls functions of glibc that check lengths, unless told not to.
        export "CC_$variable=$architecture-linux-gnu-gcc" "CFLAGS_$variable=-U_FORTIFY_SOURCE" \
            "CARGO_TARGET_$(echo "$variable" | tr '[:lower:]' '[:upper:]')_LINKER=$architecture-linux-gnu-gcc"
        shift
        set -- "$@" --target "$triple"
    done
    CARGO_ENCODED_RUSTFLAGS="$(printf '%s\037%s\037%s\037%s' -C target-feature=+crt-static \
        "--remap-path-prefix=$PWD=." "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo")" \
        CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_OPT_LEVEL=s \
        cargo build --locked --release --bin turn-broker "$@"
)

# pack ARCHITECTURE: the archive. Its bytes depend on nothing but the files.
pack() {
    name=turn-broker-$version-$1-linux
    install -d "$work/$name"
    install -m 755 "$target_dir/$1-unknown-linux-musl/release/turn-broker" "$work/$name/"
    install -m 644 LICENSE-MIT LICENSE-APACHE .env.example deploy/turn-broker.service "$work/$name/"
    CARGO_BUILD_TARGET=$1-unknown-linux-musl ./third-party.sh >"$work/$name/THIRD-PARTY"
    tar -c -C "$work" --format=gnu --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" "$name" |
        gzip -9n >"$output/$name.tar.gz"
}

# list ARCHITECTURE: the bill of materials. The tool lists the crates; what else the program contains is added.
list() {
    "$target_dir/tools/bin/cargo-cyclonedx" cyclonedx --quiet --format json --spec-version 1.5 --no-build-deps \
        --target "$1-unknown-linux-musl" --override-filename turn-broker.cdx
    sed "s|path+file://$PWD|path+file:///turn-broker|g" turn-broker.cdx.json |
        jq --arg rust "$(rustc --version | cut -d ' ' -f 2)" \
            --arg uplot "$(sed -n '1s/.*(v\(.*\)).*/\1/p' src/web/vendor/uplot/uPlot.iife.min.js)" '.components += [
                {type: "library", "bom-ref": "rust-std", name: "rust-std", version: $rust,
                 licenses: [{expression: "MIT OR Apache-2.0"}]},
                {type: "library", "bom-ref": "musl", name: "musl", description: "the C library that rust-std contains",
                 licenses: [{license: {id: "MIT"}}]},
                {type: "library", "bom-ref": "pkg:npm/uplot@\($uplot)", name: "uplot", version: $uplot,
                 purl: "pkg:npm/uplot@\($uplot)", licenses: [{license: {id: "MIT"}}]}]' \
            >"$output/turn-broker-$version-$1-linux.cdx.json"
}

need jq=jq musl-gcc=musl-tools # musl-tools for the text of musl's license
tool cargo-cyclonedx 0.5.9
mkdir -p "$output"
rm -f "$output"/turn-broker-* "$output/SHA256SUMS"
architectures=${ARCHITECTURES:-x86_64 aarch64}
for architecture in $architectures; do require "$architecture"; done
# shellcheck disable=SC2086 # a list of words
build $architectures
for architecture in $architectures; do
    pack "$architecture"
    list "$architecture"
done
(cd "$output" && sha256sum turn-broker-* >SHA256SUMS && ls -l)
